"""What an editor returned, made an RGB image or refused with a reason in plain words.

An editor returns a Pillow image, or a float array (height, width, 3) in 0..1. NaN and infinity are written as black, as
diffusers does, and said: an edit that held them is flagged `nan` (`worker.flags`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from edit_eval.worker.images import MOST_PIXELS, holds_nan, rgb

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Returned", "UnusableEditError", "as_image", "mark_nan"]

_MARK = "edit_eval.nan"
_EXPECTED = "a Pillow image, or a float array (height, width, 3) in 0..1"
_BESIDE = 0.01
"""How far outside of 0..1 a value may be for its array to count as one of that range: rounding of half precision."""


class UnusableEditError(Exception):
    """What an editor returned is no image: its own fault. The message says in one line what it returned."""


class Returned(NamedTuple):
    """An edit as it is written.

    Attributes:
        image: RGB, 8 bits, at least 1 x 1; no editor holds it, so that it may be written while the next edit is made.
        nan: whether what the editor computed held NaN or infinity.
    """

    image: Image
    nan: bool


def mark_nan(image: Image) -> Image:
    """Return `image`, marked as made of an array that held NaN or infinity; the mark stays through convert and resize."""
    image.info[_MARK] = True
    return image


def as_image(returned: Any) -> Returned:
    """Return what an editor returned as an image.

    Args:
        returned: a Pillow image of any mode that can become RGB, or a numpy array (height, width, 3): floats in 0..1.

    Raises:
        UnusableEditError: it is neither, or empty, closed, damaged, too large, out of range.
    """
    from PIL import Image

    if isinstance(returned, Image.Image):
        _check_size(*returned.size)
        with _the_editors_fault(returned):
            returned.load()  # here, if it was not yet, or is closed
            nan = bool(returned.info.get(_MARK)) or holds_nan(returned)
            image = rgb(returned)
            return Returned(image.copy() if image is returned else image, nan)
    if type(returned).__module__.partition(".")[0] == "numpy" and hasattr(returned, "dtype"):
        return _of_array(returned)
    what = "None" if returned is None else f"a {type(returned).__name__}"
    raise UnusableEditError(f"the editor returned {what}; it must return {_EXPECTED}")


@contextmanager
def _the_editors_fault(image: Image) -> Iterator[None]:
    """Say of whatever goes wrong with an image that the editor returned it so, save for want of memory."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnusableEditError(
            f"the editor returned an image (mode {image.mode}) that cannot be used: {detail}"
        ) from error


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise UnusableEditError(f"the editor returned an image of {width} x {height} pixels")
    if width * height > MOST_PIXELS:
        raise UnusableEditError(
            f"the editor returned an image of {width} x {height} pixels, and at most {MOST_PIXELS:,} can be judged"
        )


def _of_array(values: Any) -> Returned:
    import numpy as np
    from PIL import Image

    if values.ndim != 3 or values.shape[2] != 3 or values.dtype.kind not in "fu":
        shape = " x ".join(str(one) for one in values.shape) or "a single number"
        raise UnusableEditError(
            f"the editor returned an array ({shape}, {values.dtype}); it must return {_EXPECTED}"
        )
    _check_size(values.shape[1], values.shape[0])
    if values.dtype == np.uint8:
        return Returned(Image.fromarray(np.ascontiguousarray(values)), nan=False)
    floats = values.astype(np.float32)
    finite = np.isfinite(floats)
    nan = not bool(finite.all())
    floats = np.where(finite, floats, np.float32(0)) if nan else floats
    low, high = float(floats.min()), float(floats.max())
    if low < -_BESIDE or high > 1 + _BESIDE:
        raise UnusableEditError(
            f"the editor returned an array with values from {low:g} to {high:g}; it must return {_EXPECTED}"
        )
    eight_bits = (floats.clip(0, 1) * 255).round().astype(np.uint8)
    return Returned(Image.fromarray(eight_bits), nan)
