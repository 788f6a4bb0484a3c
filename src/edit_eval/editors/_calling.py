"""What is watched while a diffusers pipeline runs: its steps, and whether what it computed was a number."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from edit_eval.core.types import StepCallback

__all__ = ["reporter", "watched"]


@contextlib.contextmanager
def watched(processor: Any) -> Iterator[list[str]]:
    """Yield a list that is no longer empty once a `VaeImageProcessor` was given NaN or infinity to make images of.

    diffusers makes them black without a word. What it makes of anything else is not touched.
    """
    odd: list[str] = []
    make = getattr(processor, "postprocess", None)
    if make is None:
        yield odd
        return
    import numpy as np

    def postprocess(image: Any, *arguments: Any, **options: Any) -> Any:
        if hasattr(image, "isfinite") and not bool(image.isfinite().all()):
            odd.append("NaN or infinity")
        with np.errstate(invalid="ignore"):  # of this thread; filters of warnings are of the process
            return make(image, *arguments, **options)

    processor.postprocess = postprocess
    try:
        yield odd
    finally:
        del processor.postprocess


def reporter(step: StepCallback) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return a `callback_on_step_end` that tells `step` and changes nothing."""

    def on_step_end(pipeline: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps = getattr(pipeline, "num_timesteps", None) or 0
        step(index + 1, max(index + 1, int(steps)))
        return tensors

    return on_step_end
