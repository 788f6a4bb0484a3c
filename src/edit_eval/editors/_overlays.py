"""What is put over a pipeline's own weights: a part that is one .safetensors file, and a LoRA.

Knows diffusers' and transformers' ways to load them. Both libraries go on when weights do not fit, with a log line at
best; here that is an error, for the edits would be another model's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ModelError

__all__ = ["as_folder", "from_original", "put_lora"]

_LORA = "lora"
_CONFIGS = ("config.json", "generation_config.json")
_PREFIXES = ("module.", "_orig_mod.", "model.diffusion_model.", "diffusion_model.")
"""What wrappers of training and other programs put before the names."""

_MISFITS = ("unexpected keys", "missing keys", "not compatible")
"""In the warnings of diffusers, where a LoRA fits only in part."""


@contextlib.contextmanager
def as_folder(file: Path, base: Path, *, of_diffusers: bool) -> Iterator[Path]:
    """Yield a folder that holds a file of weights under the name its library looks for, and the base's config.

    Args:
        file: .safetensors, its tensors named as the library saves them.
        base: folder of the same part in the base model.
        of_diffusers: whether diffusers loads it, or transformers.
    """
    with tempfile.TemporaryDirectory(prefix="edit-eval-part-") as name:
        folder = Path(name)
        for config in _CONFIGS:
            if (base / config).is_file():
                (folder / config).symlink_to((base / config).absolute())
        stem = "diffusion_pytorch_model" if of_diffusers else "model"
        (folder / f"{stem}.safetensors").symlink_to(file.absolute())
        yield folder


def from_original(cls: Any, file: Path, base: Path, missing: Sequence[str], **options: Any) -> Any:
    """Return a part whose tensors have a wrapper's prefix, or are named as in its authors' own code.

    Args:
        cls: its class.
        file: .safetensors.
        base: folder of the same part in the base model.
        missing: weights that the library does not find under its own names.
        options: dtype.

    Raises:
        ModelError: diffusers knows no such names for this class, or some weights are missing.
    """
    lacking = ModelError(
        f"{len(missing)} weights of {cls.__name__} are missing, such as {missing[0]}, in {file}"
    )
    if not hasattr(cls, "from_single_file"):
        raise lacking
    from safetensors.torch import load_file

    state = load_file(file)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): one for name, one in state.items()}
    try:
        model = cls.from_single_file(state, config=str(base), local_files_only=True, **options)
    except (NotImplementedError, KeyError, TypeError) as error:
        # Weights that were never filled in; names it does not know; before diffusers 0.37 a class that has no names to map.
        raise lacking from error
    if any(one.is_meta for one in model.parameters()):
        raise lacking
    return model


def put_lora(pipeline: Any, path: str, scale: float) -> None:
    """Put a LoRA over a pipeline's weights.

    Raises:
        ModelError: this pipeline takes none, the library for it (peft) is missing, or it does not fit, or only in part.
    """
    name = type(pipeline).__name__
    if not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"editor.lora: {name} takes no LoRA")
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"editor.lora: {sys.executable} has no peft; pip install peft into it")
    file = Path(path)
    with _warnings_of_diffusers() as said:
        pipeline.load_lora_weights(
            str(file.parent),
            weight_name=file.name,
            adapter_name=_LORA,
            local_files_only=True,
            use_safetensors=True,
        )
    put_on = [part for part, adapters in pipeline.get_list_adapters().items() if _LORA in adapters]
    if not put_on:
        raise ModelError(f"editor.lora: {path} holds nothing for {name}; is it of another model?")
    if misfits := [line for line in said if any(word in line for word in _MISFITS)]:
        raise ModelError(f"editor.lora: {path} fits {name} only in part: {misfits[0][:300]}")
    pipeline.set_adapters([_LORA], [scale])


@contextlib.contextmanager
def _warnings_of_diffusers() -> Iterator[list[str]]:
    """Yield a list that gets the first line of every warning of diffusers, also where these are not shown."""
    said: list[str] = []
    logger = logging.getLogger("diffusers")
    handler, level = _Collector(said), logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level or logging.WARNING, logging.WARNING))
    try:
        yield said
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Collector(logging.Handler):
    """Keeps messages."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._said.append(" ".join(record.getMessage().split()))
