"""Where a model's files are, and what they are: a local folder, or a hub id that is already in the local cache.

Resolved once, before any process starts; hosts get local paths and never ask the hub. Reads bytes, loads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edit_eval.core.errors import ModelError
from edit_eval.core.identity import digest, file_sha256
from edit_eval.driver.hashes import FileHashes, file_fact

__all__ = ["Model", "find_model", "resolve_model"]

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf")
_LONG_BYTES = 1 << 30
"""Hashing so much takes seconds."""

_CONFIG_SUFFIXES = (".json", ".txt", ".model", ".jinja")


@dataclass(frozen=True)
class Model:
    """A model on this machine.

    Attributes:
        name: as the config says.
        path: local folder.
        identity: part of keys: hub id and commit, or the hash of every weight and config file of a local folder.
        files: of a local folder, what those files were when they were hashed: relative path -> hash and fact.
    """

    name: str
    path: Path
    identity: dict[str, str]
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def changed_file(self) -> str | None:
        """Return the path of a file that is no longer what it was when it was hashed, or None.

        Looks at sizes and times, and reads only a file of which these changed but not its length.
        """
        for name, (sha, fact) in self.files.items():
            path = self.path / name
            try:
                now = file_fact("", path.stat())
                if now != fact and (_length(now) != _length(fact) or file_sha256(path) != sha):
                    return str(path)
            except OSError:
                return str(path)
        return None


def find_model(where: str, name: str, model_file: str) -> Path:
    """Return the folder of a model without reading its weights; arguments and errors as for `resolve_model`."""
    if _is_local(name):
        return _local_folder(where, name, model_file)
    return _cached(where, name, model_file)


def resolve_model(
    where: str,
    name: str,
    model_file: str,
    hashes: FileHashes,
    progress: Callable[[str], None] = lambda _text: None,
) -> Model:
    """Find a model and what identifies it.

    Args:
        where: config key, for messages.
        name: a local folder, or a hub id `owner/name` (optionally `owner/name@commit`).
        model_file: what its folder must hold beside weights, such as `model_index.json`; empty for a part of a model,
            which may have no weights (a scheduler, a tokenizer).
        hashes: cache of file hashes.
        progress: told where hashing will take long.

    Raises:
        ModelError: no such folder, no model in it, or a hub id that is not in the cache.
    """
    if not _is_local(name):
        snapshot = _cached(where, name, model_file)
        return Model(name, snapshot, {"repository": name.partition("@")[0], "commit": snapshot.name})
    folder = _local_folder(where, name, model_file)
    try:
        files = _files_of(where, name, folder, model_file)
        unknown_bytes = hashes.unknown_bytes(files)
        if unknown_bytes >= _LONG_BYTES:
            progress(f"{where}: hashing {unknown_bytes / 2**30:.1f} GiB of {name}, this once")
        found = {str(path.relative_to(folder)): _hashed(path, hashes) for path in files}
    except OSError as error:
        raise ModelError(f"{where}: cannot read {error.filename or name}: {error.strerror}") from error
    return Model(name, folder, {"files": digest({part: sha for part, (sha, _) in found.items()})}, found)


def _hashed(path: Path, hashes: FileHashes) -> tuple[str, str]:
    """Return a file's hash, and what it was just before it was read."""
    fact = file_fact("", path.stat())
    return hashes.sha256(path), fact


def _length(fact: str) -> str:
    return fact.split("\t")[1]


def _is_local(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~")) or Path(name).exists()


def _local_folder(where: str, name: str, model_file: str) -> Path:
    folder = Path(name).expanduser().absolute()
    if not folder.is_dir():
        raise ModelError(f"{where}: no model folder at {name}; give a folder or a hub id such as owner/name")
    if model_file and not (folder / model_file).is_file():
        raise ModelError(f"{where}: {name} holds no model: {model_file} is missing")
    return folder


def _files_of(where: str, name: str, folder: Path, model_file: str) -> list[Path]:
    suffixes = (*_WEIGHT_SUFFIXES, *_CONFIG_SUFFIXES)
    files = sorted(path for path in _files(folder, frozenset()) if path.suffix in suffixes)
    if not files:
        raise ModelError(f"{where}: {name} holds no model: no weight or config file in it")
    if model_file and not any(path.suffix in _WEIGHT_SUFFIXES for path in files):
        raise ModelError(
            f"{where}: {name} holds no weights, only config files; weights end in {', '.join(_WEIGHT_SUFFIXES)}"
        )
    return files


def _files(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Yield every file below `folder`, through links too; a folder within itself (`above`) is not entered again.

    Raises `OSError`, also for a link to nothing: a model that lacks a part must not pass for a smaller one.
    """
    stat = folder.stat()
    here = (stat.st_dev, stat.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir():
                yield from _files(path, above | {here})
            elif entry.is_file():
                yield path
            elif entry.is_symlink() and path.suffix in (*_WEIGHT_SUFFIXES, *_CONFIG_SUFFIXES):
                path.stat()


def _hub_cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME", os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/huggingface")
    return Path(home).expanduser() / "hub"


def _cached(where: str, name: str, model_file: str) -> Path:
    repository, _, revision = name.partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise ModelError(f"{where}: {name!r} is neither a folder here nor a hub id such as owner/name")
    cache = _hub_cache()
    folder = cache / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit if commit else None
    if snapshot is None or not snapshot.is_dir():
        raise ModelError(
            f"{where}: {name} is not on this machine (looked in {cache}); "
            f"run 'hf download {repository}' where there is a network, or give a local folder"
        )
    if model_file and not (snapshot / model_file).is_file():
        raise ModelError(
            f"{where}: {name} in {cache} holds no model, or only a part of it: {model_file} is missing"
        )
    return snapshot
