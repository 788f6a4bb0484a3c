"""Parts that are one file, and LoRAs, over a tiny pipeline of the real classes: they change the edit, or are refused."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
from PIL import Image

from edit_eval.core.errors import ModelError
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread", "small")]

PARAMS = QwenImageEditParams(num_inference_steps=2, height=64, width=64, dtype="float32")
needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="no peft here")


@pytest.fixture(scope="module")
def model(tiny):
    return tiny("qwen-image-edit-plus")


def edited(model, components=None, lora=None) -> bytes:
    params = QwenImageEdit.resolve(PARAMS, str(model))
    editor = QwenImageEdit(params, HostContext(model=str(model), components=components or {}, lora=lora))
    sample = Sample(id="a", instruction="make it blue", images=("a.png",))
    source = Image.new("RGB", (64, 64), (200, 40, 10))
    return editor.edit(EditRequest(sample, "make it blue", (source,), seed=1), lambda _k, _n: None).tobytes()


@pytest.fixture(scope="module")
def plain(model) -> bytes:
    return edited(model)


def alike(one: bytes, other: bytes) -> bool:
    """Whether two edits are equal up to rounding: weights that lie elsewhere in memory may be multiplied by another kernel."""
    return max(abs(first - second) for first, second in zip(one, other, strict=True)) <= 1


def weights_of(model, part: str):
    from safetensors.torch import load_file

    names = {"text_encoder": "model"}
    return load_file(model / part / f"{names.get(part, 'diffusion_pytorch_model')}.safetensors")


def saved(tensors, path) -> str:
    from safetensors.torch import save_file

    save_file(tensors, path)
    return str(path)


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_one_file_gives_what_its_folder_gives(model, plain, tmp_path, part):
    path = saved(weights_of(model, part), tmp_path / "any name.safetensors")
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    assert alike(edited(model, {part: str(link)}), plain)


def test_other_weights_give_another_edit(model, plain, tmp_path):
    changed = {name: one * 1.1 for name, one in weights_of(model, "transformer").items()}
    assert not alike(edited(model, {"transformer": saved(changed, tmp_path / "x.safetensors")}), plain)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.diffusion_model."])
def test_names_with_the_prefix_of_a_wrapper(model, plain, tmp_path, prefix):
    tensors = {prefix + name: one for name, one in weights_of(model, "transformer").items()}
    assert alike(edited(model, {"transformer": saved(tensors, tmp_path / "x.safetensors")}), plain)


def test_weights_that_lack_some_or_are_of_something_else(model, tmp_path):
    import torch

    some = dict(list(weights_of(model, "transformer").items())[1:])
    for name, tensors in (("some", some), ("other", {"x": torch.zeros(2)})):
        path = saved(tensors, tmp_path / f"{name}.safetensors")
        with pytest.raises(
            ModelError, match=r"weights of QwenImageTransformer2DModel are missing, such as \S+, in /"
        ):
            edited(model, {"transformer": path})
    with pytest.raises(ModelError, match=r"weights of .* are missing"):
        edited(model, {"text_encoder": saved({"x": torch.zeros(2)}, tmp_path / "x.safetensors")})


def lora_of(model, *, prefix: str = "transformer."):
    """Return a LoRA of rank 4 over every query and key."""
    import torch

    generator = torch.Generator("cpu").manual_seed(0)
    tensors = {}
    for name, weight in weights_of(model, "transformer").items():
        if name.endswith(("to_q.weight", "to_k.weight")):
            stem = prefix + name.removesuffix(".weight")
            tensors[f"{stem}.lora_A.weight"] = torch.randn(4, weight.shape[1], generator=generator)
            tensors[f"{stem}.lora_B.weight"] = torch.randn(weight.shape[0], 4, generator=generator)
    assert tensors
    return tensors


@needs_peft
def test_a_lora_changes_the_edit_by_its_scale(model, plain, tmp_path):
    path = saved(lora_of(model), tmp_path / "lora.safetensors")
    whole, half, none = (edited(model, lora=(path, scale)) for scale in (1.0, 0.5, 0.0))
    assert len({whole, half, none}) == 3
    assert alike(none, plain)
    assert edited(model, lora=(path, 1.0)) == whole


@needs_peft
def test_a_lora_that_fits_in_part_or_not_at_all(model, tmp_path):
    import torch

    tensors = lora_of(model)
    more = {
        f"transformer.transformer_blocks.99.attn.to_q.lora_{one}.weight": torch.zeros(4, 4) for one in "AB"
    }
    half = dict(list(tensors.items())[:3])
    for name, bad in (("more", {**tensors, **more}), ("half", half)):
        with pytest.raises(ModelError, match=r"editor.lora: .* fits QwenImageEditPlusPipeline only in part"):
            edited(model, lora=(saved(bad, tmp_path / f"{name}.safetensors"), 1.0))
    other = saved(lora_of(model, prefix="unet."), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="holds nothing for QwenImageEditPlusPipeline"):
        edited(model, lora=(other, 1.0))
    none = saved(weights_of(model, "vae"), tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match=r"editor.lora: .* does not load"):
        edited(model, lora=(none, 1.0))


def test_without_its_library(model, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else real(name))
    shutil.copy(model / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"editor.lora: \S+ has no peft; pip install peft into it"):
        edited(model, lora=(str(tmp_path / "x.safetensors"), 1.0))
