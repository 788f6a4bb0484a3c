"""What a file is that is no image, in words that say what to do."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import HEIC, NO_IMAGES

from edit_eval.worker.formats import naming, shown_path

ALL = frozenset(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JPEG2000"])
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"


@pytest.mark.parametrize("what", NO_IMAGES)
def test_what_is_no_image_is_named(what):
    said = naming(NO_IMAGES[what], ALL)
    assert (
        said == f"is {what} and no image that can be opened; convert it to PNG or JPEG, or correct the path"
    )


@pytest.mark.parametrize(
    ("head", "lacks", "says"),
    [
        (HEIC, "HEIF", "is a picture in HEIC, which the Pillow of {} cannot read: convert it to PNG or JPEG, or pip install pillow-heif into it"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF", "is a picture in HEIC"),
        (AVIF, "AVIF", "is a picture in AVIF, which the Pillow of {} cannot read: convert it to PNG or JPEG, or pip install -U pillow (11.3 or newer) into it"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WEBP", "is a picture in WebP, which the Pillow of {}"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000", "is a picture in JPEG 2000"),
        (b"\xff\x0a\xfa\x1f", "JPEG", "is a picture in JPEG XL, which the Pillow of {} cannot read: convert it to PNG or JPEG"),
    ],
)  # fmt: skip
def test_a_format_without_a_decoder_is_named_with_its_mend(head, lacks, says):
    assert naming(head, ALL - {lacks}).startswith(says.format(sys.executable))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (HEIC, "HEIC"),
        (AVIF, "AVIF"),
        (b"\x89PNG\r\n", "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
        (b"II*\0", "TIFF"),
        (b"BM\0\0", "BMP"),
    ],
)
def test_an_image_that_its_decoder_did_not_take_is_damaged(head, name):
    assert naming(head, ALL) == f"is a damaged or cut short {name} image; get it again"


def test_other_ends_of_a_download():
    assert naming(b"", ALL) == "is empty (0 bytes)"
    assert "nothing but zero bytes" in naming(b"\0" * 4096, ALL)
    assert "'git lfs pull'" in naming(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", ALL)
    assert naming(b"BMW is a car\n", ALL).startswith("is a text file")
    assert naming("\ufeffhallo".encode("utf-16"), ALL).startswith("is a text file")
    assert naming("é".encode() * 2000 + b"\xc3", ALL).startswith("is a text file")  # cut within a character
    assert naming(b"\x01\x02\xfe\xff" * 99, ALL).startswith("is in no image format that is known here")


@given(st.binary(max_size=300))
def test_whatever_the_bytes_there_is_one_line(head):
    said = naming(head, ALL)
    assert said.startswith(("is ", "begins "))
    assert said.isprintable()


def test_a_path_in_a_message_is_one_line():
    assert shown_path("/data/图 #1%.png") == "/data/图 #1%.png"
    assert shown_path("/data/a\nb\x1b.png") == r"'/data/a\nb\x1b.png'"
    assert shown_path("/data/\udcff.png") == r"'/data/\udcff.png'"
    assert len(shown_path("/" + "x" * 5000)) < 310
