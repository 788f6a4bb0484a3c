"""A diffusion editor small enough to ship: flow matching at 96 x 96 pixels, trained on drawn scenes alone.

For the demo, the tests and whoever has no GPU: its edits depend on steps, guidance and seed as a large model's do. It
was trained on the benchmark `scenes` (see docs/tiny-editor.md) and knows nothing of photographs. onnxruntime and
numpy are imported inside.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edit_eval.core.errors import ConfigError, UserError
from edit_eval.core.types import EditRequest, HostContext, Sample, StepCallback
from edit_eval.editors import Editor
from edit_eval.editors._tiny_flow import initial_noise, sample, times
from edit_eval.editors._tiny_tokens import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Floats = NDArray[np.float32]

__all__ = ["Tiny", "TinyParams"]

_SHIPPED = Path(__file__).parent / "tiny_weights"
_FILES = ("tiny.safetensors", "tiny.json", "encoder.onnx", "denoiser.onnx")
_CHANGED = 6
"""Levels of 256 from which on a pixel of the small picture counts as edited."""
_MOST_STEPS = 1000
_MADE = "python -m training.train --output FOLDER makes such a folder"


@dataclass(frozen=True)
class TinyParams:
    """How an edit is sampled.

    Attributes:
        steps: denoising steps, 1..1000.
        guidance: on the instruction (classifier-free); 1: none, 0: the instruction is not looked at.
        guided_until: time (0: noise, 1: image) from which on there is no guidance, 0..1; the steps after it cost half.
        shift: above 1, more of the steps lie near the noise, below 1 near the image; above 0.
        weights: folder of weights made by `python -m training.train`; by default those that come with edit-eval. What
            is in its files is part of an edit's key, its name is not.
    """

    steps: int = 20
    guidance: float = 3.0
    guided_until: float = 0.5
    shift: float = 8.0
    weights: str = field(default="", metadata={"identity": False})


class Tiny(Editor):
    """Edits at 96 x 96 pixels. In a larger source only what changed is taken from there, enlarged, so it is coarse.

    Words that are not in its vocabulary, some 290 English and Chinese ones, are left out; the host's log names them.
    """

    Params = TinyParams
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("PIL", "numpy", "onnxruntime")
    params: TinyParams

    def __init__(self, params: TinyParams, context: HostContext) -> None:
        super().__init__(params, context)
        folder = _folder(params)
        about = _about(str(folder))
        self._size: int = about["shape"]["size"]
        self._words = Vocabulary(about["words"], about["length"])
        self._encoder = _session(folder / "encoder.onnx")
        self._denoiser = _session(folder / "denoiser.onnx")
        drawn = {
            tuple(one.shape[2:])
            for graph in (self._encoder, self._denoiser)
            for one in graph.get_inputs()
            if one.name == "source"
        }
        if drawn != {(self._size, self._size)}:
            raise UserError(
                f"the weights in {folder} do not belong together: tiny.json tells of {self._size} pixels a side, the graphs of others; {_MADE}"
            )

    @classmethod
    def resolve(cls, params: TinyParams, model: str | None) -> TinyParams:
        """Return `params` with an absolute folder of weights.

        Raises:
            ConfigError: values out of their ranges (names every one), or no weights in the folder.
        """
        del model
        problems = []
        if not 1 <= params.steps <= _MOST_STEPS:
            problems.append(f"editor.params.steps is {params.steps}; give 1 to {_MOST_STEPS}")
        if not (math.isfinite(params.guidance) and params.guidance >= 0):
            problems.append(f"editor.params.guidance is {params.guidance}; give 0 or more")
        if not 0 <= params.guided_until <= 1:
            problems.append(
                f"editor.params.guided_until is {params.guided_until}; give a time between 0 and 1"
            )
        if not (math.isfinite(params.shift) and params.shift > 0):
            problems.append(f"editor.params.shift is {params.shift}; give a number above 0")
        if fault := _fault(_folder(params)):
            where = f"editor.params.weights: {params.weights}" if params.weights else "this edit-eval"
            problems.append(f"{where} {fault}; {_MADE}")
        if problems:
            raise ConfigError(problems)
        if not params.weights:
            return params
        return TinyParams(**{**vars(params), "weights": str(_folder(params).absolute())})

    @classmethod
    def conditioning(cls, params: TinyParams, sample: Sample) -> Sequence[str]:
        """Return the files of weights: their bytes decide every edit."""
        del sample
        return [str(_folder(params) / name) for name in _FILES]

    @classmethod
    def size_policy(cls, params: TinyParams) -> str:
        """Say that pictures are edited small."""
        size = _about(str(_folder(params)))["shape"]["size"]
        return f"in: resized to {size}x{size}; out: the source's size, what changed enlarged, the rest the source's"

    def facts(self) -> dict[str, Any]:
        """Return the version of onnxruntime."""
        import onnxruntime

        return {"onnxruntime": str(onnxruntime.__version__)}

    def edit(self, request: EditRequest, step: StepCallback) -> Image:
        """Return the edited image, at the source's size."""
        import numpy as np

        source = request.images[0]
        small = _resized(source, (self._size, self._size))
        if unknown := self._words.unknown(request.instruction):
            print(f"{request.sample.id}: not read: {' '.join(unknown)}", file=sys.stderr)
        given = np.asarray(small, np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - np.float32(1)
        words = self._words.tokens(request.instruction)
        made = self._sampled(given, np.asarray([words], np.int64), request.seed, step)
        written = np.clip(np.rint((made + 1) * 127.5), 0, 255).astype(np.uint8)
        return _put_back(source, small, written)

    def _sampled(self, source: Floats, words: NDArray[np.int64], seed: int, step: StepCallback) -> Floats:
        """Return (size, size, 3) in -1..1."""
        import numpy as np

        given = self.params
        told = self._encoded(source, words)
        untold = self._encoded(source, np.zeros_like(words)) if given.guidance != 1.0 else told

        def clean(image: Floats, time: float, guided: bool) -> tuple[Floats, Floats | None]:
            noisy = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
            seen = {"noisy": noisy, "time": np.asarray([time], np.float32), "source": source}
            with_it = self._estimate(seen, told)
            return with_it, self._estimate(seen, untold) if guided else None

        noise = initial_noise(seed, self._size)
        at = times(given.steps, given.shift)
        return sample(clean, noise, at, given.guidance, given.guided_until, step)

    def _encoded(self, source: Floats, words: NDArray[np.int64]) -> dict[str, Floats]:
        found = self._encoder.run(None, {"source": source, "words": words})
        return dict(zip(("fine", "coarse", "whole"), found, strict=True))

    def _estimate(self, seen: dict[str, Floats], encoded: dict[str, Floats]) -> Floats:
        estimate: Floats = self._denoiser.run(None, {**seen, **encoded})[0][0].transpose(1, 2, 0)
        return estimate


def _folder(params: TinyParams) -> Path:
    return Path(params.weights) if params.weights else _SHIPPED


def _fault(folder: Path) -> str:
    """Return what a folder of weights lacks; nothing where it is whole."""
    if missing := [name for name in _FILES if not (folder / name).is_file()]:
        return f"has no {missing[0]}"
    try:
        about = _about(str(folder))
        size, length = about["shape"]["size"], about["length"]
        Vocabulary(about["words"], 1)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"has a tiny.json that cannot be used ({type(error).__name__}: {error})"
    if not all(isinstance(one, int) and one > 0 for one in (size, length)):
        return "has a tiny.json that cannot be used (size and length must be numbers above 0)"
    return ""


@lru_cache(maxsize=4)
def _about(folder: str) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((Path(folder) / "tiny.json").read_text(encoding="utf-8"))
    return about


def _session(path: Path) -> Any:
    """Load a graph, for one core unless the host is told otherwise. Raises `UserError` without onnxruntime or a whole file."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults
    except ImportError as error:
        raise UserError(
            f"the editor tiny needs onnxruntime ({error}): {sys.executable} -m pip install onnxruntime numpy"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.inter_op_num_threads = 1
    broken = (
        faults.Fail,
        faults.InvalidArgument,
        faults.InvalidGraph,
        faults.InvalidProtobuf,
        faults.NoSuchFile,
        faults.RuntimeException,
    )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except broken as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{path} cannot be loaded: it is damaged, or tiny.safetensors beside it is not the one it was written with; "
            f"{_MADE} (onnxruntime: ...{said[-160:]})"
        ) from error


def _resized(image: Image, size: tuple[int, int]) -> Image:
    """Make an image smaller by averaging, as scenes are drawn, or larger by Pillow's bicubic filter."""
    from PIL import Image

    if image.size == size:
        return image
    smaller = image.width >= size[0] and image.height >= size[1]
    return image.resize(size, Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC)


def _put_back(source: Image, small: Image, edited: NDArray[np.uint8]) -> Image:
    """Return the edited picture at the source's size; where nothing changed, the source's own pixels."""
    from PIL import Image, ImageChops, ImageFilter

    picture = Image.fromarray(edited)
    if source.size == small.size:
        return picture
    red, green, blue = ImageChops.difference(picture, small).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    changed = most.point(lambda level: 255 if level > _CHANGED else 0).filter(ImageFilter.MaxFilter(3))
    mask = changed.resize(source.size, Image.Resampling.BILINEAR)
    return Image.composite(picture.resize(source.size, Image.Resampling.BICUBIC), source, mask)
