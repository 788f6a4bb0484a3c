"""Approximations of a denoiser: faster or smaller, and other edits. Asked for by name, and part of every key.

Knows diffusers' caches between steps, cache-dit, torchao's float8 products, and storage in float8. Each name has its
own library's options; what they do to a score is for `edit-eval compare` to say. Stdlib at import, as every editor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edit_eval.core.errors import ConfigError, ModelError, UserError, did_you_mean

__all__ = ["APPROXIMATIONS", "approximate", "approximation_problems", "breaks_graphs"]

_CACHES: Mapping[str, str] = {
    "faster_cache": "FasterCacheConfig",
    "first_block_cache": "FirstBlockCacheConfig",
    "mag_cache": "MagCacheConfig",
    "pyramid_attention_broadcast": "PyramidAttentionBroadcastConfig",
    "sea_cache": "SeaCacheConfig",
    "taylorseer_cache": "TaylorSeerCacheConfig",
}
"""Name -> class of diffusers' options; what a step computes is kept for the next ones."""

_CALLBACK = "current_timestep_callback"
"""What some caches ask of the pipeline while it runs."""

_CACHE_DIT = "cache_dit"
_FP8 = "fp8"
_LAYERWISE = "layerwise_casting"
_STORAGE = ("float8_e4m3fn", "float8_e5m2")

APPROXIMATIONS: Sequence[str] = (*_CACHES, _CACHE_DIT, _FP8, _LAYERWISE)


def approximation_problems(wanted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line for each thing that is wrong with what a config asks for, as far as no library is needed."""
    where = "editor.params.approximations"
    problems = [
        f"{where}: there is no {name!r}{did_you_mean(name, APPROXIMATIONS)}; there are {', '.join(APPROXIMATIONS)}"
        for name in sorted(set(wanted) - set(APPROXIMATIONS))
    ]
    if len(caches := [name for name in wanted if name in (*_CACHES, _CACHE_DIT)]) > 1:
        problems.append(f"{where}: {' and '.join(sorted(caches))} both keep what a step computes; choose one")
    if _FP8 in wanted and _LAYERWISE in wanted:
        problems.append(f"{where}: {_FP8} and {_LAYERWISE} both put the weights into float8; choose one")
    if wanted.get(_FP8):
        problems.append(f"{where}.{_FP8}: takes no options; write {_FP8}: {{}}")
    storage = wanted.get(_LAYERWISE, {})
    problems += [
        f"{where}.{_LAYERWISE}: there is no option {name!r}; there is storage_dtype"
        for name in sorted(set(storage) - {"storage_dtype"})
    ]
    if storage.get("storage_dtype", _STORAGE[0]) not in _STORAGE:
        problems.append(f"{where}.{_LAYERWISE}.storage_dtype: give one of {', '.join(_STORAGE)}")
    return problems


def breaks_graphs(wanted: Mapping[str, Any]) -> bool:
    """Whether what was asked for hangs hooks on blocks, so that a block is no longer one graph."""
    return any(name in _CACHES or name == _LAYERWISE for name in wanted)


def approximate(
    pipeline: Any,
    denoiser: Any,
    wanted: Mapping[str, Mapping[str, Any]],
    dtype: str,
    try_out: Callable[[], None],
) -> None:
    """Put approximations on a pipeline's denoiser, and run it once with them: some pipelines bear none.

    Args:
        pipeline: of diffusers.
        denoiser: its transformer or UNet.
        wanted: name -> options; `approximation_problems` found nothing wrong.
        dtype: torch's name of the dtype of its arithmetic.
        try_out: makes an edit.

    Raises:
        ModelError: a package is not installed, or too old for it.
        UserError: the denoiser's class, or this GPU, cannot do it.
        ConfigError: an option is not known, or has a value that the library refuses.
    """
    for name in sorted(wanted, key=APPROXIMATIONS.index, reverse=True):  # weights first, then what wraps them
        options, where = wanted[name], f"editor.params.approximations.{name}"
        with _typed_failures(denoiser, where):
            if name == _LAYERWISE:
                _store_in_float8(denoiser, options, dtype, where)
            elif name == _FP8:
                _multiply_in_float8(denoiser, where)
            elif name == _CACHE_DIT:
                _cache_dit(pipeline, options, where)
            else:
                _cache(pipeline, denoiser, name, options, where)
    if wanted:
        with _typed_failures(denoiser, "editor.params.approximations"):
            try_out()


@contextlib.contextmanager
def _typed_failures(denoiser: Any, where: str) -> Iterator[None]:
    """Turn what a library raises into a `UserError`, save for want of memory."""
    try:
        yield
    except UserError:
        raise
    except (AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise UserError(
            f"{where}: {type(denoiser).__name__} cannot do it here: {' '.join(str(error).split())[:300]}"
        ) from error


def _cache(pipeline: Any, denoiser: Any, name: str, options: Mapping[str, Any], where: str) -> None:
    import diffusers

    config_class = getattr(diffusers, _CACHES[name], None)
    if config_class is None:
        raise ModelError(
            f"{where}: diffusers {diffusers.__version__} of {sys.executable} has none; upgrade it"
        )
    if not hasattr(denoiser, "enable_cache"):
        raise UserError(f"{where}: {type(denoiser).__name__} of diffusers takes no cache")
    given: dict[str, Callable[[], Any]] = {}
    if any(one.name == _CALLBACK for one in dataclasses.fields(config_class)):
        if not hasattr(type(pipeline), "current_timestep"):
            raise UserError(
                f"{where}: {type(pipeline).__name__} does not tell which step it is at, and this cache asks for it; "
                "choose another one"
            )
        given[_CALLBACK] = lambda: pipeline.current_timestep
    denoiser.enable_cache(_options(config_class, options, where, given))


def _options(cls: Any, options: Mapping[str, Any], where: str, given: Mapping[str, Any]) -> Any:
    """Return an instance of a library's class of options. Raises `ConfigError` for one that it does not have."""
    names = [one.name for one in dataclasses.fields(cls)]
    free = sorted(name for name in names if not name.endswith("callback"))
    unknown = [
        f"{where}: there is no option {name!r}{did_you_mean(name, free)}; there are {', '.join(free)}"
        for name in sorted(set(options) - set(free))
    ]
    if unknown:
        raise ConfigError(unknown)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return cls(**values, **given)


def _cache_dit(pipeline: Any, options: Mapping[str, Any], where: str) -> None:
    cache_dit = _package("cache_dit", "cache-dit", where)
    cache_dit.enable_cache(pipeline, cache_config=_options(cache_dit.DBCacheConfig, options, where, {}))


def _multiply_in_float8(denoiser: Any, where: str) -> None:
    """Have the blocks' matrix products in float8, weights and activations scaled row by row."""
    import torch

    quantization = _package("torchao.quantization", "torchao", where)
    weight = next(denoiser.parameters())
    if not weight.is_cuda or torch.cuda.get_device_capability(weight.device) < (8, 9):
        raise UserError(
            f"{where}: needs a GPU that multiplies in float8 (Ada, Hopper or newer), and this is "
            f"{torch.cuda.get_device_name(weight.device) if weight.is_cuda else 'a CPU'}"
        )
    config = quantization.Float8DynamicActivationFloat8WeightConfig(granularity=quantization.PerRow())
    quantization.quantize_(denoiser, config, filter_fn=_in_a_block)


def _in_a_block(module: Any, name: str) -> bool:
    """Whether a module is a linear layer inside a block whose sizes suit float8 kernels (multiples of 16)."""
    import torch

    suits = isinstance(module, torch.nn.Linear) and not (module.in_features % 16 or module.out_features % 16)
    return suits and "block" in name


def _store_in_float8(denoiser: Any, options: Mapping[str, Any], dtype: str, where: str) -> None:
    import torch

    if not hasattr(denoiser, "enable_layerwise_casting"):
        raise UserError(f"{where}: {type(denoiser).__name__} of diffusers cannot store its weights so")
    storage = getattr(torch, str(options.get("storage_dtype", _STORAGE[0])))
    denoiser.enable_layerwise_casting(storage_dtype=storage, compute_dtype=getattr(torch, dtype))


def _package(module: str, name: str, where: str) -> Any:
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise ModelError(f"{where}: {sys.executable} has no {name}; {sys.executable} -m pip install {name}")
    return importlib.import_module(module)
