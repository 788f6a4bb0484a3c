"""Where a model's files are, and what they are: a local folder or file, or a hub id that is already in the local cache.

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
from edit_eval.driver.hubcache import (
    FETCH,
    HubCache,
    HubName,
    Snapshot,
    faults_of_record,
    hub_name,
    open_cache,
    read_record,
    unfinished,
)
from edit_eval.driver.weightfiles import WEIGHT_SUFFIXES, lora_files, training_state, weight_files

__all__ = [
    "Model",
    "find_lora",
    "find_model",
    "hub_id",
    "is_local",
    "refuse_half",
    "resolve_lora",
    "resolve_model",
]

_LONG_BYTES = 1 << 30
"""Hashing so much takes seconds."""

_CONFIG_SUFFIXES = (".json", ".txt", ".model", ".jinja")
_WHOLE_FILE = ".safetensors"
"""What a part of a model that is a single file ends with; others would have to be unpickled."""


@dataclass(frozen=True)
class Model:
    """A model, or a part of one, on this machine.

    Attributes:
        name: as the config says.
        path: local folder; of a part also a file.
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
            path = self.path / name if name else self.path
            try:
                now = file_fact("", path.stat())
                if now != fact and (_length(now) != _length(fact) or file_sha256(path) != sha):
                    return str(path)
            except OSError:
                return str(path)
        return None


def find_model(where: str, name: str, model_file: str, cache: HubCache | None = None) -> Path:
    """Return the folder (or file) of a model without reading its weights; arguments and errors as for `resolve_model`."""
    return _find(where, name, model_file, cache)[0]


def resolve_model(
    where: str,
    name: str,
    model_file: str,
    hashes: FileHashes,
    progress: Callable[[str], None] = lambda _text: None,
    cache: HubCache | None = None,
) -> Model:
    """Find a model and what identifies it.

    Args:
        where: config key, for messages.
        name: a local folder, or a hub id `owner/name`, `owner/name/inside` (each optionally with `@revision`); of a
            part also a .safetensors file.
        model_file: what its folder must hold beside weights, such as `model_index.json`; empty for a part of a model,
            which may have no weights (a scheduler, a tokenizer).
        hashes: cache of file hashes.
        progress: told where hashing will take long.
        cache: of the hub; None: Hugging Face's own.

    Raises:
        ModelError: no such folder, no model in it, a training state, or a hub id that is not (wholly) in the cache.
    """
    path, identity = _find(where, name, model_file, cache)
    if identity is not None:
        return Model(name, path, identity)
    try:
        files = _files_of(where, name, path, model_file) if path.is_dir() else [path]
        _announce(where, name, files, hashes, progress)
        if path.is_file():
            sha, fact = _hashed(path, hashes)
            return Model(name, path, {"sha256": sha}, {"": (sha, fact)})
        found = {str(file.relative_to(path)): _hashed(file, hashes) for file in files}
    except OSError as error:
        raise _unreadable(where, name, error) from error
    return Model(name, path, {"files": digest({part: sha for part, (sha, _) in found.items()})}, found)


def _hashed(path: Path, hashes: FileHashes) -> tuple[str, str]:
    """Return a file's hash, and what it was just before it was read."""
    fact = file_fact("", path.stat())
    return hashes.sha256(path), fact


def _length(fact: str) -> str:
    return fact.split("\t")[1]


def find_lora(where: str, name: str, cache: HubCache | None = None) -> Path:
    """Return the one file of a LoRA: named, or alone in its folder. Errors as for `resolve_lora`."""
    path, _ = _find(where, name, "", cache)
    if path.is_file():
        return path
    found = lora_files([one.name for one in path.iterdir()])
    if len(found) == 1:
        return path / found[0]
    if not found:
        raise ModelError(f"{where}: {name} holds no {_WHOLE_FILE} file")
    raise ModelError(
        f"{where}: {name} holds several LoRAs; name one, such as {name.partition('@')[0]}/{found[0]}"
    )


def resolve_lora(
    where: str,
    name: str,
    hashes: FileHashes,
    progress: Callable[[str], None] = lambda _text: None,
    cache: HubCache | None = None,
) -> Model:
    """Find a LoRA, which is known by the hash of its one file wherever that comes from.

    Args:
        where: config key, for messages.
        name: a .safetensors file, a folder with one, or a hub id of either.
        hashes: cache of file hashes.
        progress: told where hashing will take long.
        cache: of the hub; None: Hugging Face's own.

    Raises:
        ModelError: it is not here, or its folder holds none, or several.
    """
    path = find_lora(where, name, cache)
    try:
        _announce(where, name, [path], hashes, progress)
        sha, fact = _hashed(path, hashes)
        return Model(name, path, {"sha256": sha}, {"": (sha, fact)})
    except OSError as error:
        raise _unreadable(where, name, error) from error


def is_local(name: str) -> bool:
    """Whether a name is a path: it looks like one, or there is something of that name here."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).exists()


def hub_id(where: str, name: str) -> HubName:
    """Read a hub id; a misspelt path of this machine is not taken for one. Raises `ModelError`."""
    wanted, first = hub_name(where, name), name.split("/", 1)[0]
    if wanted.inside and Path(first).is_dir():
        raise ModelError(f"{where}: no model folder at {name}, though {first} is one; correct the path")
    return wanted


def _announce(
    where: str, name: str, files: list[Path], hashes: FileHashes, progress: Callable[[str], None]
) -> None:
    unknown_bytes = hashes.unknown_bytes(files)
    if unknown_bytes >= _LONG_BYTES:
        progress(f"{where}: hashing {unknown_bytes / 2**30:.1f} GiB of {name}, this once")


def _unreadable(where: str, name: str, error: OSError) -> ModelError:
    return ModelError(f"{where}: cannot read {error.filename or name}: {error.strerror}")


def _find(
    where: str, name: str, model_file: str, cache: HubCache | None
) -> tuple[Path, dict[str, str] | None]:
    """Return where a model lies and what identifies it; None where only its files can tell."""
    if not is_local(name):
        return _cached(where, name, model_file, cache or open_cache())
    path = Path(name).expanduser().absolute()
    try:
        if not model_file and path.is_file():
            return _single_file(where, name, path), None
        if not path.is_dir():
            kind = "folder" if model_file else "folder or file"
            raise ModelError(
                f"{where}: no model {kind} at {name}; give a folder or a hub id such as owner/name"
            )
        _refuse_training_state(where, name, path, model_file)
    except OSError as error:
        raise _unreadable(where, name, error) from error
    if model_file and not (path / model_file).is_file():
        raise ModelError(f"{where}: {name} holds no model: {model_file} is missing")
    parts = unfinished([path / ".cache" / "huggingface" / "download"])
    if parts:
        raise ModelError(
            f"{where}: the download to {name} has not ended; run it again (or remove {parts[0]}, if it is a leftover)"
        )
    return path, None


def _single_file(where: str, name: str, path: Path) -> Path:
    if state := training_state(path):
        raise ModelError(f"{where}: {name} is {state[0]}; {state[1]}")
    if path.suffix != _WHOLE_FILE:
        raise ModelError(
            f"{where}: {name} is no {_WHOLE_FILE} file, and others are not unpickled; save its tensors as "
            f"{_WHOLE_FILE}, or the model with save_pretrained"
        )
    return path


def _refuse_training_state(where: str, name: str, folder: Path, model_file: str) -> None:
    """Raise `ModelError` if a folder holds shards of a training and nothing that could be loaded instead."""
    names = [one.name for one in folder.iterdir()]
    if weight_files(names)[1] or (model_file == "model_index.json" and model_file in names):
        return
    if state := training_state(folder):
        raise ModelError(f"{where}: {name} is {state[0]}, which no library loads as a model; {state[1]}")


def _files_of(where: str, name: str, folder: Path, model_file: str) -> list[Path]:
    suffixes = (*WEIGHT_SUFFIXES, *_CONFIG_SUFFIXES)
    files = sorted(path for path in _files(folder, frozenset()) if path.suffix in suffixes)
    if not files:
        raise ModelError(f"{where}: {name} holds no model: no weight or config file in it")
    if model_file and not any(path.suffix in WEIGHT_SUFFIXES for path in files):
        raise ModelError(
            f"{where}: {name} holds no weights, only config files; weights end in {', '.join(WEIGHT_SUFFIXES)}"
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
            elif entry.is_symlink() and path.suffix in (*WEIGHT_SUFFIXES, *_CONFIG_SUFFIXES):
                path.stat()


def _cached(where: str, name: str, model_file: str, cache: HubCache) -> tuple[Path, dict[str, str] | None]:
    wanted = hub_id(where, name)
    snapshot = cache.find(where, wanted)
    path = snapshot.path / wanted.inside
    refuse_half(where, name, snapshot)
    if not path.exists():
        raise ModelError(f"{where}: {name}: its repository is here, without {wanted.inside}; {FETCH}")
    if path.is_file() and (model_file or path.suffix != _WHOLE_FILE):
        raise ModelError(f"{where}: {name} is a file; give the folder of a model")
    if model_file and not (path / model_file).is_file():
        raise ModelError(
            f"{where}: {name} in {cache.folder} holds no model, or only a part of it: {model_file} is missing; {FETCH}"
        )
    if snapshot.commit is None:
        return path, None
    identity = {"repository": wanted.repository, "commit": snapshot.commit}
    if wanted.inside:
        identity["inside"] = wanted.inside
    if cache.hub != "huggingface":
        identity["hub"] = cache.hub
    return path, identity


def refuse_half(where: str, name: str, snapshot: Snapshot) -> None:
    """Raise `ModelError` if a download of this repository has not brought all that it was to bring."""
    record = read_record(snapshot.path)
    if record is not None:
        if fault := next(faults_of_record(snapshot.path, record), None):
            raise ModelError(f"{where}: {name} is incomplete: {fault}; {FETCH}")
        return
    repository = snapshot.path.parent.parent
    plain = [snapshot.path] if snapshot.commit is None else []
    if parts := unfinished([repository / "blobs", *plain]):
        raise ModelError(
            f"{where}: a download of {name} has not ended ({parts[0]}); {FETCH}, or remove that file if it is a leftover"
        )
