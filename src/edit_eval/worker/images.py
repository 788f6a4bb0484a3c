"""Reading and writing images beside a model. Pillow is imported inside, from the host's own environment.

Reading always gives what a person sees: EXIF orientation applied, alpha flattened on white, RGB, 8 bits.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edit_eval.core.types import Shown

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "THUMBNAIL_PX",
    "as_shown",
    "open_rgb",
    "png_bytes",
    "resize_to",
    "rgb",
    "save_thumbnail",
    "write_png",
]

THUMBNAIL_PX = 384
"""Longest side of a thumbnail."""

_PNG_LEVEL = 1
"""zlib level of edits: on a 1024 x 1024 photograph level 1 costs about two thirds of the time of level 6."""


def open_rgb(path: str | Path | BinaryIO) -> Image:
    """Return the image at `path` as a person sees it: upright, alpha on white, RGB, 8 bits, first frame.

    Raises:
        OSError: not there, not an image, truncated.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        opened.load()
        upright = ImageOps.exif_transpose(opened)
    return rgb(upright)


def rgb(image: Image) -> Image:
    """Return `image` as RGB, 8 bits, alpha on white. Raises `ValueError` for a mode that cannot become RGB."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image) -> Image:
    """Scale a 16-bit or float grey image to 8 bits; Pillow's own conversion clips it to white."""
    if image.mode == "F":
        low, high = image.getextrema()
        span = (high - low) or 1.0  # type: ignore[operator]
        return image.point(lambda value: (value - low) * (255.0 / span)).convert("L")
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def resize_to(image: Image, size: tuple[int, int]) -> Image:
    """Return `image` at `size` (width, height) by Lanczos; the same object if it has that size already."""
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def as_shown(image: Image, shown: Shown, source_size: tuple[int, int] | None = None) -> Image:
    """Return `image` (RGB) as a judge is to see it; the same object where nothing is to be done.

    Args:
        image: what there is.
        shown: how images are prepared.
        source_size: (width, height) of the first source, for the edited image.
    """
    from io import BytesIO

    from PIL import Image

    if shown.edited_as_source and source_size and image.size != source_size:
        image = image.resize(source_size, Image.Resampling.BICUBIC)
    if shown.longest_side and max(image.size) > shown.longest_side:
        image = image.copy()
        image.thumbnail((shown.longest_side, shown.longest_side), Image.Resampling.BICUBIC)
    if shown.jpeg_quality:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=shown.jpeg_quality)
        image = open_rgb(buffer)
    return image


def png_bytes(image: Image) -> bytes:
    """Return `image` as a PNG file. Raises what its encoder raises: the image's fault, never the disk's."""
    from io import BytesIO

    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def write_png(data: bytes, size: tuple[int, int], path: str | Path) -> dict[str, Any]:
    """Write `data` (from `png_bytes`), whole or not at all, and return what the ledger records of it.

    Returns:
        `sha256` and `bytes` of the file, `mtime_ns`, `width`, `height` in pixels.

    Raises:
        OSError: the disk is full or not writable; nothing is left under `path`.
    """
    _write_whole(Path(path), data)
    stat = Path(path).stat()
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "mtime_ns": stat.st_mtime_ns,
        "width": size[0],
        "height": size[1],
    }


def save_thumbnail(image: Image, path: str | Path) -> bool:
    """Write a WebP thumbnail of at most `THUMBNAIL_PX` pixels a side.

    Returns:
        Whether there is one: a picture for people is left out where its encoder fails or Pillow lacks it.

    Raises:
        OSError: the disk is full or not writable.
    """
    from io import BytesIO

    buffer = BytesIO()
    try:
        small = image.copy()
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        small.save(buffer, "WEBP", quality=80)
    except (OSError, ValueError, KeyError) as error:
        print(f"no thumbnail {path}: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    _write_whole(Path(path), buffer.getvalue(), durable=False)
    return True


def _write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
