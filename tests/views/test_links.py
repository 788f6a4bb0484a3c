"""Where a page's links lead, and its own thumbnails beside it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from edit_eval.views import thumbs
from edit_eval.views.links import Links, links_between, wanted_thumbnails
from edit_eval.views.thumbs import place_thumbnails, remove_others
from views.samples import row

LINKS = Links("/home/u/work/runs/x/report", "/home/u/work/runs/x")


def test_links_are_relative_but_to_what_shares_only_the_root():
    assert LINKS.image("images/ab/abc.png") == "../images/ab/abc.png"
    assert LINKS.file("/home/u/work/bench/a b#1.png") == "../../../bench/a%20b%231.png"
    assert LINKS.file("/data/bench/a.png") == "file:///data/bench/a.png"
    assert LINKS.file("a.png") is None
    assert LINKS.image(None) is None
    odd = Links("/r", "/r/x").file("/r/javascript:x.png")
    assert odd == "./javascript%3Ax.png"


def test_a_page_is_linked_by_real_paths(tmp_path):
    (tmp_path / "far" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "far" / "runs")
    links = links_between(tmp_path / "runs" / "x" / "report", tmp_path / "runs" / "x")
    source = tmp_path / "far" / "bench" / "a.png"
    assert links.file(str(source)) == "../../../bench/a.png"


def test_runs_have_folders_of_their_own_for_edits_and_share_sources():
    ours = Links("/w/page", "/w/runs/b", "B")
    one = row(0, rival=("/w/runs/c/images/cc/c.png", "/w/runs/c/thumbs/cc/c.webp"))
    assert ours.edit_thumbnail(one.thumbnail) == f"thumbs/b/00/{'00' * 32}.webp"
    assert set(wanted_thumbnails([one], ours)) == {
        f"thumbs/b/00/{'00' * 32}.webp",
        f"thumbs/00/{'00' * 32}-source.webp",
    }
    assert wanted_thumbnails([one], LINKS)["thumbs/rival/cc/c.webp"] == "/w/runs/c/thumbs/cc/c.webp"
    assert unquote(LINKS.rival_thumbnail(one.rival[1])) in wanted_thumbnails([one], LINKS)


@pytest.fixture
def wanted(tmp_path):
    """Return a page's folder and what it wants of a run that has two thumbnails."""
    places = {}
    for name in ("a", "b"):
        source = tmp_path / "run" / "thumbs" / name / f"{name}.webp"
        source.parent.mkdir(parents=True)
        source.write_bytes(name.encode())
        places[f"thumbs/{name}/{name}.webp"] = str(source)
    (tmp_path / "page").mkdir()
    return tmp_path / "page", places


def there(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "thumbs").rglob("*"))
        if path.is_file()
    }


WHOLE = {"thumbs/a/a.webp": b"a", "thumbs/b/b.webp": b"b"}


def test_thumbnails_are_links_where_there_can_be_links(wanted):
    folder, places = wanted
    place_thumbnails(folder, places)
    assert there(folder) == WHOLE
    for place, source in places.items():
        assert (folder / place).samefile(source)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
def test_thumbnails_are_copies_where_there_can_be_none_and_are_kept(wanted, monkeypatch, code):
    folder, places = wanted

    def no_link(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(thumbs.os, "link", no_link)
    place_thumbnails(folder, places)
    assert there(folder) == WHOLE
    before = (folder / "thumbs/a/a.webp").stat().st_ino
    place_thumbnails(folder, places)
    assert (folder / "thumbs/a/a.webp").stat().st_ino == before


def test_a_disk_that_is_full_is_said(wanted, monkeypatch):
    folder, places = wanted

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(thumbs.os, "link", full)
    monkeypatch.setattr(thumbs.shutil, "copy2", full)
    with pytest.raises(OSError, match="No space left"):
        place_thumbnails(folder, places)


def test_what_was_made_again_is_linked_again_and_what_vanished_is_left_out(wanted):
    folder, places = wanted
    place_thumbnails(folder, places)
    one, two = map(Path, places.values())
    fresh = one.with_name("fresh")
    fresh.write_bytes(b"new")
    fresh.replace(one)
    two.unlink()
    place_thumbnails(folder, places)
    assert there(folder) == {"thumbs/a/a.webp": b"new", "thumbs/b/b.webp": b"b"}
    place_thumbnails(folder, {**places, "thumbs/c/c.webp": str(two)})
    assert "thumbs/c/c.webp" not in there(folder)


def test_what_no_page_shows_goes_and_a_strangers_files_stay(wanted):
    folder, places = wanted
    place_thumbnails(folder, places)
    (folder / "thumbs" / "mine.txt").write_text("keep")
    (folder / "thumbs" / "a" / ".a.webp.99999999.tmp").write_text("of a process that was killed")
    remove_others(folder, ["thumbs/a/a.webp"])
    assert there(folder) == {"thumbs/a/a.webp": b"a", "thumbs/mine.txt": b"keep"}
    assert not (folder / "thumbs" / "b").exists()
    assert Path(places["thumbs/b/b.webp"]).exists()  # the run's own
