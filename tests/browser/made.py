"""Runs for the tests in a browser: rows, and pictures that are really there, each of its own colour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from edit_eval.core.types import Sample
from edit_eval.driver.summary import Row
from views.samples import failed_row, row, scored, unscored

TAGS = ("recolour", "remove", "add")
COLOURS = ((200, 40, 40), (40, 160, 60), (50, 70, 200), (210, 180, 40))


def picture(path: Path, colour: tuple[int, int, int], size: int = 64) -> None:
    from PIL import Image, ImageDraw

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (size, size), colour)
    ImageDraw.Draw(image).rectangle((size // 4, size // 4, size // 2, size // 2), (255, 255, 255))
    image.save(path)


def small_rows(folder: Path, run: int = 0, count: int = 12) -> list[Row]:
    """Return rows of a small run in `folder`, with all their pictures: scores 9.0, 8.5 ...; no. 3 unscored, no. 5 failed."""
    rows = []
    for index in range(count):
        sample = Sample(
            f"scene-{index:04d}",
            f"Paint house number {index} blue",
            (str(folder.parent / "bench" / f"{index}.png"),),
            tags={"category": TAGS[index % 3]},
        )
        picture(folder.parent / "bench" / f"{index}.png", (90, 90, 90))
        verdict = scored(9.0 - 0.5 * index + run, f"The roof of number {index} is blue too.")
        one = replace(row(index, verdict), sample=sample)
        if index == 3:
            one = replace(one, verdict=unscored("I will not"))
        elif index == 5:
            one = replace(failed_row(index), sample=sample, source_thumbnail=one.source_thumbnail)
        elif index == 7:
            one = replace(one, flags=("no_op",))
        draw(folder, [one], COLOURS[run % 4])
        rows.append(one)
    return rows


def draw(folder: Path, rows: Iterable[Row], colour: tuple[int, int, int]) -> None:
    """Write the pictures that rows name."""
    for one in rows:
        for path, ink, size in (
            (one.image, colour, 96),
            (one.thumbnail, colour, 32),
            (one.source_thumbnail, (90, 90, 90), 32),
        ):
            if path:
                picture(folder / path, ink, size)
