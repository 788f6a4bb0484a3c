"""Images come in as a person sees them and go out whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import struct
import subprocess
import sys
import threading
import warnings
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import HEIC, NO_IMAGES, bomb, photograph, raw_png, saved
from PIL import Image, ImageFile

from edit_eval.worker import images
from edit_eval.worker.images import (
    MOST_PIXELS,
    THUMBNAIL_PX,
    UnreadableImageError,
    image_size,
    open_image,
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


def refused(path) -> str:
    """Return why an image is not opened, checked to be one line that begins with its path."""
    with pytest.raises(UnreadableImageError) as caught:
        open_rgb(path)
    said = str(caught.value)
    assert said.startswith(f"{path} ")
    assert said.isprintable()
    assert "Error" not in said
    assert "<_io" not in said
    return said.removeprefix(f"{path} ")


@pytest.mark.parametrize("what", NO_IMAGES)
def test_what_is_no_image_is_named(tmp_path, what):
    (tmp_path / "a.png").write_bytes(NO_IMAGES[what])
    assert refused(tmp_path / "a.png").startswith(f"is {what} and no image")


def test_damage_is_called_so(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    assert refused(tmp_path / "empty.png") == "is empty (0 bytes)"
    (tmp_path / "zeros.png").write_bytes(bytes(9000))
    assert "nothing but zero bytes" in refused(tmp_path / "zeros.png")
    for kind in ("PNG", "JPEG", "GIF", "WebP", "TIFF", "BMP"):
        data = saved(photograph(), kind)
        (tmp_path / "cut.png").write_bytes(data[: len(data) * 2 // 3])
        assert refused(tmp_path / "cut.png").startswith(f"is a damaged or cut short {kind} image")


def test_heic_without_a_decoder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(HEIC)
    said = refused(tmp_path / "a.heic")
    assert said.startswith(f"is a picture in HEIC, which the Pillow of {sys.executable} cannot read: ")
    assert "pip install pillow-heif" in said


def test_heic_with_one(tmp_path, monkeypatch):
    class Opened(ImageFile.ImageFile):
        """What pillow-heif registers, as far as it matters here."""

        format = "HEIF"

        def _open(self):
            self._size, self._mode = (2, 1), "RGB"
            self.tile = [ImageFile._Tile("raw", (0, 0, 2, 1), len(HEIC), "RGB")]

    def register():
        Image.register_open("HEIF", Opened, lambda head: head[4:12] == b"ftypheic")

    for name in ("ID", "OPEN"):  # what is registered here is forgotten afterwards
        monkeypatch.setattr(Image, name, type(getattr(Image, name))(getattr(Image, name)))
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=register))
    (tmp_path / "a.heic").write_bytes(HEIC + bytes([*RED, *BLUE]))
    assert [open_rgb(tmp_path / "a.heic").getpixel((x, 0)) for x in (0, 1)] == [RED, BLUE]


def test_avif(tmp_path):
    from PIL import features

    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    four_colours(64, 48).save(tmp_path / "a.png", "AVIF", quality=100)
    assert corners(open_rgb(tmp_path / "a.png"))[3] == pytest.approx(WHITE, abs=12)


@pytest.mark.parametrize("kind", ["JPEG2000", "BMP", "TGA", "PPM", "ICO", "QOI"])
def test_other_formats(tmp_path, kind):
    four_colours(64, 64).save(tmp_path / "a", kind)
    assert corners(open_rgb(tmp_path / "a")) == [RED, GREEN, BLUE, WHITE]


def test_postscript_is_not_handed_to_ghostscript(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", lambda *_: pytest.fail("a program was started"))
    four_colours(64, 64).save(tmp_path / "a.png", "EPS")
    assert "PostScript" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_of_photoshop_is_not_a_negative(tmp_path, adobe):
    data = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in data
    if not adobe:  # browsers read those without its mark in the same way
        at = data.index(b"Adobe") - 4
        data = data[:at] + data[at + 16 :]
    (tmp_path / "a.jpg").write_bytes(data)
    found = corners(open_rgb(tmp_path / "a.jpg"))[0]
    assert found == pytest.approx(RED, abs=4)


@pytest.mark.parametrize(
    ("colour_type", "values", "expected"),
    [
        (2, (0x8000, 0x80FF, 0xFFFF), (128, 128, 255)),
        (6, (0x8000, 0x8000, 0x8000, 0xFFFF), (128, 128, 128)),
        (6, (0x8000, 0x8000, 0x8000, 0x0000), WHITE),
        (4, (0x4000, 0xFFFF), (64, 64, 64)),
        (0, (0xFF00,), WHITE),
    ],
)
def test_sixteen_bits_of_colour(tmp_path, colour_type, values, expected):
    row = b"\0" + struct.pack(f">{len(values)}H", *values)
    (tmp_path / "a.png").write_bytes(raw_png(1, 1, 16, colour_type, row))
    assert open_rgb(tmp_path / "a.png").getpixel((0, 0)) == pytest.approx(expected, abs=1)


def test_float_grey_with_no_numbers_in_it(tmp_path):
    image = Image.new("F", (3, 1), 1.0)
    image.putpixel((1, 0), float("nan"))
    image.putpixel((2, 0), float("inf"))
    image.save(tmp_path / "a.tiff")
    assert [open_rgb(tmp_path / "a.tiff").getpixel((x, 0)) for x in range(3)] == [WHITE, (0, 0, 0), (0, 0, 0)]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_several_frames_or_pages_are_noticed(tmp_path, kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "one", kind)
    frames[0].save(tmp_path / "three", kind, save_all=True, append_images=frames[1:])
    assert [open_image(tmp_path / name).several for name in ("one", "three")] == [False, True]
    assert corners(open_rgb(tmp_path / "three"))[0] == pytest.approx(RED, abs=3)


def test_an_animation_that_is_cut_after_its_first_frame_is_shown(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    (tmp_path / "a.gif").write_bytes(data[: len(data) * 3 // 4])
    assert corners(open_rgb(tmp_path / "a.gif")) == [RED] * 4


def test_an_extra_picture_in_a_photograph_is_not_a_frame(tmp_path):
    photograph().save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photograph()])
    assert not open_image(tmp_path / "a.jpg").several


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 60]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_hides_no_picture(tmp_path, exif, kind):
    (tmp_path / "a").write_bytes(saved(four_colours(48, 32), kind, exif=exif))
    assert open_rgb(tmp_path / "a").size == (48, 32)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_there_is_not(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a").write_bytes(saved(four_colours(48, 32), exif=exif))
    assert open_rgb(tmp_path / "a").size == (48, 32)


def test_a_decompression_bomb_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(bomb())
    assert (tmp_path / "a.png").stat().st_size < 1_000_000
    assert refused(tmp_path / "a.png") == (
        "has 3,600,000,000 pixels, and at most 268,435,456 (16384 x 16384) are opened; make it smaller"
    )


def test_the_limit_is_ours_and_the_process_keeps_its_own(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(saved(Image.new("1", (10_000, 9_000))))  # Pillow warns of this one
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_rgb(tmp_path / "a.png").size == image_size(tmp_path / "a.png") == (10_000, 9_000)
    assert Image.MAX_IMAGE_PIXELS == 5
    monkeypatch.setattr(images, "MOST_PIXELS", 10_000 * 9_000 - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert refused(tmp_path / "a.png").startswith("has 90,000,000 pixels")
    assert Image.MAX_IMAGE_PIXELS is None
    assert MOST_PIXELS == 16384**2


def test_one_who_has_read_does_not_loosen_what_others_read(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    inside, leave, left = threading.Event(), threading.Event(), threading.Event()

    def other():
        with images._STRICT:
            inside.set()
            leave.wait(10)
        left.set()

    threading.Thread(target=other).start()
    assert inside.wait(10)
    with images._STRICT:
        leave.set()
        assert left.wait(10)
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
        assert Image.MAX_IMAGE_PIXELS == MOST_PIXELS // 2
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    assert Image.MAX_IMAGE_PIXELS == 5


def test_reading_keeps_filters_of_warnings_that_others_set_meanwhile():
    with warnings.catch_warnings():
        with images._STRICT:
            warnings.simplefilter("error")  # of a library, in another thread
            ours = list(warnings.filters)
        assert list(warnings.filters) == ours


def test_a_cut_short_image_is_refused_whatever_the_process_has_set(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = saved(photograph(), "JPEG")
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    assert "cut short" in refused(tmp_path / "a.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_alpha_of_a_large_image_is_put_on_white_in_bands(tmp_path, monkeypatch):
    image = photograph(50, 70)
    image.putalpha(Image.linear_gradient("L").resize((50, 70)))
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert rgb(image).tobytes() == whole.tobytes()
    monkeypatch.setattr(images, "_BAND_PX", 333)
    assert rgb(image).tobytes() == whole.tobytes()


# Paths


@pytest.mark.timeout(60)
def test_only_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # nobody writes to it: reading would wait for ever
    listener = socket.socket(socket.AF_UNIX)
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    try:
        listener.bind(str(tmp_path / "socket.png"))
        for name in ("pipe", "socket", "device", "folder"):
            assert refused(tmp_path / f"{name}.png") == "is no file"
    finally:
        listener.close()
    assert refused(tmp_path / "loop.png") == "cannot be read: Too many levels of symbolic links"
    assert refused(tmp_path / "none.png") == "is not there any more"
    with pytest.raises(FileNotFoundError):
        open_rgb(tmp_path / "none.png")


@pytest.mark.parametrize("name", ["x\0.png", "\ud800.png", "x" * 300])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(UnreadableImageError) as caught:
        open_rgb(f"{tmp_path}/{name}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["图 片.png", "a\nb.png", "'\".png", "100%#?.PNG", b"\xff\xfe.png", "x" * 251 + ".png"]
)
def test_names_that_a_file_may_have(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    four_colours().save(path, "PNG")
    assert corners(open_rgb(path)) == [RED, GREEN, BLUE, WHITE]
    path.write_bytes(b"nonsense")
    with pytest.raises(UnreadableImageError) as caught:
        open_rgb(path)
    assert str(caught.value).isprintable()


SEEDS = [
    saved(photograph(40, 30), kind, **options)
    for kind, options in (
        ("PNG", {}), ("JPEG", {}), ("GIF", {}), ("WEBP", {}), ("TIFF", {}), ("BMP", {}), ("JPEG2000", {}),
        ("PNG", {"save_all": True, "append_images": [photograph(40, 30).transpose(0)]}),
    )
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 5000),
)
def test_damage_anywhere_is_an_image_or_a_plain_reason(data, changes, length):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    said = ""
    try:
        assert open_rgb(io.BytesIO(bytes(damaged[:length]))).mode == "RGB"
    except UnreadableImageError as error:
        said = str(error)
    assert said.isprintable()


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
