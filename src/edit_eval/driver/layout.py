"""Edits in the layout that a benchmark's own tools expect: written for them, and read back.

Beside the images stands `edit-eval.json`, which says for every file which edit it is of, and by hash what it was made of.
So a layout that wants JPEG, which changes an image's bytes, does not change what is known of the edit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.benchmarks import Benchmark
from edit_eval.core.errors import RunError
from edit_eval.core.identity import file_sha256
from edit_eval.driver.registry import find, names
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Row
from edit_eval.editors.precomputed import MANIFEST, filled_names

__all__ = ["Written", "layouts", "write_layout"]

_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Written:
    """What `write_layout` did.

    Attributes:
        folder: where.
        files: how many edits were written.
        left_out: ids of samples without an edit.
    """

    folder: Path
    files: int
    left_out: Sequence[str]


def layouts() -> dict[str, type[Benchmark]]:
    """Return every benchmark that has a layout of its own, by name."""
    found = {name: find("benchmark", name).cls for name in sorted(names("benchmark"))}
    return {name: cls for name, cls in found.items() if cls.layout}


def write_layout(run: RunReader, rows: Iterable[Row], benchmark: type[Benchmark], folder: Path) -> Written:
    """Write the edits of `run` below `folder` as the benchmark's own tools name them, and `edit-eval.json` beside them.

    Args:
        run: the run.
        rows: of the run.
        benchmark: whose layout.
        folder: where to; made if it is not there. Files that are there are replaced.

    Raises:
        RunError: an edit is altered or gone, two edits would be one file, or a file cannot be written.
    """
    entries: dict[str, dict[str, Any]] = {}
    left_out = []
    for row in rows:
        if not row.edited or row.image is None:
            left_out.append(row.sample.id)
            continue
        name = next(filled_names(benchmark.layout, row.sample, row.repeat), None)
        if name is None or ".." in name.split("/") or name.startswith("/"):
            raise RunError(
                f"sample {row.sample.id!r} has no name in the layout {benchmark.layout!r}: is the run of {benchmark.name}?"
            )
        relative = name + benchmark.layout_suffix
        if relative in entries:
            raise RunError(f"two edits would be {relative} (one is of sample {row.sample.id!r})")
        try:
            entries[relative] = _write(run.path / row.image, folder / relative, row)
        except OSError as error:
            raise RunError(f"cannot write {folder / relative}: {error.strerror or error}") from error
    _write_manifest(folder, run, benchmark, entries)
    return Written(folder, len(entries), left_out)


def _write(source: Path, target: Path, row: Row) -> dict[str, Any]:
    original = str(row.edit["sha256"])
    if file_sha256(source) != original:
        raise RunError(f"{source} was altered after it was recorded; 'edit-eval run' makes it anew")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if target.suffix == ".png":
            shutil.copyfile(source, temporary)
        else:
            _as_jpeg(source, temporary)
        sha256 = file_sha256(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return {"edit_key": row.edit_key, "sample": row.sample.id, "sha256": sha256, "original_sha256": original}


def _as_jpeg(source: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(source) as image:
        image.convert("RGB").save(target, "JPEG", quality=_JPEG_QUALITY)


def _write_manifest(
    folder: Path, run: RunReader, benchmark: type[Benchmark], entries: Mapping[str, Any]
) -> None:
    manifest = {
        "format": 1,
        "layout": benchmark.name,
        "run": run.info.get("name"),
        "editor": run.info.get("editor"),
        "files": dict(sorted(entries.items())),
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{MANIFEST}.{os.getpid()}.tmp"
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
        temporary.replace(folder / MANIFEST)
    except OSError as error:
        raise RunError(f"cannot write {folder / MANIFEST}: {error.strerror or error}") from error
