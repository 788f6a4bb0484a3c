"""What people look at comes back where it is missing; the rest is left as it is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from edit_eval.core.types import Sample
from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.store import RunStore, image_path, link_names, thumbnail_path
from edit_eval.driver.upkeep import (
    is_tidy,
    make_thumbnails,
    missing_links,
    missing_thumbnails,
    note_tidy,
    remove_leftovers,
)


def edits(root: Path, count: int = 3) -> list[WantedEdit]:
    """Return edits whose images are there; all have one source."""
    source = root / "source.png"
    Image.new("RGB", (8, 6), "red").save(source)
    found = []
    for index in range(count):
        sample = Sample(f"s{index}", "make it red", (str(source),), tags={"category": f"c{index % 2}"})
        one = WantedEdit(index, sample, 0, 7, f"{index:02x}" + "0" * 62, ("ab" + "f" * 62,))
        (root / image_path(one.key)).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "blue").save(root / image_path(one.key))
        found.append(one)
    return found


def test_missing_links_are_named_whatever_happened_to_the_folder(tmp_path):
    several = edits(tmp_path)
    names = link_names(several)
    assert [name for _, name in missing_links(tmp_path, several, names)] == ["c0/s0", "c1/s1", "c0/s2"]
    with RunStore(tmp_path / "run") as store:
        for one in several:
            store.link_by_id(one, names[one.key])
    assert list(missing_links(tmp_path / "run", several, names)) == []
    (tmp_path / "run" / "by-id" / "c0" / "s2.png").unlink()
    assert [one for one, _ in missing_links(tmp_path / "run", several, names)] == [several[2]]


def test_missing_thumbnails_of_edits_and_sources_are_made(tmp_path):
    several = edits(tmp_path)
    missing = missing_thumbnails(tmp_path, several)
    assert len(missing) == 4
    make_thumbnails(missing, lambda: False)
    assert missing_thumbnails(tmp_path, several) == {}
    with Image.open(tmp_path / thumbnail_path(several[0].key)) as image:
        assert (image.format, image.size) == ("WEBP", (8, 6))
    (tmp_path / thumbnail_path(several[1].key)).unlink()
    assert list(missing_thumbnails(tmp_path, several).values()) == [tmp_path / image_path(several[1].key)]


def test_a_thumbnail_that_cannot_be_made_keeps_no_other_from_it(tmp_path):
    several = edits(tmp_path)
    (tmp_path / image_path(several[0].key)).write_bytes(b"no image")
    (tmp_path / image_path(several[1].key)).unlink()
    missing = missing_thumbnails(tmp_path, several)
    make_thumbnails(missing, lambda: False)
    assert len(missing_thumbnails(tmp_path, several)) == 2


def test_it_ends_when_it_is_asked_to(tmp_path):
    missing = missing_thumbnails(tmp_path, edits(tmp_path))
    make_thumbnails(missing, lambda: True)
    assert not (tmp_path / "thumbs").exists()


def tidied(root: Path) -> Path:
    """Return a run in which everything is in its place, and noted to be."""
    run = root / "run"
    with RunStore(run) as store:
        for one in edits(run):
            store.link_by_id(one)
    (run / "thumbs" / "ab").mkdir()
    (run / "thumbs" / "ab" / "x.webp").write_bytes(b"x")
    (run / "samples.jsonl").write_text("as it was\n")
    assert not is_tidy(run)
    note_tidy(run)
    assert is_tidy(run)
    return run


@pytest.mark.parametrize(
    "change",
    [
        lambda run: (run / "thumbs" / "ab" / "x.webp").unlink(),
        lambda run: (run / "images" / "00" / ".left.tmp").write_bytes(b""),
        lambda run: (run / "by-id" / "c1" / "s1.png").unlink(),
        lambda run: (run / "by-id" / "c2").mkdir(),
        lambda run: (run / "thumbs" / "ab").rename(run / "thumbs" / "ac"),
        lambda run: shutil.rmtree(run / "by-id"),
        lambda run: (run / "samples.jsonl").write_text("as it is now\n"),
        lambda run: (run / "edits.jsonl").write_text("{}\n"),
        lambda run: (run / ".tidy").unlink(),
        lambda run: (run / ".tidy").write_bytes(b"\xff"),
    ],
)
def test_a_run_is_tidy_until_anything_comes_or_goes(tmp_path, change):
    run = tidied(tmp_path)
    time.sleep(0.02)  # the clock of the file system ticks every few milliseconds
    change(run)
    assert not is_tidy(run)


def test_leftovers_are_looked_for_in_a_folder_that_is_not_tidy(tmp_path):
    run = tidied(tmp_path)
    left = run / "images" / "00" / ".left.tmp"
    time.sleep(0.02)
    left.write_bytes(b"")
    remove_leftovers(run, tidy=is_tidy(run))
    assert not left.exists()


@pytest.mark.parametrize("tidy", [True, False])
def test_what_nodes_are_to_see_does_not_outlive_a_killed_run(tmp_path, tidy):
    for name in (".probe-0123abcd", ".probe-0123abcd-0123abcd", ".settled", "probe-x"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path, tidy=tidy)
    assert sorted(one.name for one in tmp_path.iterdir()) == [".settled", "probe-x"]
