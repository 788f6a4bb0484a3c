"""Flags say what is remarkable about an edit's pixels, and nothing of any other edit."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import photograph, saved
from PIL import Image, ImageDraw

from edit_eval.worker.flags import FLAGS, flags_of, is_blank, is_no_op
from edit_eval.worker.images import open_rgb

SIZE = (96, 64)
SOURCE = photograph(*SIZE)
OTHER = SOURCE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def flagged(edited: Image.Image, *, size=SIZE, nan: bool = False, sources=(SOURCE,)) -> list[str]:
    return flags_of(edited, sources, size, nan=nan)


def test_an_edit_like_any_other_has_none():
    assert flagged(OTHER) == []
    assert flagged(OTHER.resize((48, 32)), size=None) == []


@given(st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from([(1, 1), (1, 400), (50, 3)]))
def test_one_colour_is_blank(colour, size):
    assert flagged(Image.new("RGB", size, colour), size=None) == ["blank"]


@pytest.mark.parametrize(("noise", "blank"), [(1, True), (2, True), (4, True), (5, False), (40, False)])
def test_a_little_noise_is_still_blank(noise, blank):
    image = Image.new("RGB", SIZE, (127, 127, 127))
    image.putpixel((5, 5), (127, 127 + noise, 127))
    assert is_blank(image) == blank


def test_grey_all_over_the_scale_is_not_blank():
    assert not is_blank(Image.linear_gradient("L").convert("RGB"))
    assert not is_blank(
        Image.merge("RGB", [Image.new("L", SIZE), Image.new("L", SIZE), SOURCE.getchannel(0)])
    )


def test_another_size_than_declared():
    assert flagged(OTHER.resize((48, 32))) == ["resized"]
    assert flagged(OTHER.resize((48, 32)), size=(48, 32)) == []
    assert flagged(OTHER, size=(64, 96)) == ["resized"]


def test_the_source_itself():
    assert flagged(SOURCE) == ["no_op"]
    assert flagged(SOURCE.copy()) == ["no_op"]
    almost = SOURCE.copy()
    almost.putpixel((3, 3), tuple(value ^ 1 for value in almost.getpixel((3, 3))))
    assert flagged(almost) == []  # a change of one pixel is a change
    assert flagged(OTHER, sources=(SOURCE, OTHER)) == ["no_op"]


@pytest.mark.parametrize("how", list(Image.Resampling))
@pytest.mark.parametrize("size", [(1024, 688), (256, 176), (333, 207)])
def test_the_source_at_another_size(how, size):
    source = photograph(480, 320)
    edited = source.resize(size, how)
    if how != Image.Resampling.NEAREST or size[0] > 480:
        assert is_no_op(edited, source)
    assert is_no_op(open_rgb_of(saved(source.resize(size), "JPEG", quality=90)), source)


def open_rgb_of(data: bytes) -> Image.Image:
    from io import BytesIO

    return open_rgb(BytesIO(data))


def test_a_small_change_at_another_size_is_one():
    source = photograph(480, 320)
    edited = source.resize((1024, 688), Image.Resampling.LANCZOS)
    assert is_no_op(edited, source)
    place = (500, 300, 526, 326)
    ImageDraw.Draw(edited).rectangle(place, fill=tuple(255 - value for value in edited.getpixel((510, 310))))
    assert not is_no_op(edited, source)
    assert not is_no_op(OTHER.resize((480, 320)), SOURCE)
    assert not is_no_op(source.crop((20, 20, 460, 300)), source)


def test_several_at_once_stand_in_order():
    assert flagged(Image.new("RGB", (5, 5)), nan=True, sources=(Image.new("RGB", (7, 5)),)) == list(FLAGS)


def test_looking_costs_little():
    source = photograph(1024, 1024)
    same, other = source.copy(), source.resize((832, 1248))

    def seconds(edited: Image.Image) -> float:
        began = time.process_time()
        flags_of(edited, [source], source.size, nan=False)
        return time.process_time() - began

    assert min(seconds(same) for _ in range(9)) < 0.03  # a few milliseconds on a quiet machine
    assert min(seconds(other) for _ in range(9)) < 0.03
