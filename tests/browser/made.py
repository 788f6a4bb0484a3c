"""Runs for the tests in a browser: rows, and pictures that are really there, each run's of its own colour."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from written import Item, write_run

from edit_eval.core.types import Sample
from edit_eval.driver.rows import read_rows
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Row
from views.samples import failed_row, row, scored, unscored

TAGS = ("recolour", "remove", "add")
COLOURS = ((200, 40, 40), (40, 160, 60), (50, 70, 200), (210, 180, 40))
GREY = (90, 90, 90)


def picture(path: Path, colour: tuple[int, int, int], size: int = 64) -> None:
    from PIL import Image, ImageDraw

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (size, size), colour)
    ImageDraw.Draw(image).rectangle((size // 4, size // 4, size // 2, size // 2), (255, 255, 255))
    image.save(path)


def small_rows(folder: Path, count: int = 12) -> list[Row]:
    """Return rows of a run in `folder`, with all their pictures: scores 9.0, 8.5 ...; no. 3 unscored, 5 failed, 7 flagged."""
    rows = []
    for index in range(count):
        source = folder.parent / "bench" / f"{index}.png"
        picture(source, GREY, 96)
        sample = Sample(
            f"scene-{index:04d}",
            f"Paint house number {index} blue",
            (str(source),),
            tags={"category": TAGS[index % 3]},
        )
        verdict = scored(9.0 - 0.5 * index, f"The roof of number {index} is blue too.")
        one = replace(row(index, verdict), sample=sample)
        if index == 3:
            one = replace(one, verdict=unscored("I will not"))
        elif index == 5:
            one = replace(failed_row(index), sample=sample, source_thumbnail=one.source_thumbnail)
        elif index == 7:
            one = replace(one, flags=("no_op",))
        rows.append(one)
    draw(folder, rows, COLOURS[0])
    return rows


def draw(folder: Path, rows: Iterable[Row], colour: tuple[int, int, int]) -> None:
    """Write the pictures that rows name."""
    for one in rows:
        for path, ink, size in (
            (one.image, colour, 96),
            (one.thumbnail, colour, 32),
            (one.source_thumbnail, GREY, 32),
        ):
            if path:
                picture(folder / path, ink, size)


def compared_runs(folder: Path, scores: Sequence[Mapping[str, Item]]) -> list[RunReader]:
    """Return runs with these scores in `folder`, with thumbnails of each run's colour and no whole images."""
    runs = []
    for number, items in enumerate(scores):
        run = write_run(folder / f"run-{number}", items)
        ours, source = (folder / f"{name}-{number}.webp" for name in ("edit", "source"))
        picture(ours, COLOURS[number % 4], 32)
        picture(source, GREY, 32)
        made = {one.key: ours for one in run.wanted} | {one.source_sha256[0]: source for one in run.wanted}
        for key, file in made.items():
            place = run.path / "thumbs" / key[:2] / f"{key}.webp"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, place)
        runs.append(run)
    assert all(row.thumbnail or not row.edited for row in read_rows(runs[0]))
    return runs
