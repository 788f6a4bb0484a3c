"""Reading and writing images beside a model. Pillow is imported inside, from the host's own environment.

Reading always gives what a person sees: EXIF orientation applied, alpha flattened on white, sRGB, 8 bits. What cannot be
read is an `UnreadableImageError` whose message says in plain words what the file is and what to do.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import re
import stat
import struct
import sys
import threading
import warnings
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edit_eval.core.types import Shown
from edit_eval.worker.colour import in_srgb
from edit_eval.worker.formats import HEAD_BYTES, OPENED, image_format, naming, shown_path

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

__all__ = [
    "MOST_PIXELS",
    "THUMBNAIL_PX",
    "OpenedImage",
    "UnreadableImageError",
    "as_shown",
    "holds_nan",
    "image_size",
    "open_image",
    "open_rgb",
    "png_bytes",
    "resize_to",
    "rgb",
    "save_thumbnail",
    "write_png",
    "write_whole",
]

MOST_PIXELS = 16384 * 16384
"""An image with more pixels is not opened: small files can hold as many as fill any memory (3 bytes each)."""

THUMBNAIL_PX = 384
"""Longest side of a thumbnail."""

_PNG_LEVEL = 1
"""zlib level of edits: on a 1024 x 1024 photograph level 1 costs about two thirds of the time of level 6."""

_ORIENTATION = 0x0112
_SEQUENCES = ("AVIF", "GIF", "HEIF", "PNG", "TIFF", "WEBP")
_ODD_DATA = (
    ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
"""What Pillow raises over damaged metadata; a picture that can be seen is not refused for these."""
_PILLOW = re.compile(r"(PIL|pillow_heif)\.")
"""Modules whose warnings are about images that are read all the same."""
_BAND_PX = 1 << 24
"""Pixels of an image with alpha that are put on white at a time: the whole would be in memory four times."""


class UnreadableImageError(OSError):
    """An image cannot be read; the message names it, says in one line what it is, and what to do."""


class _GoneError(UnreadableImageError, FileNotFoundError):
    """There is no such file."""


@dataclass(frozen=True)
class OpenedImage:
    """What a file held.

    Attributes:
        image: upright, alpha on white, sRGB, 8 bits RGB.
        several: whether it is the first of several frames (of an animation) or pages.
    """

    image: Image
    several: bool


def open_rgb(path: str | Path | BinaryIO) -> Image:
    """Return the image at `path` as a person sees it: upright, alpha on white, sRGB, RGB, 8 bits, first frame.

    Raises:
        UnreadableImageError: an `OSError`: not there, no file, not an image, damaged, of more than `MOST_PIXELS`.
    """
    return open_image(path).image


def open_image(path: str | Path | BinaryIO) -> OpenedImage:
    """Return what `open_rgb` does, and whether there are further frames or pages. Raises `UnreadableImageError`."""
    if not isinstance(path, (str, Path)):
        return _decoded(path, "the image")
    name = shown_path(str(path))
    with _opened_file(path, name) as file:
        return _decoded(file, name)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) in pixels, as the file's head says. Raises `UnreadableImageError`."""
    name = shown_path(str(path))
    with _opened_file(path, name) as file, _STRICT, _plain_words(file, name), _identified(file) as opened:
        return opened.size


def _opened_file(path: str | Path, name: str) -> BinaryIO:
    """Open a file for reading, and nothing else: a pipe would keep us waiting, a device may do anything."""
    try:
        descriptor = None
        if stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - before opening it
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise _GoneError(f"{name} is not there any more") from error
    except (OSError, ValueError) as error:
        raise UnreadableImageError(f"{name} cannot be read: {getattr(error, 'strerror', error)}") from error
    if descriptor is None:
        raise UnreadableImageError(f"{name} is no file")
    return os.fdopen(descriptor, "rb")


def _decoded(file: BinaryIO, name: str) -> OpenedImage:
    with _STRICT, _plain_words(file, name), _identified(file) as opened:
        opened.load()
        turned = _upright(opened)
        return OpenedImage(rgb(turned), _has_several(opened))


class _Strictness:
    """Has Pillow refuse too many pixels and cut short files, and warn of nothing, whatever the process has set.

    Pillow's settings are the process's, and several threads read at once: the first one that enters sets them, the last
    one that leaves puts back what was there before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._before: tuple[int | None, bool] = (None, False)

    def __enter__(self) -> None:
        from PIL import Image, ImageFile

        with self._lock:
            _mute()
            if self._readers == 0:
                self._before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
                Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # it warns of more, and refuses twice as many
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        from PIL import Image, ImageFile

        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_STRICT = _Strictness()


def _mute() -> None:
    """Have warnings of Pillow ignored, from now on: to put old filters back would undo what other threads set meanwhile."""
    first = warnings.filters[0] if warnings.filters else None
    if first is None or first[0] != "ignore" or first[3] != _PILLOW:
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


@contextmanager
def _plain_words(file: BinaryIO, name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `UnreadableImageError`, save for want of memory."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (MemoryError, UnreadableImageError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name} {naming(_head(file), frozenset(Image.OPEN))}") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{name} has {_too_many(error)}") from error
    except Exception as error:
        kind = image_format(_head(file))
        what = f"is a damaged or cut short {kind} image" if kind else "is a damaged or cut short image"
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableImageError(f"{name} {what} ({detail}); get it again") from error


def _too_many(error: Exception) -> str:
    """Return Pillow's complaint about the number of pixels in our words."""
    counted = re.search(r"\((\d+) pixels\)", str(error))
    count = f"{int(counted[1]):,} pixels" if counted else "too many pixels"
    return f"{count}, and at most {MOST_PIXELS:,} (16384 x 16384) are opened; make it smaller"


@contextmanager
def _identified(file: BinaryIO) -> Iterator[ImageFile]:
    """Have Pillow look at the head of a file, by the decoders of `OPENED` formats alone."""
    from PIL import Image

    Image.init()
    if "HEIF" not in Image.OPEN and image_format(_head(file)) == "HEIC":
        _add_heif()
    with Image.open(file, formats=[one for one in OPENED if one in Image.OPEN]) as opened:
        yield opened


def _add_heif() -> None:
    """Register the decoder of HEIC where its package is installed."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head


def _upright(image: Image) -> Image:
    """Return `image` turned as its EXIF orientation says; the same object where that says nothing, or nonsense."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _ODD_DATA as error:
        print(f"unreadable EXIF data are left aside: {type(error).__name__}: {error}", file=sys.stderr)
        return image
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _has_several(opened: ImageFile) -> bool:
    """Whether the first of several frames or pages was decoded. Of a photograph's extra pictures (MPO) it is not said."""
    if opened.format not in _SEQUENCES:
        return False
    try:
        return bool(getattr(opened, "is_animated", False))
    except _ODD_DATA:  # what follows the first frame is damaged
        return True


def rgb(image: Image) -> Image:
    """Return `image` as RGB, 8 bits, sRGB, alpha on white, without its metadata.

    Raises:
        ValueError: its mode cannot become RGB.
    """
    from PIL import Image

    if type(image) is Image.Image and image.mode == "RGB" and not image.info:
        return image
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    image = in_srgb(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _on_white(image)
    plain = image.convert("RGB")
    plain.info = {}  # a profile would be written into the PNG, and applied once more when that is read
    return plain


def _on_white(image: Image) -> Image:
    from PIL import Image

    coloured = image.convert("RGBA")
    flat = Image.new("RGB", coloured.size)
    rows = max(1, _BAND_PX // max(1, coloured.width))
    for top in range(0, coloured.height, rows):
        band = coloured.crop((0, top, coloured.width, min(top + rows, coloured.height)))
        white = Image.new("RGBA", band.size, "white")
        flat.paste(Image.alpha_composite(white, band).convert("RGB"), (0, top))
    return flat


def _eight_bits(image: Image) -> Image:
    """Scale a 16-bit or float grey image to 8 bits; Pillow's own conversion clips it to white. No number is black."""
    if image.mode == "F":
        image = _finite(image)
        low, high = image.getextrema()
        span = (high - low) or 1.0  # type: ignore[operator]
        grey = image.point(lambda value: (value - low) * (255.0 / span)).convert("L")
    else:
        grey = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    grey.info.pop("transparency", None)  # of 16 bits, and of no use to 8
    return grey


def holds_nan(image: Image) -> bool:
    """Whether a float image (mode F) holds NaN or infinity; no other mode can."""
    return image.mode == "F" and not math.isfinite(sum(array("f", image.tobytes())))


def _finite(image: Image) -> Image:
    """Return a float image with 0 for NaN and infinity; the same object where it holds none."""
    from PIL import Image

    if not holds_nan(image):
        return image
    numbers = array("f", (value if math.isfinite(value) else 0.0 for value in array("f", image.tobytes())))
    return Image.frombytes("F", image.size, numbers.tobytes())


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
    write_whole(Path(path), data)
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
    write_whole(Path(path), buffer.getvalue(), durable=False)
    return True


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file, whole or not at all; `durable`: also if the power fails. Raises `OSError`."""
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
