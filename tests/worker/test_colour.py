"""Colours come in as a screen shows them."""

from __future__ import annotations

from io import BytesIO

import pytest
from pictures import cmyk_profile, grey_profile, photograph, rgb_profile, saved
from PIL import Image, ImageChops, ImageCms

from edit_eval.worker.images import open_rgb, png_bytes, rgb


def most(first: Image.Image, second: Image.Image) -> int:
    return max(ImageChops.difference(first, second).tobytes())


def opened(tmp_path, data: bytes) -> Image.Image:
    (tmp_path / "a.img").write_bytes(data)
    return open_rgb(tmp_path / "a.img")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_wide_gamut_comes_out_in_srgb(tmp_path, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    # By hand: linear (0.127, 0.586, 0.127) times the matrix of P3 to sRGB is (0.024, 0.605, 0.091), in sRGB's curve:
    image = Image.new("RGB", (4, 4), (100, 200, 100))
    found = opened(tmp_path, saved(image, kind, icc_profile=rgb_profile("P3"), **options)).getpixel((0, 0))
    assert found == pytest.approx((43, 204, 85), abs=2)
    grey = Image.new("RGB", (4, 4), (128, 128, 128))
    assert opened(tmp_path, saved(grey, kind, icc_profile=rgb_profile("P3"), **options)).getpixel(
        (0, 0)
    ) == pytest.approx((128, 128, 128), abs=3)


def test_it_is_what_littlecms_says(tmp_path):
    image = photograph()
    wide = ImageCms.ImageCmsProfile(BytesIO(rgb_profile("P3")))
    expected = ImageCms.profileToProfile(image, wide, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert opened(tmp_path, saved(image, icc_profile=rgb_profile("P3"))).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "profile",
    [
        None,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"no profile",
        b"\0" * 400,
        rgb_profile("P3")[:200],
        rgb_profile("P3")[:140] + b"\xff" * 400,
        grey_profile(1.0),  # of grey, on colours
    ],
)
def test_what_is_srgb_or_of_no_use_leaves_every_pixel(tmp_path, profile):
    image = photograph()
    options = {} if profile is None else {"icc_profile": profile}
    assert opened(tmp_path, saved(image, **options)).tobytes() == image.tobytes()


def test_a_broken_profile_is_said_in_the_log(tmp_path, capfd):
    opened(tmp_path, saved(photograph(), icc_profile=b"no profile"))
    assert "a colour profile is left aside" in capfd.readouterr().err


def test_grey_of_another_gamma(tmp_path):
    image = Image.new("L", (4, 4), 64)
    assert opened(tmp_path, saved(image, icc_profile=grey_profile(1.0))).getpixel((0, 0)) == pytest.approx(
        (137, 137, 137), abs=2
    )  # a quarter of the light
    assert opened(tmp_path, saved(image, icc_profile=rgb_profile("P3"))).getpixel((0, 0)) == pytest.approx(
        (64, 64, 64), abs=4
    )


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_what_their_profile_says(tmp_path, kind):
    options = {"quality": 100} if kind == "JPEG" else {}
    cyan = saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), kind, icc_profile=cmyk_profile(), **options)
    assert opened(tmp_path, cyan).getpixel((0, 0)) == pytest.approx((119, 119, 119), abs=6)  # L* of 50
    paper = saved(Image.new("CMYK", (8, 8)), kind, icc_profile=cmyk_profile(), **options)
    assert opened(tmp_path, paper).getpixel((0, 0)) == pytest.approx((255, 255, 255), abs=3)
    of_rgb = saved(Image.new("CMYK", (8, 8)), kind, icc_profile=rgb_profile("P3"), **options)
    assert opened(tmp_path, of_rgb).getpixel((0, 0)) == pytest.approx((255, 255, 255), abs=3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_stays_alpha(tmp_path, mode):
    image = photograph().convert(mode)
    if mode != "P":
        image.putalpha(0)
        expected = (255, 255, 255)
    else:
        expected = None
    found = opened(tmp_path, saved(image, icc_profile=rgb_profile("P3")))
    assert expected is None or found.getcolors() == [(found.width * found.height, expected)]
    plain = opened(tmp_path, saved(image))
    assert (most(found, plain) > 5) == (mode == "P")


def test_a_profile_is_applied_once(tmp_path):
    first = opened(tmp_path, saved(photograph(), icc_profile=rgb_profile("P3")))
    assert first.info == {}
    again = opened(tmp_path, png_bytes(first.copy()))
    assert again.tobytes() == first.tobytes()


def test_an_edit_in_a_wide_gamut_is_brought_to_srgb():
    image = Image.new("RGB", (4, 4), (100, 200, 100))
    image.info["icc_profile"] = rgb_profile("P3")
    assert rgb(image).getpixel((0, 0)) != (100, 200, 100)
    assert b"iCCP" not in png_bytes(rgb(image))


def test_sixteen_bits_with_a_profile(tmp_path):
    image = Image.new("I;16", (4, 4), 64 * 256)
    found = opened(tmp_path, saved(image, icc_profile=grey_profile(1.0))).getpixel((0, 0))
    assert found == pytest.approx((137, 137, 137), abs=2)
