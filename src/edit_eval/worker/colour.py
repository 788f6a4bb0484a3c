"""Colours as a screen shows them: an image that carries a colour profile of its own, brought to sRGB.

Knows Pillow's ImageCms (LittleCMS). Pixels without a profile are taken as sRGB, and so are those whose profile is sRGB's
or as good as it: they are not touched. A profile that cannot be used is left aside, and the log says so.
"""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["in_srgb"]

_AS_GOOD_AS_SRGB = 2
"""Most that any colour may move, of 255, for a profile to count as sRGB's own. The many sRGB profiles differ by 1 or so."""

_STEPS = (0, 32, 64, 96, 128, 160, 192, 224, 255)
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def in_srgb(image: Image) -> Image:
    """Return `image` in sRGB, its alpha kept; the same object where there is nothing to convert.

    Conversion is perceptual. A profile of another kind than the pixels (CMYK on RGB), or a broken one, is left aside.

    Args:
        image: 8 bits a channel; its profile is `image.info["icc_profile"]`.
    """
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return image
    from PIL import ImageCms

    try:
        return _converted(image, profile)
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError) as error:
        print(f"a colour profile is left aside: {type(error).__name__}: {error}", file=sys.stderr)
        return image


def _converted(image: Image, profile: bytes) -> Image:
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    space = _SPACES.get(source.profile.xcolor_space.strip())
    pixels = _pixels_of(image, space)
    if space is None or pixels is None:
        return image
    alpha = image.convert("RGBA").getchannel("A") if _has_alpha(image) else None
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), space, "RGB")
    if space != "CMYK" and _changes_nothing(transform, space):
        return image
    converted = transform.apply(pixels)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _has_alpha(image: Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _pixels_of(image: Image, space: str | None) -> Image | None:
    """Return the image's pixels in the profile's space, without alpha; None where they cannot be that."""
    grey = image.mode in ("L", "LA", "La", "1")
    if image.mode == "CMYK" or space == "CMYK":
        return image if image.mode == space else None
    if space == "L":
        return image.convert("L") if grey else None
    return (image.convert("RGBA") if _has_alpha(image) else image).convert("RGB")


def _changes_nothing(transform: Any, space: str) -> bool:
    """Whether no colour moves: tried on grey from black to white, and on colours all over the cube."""
    from PIL import Image, ImageChops

    if space == "L":
        probe = Image.frombytes("L", (256, 1), bytes(range(256)))
    else:
        colours = [(red, green, blue) for red in _STEPS for green in _STEPS for blue in _STEPS]
        colours += [(grey, grey, grey) for grey in range(256)]
        probe = Image.frombytes("RGB", (len(colours), 1), bytes(value for one in colours for value in one))
    moved = ImageChops.difference(transform.apply(probe), probe.convert("RGB"))
    return max(moved.tobytes()) <= _AS_GOOD_AS_SRGB
