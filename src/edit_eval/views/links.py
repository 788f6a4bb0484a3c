"""Where a page's links lead: to its own thumbnails, into runs beside it, to the benchmark's images.

Links are relative, so that a page, its runs and their benchmark can be moved together, and no page tells what the folders
above are called. Only what shares nothing with the page but the root of the file system is linked by its whole path.
Nothing is looked up but, once a page, the real path of its folder and of the run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from edit_eval.driver.summary import Row

__all__ = ["THUMBNAILS", "Links", "links_between", "wanted_thumbnails"]

THUMBNAILS = "thumbs"


@dataclass(frozen=True)
class Links:
    """The links of one page about one run.

    Attributes:
        folder: absolute path of the folder that the page lies in.
        run: absolute path of the run directory.
        letter: of the run on a page about several, under which its edits' thumbnails lie; empty on a page of its own.
            Runs may hold other pixels under the same key (from other GPUs).
    """

    folder: str
    run: str
    letter: str = ""

    @cached_property
    def _to_run(self) -> str:
        return _quoted(_relative(self.run, self.folder))

    def image(self, path: str | None) -> str | None:
        """Return the link to a file of the run, by its path relative to the run directory."""
        return None if path is None else f"{self._to_run}/{_quoted(path)}"

    def file(self, path: str) -> str | None:
        """Return the link to a file by its absolute path; None for a path that is not absolute."""
        if not PurePosixPath(path).is_absolute():
            return None
        if _top(path) != _top(self.folder):
            return "file://" + _quoted(path)
        return _quoted(_relative(path, self.folder))

    def edit_thumbnail(self, path: str | None) -> str | None:
        """Return the link to the page's own copy of an edit's thumbnail, by its path relative to the run directory."""
        return None if path is None else _quoted(self.edit_place(path))

    def source_thumbnail(self, path: str | None) -> str | None:
        """Return the same of a source's thumbnail. It is named after the source's bytes, so that all runs share it."""
        return None if path is None else _quoted(_place(THUMBNAILS, path))

    def rival_thumbnail(self, path: str | None) -> str | None:
        """Return the same of the edit that a judge compared with, by its absolute path."""
        return None if path is None else _quoted(_place(f"{THUMBNAILS}/rival", path))

    def edit_place(self, path: str) -> str:
        """Return where that copy lies, from the page's folder."""
        return _place(f"{THUMBNAILS}/{self.letter.lower()}" if self.letter else THUMBNAILS, path)


def links_between(folder: Path, run: Path, letter: str = "") -> Links:
    """Return the links of a page in `folder` about `run`, by their real paths, in which `..` means what it says."""
    return Links(os.path.realpath(folder), os.path.realpath(run), letter)


def wanted_thumbnails(rows: Iterable[Row], links: Links) -> dict[str, str]:
    """Return the thumbnails that a page with these rows shows: their places below its folder -> the runs' files."""
    wanted = {}
    for row in rows:
        if row.thumbnail:
            wanted[links.edit_place(row.thumbnail)] = f"{links.run}/{row.thumbnail}"
        if row.source_thumbnail:
            wanted[_place(THUMBNAILS, row.source_thumbnail)] = f"{links.run}/{row.source_thumbnail}"
        if row.rival and row.rival[1] and not links.letter:
            wanted[_place(f"{THUMBNAILS}/rival", row.rival[1])] = row.rival[1]
    return wanted


def _place(below: str, path: str) -> str:
    """Return where a thumbnail goes: by the last two parts of its path, `ab/abcd….webp`."""
    return "/".join([below, *path.split("/")[-2:]])


def _top(path: str) -> str:
    return path.lstrip("/").split("/", 1)[0]


def _relative(path: str, folder: str) -> str:
    found = os.path.relpath(path, folder)
    return found if found.startswith("..") else f"./{found}"  # `a:b.png` alone would name a protocol


def _quoted(path: str) -> str:
    """Return `path` for a URL: the bytes that the file system knows it by, percent-encoded."""
    try:
        return quote(os.fsencode(path))
    except (
        UnicodeEncodeError
    ):  # lone surrogates that stand for no byte: no such file, but the page must be built
        return quote(path.encode("utf-8", "replace"))
