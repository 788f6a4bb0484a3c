"""Which image formats are opened, and what a file is that is none of them, in words that say what to do.

Knows first bytes of files. Opens nothing: `images` does.
"""

from __future__ import annotations

import re
import sys

__all__ = ["HEAD_BYTES", "OPENED", "naming", "shown_path"]

OPENED = (
    "PNG", "JPEG", "MPO", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF", "HEIF", "JPEG2000", "PPM", "TGA", "ICO", "QOI",
    "PSD",
)  # fmt: skip
"""Pillow's names of the formats that are opened, where its build or a plugin of it has a decoder.

The others are left alone: some are handed to other programs (EPS to Ghostscript), some hold no pictures (FITS, GRIB).
"""

HEAD_BYTES = 4096
"""How much of a file's beginning `naming` wants to see."""

_BRANDS = {
    b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"hevc": "HEIC", b"hevx": "HEIC",
    b"hevm": "HEIC", b"hevs": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF",
}  # fmt: skip
_BEGINNINGS = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"8BPS", "PSD"),
    (b"qoif", "QOI"),
)
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet table"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file"),
)
_LFS = b"version https://git-lfs"
_MARKUP = re.compile(r"<(svg|!doctype svg|html|!doctype html|head|body)[\s>]", re.IGNORECASE)
_NAMES = {"HEIF": "HEIC", "AVIF": "AVIF", "JPEG2000": "JPEG 2000", "WEBP": "WebP"}
"""Our names of the formats that a build of Pillow may lack, by Pillow's."""
_AGAIN = "into it and start again with --retry-failed"
_MENDS = {
    "HEIC": f"convert it to PNG or JPEG, or pip install pillow-heif {_AGAIN}",
    "AVIF": f"convert it to PNG or JPEG, or pip install -U pillow (11.3 or newer) {_AGAIN}",
    "JPEG XL": "convert it to PNG or JPEG",
    "JPEG 2000": f"convert it to PNG or JPEG, or install a Pillow with OpenJPEG {_AGAIN}",
    "WebP": f"convert it to PNG or JPEG, or install a Pillow with WebP {_AGAIN}",
}
_LONGEST_PATH = 300


def shown_path(path: str) -> str:
    """Return a path as it may stand in a one-line message: as it is, or quoted with escapes where it is not printable."""
    cut = path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}..."
    return cut if cut.isprintable() else repr(cut)


def image_format(head: bytes) -> str | None:
    """Return the image format that a file's first bytes are of (`PNG`, `HEIC`, `JPEG XL` ...), or None."""
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), 64), 4))]
        found = {_BRANDS[brand] for brand in brands if brand in _BRANDS}
        return "AVIF" if "AVIF" in found else "HEIC" if found else None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM") and b"\0" not in head[:32]:  # a word
        return None
    return next((name for magic, name in _BEGINNINGS if head.startswith(magic)), None)


def naming(head: bytes, decoders: frozenset[str]) -> str:
    """Return what is wrong with a file that no decoder took, to stand after its name: `is a PDF document, ...`.

    Args:
        head: the first `HEAD_BYTES` bytes.
        decoders: Pillow's names of the formats that it has a decoder for here.
    """
    if not head:
        return "is empty (0 bytes)"
    if not head.strip(b"\0"):
        return (
            "begins with nothing but zero bytes, as after a download or a copy that broke off; get it again"
        )
    name = image_format(head)
    here = {_NAMES.get(one, one) for one in decoders}
    if name in _MENDS and name not in here:
        return f"is a picture in {name}, which the Pillow of {sys.executable} cannot read: {_MENDS[name]}"
    if name:
        return f"is a damaged or cut short {name} image; get it again"
    if head.startswith(_LFS):
        return "is not the picture but Git LFS's pointer to it; run 'git lfs pull' where it came from"
    return f"is {_other(head)}; convert it to PNG or JPEG, or correct the path"


def _other(head: bytes) -> str:
    """Return what a file is that is no image, as far as its first bytes say."""
    name = _kind(head)
    return f"{name} and no image that can be opened" if name else "in no image format that is known here"


def _kind(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return "a camera's raw file" if head[8:12] == b"crx " else "a video"
    if head[:4] == b"RIFF":
        return "a video" if head[8:11] == b"AVI" else "a sound"
    found = next((name for magic, name in _OTHERS if head.startswith(magic)), None)
    if found:
        return found
    text = _as_text(head)
    if text is None:
        return None
    markup = _MARKUP.search(text) if text.lstrip().startswith("<") else None
    if markup is None:
        return "a text file"
    return "an SVG drawing" if "svg" in markup[1].lower() else "a web page"


def _as_text(head: bytes) -> str | None:
    """Return the bytes as text, or None where they are none; a character that the end cuts off does not count."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = head.decode("utf-16" if wide else "utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return None
        text = head[: error.start].decode("utf-16" if wide else "utf-8")
    odd = sum(not (one.isprintable() or one.isspace() or one == "\ufeff") for one in text)
    return None if odd * 20 > len(text) else text
