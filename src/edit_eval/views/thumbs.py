"""The thumbnails of a page in its own folder, so that the folder alone can be copied elsewhere.

They are hard links to the runs' thumbnails, which cost no room, or copies where there can be no links (another file
system, a network file system that has none or not between two folders, too many links to one file). What is there already stays; what no page shows any more goes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from edit_eval.driver.abandoned import remove_abandoned
from edit_eval.views.links import THUMBNAILS

__all__ = ["place_thumbnails", "remove_others"]

_SUFFIX = ".webp"
"""Of thumbnails; nothing else is ever removed."""


def place_thumbnails(folder: Path, wanted: Mapping[str, str]) -> None:
    """Make `folder` hold the wanted thumbnails; one whose file has gone meanwhile is left out.

    Args:
        folder: of the page.
        wanted: from `links.wanted_thumbnails`.

    Raises:
        OSError: one cannot be written.
    """
    (folder / THUMBNAILS).mkdir(exist_ok=True)
    there = _below(folder / THUMBNAILS)
    made: set[str] = set()
    for place, source in wanted.items():
        parent = os.path.dirname(place)  # noqa: PTH120 - fast
        if parent not in made:
            (folder / parent).mkdir(parents=True, exist_ok=True)
            made.add(parent)
        _place(folder / place, source, there=place in there)


def remove_others(folder: Path, wanted: Collection[str]) -> None:
    """Remove the thumbnails of `folder` that are not wanted. Raises `OSError`."""
    for place in sorted(_below(folder / THUMBNAILS) - set(wanted)):
        if place.endswith(_SUFFIX):
            (folder / place).unlink(missing_ok=True)
    for parent, _, names in os.walk(folder / THUMBNAILS, topdown=False):
        if any(name.startswith(".") for name in names):
            remove_abandoned(Path(parent))
        if parent != str(folder / THUMBNAILS) and not os.listdir(parent):  # noqa: PTH208 - fast
            Path(parent).rmdir()


def _below(folder: Path) -> set[str]:
    """Return what lies below a page's folder of thumbnails, as places."""
    root = folder.parent
    return {
        os.path.relpath(os.path.join(parent, name), root)  # noqa: PTH118 - fast
        for parent, _, names in os.walk(folder)
        for name in names
    }


def _place(target: Path, source: str, *, there: bool) -> None:
    try:
        if there and _is_same(os.stat(source), os.stat(target)):  # noqa: PTH116
            return
        if there:  # the run has made its thumbnail again
            target.unlink(missing_ok=True)
        _link(source, target)
    except FileNotFoundError:
        if os.path.exists(source):  # noqa: PTH110 - it is not the run's file that is missing
            raise


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether these are one file, or one a copy of the other that kept its times."""
    if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
        return True
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _link(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        return  # another process builds the same page
    except FileNotFoundError:
        raise
    except OSError:  # not between these two, or not here at all; a copy tells whether it is something else
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            shutil.copy2(source, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
