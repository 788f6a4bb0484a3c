"""Type `vlm` with models of other families: at what size they see images, and that batches change nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from edit_eval.core.errors import ModelError, UserError
from edit_eval.driver.rubrics import load_rubric
from edit_eval.judges.asking import AskingJudge
from edit_eval.judges.engines.images import has_pixel_limits, limit_pixels
from edit_eval.judges.engines.transformers import TransformersEngine
from edit_eval.judges.vision import VisionJudge, VisionParams
from judges.other_vlms import OTHERS
from judges.vision_requests import SHORT, context, requests

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]

PARAMS = VisionParams(retries=0, max_new_tokens=8, dtype="float32", constrained="off")
EXPECTED = replace(PARAMS, mode="expected", least_mass=0.0)
FIVE = AskingJudge.adapted(EXPECTED, load_rubric("general-5-v1"))
OWN = ("llava-onevision", "llava-onevision-sliding", "idefics3")
"""Those that size images in their own way."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return `made(name)`: the folder of a checkpoint, written once."""
    root = tmp_path_factory.mktemp("vlms")

    def folder(name):
        return root / name if (root / name).exists() else OTHERS[name](root / name)

    return folder


def resolved(params, folder):
    return VisionJudge.resolve(params, str(folder))


@pytest.mark.parametrize("name", ["qwen2.5-vl", *OWN])
def test_a_batch_gives_the_same_verdicts_as_one_at_a_time(made, name):
    """In float32: replies are equal text for text, expected scores within 1e-4."""
    folder = made(name)
    one, eight = (
        VisionJudge(resolved(PARAMS, folder), context(folder, size), [SHORT]).judge(requests())
        for size in (1, 8)
    )
    assert [each.reply for each in one] == [each.reply for each in eight]
    assert all(each.reply and each.unscored == "unparsable" for each in one)

    one, eight = (
        VisionJudge(resolved(EXPECTED, folder), context(folder, size), [FIVE]).judge(requests(FIVE))
        for size in (1, 8)
    )
    assert all(each.unscored is None for each in one)
    for first, second in zip(one, eight, strict=True):
        assert first.scores == pytest.approx(second.scores, abs=1e-4)
    assert len({each.overall for each in one}) == len(one)  # it sees each edit


@pytest.mark.parametrize(
    ("name", "shared"),
    [("qwen2.5-vl", True), ("llava-onevision", True), ("llava-onevision-sliding", False), ("idefics3", True)],
)
def test_whether_a_shared_beginning_is_read_once_is_on_record(made, name, shared, capsys):
    folder = made(name)
    engine = TransformersEngine(resolved(EXPECTED, folder), context(folder))
    assert engine.facts()["shared_prefix"] is shared
    assert ("its cache cannot be cut" in capsys.readouterr().err) is not shared


def test_limits_in_pixels_hold_for_a_processor_that_has_them(made):
    folder = made("qwen2.5-vl")
    params = resolved(replace(PARAMS, min_pixels=4000, max_pixels=16000), folder)
    engine = TransformersEngine(params, context(folder))
    images = [Image.new("RGB", size) for size in [(1000, 1000), (8, 8), (600, 90), (100, 100)]]
    grids = engine.processor.image_processor(images=images, return_tensors="pt")["image_grid_thw"]
    assert all(4000 <= one <= 16000 for one in (grids.prod(dim=1) * 14 * 14).tolist())
    assert engine.facts()["image_size"] == "longest_edge 16000, shortest_edge 4000"
    assert "at most 16000 pixels or enlarged to at least 4000" in VisionJudge.size_policy(params)


@pytest.mark.parametrize("name", OWN)
def test_a_processor_without_limits_in_pixels_keeps_its_own_sizes_and_that_is_said(made, name):
    folder = made(name)
    params = resolved(PARAMS, folder)
    assert (params.min_pixels, params.max_pixels) == (None, None)
    assert resolved(params, folder) == params
    assert VisionJudge.size_policy(params).startswith(
        "each image as the checkpoint's own image processor sizes it"
    )
    engine = TransformersEngine(params, context(folder))
    older = folder / "preprocessor_config.json"  # of transformers 4
    saved = json.loads((older if older.exists() else folder / "processor_config.json").read_text())
    saved = saved.get("image_processor", saved)
    assert engine.facts()["image_processor"] == saved["image_processor_type"]
    assert engine.facts()["image_size"] == ", ".join(
        f"{name} {value}" for name, value in sorted(saved["size"].items())
    )


@pytest.mark.parametrize("name", OWN)
def test_limits_that_a_processor_has_not_are_refused(made, name):
    folder = made(name)
    with pytest.raises(
        UserError, match="knows no numbers of pixels; leave out min_pixels and max_pixels"
    ) as caught:
        resolved(replace(PARAMS, max_pixels=5000, min_pixels=64), folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"have no meaning for .* set both to null"):
        TransformersEngine(PARAMS, context(folder))


def test_a_processor_that_cuts_off_the_ends_of_images_is_refused(made):
    folder = made("llava")
    with pytest.raises(ModelError, match=r"\(CLIPImageProcessor\) cuts off the ends of images") as caught:
        resolved(PARAMS, folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="cuts off the ends of images"):
        TransformersEngine(replace(PARAMS, min_pixels=None, max_pixels=None), context(folder))


def test_one_limit_alone_is_refused():
    with pytest.raises(UserError, match="both numbers, or both null"):
        VisionJudge.resolve(replace(PARAMS, min_pixels=None), None)


def test_settings_may_stand_in_either_file(made, tmp_path):
    config = (made("idefics3") / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    assert resolved(PARAMS, tmp_path) == PARAMS  # nothing is known, and loading finds out
    (tmp_path / "preprocessor_config.json").write_text('{"do_center_crop": true}')
    with pytest.raises(ModelError, match="cuts off"):
        resolved(PARAMS, tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"patch_size": 14, "merge_size": 2}')
    assert resolved(PARAMS, tmp_path) == PARAMS
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"preprocessor_config\.json cannot be read"):
        resolved(PARAMS, tmp_path)


class Counting:
    """An image processor that counts pixels `frames` times, and may not keep to its limits."""

    patch_size, merge_size, temporal_patch_size = 14, 2, 2

    def __init__(self, frames, keeps=True):
        self.size, self.frames, self.keeps = {"shortest_edge": 1, "longest_edge": 1}, frames, keeps

    def __call__(self, images, return_tensors):
        import torch

        side = 28 if not self.keeps else 28 * -(-((self.size["shortest_edge"] / self.frames) ** 0.5) // 28)
        return {"image_grid_thw": torch.tensor([[1, int(side // 14), int(side // 14)]])}


def test_limits_are_tried_before_they_are_trusted():
    once, twice = Counting(1), Counting(2)
    for one in (once, twice):
        limit_pixels(one, 65536, 1 << 20)
    assert once.size == {"shortest_edge": 65536, "longest_edge": 1 << 20}
    assert twice.size == {"shortest_edge": 2 * 65536, "longest_edge": 2 << 20}
    with pytest.raises(ModelError, match=r"Counting does not keep to min_pixels 65536 .* was given 784"):
        limit_pixels(Counting(1, keeps=False), 65536, 1 << 20)


def test_glm_counts_the_pixels_of_two_frames():
    from transformers import Glm4vImageProcessor

    processor = Glm4vImageProcessor()
    assert has_pixel_limits(processor)
    limit_pixels(processor, 65536, 1 << 18)
    grids = processor(
        images=[Image.new("RGB", (2000, 1500)), Image.new("RGB", (30, 40))], return_tensors="pt"
    )
    pixels = (grids["image_grid_thw"].prod(dim=1) * 14 * 14).tolist()
    assert all(65536 <= one <= 1 << 18 for one in pixels)
    assert max(pixels) > 200_000
