"""What an editor returns is an image, or its own fault."""

from __future__ import annotations

import numpy as np
import pytest
from painter import paint
from pictures import photograph, saved
from PIL import Image

from edit_eval.worker.images import MOST_PIXELS
from edit_eval.worker.returned import UnusableEditError, as_image, mark_nan

SOURCE = photograph()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("none", "the editor returned None; it must return a Pillow image, or a float array"),
        ("list", "the editor returned a list; it must"),
        ("path", "the editor returned a str; it must"),
        ("0x0", "the editor returned an image of 0 x 0 pixels"),
        ("0x5", "the editor returned an image of 0 x 5 pixels"),
        ("closed", "the editor returned an image (mode RGB) that cannot be used: "),
        ("no-colours", "the editor returned an array (64 x 96, float32); it must"),
        ("integers", "the editor returned an array (64 x 96 x 3, int32); it must"),
        ("too-bright", "the editor returned an array with values from 2 to 255; it must"),
        ("empty-array", "the editor returned an image of 96 x 0 pixels"),
    ],
)
def test_what_is_no_image_is_refused_in_plain_words(what, says):
    with pytest.raises(UnusableEditError) as caught:
        as_image(paint(what, SOURCE))
    assert str(caught.value).startswith(says)
    assert str(caught.value).isprintable()


def test_what_the_editor_paints_next_is_not_in_this_edit():
    canvas = Image.new("RGB", (4, 4), "red")
    edited = as_image(canvas).image
    canvas.paste("blue", (0, 0, 4, 4))
    assert edited.getcolors() == [(16, (255, 0, 0))]
    numbers = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    edited = as_image(numbers).image
    numbers[:] = 0
    assert edited.getcolors() == [(16, (255, 0, 0))]


def test_a_file_that_is_cut_short_is_the_editors_fault(tmp_path):
    data = saved(SOURCE)
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "a.png") as lazy, pytest.raises(UnusableEditError, match="cannot be used"):
        as_image(lazy)


def test_more_pixels_than_can_be_judged(monkeypatch):
    monkeypatch.setattr("edit_eval.worker.returned.MOST_PIXELS", 100)
    with pytest.raises(UnusableEditError, match="96 x 64 pixels, and at most 100 can be judged"):
        as_image(SOURCE)
    assert MOST_PIXELS == 16384**2


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_a_float_array_becomes_what_diffusers_would_make_of_it(kind):
    values = np.random.default_rng(3).random((20, 30, 3)).astype(kind)
    image, nan = as_image(values)
    expected = (values.astype("float32") * 255).round().astype("uint8")
    assert (np.asarray(image) == expected).all()
    assert not nan


def test_ends_and_rounding():
    values = np.array([[[0.0, 1.0, 0.5], [-0.005, 1.005, 1 / 255]]])
    assert as_image(values).image.tobytes() == bytes([0, 255, 128, 0, 255, 1])
    assert as_image(np.asarray(SOURCE)).image.tobytes() == SOURCE.tobytes()
    assert as_image(np.asarray(SOURCE)[:, ::-1]).image.size == SOURCE.size


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_numbers_are_black_and_said(value):
    values = np.full((2, 2, 3), 0.5, dtype=np.float32)
    values[0, 1, 2] = value
    image, nan = as_image(values)
    assert nan
    assert image.getpixel((1, 0)) == (128, 128, 0)
    assert image.getpixel((0, 0)) == (128, 128, 128)


def test_nothing_but_no_numbers_is_black():
    image, nan = as_image(np.full((2, 2, 3), np.nan))
    assert (nan, image.getcolors()) == (True, [(4, (0, 0, 0))])


def test_a_mark_stays_until_the_edit_is_written():
    marked = mark_nan(SOURCE.copy()).convert("RGB").resize((30, 30))
    image, nan = as_image(marked)
    assert nan
    assert image.info == {}
    assert not as_image(SOURCE).nan


def test_a_float_image_may_hold_them_too():
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert not as_image(Image.fromarray(values)).nan
    values[1, 1] = np.nan
    image, nan = as_image(Image.fromarray(values))
    assert nan
    assert image.getextrema() == ((0, 255),) * 3


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F", "LAB"]
)
def test_any_mode_that_can_become_rgb_will_do(mode):
    image = (
        Image.new("L", (4, 4), 200).convert(mode) if mode not in ("HSV", "LAB") else Image.new(mode, (4, 4))
    )
    assert as_image(image).image.mode == "RGB"
