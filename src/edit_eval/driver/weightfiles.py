"""Which files of a model are read, and which only look like one: told by their names alone, here or in a hub's listing.

The libraries load one set of weights and leave duplicates (another format, a half-precision variant, a single-file
copy of a whole pipeline) where they are; so does what is chosen here. Opens no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

__all__ = [
    "WEIGHT_SUFFIXES",
    "component_slots",
    "every_model_file",
    "is_config",
    "lora_files",
    "matching_files",
    "model_files",
    "pipeline_files",
    "training_state",
    "weight_files",
]

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf")
"""In the order in which the libraries look for them."""

_CONFIG_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm")
_BASES = ("model", "diffusion_pytorch_model", "pytorch_model", "adapter_model", "pytorch_lora_weights")
_BASE = "|".join(_BASES)
_SHARD = r"-\d+-of-\d+"
_VARIANT = re.compile(
    rf"({_BASE})({_SHARD})?\.[\w-]+?({_SHARD})?({'|'.join(map(re.escape, WEIGHT_SUFFIXES))})"
)
_STATE = re.compile(
    r"(optimizer|optim|scheduler|scaler|training_args|rng_state|random_states|\w*zero_pp_rank|mp_rank|pytorch_model_fsdp|"
    r"(model|optim|extra_state)_world_size)[\w.-]*"
)
"""Files of training that end like weights."""


def is_config(name: str) -> bool:
    """Whether a file tells what a model is (configs, tokenizers, chat templates), indexes of weights left out."""
    return name.endswith(_CONFIG_SUFFIXES) and not re.search(r"\.index(\.\w+)?\.json$", name)


def weight_files(names: Collection[str]) -> tuple[str | None, list[str]]:
    """Return the index (None: there is none) and the weight files that are loaded from one folder.

    Args:
        names: of all files in the folder, without directories.
    """
    for suffix in WEIGHT_SUFFIXES:
        own = sorted(one for one in names if one.endswith(suffix) and not _is_spare(one))
        for base in _BASES:
            if (index := f"{base}{suffix}.index.json") in names:
                return index, [one for one in own if re.fullmatch(f"{base}{_SHARD}{re.escape(suffix)}", one)]
        for base in _BASES:
            if f"{base}{suffix}" in own:
                return None, [f"{base}{suffix}"]
        if own:
            other = sorted(one for one in names if one.endswith(f"{suffix}.index.json"))
            return (other[0] if other else None), own
    return None, []


def _is_spare(name: str) -> bool:
    return bool(_VARIANT.fullmatch(name) or _STATE.fullmatch(name))


def component_slots(index: Mapping[str, Any]) -> list[str]:
    """Return the names of the components that a `model_index.json` fills."""
    return [
        name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value)
    ]


def pipeline_files(
    names: Iterable[str], index: Mapping[str, Any], root: str = "", replaced: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Return what a diffusers pipeline is loaded from, and the components that lack weights that can be loaded.

    Args:
        names: paths of all files in the repository.
        index: content of its `model_index.json`.
        root: folder of the pipeline in the repository; empty: the repository itself.
        replaced: components whose weights come from elsewhere.
    """
    every = set(names)
    chosen, lacking = [_inside(root, "model_index.json")], []
    for slot in component_slots(index):
        folder = _inside(root, slot)
        configs, weights = _folder_files(every, folder)
        chosen += configs
        if slot not in replaced:
            chosen += weights
            if _inside(folder, "config.json") in configs and not weights:
                lacking.append(slot)
    return sorted({*chosen} & every), lacking


def model_files(names: Iterable[str], root: str = "") -> tuple[list[str], list[str]]:
    """Return what one model (or tokenizer, scheduler ...) is loaded from, and its weights among it."""
    every = set(names)
    configs, weights = _folder_files(every, root)
    templates = [one for one in every if one.startswith(_inside(root, "")) and one.endswith(".jinja")]
    return sorted({*configs, *weights, *templates}), weights


def every_model_file(names: Iterable[str], root: str = "") -> tuple[list[str], list[str]]:
    """Return what `model_files` says of every folder below `root`, for layouts that no library prescribes."""
    every = set(names)
    start = _inside(root, "")
    folders = {one.rpartition("/")[0] for one in every if one.startswith(start)}
    found = [model_files(every, folder) for folder in folders]
    return sorted({one for files, _ in found for one in files}), [
        one for _, weights in found for one in weights
    ]


def lora_files(names: Iterable[str], inside: str = "") -> list[str]:
    """Return the weight files that may be meant by a LoRA: one named, or all safetensors of a folder."""
    every = set(names)
    if inside in every:
        return [inside]
    start = _inside(inside, "")
    here = [one.removeprefix(start) for one in every if one.startswith(start)]
    _, chosen = weight_files([one for one in here if "/" not in one and one.endswith(".safetensors")])
    return [start + one for one in chosen]


def matching_files(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the paths that match one of the patterns; `*` also matches `/`."""
    return sorted(one for one in names if any(fnmatchcase(one, pattern) for pattern in patterns))


def _folder_files(every: Collection[str], folder: str) -> tuple[list[str], list[str]]:
    """Return config files and weights (with their index) right in one folder, as paths."""
    start = _inside(folder, "")
    here = [one.removeprefix(start) for one in every if one.startswith(start)]
    here = [one for one in here if "/" not in one]
    index, weights = weight_files(here)
    if index and weights:
        weights = [index, *weights]
    return [start + one for one in here if is_config(one)], [start + one for one in weights]


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


# Training states -------------------------------------------------------------------------------------------------

_DISTRIBUTED = (
    "a sharded training state (torch.distributed.checkpoint, FSDP)",
    (
        "gather it with 'accelerate merge-weights DIR OUT' (writes safetensors), or with "
        "'python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR OUT.pt'"
    ),
)
_GATHERED = (
    "the gathered state of a training (FSDP), which no library loads as a model",
    "write its tensors to a .safetensors file, or save the model with save_pretrained",
)
_DEEPSPEED = (
    "a DeepSpeed training state",
    "gather it with 'python zero_to_fp32.py . OUT --safe_serialization' in that folder",
)
_VERL = (
    "a training state in one piece a rank",
    "gather it with the trainer's own tool, such as 'python -m verl.model_merger merge --backend fsdp'",
)
_MEGATRON = (
    "a Megatron training state",
    "export it with the trainer's own tool (Megatron Bridge, or Megatron-LM's tools/checkpoint/convert.py)",
)
_STATES: Sequence[tuple[re.Pattern[str], tuple[str, str]]] = (
    (
        re.compile(r"latest_checkpointed_iteration\.txt|model_optim_rng\.pt|distrib_optim\.pt|iter_\d{7}"),
        _MEGATRON,
    ),
    (
        re.compile(r"mp_rank_\d+_model_states\.pt|\w*zero_pp_rank_\w+\.pt|zero_to_fp32\.py|global_step\d+"),
        _DEEPSPEED,
    ),
    (re.compile(r".*\.distcp|pytorch_model_fsdp_\d+|__\d+_\d+"), _DISTRIBUTED),
    (re.compile(r"(model|optim|extra_state)_world_size_\d+_rank_\d+\.pt"), _VERL),
    (re.compile(r"mp_rank_\d+(_\d+)*"), _MEGATRON),
    (re.compile(r"optim(izer)?_[\w.-]+"), _DISTRIBUTED),
    (re.compile(r"pytorch_model_fsdp\.bin"), _GATHERED),
)


def training_state(path: Path) -> tuple[str, str] | None:
    """Return what a path holds if that is the sharded state of a training, and how to make a model of it.

    Looks at names only: the path's own, those in it, and those one folder below. Raises `OSError`.
    """
    names = [path.name]
    if path.is_dir():
        with os.scandir(path) as entries:
            inside = list(entries)
        names += [one.name for one in inside]
        for one in inside:
            if one.is_dir():
                names += os.listdir(one.path)  # noqa: PTH208 - names are all that is wanted
    for pattern, what in _STATES:
        if any(pattern.fullmatch(name) for name in names):
            return what
    return None
