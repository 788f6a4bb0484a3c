"""The sampling loop of the editor `tiny`, in numpy: from noise to an image in a few Euler steps, with guidance.

Knows nothing of onnxruntime or torch: the network comes as two functions. Images are float32, (height, width, 3) in
-1..1; time runs from 0 (noise) to 1 (image).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["initial_noise", "sample", "times"]


def times(steps: int, shift: float) -> list[float]:
    """Return the times 0 = t_0 < ... < t_steps = 1 at which a flow is looked at.

    Args:
        steps: 1 or more.
        shift: 1 for even steps; above 1, more of them lie near the noise: t = u / (u + shift (1 - u)) for even u
            (Esser et al. 2024, "Scaling rectified flow transformers", section 5.3.2, with time counted from noise).
    """
    even = [number / steps for number in range(steps + 1)]
    return [u / (u + shift * (1.0 - u)) for u in even]


def initial_noise(seed: int, size: int) -> Floats:
    """Return standard normal noise, (size, size, 3), that depends on the seed alone."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(seed)).standard_normal((size, size, 3), dtype=np.float32)


def sample(
    clean: Callable[[Floats, float, bool], tuple[Floats, Floats | None]],
    noise: Floats,
    at: Sequence[float],
    guidance: float,
    guided_until: float,
    step: Callable[[int, int], None],
) -> Floats:
    """Follow the flow from noise to an image.

    Of a network's estimate x of the image at time t, the velocity is (x - x_t) / (1 - t). Classifier-free guidance
    (Ho and Salimans 2022) takes the estimate with the instruction, c, and without it, u, for u + guidance (c - u).

    Args:
        clean: from x_t, t and whether the estimate without instruction is wanted to both estimates, (c, u).
        noise: x_0.
        at: the times, from 0 to 1; see `times`.
        guidance: 1: none.
        guided_until: time up to which there is guidance, 0..1; later steps take c alone.
        step: called with the number of steps done and of all steps.

    Returns:
        The image, in -1..1.
    """
    import numpy as np

    image = noise
    for number, (now, then) in enumerate(itertools.pairwise(at), start=1):
        guided = guidance != 1.0 and now < guided_until
        with_it, without = clean(image, now, guided)
        estimate = with_it if without is None else without + np.float32(guidance) * (with_it - without)
        estimate = np.clip(estimate, -1.0, 1.0)
        image = image + np.float32((then - now) / (1.0 - now)) * (estimate - image)
        step(number, len(at) - 1)
    return image
