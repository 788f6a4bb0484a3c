"""Files that one run directory takes over from another: links to the same bytes, or copies of the same time.

Images of edits are never written in place, so that two runs can share them. Everything is there whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.store import thumbnail_path

__all__ = ["take", "take_inputs", "take_thumbnails"]


def take(source: Path, target: Path, *, copy: bool = False) -> bool:
    """Put a file's bytes elsewhere too; what is there already, of the same size and time, stays.

    Returns:
        Whether they were copied, and not linked to.

    Args:
        source: where they are.
        target: where they shall be.
        copy: never a link, for what is still written to.

    Raises:
        OSError: it cannot be read or written.
    """
    if _same(source, target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        copied = copy or not _linked(source, temporary)
        if copied:
            shutil.copy2(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return copied


def _same(source: Path, target: Path) -> bool:
    try:
        one, other = source.stat(), target.stat()
    except FileNotFoundError:
        return False
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _linked(source: Path, target: Path) -> bool:
    """Whether a link could be made: not to another disk, on one that has none, or to what is not ours to link."""
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
        if not (root / name).exists():
            found = next((source / name for source in sources if (source / name).is_file()), None)
            if found:
                take(found, root / name)
