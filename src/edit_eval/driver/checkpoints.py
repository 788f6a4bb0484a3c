"""What the files of a checkpoint say: whether all of them are there and whole, and how large the model will be.

Reads names, sizes, small json files and the headers of safetensors files; never a weight, and no library.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ModelError
from edit_eval.driver.hubcache import FETCH, unfinished
from edit_eval.driver.weightfiles import component_slots, weight_files
from edit_eval.editors._memory import stays

__all__ = ["Checkpoint", "inspect_checkpoint", "memory_need", "refuse_cut_off"]

_GIB = 1 << 30
_MARGIN_BYTES = 2 * _GIB
_MARGIN_SHARE = 0.15
_BYTES_OF = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
_FLOATS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""Stored types that loading brings to the wanted one; others (integers, 8-bit floats) stay as they are."""

_LONGEST_HEADER = 100_000_000
"""The limit of the safetensors format itself."""


@dataclass(frozen=True)
class Checkpoint:
    """What was found in a model's folder.

    Attributes:
        weights_bytes: of all weights, in the wanted dtype.
        faults: what is missing or cut off, one line each.
        unfinished: files of a download that has not ended.
        pipeline: the class that `model_index.json` names.
        model_types: `model_type` of every `config.json`.
        parts: bytes of each component of a pipeline.
    """

    weights_bytes: int
    faults: tuple[str, ...]
    unfinished: tuple[Path, ...]
    pipeline: str | None
    model_types: tuple[str, ...]
    parts: Mapping[str, int] = field(default_factory=dict)

    def on_device(self, memory: str) -> int:
        """Return the bytes of weights that are on the device at a time, at most, in a mode of `editors._memory.MEMORY`.

        Of a denoiser that comes block by block an eighth is counted: two blocks, of at least 16.
        """
        away = {name: size for name, size in self.parts.items() if not stays(name, memory)}
        return self.weights_bytes - sum(
            size - (0 if "encoder" in name else size // 8) for name, size in away.items()
        )


def memory_need(weights_bytes: int) -> int:
    """Return the bytes that a device needs for a model: the weights, and 15 % of them but at least 2 GiB as margin.

    The margin stands for activations, the key-value cache and the CUDA context. Measured for comparison
    (docs/performance.md): 57.9 GiB of weights of the 30B judge held 65.0 GiB at the peak, which is 12 %.
    """
    return weights_bytes + max(_MARGIN_BYTES, int(_MARGIN_SHARE * weights_bytes))


def inspect_checkpoint(
    folder: Path, dtype: str | None = None, components: Mapping[str, Path] | None = None
) -> Checkpoint:
    """Look through a checkpoint: a diffusers pipeline (with `model_index.json`) or one model.

    The size is exact for safetensors files: numbers of elements from their headers, times the bytes of `dtype` for
    floating-point tensors. Shards that are missing count by the index's `total_size`; pickled files as large as
    they are.

    Args:
        folder: of the checkpoint.
        dtype: in which it will be loaded (`bfloat16`); None: as stored.
        components: component name -> folder, or .safetensors file, that replaces it.
    """
    index = _json(folder / "model_index.json")
    pipeline = None
    parts = {"": folder}
    if index is not None:
        parts = {name: (components or {}).get(name, folder / name) for name in component_slots(index)}
        pipeline = index["_class_name"] if isinstance(index.get("_class_name"), str) else None
    sizes: dict[str, int] = {}
    faults: list[str] = []
    types: dict[str, None] = {}
    for name, part in parts.items():
        config = _json((folder / name if part.is_file() else part) / "config.json") or {}
        if isinstance(config.get("model_type"), str):
            types[config["model_type"]] = None
        if part.is_file() and not (folder / name / "config.json").is_file():
            faults.append(f"{name}/config.json is missing, which says what {part} is")
        size, wrong = _part(part, _BYTES_OF.get(dtype or ""), name)
        sizes[name] = size
        faults += wrong
    total = sum(sizes.values())
    return Checkpoint(total, tuple(faults), tuple(_unfinished(folder)), pipeline, tuple(types), sizes)


def refuse_cut_off(where: str, name: str, path: Path) -> None:
    """Raise `ModelError` if one file of weights is shorter than its own header says, or no such file at all.

    Args:
        where: config key, for messages.
        name: as the config says.
        path: of the file.
    """
    try:
        _weights_bytes(path, None)
    except ValueError as error:
        raise ModelError(f"{where}: {name} {error}; {FETCH}, or copy it again") from error


def _part(folder: Path, wanted: int | None, name: str) -> tuple[int, list[str]]:
    """Return bytes and faults of one component. One with a `config.json` is a model and must have weights."""
    shown = f"{name}/" if name else ""
    if folder.is_file():
        try:
            return _weights_bytes(folder, wanted), []
        except ValueError as error:
            return 0, [f"{name}: {folder} {error}"]
    if not folder.is_dir() or not any(folder.iterdir()):
        return 0, [f"{shown or folder} is missing"]
    total = None
    index_name, names = weight_files([one.name for one in folder.iterdir()])
    if index_name:
        index = _json(folder / index_name) or {}
        names = sorted(set(map(str, (index.get("weight_map") or {}).values())))
        total = (index.get("metadata") or {}).get("total_size")
        if not names:
            return 0, [f"{shown}{index_name} names no files"]
    elif not names:
        is_model = (folder / "config.json").is_file()
        return 0, [f"{shown or str(folder) + '/'} holds no weights"] if is_model else []
    size, faults = 0, []
    for one in names:
        try:
            size += _weights_bytes(folder / one, wanted)
        except ValueError as error:
            faults.append(f"{shown}{one} {error}")
    return (max(size, total) if faults and isinstance(total, int) else size), faults


def _weights_bytes(path: Path, wanted: int | None) -> int:
    """Return how large a file's tensors are once loaded. Raises `ValueError` saying what is wrong with the file."""
    try:
        size = path.stat().st_size
    except OSError:
        raise ValueError("is missing") from None
    if not size:
        raise ValueError("is empty")
    if path.suffix != ".safetensors":
        return size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _LONGEST_HEADER):
                raise ValueError("is cut off or damaged")
            header = json.loads(file.read(length))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (struct.error, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("is cut off or damaged") from error
    return _tensor_bytes(header, size - 8 - length, wanted)


def _tensor_bytes(header: Mapping[str, Any], there: int, wanted: int | None) -> int:
    total = end = 0
    try:
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            first, last = tensor["data_offsets"]
            stored = _FLOATS.get(tensor["dtype"])
            total += (last - first) // stored * wanted if stored and wanted else last - first
            end = max(end, last)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError("is cut off or damaged") from error
    if there < end:
        raise ValueError(f"is cut off: {there / _GIB:.2f} of {end / _GIB:.2f} GiB")
    return total


def _unfinished(folder: Path) -> Sequence[Path]:
    """Return what a download in progress, or one that was cut off, left beside a hub snapshot or in a local folder."""
    places = [folder / ".cache" / "huggingface" / "download"]
    if folder.parent.name == "snapshots":
        places.append(folder.parent.parent / "blobs")
    return unfinished(places)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
