"""Where a model's files are, and what they are: a local folder, or a hub id that is already in the local cache.

Resolved once, before any process starts; hosts get local paths and never ask the hub. Reads bytes, loads nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edit_eval.core.errors import ModelError
from edit_eval.core.identity import digest
from edit_eval.driver.hashes import FileHashes

__all__ = ["Model", "locate_model", "resolve_model"]

_WEIGHT_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".gguf",
    ".json",
    ".txt",
    ".model",
    ".jinja",
)


@dataclass(frozen=True)
class Model:
    """A model on this machine.

    Attributes:
        name: as the config says.
        path: local folder.
        identity: part of keys: hub id and commit, or the hash of every weight and config file of a local folder.
    """

    name: str
    path: Path
    identity: dict[str, str]


def resolve_model(where: str, name: str, model_file: str, hashes: FileHashes) -> Model:
    """Find a model.

    Args:
        where: config key, for messages.
        name: a local folder, or a hub id `owner/name` (optionally `owner/name@commit`).
        model_file: what its folder must hold, such as `model_index.json`; may be empty.
        hashes: cache of file hashes.

    Raises:
        ModelError: no such folder, no model in it, or a hub id that is not in the cache.
    """
    folder = locate_model(where, name, model_file)
    if not _is_local(name):
        return Model(name, folder, {"repository": name.partition("@")[0], "commit": folder.name})
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in _WEIGHT_SUFFIXES and path.is_file()]
    if not files:
        raise ModelError(f"{where}: {name} holds no model: no weight or config file in it")
    parts = {str(path.relative_to(folder)): hashes.sha256(path) for path in files}
    return Model(name, folder, {"files": digest(parts)})


def locate_model(where: str, name: str, model_file: str) -> Path:
    """Return the folder of a model without reading its weights; arguments and errors as for `resolve_model`."""
    if not _is_local(name):
        return _cached(where, name, model_file)
    folder = Path(name).expanduser().absolute()
    if not folder.is_dir():
        raise ModelError(f"{where}: no model folder at {name}; give a folder or a hub id such as owner/name")
    if model_file and not (folder / model_file).is_file():
        raise ModelError(f"{where}: {name} holds no model: {model_file} is missing")
    return folder


def _is_local(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~")) or Path(name).expanduser().exists()


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
