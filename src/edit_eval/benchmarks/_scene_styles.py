"""Exact restylings of a whole picture, each with the words that ask for it.

Knows no scene: a style is a function from picture to picture, made of Pillow's own integer operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["STYLES", "Style"]

_PIXELS = 48
"""Squares across a picture in pixel art."""


@dataclass(frozen=True)
class Style:
    """A way to show a picture: what it is called in English and Chinese, and how it is made."""

    english: str
    chinese: str
    apply: Callable[[Image], Image]


def _grey(picture: Image) -> Image:
    return picture.convert("L").convert("RGB")


def _sepia(picture: Image) -> Image:
    return _tinted(picture, (50, 30, 18), (255, 240, 214))


def _tinted(picture: Image, shadows: tuple[int, int, int], lights: tuple[int, int, int]) -> Image:
    from PIL import ImageOps

    return ImageOps.colorize(picture.convert("L"), shadows, lights)


def _pixels(picture: Image) -> Image:
    from PIL import Image

    across = min(_PIXELS, picture.width)
    small = picture.resize((across, across), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.NEAREST)


def _edges(picture: Image) -> Image:
    """Return how strongly each pixel differs from its surroundings: black where it does not."""
    from PIL import ImageChops, ImageFilter

    grey = picture.convert("L")
    reach = ImageFilter.BoxBlur(max(0.6, picture.width / 420))
    return ImageChops.difference(grey, grey.filter(reach)).point(lambda value: min(255, value * 7))


def _pencil(picture: Image) -> Image:
    from PIL import Image, ImageOps

    shading = picture.convert("L").point(lambda value: 205 + value * 50 // 255)
    lines = ImageOps.invert(_edges(picture))
    return ImageOps.colorize(
        Image.composite(shading, Image.new("L", picture.size, 52), lines), (30, 30, 36), (255, 254, 248)
    )


def _blueprint(picture: Image) -> Image:
    from PIL import ImageOps

    return ImageOps.colorize(_edges(picture), (24, 66, 138), (240, 248, 255))


def _negative(picture: Image) -> Image:
    from PIL import ImageOps

    return ImageOps.invert(picture)


STYLES: Mapping[str, Style] = {
    "black-and-white": Style("a black-and-white photograph", "黑白照片", _grey),
    "sepia": Style("an old sepia-toned photograph", "怀旧的棕褐色老照片", _sepia),
    "pixel-art": Style("pixel art made of large squares", "由大方块组成的像素画", _pixels),
    "pencil": Style("a pencil sketch on white paper", "白纸上的铅笔素描", _pencil),
    "blueprint": Style("a blueprint with white lines on blue", "蓝底白线的蓝图", _blueprint),
    "negative": Style("a colour negative with all colours inverted", "所有颜色反转的彩色负片", _negative),
}
"""By name."""
