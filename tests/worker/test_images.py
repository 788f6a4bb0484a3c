"""Images come in as a person sees them and go out whole or not at all."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys

import pytest
from PIL import Image

from edit_eval.worker.images import (
    THUMBNAIL_PX,
    open_rgb,
    png_bytes,
    resize_to,
    rgb,
    save_thumbnail,
    write_png,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save_image(image: Image.Image, path):
    return write_png(png_bytes(image), image.size, path)


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """Return the colours of top left, top right, bottom left and bottom right."""
    right, bottom = image.width - 1, image.height - 1
    return [image.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


def four_colours(width: int = 6, height: int = 4) -> Image.Image:
    image = Image.new("RGB", (width, height))
    for colour, place in ((RED, (0, 0)), (GREEN, (1, 0)), (BLUE, (0, 1)), (WHITE, (1, 1))):
        image.paste(
            colour,
            (
                place[0] * width // 2,
                place[1] * height // 2,
                (place[0] + 1) * width // 2,
                (place[1] + 1) * height // 2,
            ),
        )
    return image


# How each orientation stores the upright picture (the inverse of what a viewer does).
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_every_orientation_comes_out_upright(tmp_path, orientation, suffix):
    upright = four_colours(48, 32)
    how = STORED_AS[orientation]
    stored = upright if how is None else upright.transpose(how)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    stored.save(path, exif=exif, **options)
    opened = open_rgb(path)
    assert opened.size == (48, 32)
    for found, expected in zip(corners(opened), (RED, GREEN, BLUE, WHITE), strict=True):
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 12


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, WHITE),
        ("1", 0, (0, 0, 0)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("RGBA", (0, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),  # 20 % of red on white
        ("LA", (0, 0), WHITE),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (0, 51), (204, 204, 204)),
    ],
)
def test_modes_of_png(tmp_path, mode, colour, expected):
    Image.new(mode, (3, 2), colour).save(tmp_path / "a.png")
    opened = open_rgb(tmp_path / "a.png")
    assert (opened.mode, opened.size) == ("RGB", (3, 2))
    for found in corners(opened):
        assert found == pytest.approx(expected, abs=1)


def test_a_palette_keeps_its_colours(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 12, 200, 90])
    image.save(tmp_path / "a.png")
    assert corners(open_rgb(tmp_path / "a.png")) == [(12, 200, 90)] * 4


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_what_is_transparent_in_a_palette_is_white(tmp_path, suffix):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([9, 9, 9, 255, 0, 0])
    image.putpixel((3, 3), 1)
    image.save(tmp_path / f"a.{suffix}", transparency=0)
    assert corners(open_rgb(tmp_path / f"a.{suffix}")) == [WHITE, WHITE, WHITE, RED]


def test_half_transparent_entries_of_a_palette(tmp_path):
    image = Image.new("P", (2, 1), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=bytes([51, 255]))
    opened = open_rgb(tmp_path / "a.png")
    assert opened.getpixel((0, 0)) == pytest.approx((255, 204, 204), abs=1)
    assert opened.getpixel((1, 0)) == BLUE


def test_a_transparent_colour_of_an_rgb_image_is_white(tmp_path):
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), BLUE)
    image.save(tmp_path / "a.png", transparency=(1, 2, 3))
    opened = open_rgb(tmp_path / "a.png")
    assert [opened.getpixel((0, 0)), opened.getpixel((1, 0))] == [WHITE, BLUE]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (256, 1), (0x8000, 128), (0xC000, 192), (0xFFFF, 255)]
)
def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path, suffix, value, expected):
    Image.new("I;16", (3, 2), value).save(tmp_path / f"a.{suffix}")
    opened = open_rgb(tmp_path / f"a.{suffix}")
    assert opened.mode == "RGB"
    for found in corners(opened):
        assert found == (expected, expected, expected)


def test_floating_grey_is_spread_over_what_can_be_seen(tmp_path):
    image = Image.new("F", (2, 1), 0.0)
    image.putpixel((1, 0), 0.5)
    image.save(tmp_path / "a.tiff")
    opened = open_rgb(tmp_path / "a.tiff")
    assert [opened.getpixel((0, 0)), opened.getpixel((1, 0))] == [(0, 0, 0), WHITE]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, -3.0])
def test_constant_floating_grey_is_no_division_by_zero(tmp_path, value):
    Image.new("F", (2, 2), value).save(tmp_path / "a.tiff")
    assert open_rgb(tmp_path / "a.tiff").size == (2, 2)


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    for found in corners(open_rgb(tmp_path / "a.jpg")):
        assert found == pytest.approx(RED, abs=3)
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "b.tiff")
    assert corners(open_rgb(tmp_path / "b.tiff")) == [WHITE] * 4


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=40, **options)
    assert corners(open_rgb(tmp_path / f"a.{suffix}")) == [RED] * 4


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_image_is_an_os_error(tmp_path, suffix, share):
    noise = Image.frombytes("RGB", (64, 64), bytes(hashlib.shake_256(b"noise").digest(64 * 64 * 3)))
    path = tmp_path / f"a.{suffix}"
    noise.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OSError):
        open_rgb(path)


def test_what_is_no_image_is_an_os_error(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name in ("a.png", "folder.png", "loop.png", "none.png"):
        with pytest.raises(OSError):
            open_rgb(tmp_path / name)


def test_the_suffix_does_not_matter_and_bytes_will_do(tmp_path):
    four_colours().save(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    assert corners(open_rgb(tmp_path / "a.jpg")) == [RED, GREEN, BLUE, WHITE]
    assert corners(open_rgb(io.BytesIO((tmp_path / "a.png").read_bytes()))) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_extreme_shapes(tmp_path, size):
    Image.new("RGB", size, RED).save(tmp_path / "a.png")
    opened = open_rgb(tmp_path / "a.png")
    assert opened.size == size
    save_image(opened, tmp_path / "b.png")
    save_thumbnail(opened, tmp_path / "t.webp")
    with Image.open(tmp_path / "t.webp") as thumbnail:
        assert max(thumbnail.size) <= THUMBNAIL_PX
        assert min(thumbnail.size) >= 1


def test_resizing_to_the_same_size_is_the_same_image():
    image = four_colours()
    assert resize_to(image, image.size) is image
    assert resize_to(image, (12, 10)).size == (12, 10)


# Writing


def test_what_is_saved_is_what_the_record_says(tmp_path):
    image = four_colours(60, 40)
    path = tmp_path / "images" / "ab" / "x.png"
    record = save_image(image, path)
    data = path.read_bytes()
    assert record == {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "mtime_ns": path.stat().st_mtime_ns,
        "width": 60,
        "height": 40,
    }
    assert open_rgb(path).tobytes() == image.tobytes()  # lossless
    assert save_image(image, tmp_path / "again.png")["sha256"] == record["sha256"]
    assert [entry.name for entry in path.parent.iterdir()] == ["x.png"]


def test_a_thumbnail_is_small_and_leaves_the_image_alone(tmp_path):
    image = four_colours(900, 600)
    save_thumbnail(image, tmp_path / "t" / "a.webp")
    assert image.size == (900, 600)
    with Image.open(tmp_path / "t" / "a.webp") as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (384, 256))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"])
def test_an_image_of_any_mode_becomes_rgb(mode):
    image = Image.new("L", (4, 4), 200).convert(mode) if mode != "HSV" else Image.new("HSV", (4, 4))
    assert rgb(image).mode == "RGB"
    assert png_bytes(rgb(image)).startswith(b"\x89PNG")


def test_a_thumbnail_that_cannot_be_encoded_is_left_out(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise KeyError("WEBP")

    monkeypatch.setattr(Image.Image, "save", refuse)
    assert save_thumbnail(four_colours(), tmp_path / "t.webp") is False
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import hashlib, resource, sys
from PIL import Image
from edit_eval.worker.images import png_bytes, save_thumbnail, write_png
image = Image.frombytes("RGB", (200, 200), hashlib.shake_256(b"noise").digest(200 * 200 * 3))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for write in (lambda image, path: write_png(png_bytes(image), image.size, path), save_thumbnail):
    try:
        write(image, sys.argv[1])
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.parametrize("before", [None, b"the edit before"])
def test_a_disk_that_is_full_leaves_nothing_half_written(tmp_path, before):
    path = tmp_path / "images" / "x.png"
    path.parent.mkdir()
    if before is not None:
        path.write_bytes(before)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["File too large"] * 2, done.stderr
    assert [entry.read_bytes() for entry in path.parent.iterdir()] == ([] if before is None else [before])


def test_a_place_that_cannot_be_is_an_os_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for write in (save_image, save_thumbnail):
        with pytest.raises(OSError):
            write(four_colours(), tmp_path / "file" / "x.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
