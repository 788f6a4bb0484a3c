"""Which files of a model are read, by their names; and what only looks like a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.weightfiles import (
    is_config,
    lora_files,
    matching_files,
    model_files,
    training_state,
    weight_files,
)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin", "config.json"], (None, ["model.safetensors"])),
        (["pytorch_model.bin", "training_args.bin"], (None, ["pytorch_model.bin"])),
        (["model.safetensors", "model.fp16.safetensors"], (None, ["model.safetensors"])),
        (["model.fp16.safetensors"], (None, [])),
        (["diffusion_pytorch_model.fp16-00001-of-00002.safetensors"], (None, [])),
        (["model-00001-of-00002.fp16.safetensors"], (None, [])),
        (
            [
                "model.safetensors.index.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "consolidated.safetensors",
            ],
            (
                "model.safetensors.index.json",
                ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            ),
        ),
        (["my-finetune-v1.5.safetensors"], (None, ["my-finetune-v1.5.safetensors"])),
        (["optimizer.bin", "scheduler.bin", "random_states_0.pkl", "scaler.pt"], (None, [])),
        (["model.onnx", "model.msgpack", "tf_model.h5"], (None, [])),
        (["adapter_model.safetensors", "adapter_config.json"], (None, ["adapter_model.safetensors"])),
        ([], (None, [])),
    ],
)
def test_weights_of_a_folder(names, chosen):
    assert weight_files(names) == chosen


@given(st.lists(st.sampled_from(["model", "x"]).flatmap(lambda base: st.sampled_from(
    [f"{base}.safetensors", f"{base}.bin", f"{base}.fp16.safetensors", "config.json", "model.safetensors.index.json"]
)), unique=True))  # fmt: skip
def test_only_names_that_are_there_are_chosen_and_one_format_only(names):
    index, files = weight_files(names)
    assert set(files) <= set(names)
    assert index is None or index in names
    assert len({Path(one).suffix for one in files}) <= 1


def test_configs():
    for name in ("config.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "vocab.json"):
        assert is_config(name)
    for name in (
        "model.safetensors.index.json",
        "model.safetensors.index.fp16.json",
        "README.md",
        "a.py",
        "a.png",
    ):
        assert not is_config(name)


def test_a_part_in_a_folder_of_a_repository():
    names = [
        "config.json",
        "a/config.json",
        "a/model.safetensors",
        "a/b/model.safetensors",
        "ab/model.safetensors",
    ]
    assert model_files(names, "a") == (["a/config.json", "a/model.safetensors"], ["a/model.safetensors"])
    assert model_files(names, "none") == ([], [])


def test_loras():
    names = [
        "x/one.safetensors",
        "x/two.safetensors",
        "pytorch_lora_weights.safetensors",
        "other.safetensors",
    ]
    assert lora_files(names) == ["pytorch_lora_weights.safetensors"]
    assert lora_files(names, "x") == ["x/one.safetensors", "x/two.safetensors"]
    assert lora_files(names, "x/two.safetensors") == ["x/two.safetensors"]


def test_patterns():
    assert matching_files(["data/a.parquet", "b.txt"], ["*.parquet"]) == ["data/a.parquet"]


# Training states


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("names", "what", "hint"),
    [
        (["__0_0.distcp", "__1_0.distcp", ".metadata"], "sharded training state", "dcp_to_torch"),
        (["pytorch_model_fsdp_0/__0_0.distcp"], "FSDP", "accelerate merge-weights"),
        (["optimizer_0/__0_0.distcp", "scheduler.bin"], "FSDP", "accelerate merge-weights"),
        (
            ["zero_to_fp32.py", "latest", "global_step5/mp_rank_00_model_states.pt"],
            "DeepSpeed",
            "zero_to_fp32.py",
        ),
        (["bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"], "DeepSpeed", "zero_to_fp32.py"),
        (["latest_checkpointed_iteration.txt", "iter_0000500/mp_rank_00/x"], "Megatron", "tools/checkpoint"),
        (["mp_rank_00/model_optim_rng.pt"], "Megatron", "tools/checkpoint"),
        (
            ["model_world_size_8_rank_0.pt", "optim_world_size_8_rank_0.pt"],
            "one piece a rank",
            "model_merger",
        ),
        (["pytorch_model_fsdp.bin", "config.json"], "gathered state", "save_pretrained"),
    ],
)
def test_states_of_training(tmp_path, names, what, hint):
    found = training_state(tree(tmp_path / "step-500", *names))
    assert found is not None
    assert what in found[0]
    assert hint in found[1]


@pytest.mark.parametrize(
    "names", [["config.json", "model.safetensors"], ["transformer/config.json"], ["vocab.json"], []]
)
def test_what_is_none(tmp_path, names):
    (tmp_path / "m").mkdir()
    assert training_state(tree(tmp_path / "m", *names)) is None
