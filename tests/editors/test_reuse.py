"""Results kept for the next call that is given the same: only then, and the edits stay the same to the bit."""

from __future__ import annotations

import pytest

from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors import qwen_image_edit
from edit_eval.editors._reuse import Reuse
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams

PARAMS = QwenImageEditParams(num_inference_steps=2, height=64, width=64, dtype="float32")


def picture(colour="orange"):
    from PIL import Image

    ramp = Image.linear_gradient("L").resize((64, 64))
    return Image.composite(Image.new("RGB", (64, 64), colour), Image.new("RGB", (64, 64), "navy"), ramp)


def counting(keep):
    calls = []

    def function(*arguments, **options):
        calls.append((arguments, options))
        return len(calls)

    return Reuse(function, keep), calls


def test_the_latest_are_kept_and_no_others():
    reuse, calls = counting(2)
    assert [reuse(one) for one in "abab"] == [1, 2, 1, 2]
    assert reuse("c") == 3  # a was used longer ago than b
    assert [reuse(one) for one in "bca"] == [2, 3, 4]
    assert len(calls) == 4


def test_what_differs_in_anything_is_made_anew():
    reuse, calls = counting(20)
    different = [
        ((), {}),
        ((1,), {}),
        ((1.0,), {}),
        ((True,), {}),
        (([1],), {}),
        (((1,),), {}),
        (([1, 2],), {}),
        ((), {"a": 1}),
        ((), {"b": 1}),
        ((picture(),), {}),
        ((picture("teal"),), {}),
        (([picture()],), {}),
    ]
    for _ in range(2):
        assert [reuse(*given, **named) for given, named in different] == list(range(1, len(different) + 1))
    assert len(calls) == len(different)


def test_what_failed_is_not_kept():
    results = iter([ValueError("once"), "well"])

    def function(_given):
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    reuse = Reuse(function, 1)
    with pytest.raises(ValueError, match="once"):
        reuse("a")
    assert reuse("a") == "well"


def test_a_picture_that_is_changed_later_is_another_one():
    reuse, _ = counting(3)
    image = picture()
    assert reuse(image) == 1
    image.paste("black", (0, 0, 9, 9))
    assert reuse(image) == 2


def noted(name, function, called):
    def call(*arguments, **options):
        called.append(name)
        return function(*arguments, **options)

    return call


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
class TestWithTorch:
    def test_tensors_are_compared_by_value_dtype_and_shape(self):
        import torch

        reuse, _ = counting(9)
        one = torch.arange(6.0)
        given = [one, one.double(), one.view(2, 3), one + 1, torch.full((6,), torch.nan)]
        assert [reuse(tensor) for tensor in given] == [1, 2, 3, 4, 5]
        assert [reuse(tensor.clone()) for tensor in given[:4]] == [1, 2, 3, 4]
        one += 1  # of whoever gave it
        assert reuse(torch.arange(6.0)) == 1

    @pytest.mark.usefixtures("small")
    def test_edits_of_one_source_are_the_same_with_and_without(self, tiny, monkeypatch):
        context = HostContext(model=str(tiny("qwen-image-edit-plus")))
        asked = [("red", picture()), ("blue", picture()), ("red", picture("teal"))]
        requests = [
            EditRequest(Sample("s", text, ("s.png",)), text, (image,), seed)
            for seed, (text, image) in enumerate(asked)
        ]
        reusing = QwenImageEdit(PARAMS, context)
        called = []
        vae, visual = reusing.pipeline.vae.encode, reusing.pipeline.text_encoder.model.visual.forward
        for name, reuse in (("vae", vae), ("visual", visual)):
            monkeypatch.setattr(reuse, "_function", noted(name, reuse._function, called))
        first = [reusing.edit(one, lambda step, steps: None).tobytes() for one in requests]
        assert (called.count("vae"), called.count("visual")) == (2, 2)  # once for each source
        monkeypatch.setattr(qwen_image_edit, "reuse_qwen_parts", lambda pipeline: None)
        plain = QwenImageEdit(PARAMS, context)
        assert first == [plain.edit(one, lambda step, steps: None).tobytes() for one in requests]
