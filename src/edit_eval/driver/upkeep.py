"""The upkeep of a run directory: leftovers of killed processes go, and what people look at comes back.

Links and thumbnails are for people; a ledger names none of them, and a run is the same without. Where somebody removed
them, or the disk was full when they should have been written, the next start makes them again. Called by whoever holds
the run.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from edit_eval.core.identity import digest
from edit_eval.driver.hashes import file_fact
from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.store import image_path, thumbnail_path
from edit_eval.worker.images import open_rgb, save_thumbnail

__all__ = [
    "is_tidy",
    "make_thumbnails",
    "missing_links",
    "missing_thumbnails",
    "note_tidy",
    "remove_leftovers",
]

_TIDY = ".tidy"
"""Holds what `_layout` returned when everything was in its place."""

_LEFTOVERS: Mapping[str, re.Pattern[str]] = {
    ".": re.compile(
        r"\.(run\.json|(samples|whole|edits|verdicts|against-\w+)\.jsonl)\.\d+\.tmp|\.probe-[\w-]+"
    ),
    "images/*": re.compile(r"\..*\.tmp"),
    "thumbs/*": re.compile(r"\..*\.tmp"),
    "by-id/*": re.compile(r"\..*\.\d+"),
    "report": re.compile(r"\.index-.*\.html"),
}
"""What is being written has such a name until it is whole; `edit-eval report` writes without the lock. By `.probe-` files
a cluster's nodes find out whether they see the run directory."""

_ABANDONED_S = 60.0


def is_tidy(root: Path) -> bool:
    """Whether everything was in its place when last looked for, and no file came to a folder or left one since.

    A folder's own time of change says so: of 100,000 samples, 500 folders are looked at instead of 400,000 names.
    """
    try:
        return (root / _TIDY).read_text(encoding="utf-8") == _layout(root)
    except (OSError, ValueError):
        return False


def note_tidy(root: Path) -> None:
    """Note that everything is in its place; where that cannot be written, it is looked for again."""
    with contextlib.suppress(OSError):
        (root / _TIDY).write_text(_layout(root), encoding="utf-8")


def _layout(root: Path) -> str:
    """Return a digest of which edits there are to be, and of all folders with files for them. Raises `OSError`."""
    facts = [file_fact(name, os.stat(root / name)) for name in ("samples.jsonl", "edits.jsonl")]  # noqa: PTH116
    for name in ("images", "thumbs", "by-id"):
        facts.append(file_fact(name, os.stat(root / name)))  # noqa: PTH116
        with os.scandir(root / name) as parts:
            facts += sorted(file_fact(f"{name}/{part.name}", part.stat()) for part in parts)
    return digest(facts)


def remove_leftovers(root: Path, *, tidy: bool = False) -> None:
    """Remove temporary files that were being written when a process was killed; what cannot be removed stays.

    Args:
        root: run directory.
        tidy: from `is_tidy`: nothing came to the folders of images, thumbnails and links.
    """
    for place, name in _LEFTOVERS.items():
        if tidy and "/" in place:
            continue
        for folder in root.glob(place) if place != "." else [root]:
            with contextlib.suppress(OSError):
                hidden = [one for one in os.listdir(folder) if one[0] == "."]  # noqa: PTH208 - 400,000 names
                for left in (folder / one for one in hidden if name.fullmatch(one)):
                    age_s = time.time() - left.lstat().st_mtime
                    if place != "report" or age_s > _ABANDONED_S:
                        left.unlink()


def missing_links(
    root: Path, edited: Sequence[WantedEdit], names: Mapping[str, str]
) -> Iterator[tuple[WantedEdit, str]]:
    """Yield the edits whose link is not there, each with its name.

    Args:
        root: run directory.
        edited: that have an image.
        names: from `store.link_names`.
    """
    there = _below(root / "by-id")
    for one in edited:
        name = names[one.key]
        tag, _, rest = name.partition("/")
        if f"{rest}.png" not in there[tag]:
            yield one, name


def missing_thumbnails(root: Path, edited: Sequence[WantedEdit]) -> dict[Path, Path]:
    """Return the thumbnails that are not there, of edits and their first sources, each with its image.

    Args:
        root: run directory.
        edited: that have an image.
    """
    there = _below(root / "thumbs")
    missing: dict[Path, Path] = {}
    for one in edited:
        for key in (one.key, one.source_sha256[0]):
            if f"{key}.webp" not in there[key[:2]]:
                image = root / image_path(key) if key == one.key else Path(one.sample.images[0])
                missing[root / thumbnail_path(key)] = image
    return missing


def make_thumbnails(missing: Mapping[Path, Path], stop: Callable[[], bool]) -> None:
    """Make thumbnails; `stop` is asked before each whether to leave the rest. One that cannot be made is left out."""
    from PIL.Image import DecompressionBombError

    for path, image in missing.items():
        if stop():
            return
        with contextlib.suppress(OSError, ValueError, DecompressionBombError):
            save_thumbnail(open_rgb(image), path)


def _below(folder: Path) -> Mapping[str, set[str]]:
    """Return the names of all files two levels down, by the folder that they are in; an empty set for one not there."""
    found: dict[str, set[str]] = defaultdict(set)
    with contextlib.suppress(OSError):
        for part in os.listdir(folder):  # noqa: PTH208 - of 100,000 samples, 300,000 names
            with contextlib.suppress(OSError):
                found[part] = set(os.listdir(folder / part))  # noqa: PTH208
    return found
