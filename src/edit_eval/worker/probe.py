"""Looks at the interpreter that runs it: which libraries it has, whether torch sees CUDA, how fast its Conv3d is.

The driver runs this file's text with a stage's own Python (`python -c`), so it uses the standard library only and
imports nothing of edit-eval. Takes one JSON object as argument, prints one as its last line.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["conv3d", "look", "main"]

_DISTRIBUTIONS = {"PIL": "pillow"}
_PATCH = (3, 2, 16, 16)
_WIDTH = 1152
"""The patch embedding of Qwen3-VL's image encoder: one Conv3d whose kernel is as large as its input."""

_PATCHES = {"cuda": 4096, "cpu": 512}
"""4,096 are one image of 1,024 x 1,024 pixels."""

_TIMING_S = 0.4


def look(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for.

    Args:
        asked: `packages` (names to import), `pipelines` (classes of diffusers), `model_types` (of transformers), and
            `torch` (whether to import torch and measure).
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in asked.get("packages", ())},
        "torch_cuda": _built_for(),
        "unknown": [
            *(name for name in asked.get("pipelines", ()) if _has_pipeline(name) is False),
            *(name for name in asked.get("model_types", ()) if _has_model_type(name) is False),
        ],
    }
    if asked.get("torch") and importlib.util.find_spec("torch"):
        found["torch"] = _torch()
    return found


def _version(name: str) -> str | None:
    """Return the version of an importable package, `unknown` where it does not say, None where there is none."""
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _built_for() -> str | None:
    """Return the CUDA version that torch was built for, from its version file; None for CPU builds and no torch."""
    folder = _folder("torch")
    match = folder and re.search(r"^cuda\b[^=]*= *'([\d.]+)'", _text(folder / "version.py"), re.MULTILINE)
    return match[1] if match else None


def _has_pipeline(name: str) -> bool | None:
    """Whether diffusers offers this class; None where there is no diffusers."""
    folder = _folder("diffusers")
    return None if folder is None else f'"{name}"' in _text(folder / "__init__.py")


def _has_model_type(name: str) -> bool | None:
    """Whether transformers knows this type of model; None where there is no transformers."""
    folder = _folder("transformers")
    if folder is None:
        return None
    if (folder / "models" / name.replace("-", "_")).is_dir():
        return True
    tables = (folder / "models" / "auto").glob("*.py")
    return any(f'"{name}"' in _text(table) for table in tables)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _torch() -> dict[str, Any]:
    """Import torch, ask it for CUDA, and measure."""
    try:
        torch: Any = importlib.import_module("torch")
    except (
        ImportError,
        OSError,
        RuntimeError,
        AttributeError,
    ) as error:  # builds that do not match fail in many ways
        return {"error": _line(error)}
    found: dict[str, Any] = {"cuda": False, "devices": 0}
    try:
        torch.cuda.init()
        found.update(cuda=True, devices=torch.cuda.device_count(), name=torch.cuda.get_device_name(0))
    except (RuntimeError, AssertionError, OSError) as error:
        found["cuda_error"] = _line(error)
    try:
        found["conv3d"] = conv3d(torch, "cuda" if found["cuda"] else "cpu")
    except RuntimeError as error:
        found["conv3d_error"] = _line(error)
    return found


def conv3d(torch: Any, device: str) -> dict[str, Any]:
    """Time a patch embedding as Conv3d and as the equal Linear; about a second where the build is sound.

    Returns:
        `conv_s` and `linear_s` (seconds a call), `error` (largest difference over the largest value), `patches`,
        `dtype`.
    """
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    count = _PATCHES[device]
    generator = torch.Generator("cpu").manual_seed(0)
    given = torch.randn(count, *_PATCH, generator=generator).to(device, dtype)
    conv = torch.nn.Conv3d(
        _PATCH[0], _WIDTH, _PATCH[1:], stride=_PATCH[1:], bias=False, device=device, dtype=dtype
    )
    with torch.inference_mode():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) / 39)
        weight = conv.weight.reshape(_WIDTH, -1)

        def by_conv(patches: Any) -> Any:
            return conv(patches).reshape(-1, _WIDTH)

        def by_linear(patches: Any) -> Any:
            return torch.nn.functional.linear(patches.reshape(-1, weight.shape[1]), weight)

        def seconds(function: Any) -> float:
            function(given[:8])  # loads libraries, picks kernels
            taken: list[float] = []
            while not taken or (sum(taken) < _TIMING_S and len(taken) < 20):
                began = time.perf_counter()
                function(given)
                if device == "cuda":
                    torch.cuda.synchronize()
                taken.append(time.perf_counter() - began)
            return min(taken)

        conv_s, linear_s = seconds(by_conv), seconds(by_linear)
        one, other = by_conv(given).float(), by_linear(given).float()
        error = float((one - other).abs().max() / other.abs().max())
    return {
        "conv_s": conv_s,
        "linear_s": linear_s,
        "error": error,
        "patches": count,
        "dtype": str(dtype).split(".")[-1],
    }


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def main() -> None:
    """Answer the JSON object given as argument with one on standard output."""
    print(json.dumps(look(json.loads(sys.argv[1]))), flush=True)


if __name__ == "__main__":
    main()
