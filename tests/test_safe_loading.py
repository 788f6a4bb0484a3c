"""Checkpoints that bring code along: none of it runs, whatever file it hides in."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edit_eval.core.errors import ModelError
from edit_eval.core.types import Call, Dimension, HostContext, Rubric
from edit_eval.editors.diffusers import Diffusers, DiffusersParams
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams
from edit_eval.judges.qwen3_vl import Qwen3VL
from edit_eval.judges.vision import VisionParams

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]
EDIT = QwenImageEditParams(num_inference_steps=2, height=64, width=64, dtype="float32")
JUDGE = VisionParams(max_new_tokens=8, dtype="float32")
RUBRIC = Rubric(
    "r", (Dimension("q", 0, 10),), (Call("c", "{instruction} {output_format}", ("q",)),), "q", 0, 10
)


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """Return the folder that any code of a checkpoint would make; it must not be there in the end."""
    path = tmp_path / "code-was-run"
    yield path
    assert not path.exists()


def pickled(folder: Path, name: str, what: Any) -> None:
    """Put `what` in place of a folder's safetensors, as a pickle called `name`."""
    import torch

    for file in folder.glob("*.safetensors*"):
        file.unlink()
    torch.save(what, folder / name)


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_a_pickle_of_an_editor_is_read_as_weights_only(tiny, tmp_path, marker, part):
    model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
    name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    pickled(model / part, name, {"x": Payload(marker)})
    with pytest.raises(ModelError, match=r"^editor.model: .* does not load: "):
        QwenImageEdit(EDIT, HostContext(model=str(model)))


def test_a_pickle_of_weights_alone_still_loads(tiny, tmp_path):
    from safetensors.torch import load_file

    model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
    (file,) = (model / "vae").glob("*.safetensors")
    pickled(model / "vae", "diffusion_pytorch_model.bin", load_file(file))
    QwenImageEdit(EDIT, HostContext(model=str(model)))


def test_a_pickle_beside_safetensors_is_left_alone(tiny, tmp_path, marker):
    import torch

    model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
    torch.save({"x": Payload(marker)}, model / "vae" / "diffusion_pytorch_model.bin")
    QwenImageEdit(EDIT, HostContext(model=str(model)))
    judge = shutil.copytree(tiny("qwen3-vl"), tmp_path / "judge")
    torch.save({"x": Payload(marker)}, judge / "pytorch_model.bin")
    Qwen3VL(JUDGE, HostContext(model=str(judge)), [RUBRIC])


def test_a_pickle_of_a_judge_is_read_as_weights_only(tiny, tmp_path, marker):
    judge = shutil.copytree(tiny("qwen3-vl"), tmp_path / "judge")
    pickled(judge, "pytorch_model.bin", {"x": Payload(marker)})
    with pytest.raises(ModelError, match="does not load as a judge"):
        Qwen3VL(JUDGE, HostContext(model=str(judge)), [RUBRIC])


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".pkl"])
def test_one_file_of_weights_must_be_safetensors(tmp_path, marker, suffix):
    import torch

    from edit_eval.driver.models import find_lora, find_model

    torch.save({"x": Payload(marker)}, tmp_path / f"weights{suffix}")
    for find in (
        lambda name: find_lora("editor.lora", name),
        lambda name: find_model("editor.components.x", name, ""),
    ):
        with pytest.raises(ModelError, match="safetensors"):
            find(str(tmp_path / f"weights{suffix}"))


def test_a_pickle_called_safetensors_is_not_unpickled(tiny, tmp_path, marker):
    import torch

    from edit_eval.editors._overlays import put_lora

    torch.save({"x": Payload(marker)}, tmp_path / "lora.safetensors")
    editor = QwenImageEdit(EDIT, HostContext(model=str(tiny("qwen-image-edit-plus"))))
    with pytest.raises(Exception, match=r"(?i)header|safetensor|deserializ"):
        put_lora(editor.pipeline, str(tmp_path / "lora.safetensors"), 1.0)


def evil(marker: Path, name: str, base: str) -> str:
    return f"import os\nos.mkdir({str(marker)!r})\n{base}\nclass {name}(Base): pass\n"


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_code_of_a_judges_checkpoint_is_not_run(tiny, tmp_path, marker):
    judge = shutil.copytree(tiny("qwen3-vl"), tmp_path / "judge")
    (judge / "evil.py").write_text(
        evil(marker, "Evil", "from transformers import Qwen3VLForConditionalGeneration as Base")
    )
    auto = dict.fromkeys(
        ("AutoConfig", "AutoModel", "AutoModelForImageTextToText", "AutoProcessor"), "evil.Evil"
    )
    for name in ("config.json", "processor_config.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (judge / name).is_file():
            changed(judge / name, auto_map=auto)
    with contextlib.suppress(ModelError):  # to refuse is as good as to take the library's own class
        Qwen3VL(JUDGE, HostContext(model=str(judge)), [RUBRIC])


@pytest.mark.parametrize("slot", ["transformer", "scheduler", "extra"])
def test_code_of_an_editors_checkpoint_is_not_run(tiny, tmp_path, marker, slot):
    model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
    (model / slot).mkdir(exist_ok=True)
    (model / slot / "evil.py").write_text(
        evil(marker, "Evil", "from diffusers import QwenImageTransformer2DModel as Base")
    )
    changed(model / "model_index.json", **{slot: ["evil", "Evil"]})
    with pytest.raises(
        ModelError, match=f"the {slot} of .* is code of the checkpoint itself, which is not run"
    ):
        QwenImageEdit(EDIT, HostContext(model=str(model)))


def test_a_pipeline_that_the_checkpoint_brings_is_not_run(tiny, tmp_path, marker):
    model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
    (model / "pipeline.py").write_text(
        evil(marker, "Evil", "from diffusers import DiffusionPipeline as Base")
    )
    (model / "evil.py").write_text((model / "pipeline.py").read_text())
    QwenImageEdit(EDIT, HostContext(model=str(model)))  # the file alone does nothing
    changed(model / "model_index.json", _class_name=["evil", "Evil"])
    with pytest.raises(ModelError, match="code of the checkpoint itself, which is not run"):
        Diffusers.resolve(DiffusersParams(), str(model))


def test_a_chat_template_cannot_reach_python(tiny, tmp_path, marker):
    judge = shutil.copytree(tiny("qwen3-vl"), tmp_path / "judge")
    escape = (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__.os.mkdir('"
        + str(marker)
        + "') }}"
    )
    (judge / "chat_template.jinja").write_text(escape)
    loaded = Qwen3VL(JUDGE, HostContext(model=str(judge)), [RUBRIC])
    from jinja2.exceptions import SecurityError

    with pytest.raises(SecurityError):
        loaded.engine_in_use.processor.apply_chat_template([{"role": "user", "content": []}], tokenize=False)
