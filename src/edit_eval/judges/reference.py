"""A judge that measures: how near is the edited image to the exact target? No model, no text.

Knows only the sample's target and first source. Pillow is imported inside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from edit_eval.core.errors import ConfigError, UserError
from edit_eval.core.types import HostContext, JudgeRequest, Rubric, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores
from edit_eval.worker.images import open_rgb, resize_to

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Reference", "ReferenceParams"]

_DIMENSION = "similarity"
_FAR = 0.25
"""Root mean square difference (of a range of 1) at which two images have nothing to do with each other."""


@dataclass(frozen=True)
class ReferenceParams:
    """Attributes: seconds: simulated time of one judgement, in seconds."""

    seconds: float = field(default=0.0, metadata={"identity": False})


class Reference(Judge):
    """Scores the edited image against `sample.target` on one dimension, `similarity`, 0 to 10.

    With e(a, b) the root mean square difference of two images over all pixels and channels, in a range of 0 to 1,
    and both source and edited image first resized to the target's size by Lanczos where it differs:

        similarity = 10 * max(0, 1 - e(edited, target) / e(source, target)) * max(0, 1 - e(edited, target) / 0.25)

    So identical pixels score 10, an untouched source scores 0 however small the edit is, and in between the score
    falls as the error grows. Where the target equals the source the first factor is left out.
    """

    Params: ClassVar[type[Any]] = ReferenceParams
    version: ClassVar[int] = 1
    label: ClassVar[str] = "Reference"
    default_rubric: ClassVar[str | None] = "reference-v1"
    reads: ClassVar[tuple[str, ...]] = ("target",)

    def __init__(self, params: Any, context: HostContext, rubrics: Sequence[Rubric]) -> None:
        super().__init__(params, context, rubrics)
        for rubric in rubrics:
            names = [one.name for one in rubric.dimensions]
            if names != [_DIMENSION]:
                raise UserError(
                    f"the reference judge scores {_DIMENSION!r} alone, but rubric {rubric.name!r} wants "
                    f"{', '.join(names)}; use judge.rubric: reference-v1"
                )

    @classmethod
    def resolve(cls, params: Any, model: str | None) -> Any:
        """Return `params` as they are. Raises `ConfigError` for a time that is none."""
        del model
        if not (math.isfinite(params.seconds) and params.seconds >= 0):
            raise ConfigError(f"judge.params.seconds is {params.seconds}; give 0 or more")
        return params

    @property
    def window(self) -> int:
        """As many requests as `batch_size` says, 1 by default."""
        return max(1, int(self.context.options.get("batch_size", 1)))

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request; a sample without a target is unscored (`error`).

        Raises:
            OSError: a target cannot be read.
        """
        return [self._judge_one(request) for request in requests]

    def _judge_one(self, request: JudgeRequest) -> Verdict:
        if self.params.seconds > 0:
            time.sleep(self.params.seconds)
        if request.sample.target is None:
            return Verdict(unscored="error", reply="this sample names no exact target image to compare with")
        target = open_rgb(request.sample.target)
        edited_error = _difference(request.edited, target)
        source_error = _difference(request.sources[0], target)
        score = 10.0 * similarity(edited_error, source_error)
        reason = _reason(edited_error, source_error)
        return verdict_from_scores(request.rubric, {_DIMENSION: score}, {_DIMENSION: reason}, reason)


def similarity(edited_error: float, source_error: float) -> float:
    """Return 0..1 from the errors e(edited, target) and e(source, target), both 0..1; see `Reference`."""
    absolute = max(0.0, 1.0 - edited_error / _FAR)
    if source_error == 0.0:
        return absolute
    return absolute * max(0.0, 1.0 - edited_error / source_error)


def _difference(image: Image, target: Image) -> float:
    """Root mean square difference over pixels and channels, 0..1; exact up to the root, for it sums whole numbers."""
    from PIL import ImageChops

    counts = ImageChops.difference(resize_to(image, target.size), target).histogram()  # 256 for each channel
    squares = sum(count * (index % 256) ** 2 for index, count in enumerate(counts))
    return math.sqrt(squares / sum(counts)) / 255.0


def _reason(edited_error: float, source_error: float) -> str:
    if edited_error == 0.0:
        return "The edited image is identical to the target."
    measured = f"differs from the target by {100 * edited_error:.2f} % of the full range (root mean square)"
    if source_error == 0.0:
        return f"The edited image {measured}, although nothing was to be changed."
    return f"The edited image {measured}, the untouched source by {100 * source_error:.2f} %."
