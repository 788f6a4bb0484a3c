"""Image files that Pillow does not write: bombs, 16-bit PNG, colour profiles, and files that are none."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO

from PIL import Image


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """Return `image` as a file."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(width: int = 96, height: int = 64) -> Image.Image:
    """Return something with edges, shades and texture, the same every time."""
    ramp = Image.linear_gradient("L").resize((width, height))
    disc = Image.radial_gradient("L").resize((width, height))
    texture = Image.frombytes(
        "L", (16, 16), bytes((x * 37 + y * 91) % 97 for x in range(16) for y in range(16))
    )
    return Image.merge("RGB", (ramp, disc, texture.resize((width, height))))


def raw_png(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    """Return a PNG of the raw (unfiltered) rows, each with its filter byte 0 before it."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side: int = 60_000) -> bytes:
    """Return a PNG of `side` x `side` white pixels, one bit each, in a small file."""
    row = b"\0" + b"\xff" * ((side + 7) // 8)
    squeezed = zlib.compressobj(9)
    data = b"".join(squeezed.compress(row) for _ in range(side)) + squeezed.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


PRIMARIES = {  # of D50, as profiles give them
    "sRGB": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    "P3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
}


def rgb_profile(name: str, gamma: float = 2.2) -> bytes:
    """Return an ICC profile with the primaries of that name and a plain gamma."""
    tags = [(f"{colour}XYZ".encode(), _xyz(xyz)) for colour, xyz in zip("rgb", PRIMARIES[name], strict=True)]
    tags += [(f"{colour}TRC".encode(), _curve(gamma)) for colour in "rgb"]
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """Return an ICC profile of grey with a plain gamma."""
    return _profile(b"GRAY", [(b"kTRC", _curve(gamma))])


def cmyk_profile() -> bytes:
    """Return an ICC profile of inks that are all grey: none is white, black is black, the others are L* 50."""
    identity = bytes(range(256))
    lightness = [255 if inks == 0 else 0 if inks & 1 else 128 for inks in range(16)]  # black varies fastest
    table = b"".join(bytes((one, 128, 128)) for one in lightness)  # L, a, b in 8 bits
    matrix = b"".join(struct.pack(">i", 65536 * (number % 4 == 0)) for number in range(9))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + identity * 4 + table + identity * 3
    return _profile(b"CMYK", [(b"A2B0", lut)], kind=b"prtr", connection=b"Lab ")


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(
    space: bytes, tags: Sequence[tuple[bytes, bytes]], kind: bytes = b"mntr", connection: bytes = b"XYZ "
) -> bytes:
    said = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 79
    said += b"\0" * (-len(said) % 4)
    every = [
        (b"desc", said),
        (b"cprt", b"text\0\0\0\0none\0\0\0\0"),
        (b"wtpt", _xyz((0.9642, 1.0, 0.8249))),
        *tags,
    ]
    table, body = b"", b""
    offset = 128 + 4 + 12 * len(every)
    for name, data in every:
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    whole = struct.pack(">I", len(every)) + table + body
    head = struct.pack(
        ">I4s4s4s4s4s", 128 + len(whole), b"\0\0\0\0", b"\x02\x40\0\0", kind, space, connection
    )
    head += struct.pack(">6H4s", 2025, 1, 1, 0, 0, 0, b"acsp")
    head += b"\0" * (68 - len(head)) + b"".join(
        struct.pack(">i", round(value * 65536)) for value in (0.9642, 1.0, 0.8249)
    )
    return head + b"\0" * (128 - len(head)) + whole


NO_IMAGES = {
    "a text file": "hello, 你好\n".encode(),
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "a PostScript document": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n",
    "a zip archive": b"PK\x03\x04" + b"\x14\0" * 40,
    "a gzip archive": b"\x1f\x8b\x08" + b"\0" * 20 + b"\x7f\xff" * 9,
    "a video": b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + b"\xff" * 99,
    "a NumPy array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}",
}
"""Files that are no images, by what they are."""

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200
"""The beginning of a HEIC file."""
