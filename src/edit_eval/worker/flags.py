"""Flags of an edit: what is remarkable about its pixels, whatever a judge says of them.

Pure: of the edit, its sources and the size that its editor declares. A flag changes no score; it is recorded with the
edit, and every report says how many edits have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FLAGS", "Flag", "flags_of", "is_blank", "is_no_op"]

Flag = Literal["blank", "nan", "resized", "no_op"]

FLAGS: tuple[Flag, ...] = ("blank", "nan", "resized", "no_op")
"""In the order in which they are recorded.

blank: all pixels are of one colour (black among them). nan: what the editor computed held NaN or infinity. resized: it
has another size than its editor declares (`Editor.edit_size`). no_op: it is a source image, unchanged.
"""

_BLANK_RANGE = 4
"""Most by which the pixels of a blank image differ in any channel, of 255."""

_LOOKED_AT_PX = 64
"""Longest side at which images of two sizes are compared: so small, photographs resized by any filter are alike."""

_NO_OP_MEAN = 1.0
"""Largest mean difference over pixels and channels, of 255, of two images that are the same but for their size."""

_NO_OP_MOST = 16
"""Largest difference of any value of these: a small edit is hardly seen in the mean, but there."""


def flags_of(
    edited: Image, sources: Sequence[Image], size: tuple[int, int] | None, *, nan: bool
) -> list[Flag]:
    """Return the flags of one edit, in the order of `FLAGS`.

    Args:
        edited: RGB, 8 bits.
        sources: RGB, 8 bits; at least one.
        size: (width, height) in pixels that the editor declares; None: any.
        nan: whether what the editor computed held NaN or infinity.
    """
    found: dict[Flag, bool] = {
        "blank": is_blank(edited),
        "nan": nan,
        "resized": size is not None and edited.size != size,
        "no_op": any(is_no_op(edited, source) for source in sources),
    }
    return [flag for flag in FLAGS if found[flag]]


def is_blank(image: Image) -> bool:
    """Whether all pixels of an RGB image are of one colour: no channel has values more than 4 of 255 apart."""
    return all(high - low <= _BLANK_RANGE for low, high in _extrema(image))


def is_no_op(edited: Image, source: Image) -> bool:
    """Whether an edit is its source: every pixel equal, or, where the sizes differ, the same picture at another size.

    Of two sizes, both are brought to at most 64 pixels a side (bilinear); there the mean difference must be at most 1 of
    255, and no value may differ by more than 16. Photographs that were only resized differ by 0.1 and 5, after JPEG by
    0.5 and 5; one where a square of 1/40 of its side was changed, by 35 and more.
    """
    from PIL import Image, ImageChops, ImageStat

    if edited.size == source.size:
        return edited is source or ImageChops.difference(edited, source).getbbox() is None
    small = _small(min(edited.size[0], source.size[0]), min(edited.size[1], source.size[1]))
    first, second = (
        one.resize(small, Image.Resampling.BILINEAR, reducing_gap=3.0) for one in (edited, source)
    )
    difference = ImageChops.difference(first, second)
    mean = sum(ImageStat.Stat(difference).mean) / 3
    return mean <= _NO_OP_MEAN and all(high <= _NO_OP_MOST for _, high in _extrema(difference))


def _small(width: int, height: int) -> tuple[int, int]:
    shrink = min(1.0, _LOOKED_AT_PX / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _extrema(image: Image) -> list[tuple[int, int]]:
    """Return (lowest, highest) of each channel of an RGB image."""
    return [(int(low), int(high)) for low, high in image.getextrema()]  # type: ignore[misc]
