"""An editor without a model: it returns a scene's exact target, with as many mistakes and as slowly as it is told.

For the tests and measurements of our own speed: what a run ought to report is known beforehand. It knows
no benchmark: a sample without a target gets a tint of its own colour.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, ClassVar

from edit_eval.core.errors import ConfigError
from edit_eval.core.identity import digest
from edit_eval.core.types import EditRequest, Sample, StepCallback
from edit_eval.editors import Editor
from edit_eval.worker.images import open_rgb, resize_to

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Scripted", "ScriptedParams"]

_TINT_STRENGTH = 0.35
_HALF_DONE = 0.5
_BLOCKS = 4


@dataclass(frozen=True)
class ScriptedParams:
    """What the scripted editor does wrong, and how long it takes.

    Attributes:
        error_rate: share of edits that are wrong, 0..1. Half of the wrong ones return the source untouched; of the
            others, some are half done (source and target blended) and some are damaged (blocks over the target).
        seconds: simulated seconds of one edit, on average.
        steps: denoising steps reported during these seconds; 0 reports none.
        spread: sigma of a log-normal factor on `seconds` by sample, with mean 1. 0: all take the same time;
            1: one in a hundred takes six times as long or longer.
    """

    error_rate: float = 0.0
    seconds: float = field(default=0.0, metadata={"identity": False})
    steps: int = field(default=0, metadata={"identity": False})
    spread: float = field(default=0.0, metadata={"identity": False})


class Scripted(Editor):
    """Returns `sample.target`, or a mistake, as the sample's seed decides. The same seed gives the same bytes.

    A sample without a target (a folder of photographs) gets its source tinted with a colour drawn from the seed:
    a visible change, though not the one that was asked for.
    """

    Params = ScriptedParams
    version: ClassVar[int] = 1
    params: ScriptedParams

    @classmethod
    def resolve(cls, params: ScriptedParams, model: str | None) -> ScriptedParams:
        """Return `params` as they are.

        Raises:
            ConfigError: a value out of its range; names every one.
        """
        del model
        problems = []
        if not 0.0 <= params.error_rate <= 1.0:
            problems.append(f"editor.params.error_rate is {params.error_rate}; give a share between 0 and 1")
        for name in ("seconds", "steps", "spread"):
            value = getattr(params, name)
            if not (math.isfinite(value) and value >= 0):
                problems.append(f"editor.params.{name} is {value}; give 0 or more")
        if problems:
            raise ConfigError(problems)
        return params

    @classmethod
    def conditioning(cls, params: ScriptedParams, sample: Sample) -> Sequence[str]:
        """Return the target: its bytes decide the edit."""
        del params
        return () if sample.target is None else (sample.target,)

    @classmethod
    def size_policy(cls, params: ScriptedParams) -> str:
        """Say that the target's size comes out."""
        del params
        return "in: the source's size; out: the target's size, or the source's where there is no target"

    def edit_size(self, request: EditRequest) -> tuple[int, int]:
        """Return the target's size, or the source's. Raises `UnreadableImageError`."""
        target = request.sample.target
        return request.images[0].size if target is None else open_rgb(target).size

    def edit(self, request: EditRequest, step: StepCallback) -> Image:
        """Return the target or a mistake, after the simulated time.

        Raises:
            OSError: the target cannot be read.
        """
        self._take_time(request.seed, step)
        source, target = request.images[0], request.sample.target
        wanted = _tinted(source, request.seed) if target is None else open_rgb(target)
        if _share(request.seed, "mistake") >= self.params.error_rate:
            return wanted
        return _mistake(source, wanted, request.seed)

    def _take_time(self, seed: int, step: StepCallback) -> None:
        """Sleep in as many slices as there are steps; the slices end on a fixed grid, so that they do not drift."""
        total = self.params.seconds * _time_factor(seed, self.params.spread)
        begun = time.monotonic()
        slices = max(1, self.params.steps)
        for done in range(1, slices + 1):
            time.sleep(max(0.0, begun + total * done / slices - time.monotonic()))
            if self.params.steps:
                step(done, slices)


def _share(seed: int, what: str) -> float:
    """Return a number in (0, 1) that depends on the seed and the purpose alone."""
    return (int(digest(["scripted", seed, what])[:13], 16) + 0.5) / 16**13


def _time_factor(seed: int, spread: float) -> float:
    """Return a log-normal factor with mean 1 and sigma `spread`."""
    return math.exp(spread * NormalDist().inv_cdf(_share(seed, "time")) - spread * spread / 2)


def _tinted(source: Image, seed: int) -> Image:
    from PIL import Image, ImageColor

    colour = ImageColor.getrgb(f"hsv({int(_share(seed, 'tint') * 360)}, 90%, 90%)")
    return Image.blend(source, Image.new("RGB", source.size, colour), _TINT_STRENGTH)


def _mistake(source: Image, wanted: Image, seed: int) -> Image:
    from PIL import Image

    kind = _share(seed, "kind of mistake")
    if kind < 0.5:
        return source.copy()
    if kind < 0.75:
        return Image.blend(resize_to(source, wanted.size), wanted, _HALF_DONE)
    return _damaged(wanted, seed)


def _damaged(wanted: Image, seed: int) -> Image:
    """Return `wanted` with a few blocks whose colour is far from what they cover."""
    from PIL import Image

    damaged = wanted.copy()
    for block in range(_BLOCKS):
        left = int(_share(seed, f"left {block}") * 0.8 * wanted.width)
        top = int(_share(seed, f"top {block}") * 0.9 * wanted.height)
        box = (left, top, left + max(1, wanted.width // 5), top + max(1, wanted.height // 12))
        mean = damaged.crop(box).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        assert isinstance(mean, tuple)  # noqa: S101  # RGB has three numbers a pixel
        damaged.paste(tuple(0 if value >= 128 else 255 for value in mean), box)
    return damaged
