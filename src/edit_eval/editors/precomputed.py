"""Edits that were made elsewhere: a folder of finished images, found by sample id or by the source's name.

Knows nothing of models: with it, the output of any other program is judged, compared and reported like a run's own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any, ClassVar

from edit_eval.core.errors import ConfigError, DataError, did_you_mean, shown
from edit_eval.core.types import EditRequest, Sample, StepCallback
from edit_eval.editors import Editor
from edit_eval.worker.images import open_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MANIFEST", "Precomputed", "PrecomputedParams", "filled_names"]

MANIFEST = "edit-eval.json"
"""Stands in a folder of exported edits and says what each file is an edit of."""

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""In any case; where two files differ only in this, the earlier one here is taken."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r'[\x00-\x1f/\\:*?"<>|]')


@dataclass(frozen=True)
class PrecomputedParams:
    """Where the edits are. Their bytes are part of an edit's key, the folder's name is not.

    Attributes:
        folder: the folder of edits; a relative one counts from where the command was started. Required.
        names: file name of an edit without its extension. By default the layout of the benchmark's own tools, and
            where it has none `{id}`. `{id}` is the sample's id, `{source}` the source image's
            name without extension, `{repeat}` the repeat (from 0), and any other `{tag}` the sample's tag, as in
            `{category}/{language}/{id}`. Where `{id}` finds nothing, the source's name is tried in its place.
            Without `{repeat}`, repeat r > 0 has `_r1`, `_r2` ... at the end of its name.
    """

    folder: str = field(default="", metadata={"identity": False})
    names: str = field(default="", metadata={"identity": False})


class Precomputed(Editor):
    r"""Opens the finished edit of a sample; a sample without one is recorded as `missing`.

    In `{id}`, characters that no file name should hold (`/ \ : * ? " < > |` and control characters) may be written
    as `_`. A name never leads out of the folder: one with `..` in it finds nothing.
    """

    Params = PrecomputedParams
    version: ClassVar[int] = 1
    params: PrecomputedParams

    @classmethod
    def resolve(cls, params: PrecomputedParams, model: str | None) -> PrecomputedParams:
        """Return `params` with an absolute folder.

        Raises:
            ConfigError: no folder is given, or `names` would give every sample one file.
            DataError: the folder is not there or is not a folder.
        """
        del model
        if not params.folder:
            raise ConfigError("editor.params.folder is missing: give the folder that holds the edited images")
        if not _PLACEHOLDER.search(params.names or "{id}"):
            raise ConfigError(
                f"editor.params.names is {shown(params.names)}: it needs {{id}} or {{source}}, as in '{{id}}_edited'"
            )
        try:
            folder = Path(params.folder).expanduser().resolve()
        except (RuntimeError, ValueError) as error:  # no such home; a null byte
            raise ConfigError(f"editor.params.folder: {shown(params.folder)} is no path: {error}") from error
        if not folder.exists():
            raise DataError(
                f"the folder of edits {folder} does not exist{_nearest(folder)}: set editor.params.folder"
            )
        if not folder.is_dir():
            raise DataError(f"{folder} is a file: editor.params.folder needs the folder that holds the edits")
        return replace(params, folder=str(folder))

    @classmethod
    def for_layout(cls, params: PrecomputedParams, layout: str) -> PrecomputedParams:
        """Return `params` with the benchmark's layout where no names are given."""
        return params if params.names else replace(params, names=layout or "{id}")

    @classmethod
    def origin(cls, params: PrecomputedParams, path: str, sha256: str) -> str:
        """Return the hash of the edit that an exported file was made of, if it still is that file."""
        relative = os.path.relpath(path, params.folder)
        known = _manifest(params.folder).get(relative, {})
        return str(known["original_sha256"]) if known.get("sha256") == sha256 else sha256

    @classmethod
    def conditioning(cls, params: PrecomputedParams, sample: Sample) -> Sequence[str]:
        """Return the sample's edits that are there (its repeats in order): a changed file is a new edit."""
        found: list[str] = []
        for repeat in count():
            paths = cls.finished(params, sample, repeat)
            found += paths[:1]
            if repeat and not paths:
                break
        return tuple(found)

    @classmethod
    def finished(cls, params: PrecomputedParams, sample: Sample, repeat: int) -> Sequence[str]:
        """Return the files of this edit: those that differ only in their extension, of the first name that is there."""
        for name in filled_names(params.names or "{id}", sample, repeat):
            if paths := _named(params.folder, name):
                return paths
        return ()

    @classmethod
    def all_finished(cls, params: PrecomputedParams) -> Sequence[str]:
        """Return every file in the folder and below, hidden ones and the list of exported edits left out; sorted."""
        found: list[str] = []
        for folder, folders, files in os.walk(params.folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [os.path.join(folder, name) for name in files if not name.startswith(".")]  # noqa: PTH118
        return sorted(path for path in found if os.path.relpath(path, params.folder) != MANIFEST)

    @classmethod
    def size_policy(cls, params: PrecomputedParams) -> str:
        """Say that sizes are as found."""
        del params
        return "in: nothing; out: the file's own size"

    def edit_size(self, request: EditRequest) -> None:
        """Return None: an edit made elsewhere has any size."""
        del request

    def edit(self, request: EditRequest, step: StepCallback) -> Image:
        """Return the finished edit.

        Raises:
            FileNotFoundError: there is none.
            UnreadableImageError: the file is no image.
        """
        del step
        paths = self.finished(self.params, request.sample, request.repeat)
        if not paths:
            names = filled_names(self.params.names or "{id}", request.sample, request.repeat)
            tried = ", ".join(dict.fromkeys(names))
            raise FileNotFoundError(f"no edit in {self.params.folder} under any of these names: {tried}")
        return open_rgb(paths[0])


def _named(root: str, name: str) -> Sequence[str]:
    """Return the files of that name (with `/`, without extension or with it); none where it would lead out of `root`."""
    *folders, stem = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in (*folders, stem)):
        return ()
    folder = os.path.join(root, *folders)  # noqa: PTH118  # called 10,000 times and more
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:  # nothing was made for this sample: its folder is not there, or its name cannot be one
        return ()
    return _listing(folder, status.st_mtime_ns).get(stem, ()) if S_ISDIR(status.st_mode) else ()


def filled_names(pattern: str, sample: Sample, repeat: int) -> Iterator[str]:
    """Yield the names to try, in order; none if the sample lacks a tag that the pattern names."""
    if repeat and "{repeat}" not in pattern:
        pattern += f"_r{repeat}"
    source = Path(sample.images[0]).stem
    known = {**sample.tags, "source": source, "repeat": str(repeat), "id": ""}
    if all(name in known for name in _PLACEHOLDER.findall(pattern)):
        for one in dict.fromkeys((sample.id, _UNSAFE.sub("_", sample.id), source)):
            yield _filled(pattern, {**known, "id": one})


def _filled(pattern: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], pattern)


@lru_cache(maxsize=256)
def _listing(folder: str, changed: int) -> Mapping[str, tuple[str, ...]]:
    """Return paths by name, with and without extension, of the images in a folder. `changed`: its mtime."""
    del changed  # only makes a changed folder a new one to the cache
    ranked = []
    with os.scandir(folder) as entries:
        for entry in entries:
            extension = os.path.splitext(entry.name)[1]  # noqa: PTH122
            if extension.lower() in _EXTENSIONS and os.path.isfile(entry.path):  # noqa: PTH113  # no loop of links
                ranked.append((_EXTENSIONS.index(extension.lower()), entry.name, entry.path))
    found: dict[str, tuple[str, ...]] = {}
    for _, name, path in sorted(ranked):
        stem = os.path.splitext(name)[0]  # noqa: PTH122
        found[stem] = (*found.get(stem, ()), path)
    for _, name, path in ranked:
        found.setdefault(name, (path,))
    return found


@lru_cache(maxsize=8)
def _manifest(folder: str) -> Mapping[str, Any]:
    """Return what `edit-eval.json` says of the folder's files; nothing where there is none, or it is damaged."""
    try:
        data = json.loads(Path(folder, MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    files = data.get("files") if isinstance(data, dict) else None
    if not isinstance(files, dict):
        return {}
    return {
        name: one
        for name, one in files.items()
        if isinstance(one, dict) and isinstance(one.get("original_sha256"), str)
    }


def _nearest(folder: Path) -> str:
    """Return a hint where a folder beside it has nearly the same name."""
    if not folder.parent.is_dir():
        return ""
    return did_you_mean(folder.name, [one.name for one in folder.parent.iterdir() if one.is_dir()])
