"""Files that one run directory takes over from another: links to the same bytes, or copies of the same time.

Images of edits are never written in place, so that two runs can share them. Everything is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.store import thumbnail_path

__all__ = ["take", "take_inputs", "take_thumbnails"]


def take(source: Path, target: Path, *, copy: bool = False) -> bool:
    """Put a file's bytes elsewhere too; what is there already, of the same size and time, stays.

    Args:
        source: where they are.
        target: where they shall be.
        copy: never a link, for what is still written to.

    Returns:
        Whether they were copied, and not linked to.

    Raises:
        OSError: it cannot be read or written.
    """
    if _same(source, target):
        return False
    folder, name = os.path.split(target)  # strings: a run of 100,000 samples has 400,000 files
    temporary = f"{folder}/.{name}.{os.getpid()}.tmp"
    try:
        linked = not copy and _linked(source, temporary)
        if not linked:
            shutil.copy2(source, temporary)
        os.replace(temporary, target)  # noqa: PTH105
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
    return not linked


def _same(source: Path, target: Path) -> bool:
    """Whether a file is there already; makes its folder if not."""
    try:
        one, other = os.stat(source), os.stat(target)  # noqa: PTH116
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        return False
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _linked(source: Path, target: str) -> bool:
    """Whether a link could be made: not to another disk, on one that has none, or to what is not ours to link."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)  # noqa: PTH108 - left by a kill
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def take_inputs(wanted: Iterable[WantedEdit], root: Path, sources: Sequence[Path]) -> None:
    """Take over the images that a benchmark drew in run directories.

    Args:
        wanted: as the run in `root` knows them: such images are below it.
        root: run directory, absolute.
        sources: run directories that have them at the same places.
    """
    inside = f"{root}/"
    for one in wanted:
        sample = one.sample
        named = (*sample.images, *sample.judged, *sample.references, sample.target or "")
        _take_first([path.removeprefix(inside) for path in named if path.startswith(inside)], root, sources)


def take_thumbnails(edited: Iterable[WantedEdit], root: Path, sources: Sequence[Path]) -> None:
    """Take over the thumbnails of edits and their sources, as far as they are there."""
    for one in edited:
        _take_first([thumbnail_path(one.key), thumbnail_path(one.source_sha256[0])], root, sources)


def _take_first(names: Iterable[str], root: Path, sources: Sequence[Path]) -> None:
    """Take what is not there from the first directory that has it."""
    for name in names:
        if os.path.exists(f"{root}/{name}"):  # noqa: PTH110
            continue
        found = next((one for one in sources if os.path.isfile(f"{one}/{name}")), None)  # noqa: PTH113
        if found:
            take(found / name, root / name)
