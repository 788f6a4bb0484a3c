"""Checkpoints by their files: whole or not, and how large once loaded."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from edit_eval.driver.checkpoints import inspect_checkpoint, memory_need

GIB = 1 << 30


def safetensors(path: Path, tensors: dict[str, tuple[str, int]], cut: int = 0) -> Path:
    """Write a file with tensors of zeros, name -> (dtype, bytes); the last `cut` bytes are missing."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end - cut))
    return path


@pytest.fixture
def judge(tmp_path) -> Path:
    """Return a model of two shards with an index: 300 bytes in float32."""
    folder = tmp_path / "judge"
    safetensors(folder / "model-00001-of-00002.safetensors", {"a": ("F32", 100)})
    safetensors(folder / "model-00002-of-00002.safetensors", {"b": ("F32", 200)})
    index = {
        "metadata": {"total_size": 300},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "qwen3_vl_moe"}')
    return folder


@pytest.fixture
def pipeline(tmp_path) -> Path:
    """Return a pipeline of a transformer, a text encoder and what has no weights."""
    folder = tmp_path / "pipeline"
    safetensors(folder / "transformer" / "diffusion_pytorch_model.safetensors", {"a": ("BF16", 40)})
    (folder / "transformer" / "config.json").write_text("{}")
    safetensors(folder / "text_encoder" / "model.safetensors", {"a": ("F32", 80), "n": ("I64", 8)})
    (folder / "text_encoder" / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    for name in ("scheduler", "tokenizer"):
        (folder / name).mkdir()
        (folder / name / f"{name}_config.json").write_text("{}")
    index = {
        "_class_name": "QwenImageEditPlusPipeline",
        "_diffusers_version": "0.36",
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "safety_checker": [None, None],
        "boundary": 0.5,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_whole_model(judge):
    found = inspect_checkpoint(judge)
    assert (found.weights_bytes, found.faults, found.unfinished) == (300, (), ())
    assert (found.pipeline, found.model_types) == (None, ("qwen3_vl_moe",))


@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 150), ("float32", 300), (None, 300)])
def test_the_size_is_that_of_the_wanted_dtype(judge, dtype, size):
    assert inspect_checkpoint(judge, dtype).weights_bytes == size


def test_what_is_no_float_keeps_its_size(pipeline):
    assert inspect_checkpoint(pipeline, "float32").weights_bytes == 80 + 80 + 8
    assert inspect_checkpoint(pipeline, "bfloat16").weights_bytes == 40 + 40 + 8


def test_a_whole_pipeline(pipeline):
    found = inspect_checkpoint(pipeline)
    assert (found.faults, found.pipeline) == ((), "QwenImageEditPlusPipeline")
    assert found.model_types == ("qwen2_5_vl",)


def test_a_component_that_is_missing(pipeline):
    (pipeline / "scheduler" / "scheduler_config.json").unlink()
    assert inspect_checkpoint(pipeline).faults == ("scheduler/ is missing",)
    (pipeline / "scheduler").rmdir()
    assert inspect_checkpoint(pipeline).faults == ("scheduler/ is missing",)


def test_a_component_without_its_weights(pipeline):
    (pipeline / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    assert inspect_checkpoint(pipeline).faults == ("transformer/ holds no weights",)


def test_a_component_from_elsewhere_counts_in_its_place(pipeline, tmp_path):
    other = safetensors(tmp_path / "step-500" / "model.safetensors", {"a": ("BF16", 1000)}).parent
    (pipeline / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    found = inspect_checkpoint(pipeline, components={"transformer": other})
    assert (found.faults, found.weights_bytes) == ((), 1088)


def test_a_shard_that_is_missing_counts_by_the_index(judge):
    (judge / "model-00002-of-00002.safetensors").unlink()
    found = inspect_checkpoint(judge)
    assert found.faults == ("model-00002-of-00002.safetensors is missing",)
    assert found.weights_bytes == 300


def test_a_link_into_nothing_is_missing(judge):
    shard = judge / "model-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(judge / "blobs" / "abc")
    assert inspect_checkpoint(judge).faults == ("model-00001-of-00002.safetensors is missing",)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: safetensors(path, {"b": ("F32", 200)}, cut=1), "is cut off: 0.00 of 0.00 GiB"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"1234"), "is cut off or damaged"),
        (lambda path: path.write_bytes(bytes([200] * 100)), "is cut off or damaged"),
        (lambda path: path.write_bytes(struct.pack("<Q", 20) + b"{" * 20), "is cut off or damaged"),
        (lambda path: path.write_bytes(struct.pack("<Q", 10) + b'{"a": 123}'), "is cut off or damaged"),
        (lambda path: path.write_bytes(struct.pack("<Q", 2) + b"[]"), "is cut off or damaged"),
    ],
)
def test_a_shard_that_is_not_whole(judge, spoil, says):
    spoil(judge / "model-00002-of-00002.safetensors")
    [fault] = inspect_checkpoint(judge).faults
    assert fault == f"model-00002-of-00002.safetensors {says}"


def test_an_index_that_names_nothing(judge):
    (judge / "model.safetensors.index.json").write_text("{}")
    assert inspect_checkpoint(judge).faults == ("model.safetensors.index.json names no files",)


def test_of_several_files_the_one_that_is_read(tmp_path):
    safetensors(tmp_path / "m" / "model.safetensors", {"a": ("F16", 10)})
    safetensors(tmp_path / "m" / "model.fp16.safetensors", {"a": ("F16", 10)})
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(bytes(10))
    assert inspect_checkpoint(tmp_path / "m").weights_bytes == 10
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "pytorch_model.bin").write_bytes(bytes(77))
    assert (
        inspect_checkpoint(tmp_path / "p", "float32").weights_bytes == 77
    )  # a pickle does not say its dtype


def test_downloads_that_have_not_ended(tmp_path, judge):
    snapshot = tmp_path / "hub" / "models--a--b" / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir(parents=True)
    judge.rename(snapshot)
    blob = tmp_path / "hub" / "models--a--b" / "blobs" / "1234.incomplete"
    blob.parent.mkdir()
    blob.touch()
    assert inspect_checkpoint(snapshot).unfinished == (blob,)
    part = snapshot / ".cache" / "huggingface" / "download" / "x.incomplete"
    part.parent.mkdir(parents=True)
    part.touch()
    assert set(inspect_checkpoint(snapshot).unfinished) == {blob, part}


def test_what_a_device_needs():
    assert memory_need(GIB) == 3 * GIB
    assert memory_need(100 * GIB) == 115 * GIB


@pytest.mark.models
@pytest.mark.parametrize("name", ["qwen-image-edit-plus", "qwen3-vl-moe", "flux-kontext", "instruct-pix2pix"])
def test_real_layouts_are_whole_and_as_large_as_their_parameters(tiny, name):
    import torch
    from safetensors import safe_open

    folder = tiny(name)
    found = inspect_checkpoint(folder, "float32")
    assert found.faults == ()
    size = 0
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - no mapping
                tensor = file.get_tensor(key)
                size += tensor.numel() * (4 if tensor.is_floating_point() else tensor.element_size())
    assert found.weights_bytes == size
    assert torch.float32.itemsize == 4
