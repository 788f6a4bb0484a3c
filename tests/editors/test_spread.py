"""One pipeline over several devices. What passes from GPU to GPU needs two of them; here both are the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.errors import DeviceError, ModelError
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors._spread import is_split, places, weights_bytes
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams

PARAMS = QwenImageEditParams(num_inference_steps=2, height=64, width=64, dtype="float32")
QWEN = {"transformer": 40, "text_encoder": 16, "vae": 1}


def test_each_model_is_whole_where_it_fits():
    assert places(QWEN, {"cuda:0": 42, "cuda:1": 42}) == {
        "transformer": "cuda:0",
        "text_encoder": "cuda:1",
        "vae": "cuda:1",
    }


def test_one_that_fits_nowhere_is_split_and_the_others_go_where_room_is_left():
    found = places(QWEN, {"cuda:0": 20, "cuda:1": 30, "cuda:2": 30})
    assert found == {
        "transformer": {"cuda:0": 20, "cuda:1": 30, "cuda:2": 30},
        "text_encoder": {"cuda:0": 10, "cuda:1": 15, "cuda:2": 15},
        "vae": "cuda:1",
    }


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60), min_size=1),
    st.lists(st.integers(0, 60), min_size=1, max_size=4),
)
def test_no_device_is_given_more_than_it_has_room_for(sizes, rooms):
    free = {f"cuda:{index}": bytes_ for index, bytes_ in enumerate(rooms)}
    if sum(sizes.values()) > sum(rooms):
        with pytest.raises(ModelError, match="do not fit on cuda:0"):
            places(sizes, free)
        return
    found = places(sizes, free)
    assert set(found) == set(sizes)
    for device, bytes_ in free.items():
        whole = sum(sizes[name] for name, place in found.items() if place == device)
        assert whole <= bytes_
    for name, place in found.items():
        if not isinstance(place, str):
            assert sizes[name] <= sum(place.values()) <= sum(rooms)


def test_what_waits_in_main_memory_is_for_one_device(tmp_path):
    context = HostContext(devices=("cuda:0", "cuda:1"), model=str(tmp_path))
    with pytest.raises(DeviceError, match="group_offload is for one device, and this editor has 2"):
        QwenImageEdit(replace(PARAMS, memory="group_offload"), context)


@pytest.mark.models
@pytest.mark.usefixtures("one_thread", "small")
def test_models_of_several_devices_make_the_same_edit(tiny, monkeypatch):
    from PIL import Image

    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    request = EditRequest(Sample("s", "make it red", ("s.png",)), "make it red", (picture,), 7)
    folder = tiny("qwen-image-edit-plus")
    monkeypatch.setattr("edit_eval.editors._pipeline.room", lambda _devices: {"cpu": 1 << 40})
    alone = QwenImageEdit(PARAMS, HostContext(model=str(folder)))
    spread = QwenImageEdit(PARAMS, HostContext(devices=("cpu", "cpu"), model=str(folder)))
    one, other = (editor.edit(request, lambda _step, _steps: None) for editor in (alone, spread))
    assert one.tobytes() == other.tobytes()
    pipeline = spread.pipeline
    assert pipeline.hf_device_map == {"transformer": "cpu", "text_encoder": "cpu", "vae": "cpu"}
    assert hasattr(pipeline.transformer, "_hf_hook")
    assert not hasattr(
        pipeline.transformer.transformer_blocks[0], "_hf_hook"
    )  # else nothing could be compiled
    assert hasattr(pipeline.vae.decoder.conv_in, "_hf_hook")
    assert not is_split(pipeline, pipeline.transformer)
    pipeline.hf_device_map["transformer"] = "split"
    assert is_split(pipeline, pipeline.transformer)


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
def test_weights_count_as_they_are_loaded(tiny):
    folder = tiny("qwen-image-edit-plus") / "transformer"
    wide, narrow = weights_bytes(folder, "float32"), weights_bytes(folder, "bfloat16")
    assert wide == 2 * narrow > 0
