"""What of a pipeline waits in main memory: which parts, and that edits are the same to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edit_eval.core.identity import identity_params
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors._memory import MEMORY, breaks_blocks, offload, stays
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams

PARAMS = QwenImageEditParams(num_inference_steps=2, height=64, width=64, dtype="float32")


def test_which_parts_stay_on_the_device():
    parts = (
        "transformer",
        "unet",
        "text_encoder",
        "text_encoder_2",
        "image_encoder",
        "vae",
        "safety_checker",
    )
    staying = {memory: [one for one in parts if stays(one, memory)] for memory in MEMORY}
    assert staying["full"] == list(parts)
    assert staying["encoder_offload"] == ["transformer", "unet", "vae", "safety_checker"]
    assert staying["group_offload"] == ["vae", "safety_checker"]
    assert [one for one in MEMORY if breaks_blocks(one)] == ["group_offload"]


def test_it_is_in_no_key():
    assert identity_params(replace(PARAMS, memory="group_offload")) == identity_params(PARAMS)


@pytest.mark.models
@pytest.mark.usefixtures("one_thread", "small")
def test_edits_are_the_same(tiny):
    from PIL import Image

    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    request = EditRequest(Sample("s", "red", ("s.png",)), "red", (picture,), 7)
    context = HostContext(model=str(tiny("qwen-image-edit-plus")))
    editor = QwenImageEdit(PARAMS, context)
    edits = [editor.edit(request, no_step).tobytes()]
    assert hooked(editor) == set()
    offload(editor.pipeline, "encoder_offload", "cpu")
    edits.append(editor.edit(request, no_step).tobytes())
    assert hooked(editor) == {"text_encoder"}
    editor = QwenImageEdit(replace(PARAMS, memory="group_offload"), context)
    edits.append(editor.edit(request, no_step).tobytes())
    assert hooked(editor) == {"text_encoder", "transformer"}
    assert len(set(edits)) == 1


def no_step(step, steps):
    """A step callback that does nothing."""


def hooked(editor):
    """Names of the parts that have offloading hooks."""
    return {
        name
        for name, part in editor.pipeline.components.items()
        if hasattr(part, "modules")
        and any(
            one._diffusers_hook.get_hook("group_offloading")
            for one in part.modules()
            if hasattr(one, "_diffusers_hook")
        )
    }
