"""Qwen-Image-Edit through the real pipelines, on tiny random weights."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import pytest

from edit_eval.core.errors import ConfigError, ModelError
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors.qwen_image_edit import (
    QwenImageEdit,
    QwenImageEditParams,
    _refuse_ignored_settings,
    _refuse_ignored_size,
)

PARAMS = QwenImageEditParams(num_inference_steps=2, height=128, width=192, dtype="float32")
SEED = 2**63 - 25


def picture(kind="ramp", size=(96, 64)):
    from PIL import Image

    ramp = Image.linear_gradient("L").resize(size)
    bands = [
        ramp,
        ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        ramp.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    ]
    return Image.merge(
        "RGB", bands if kind == "ramp" else [Image.new("L", size, 220), ramp, Image.new("L", size, 15)]
    )


def request(instruction="make it red", images=None, seed=SEED):
    return EditRequest(Sample("s", instruction, ("s.png",)), instruction, images or (picture(),), seed)


def no_step(step, steps):
    """A step callback that does nothing."""


def distance(one, other):
    """Mean absolute difference of two images, 0..255."""
    from PIL import ImageChops, ImageStat

    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


def index_folder(tmp_path, **content):
    (tmp_path / "model_index.json").write_text(json.dumps(content))
    return str(tmp_path)


@pytest.fixture(scope="module")
def plus(tiny):
    return QwenImageEdit(PARAMS, HostContext(model=str(tiny("qwen-image-edit-plus"))))


@pytest.fixture(scope="module")
def edited(plus):
    return plus.edit(request(), no_step)


@pytest.mark.models
@pytest.mark.usefixtures("one_thread", "small")
class TestEdits:
    def test_same_request_gives_same_bytes_and_reports_each_step(self, plus, edited):
        steps = []
        again = plus.edit(request(), lambda step, of: steps.append((step, of)))
        assert steps == [(1, 2), (2, 2)]
        assert (again.mode, again.size) == ("RGB", (192, 128))
        assert again.tobytes() == edited.tobytes()

    def test_image_is_not_constant(self, edited):
        from PIL import ImageStat

        assert min(ImageStat.Stat(edited).stddev) > 20

    def test_seed_changes_it(self, plus, edited):
        assert distance(plus.edit(request(seed=SEED + 1), no_step), edited) > 20

    def test_instruction_changes_it(self, plus, edited):
        assert distance(plus.edit(request("make it blue"), no_step), edited) > 1

    def test_source_changes_it(self, plus, edited):
        assert distance(plus.edit(request(images=(picture("flat"),)), no_step), edited) > 1

    def test_several_images_all_count_and_the_first_gives_the_size(self, tiny, edited, monkeypatch):
        monkeypatch.setattr("edit_eval.editors.qwen_image_edit._AREA_PX", 128 * 128)
        params = replace(PARAMS, size="source", height=None, width=None)
        editor = QwenImageEdit(params, HostContext(model=str(tiny("qwen-image-edit-plus"))))
        first, last = picture(size=(80, 160)), picture("flat", (160, 40))
        both = editor.edit(request(images=(first, last)), no_step)
        assert both.size == (80, 160)
        assert distance(both, editor.edit(request(images=(first,)), no_step)) > 1

    def test_the_size_that_comes_out_is_foreseen(self, plus, edited):
        from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_dimensions

        assert plus.edit_size(request()) == edited.size == (192, 128)
        chooses = QwenImageEdit.__new__(QwenImageEdit)
        chooses.params = replace(PARAMS, height=None, width=None)
        for size in ((64, 64), (96, 64), (1440, 2160), (681, 975), (3000, 500), (33, 1000)):
            images = (picture(size=(50, 50)), picture(size=size))
            expected = calculate_dimensions(1024 * 1024, size[0] / size[1])
            assert chooses.edit_size(request(images=images)) == expected

    def test_component_from_elsewhere_changes_it(self, tiny, edited):
        other = str(tiny("qwen-image-edit-plus", 1) / "transformer")
        context = HostContext(model=str(tiny("qwen-image-edit-plus")), components={"transformer": other})
        assert distance(QwenImageEdit(PARAMS, context).edit(request(), no_step), edited) > 5

    def test_plain_edit_takes_one_image(self, tiny):
        from diffusers import QwenImageEditPipeline

        editor = QwenImageEdit(PARAMS, HostContext(model=str(tiny("qwen-image-edit"))))
        assert type(editor.pipeline) is QwenImageEditPipeline
        assert editor.edit(request(), no_step).size == (192, 128)
        with pytest.raises(ValueError, match=r"2 source images, and QwenImageEditPipeline takes one"):
            editor.edit(request(images=(picture(), picture())), no_step)


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
class TestRefusals:
    def test_checkpoint_without_weights(self, tiny, tmp_path):
        model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
        (model / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
        with pytest.raises(
            ModelError, match=r"^editor.model: .*/transformer does not load: .*diffusion_pytorch_model"
        ):
            QwenImageEdit(PARAMS, HostContext(model=str(model)))

    def test_damaged_weights(self, tiny, tmp_path):
        model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
        weights = model / "vae" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:999])
        with pytest.raises(ModelError, match=r"^editor.model: .*/vae does not load: "):
            QwenImageEdit(PARAMS, HostContext(model=str(model)))

    @pytest.mark.parametrize("part", ["transformer", "text_encoder"])
    def test_lacking_weights_are_not_made_up(self, tiny, tmp_path, part):
        from safetensors.torch import load_file, save_file

        model = shutil.copytree(tiny("qwen-image-edit-plus"), tmp_path / "model")
        (file,) = (model / part).glob("*.safetensors")
        weights = load_file(file)
        gone = max(weights)
        del weights[gone]
        save_file(weights, file, {"format": "pt"})
        with pytest.raises(ModelError, match=r"^1 weights of .* are missing, such as .*, in /"):
            QwenImageEdit(PARAMS, HostContext(model=str(model)))

    def test_one_step_that_the_scheduler_cannot_do(self, tiny):
        context = HostContext(model=str(tiny("qwen-image-edit-plus")))
        with pytest.raises(
            ConfigError, match="num_inference_steps is 1; this checkpoint's scheduler needs 2"
        ):
            QwenImageEdit(replace(PARAMS, num_inference_steps=1), context)

    def test_unknown_attention_backend(self, tiny):
        context = HostContext(model=str(tiny("qwen-image-edit-plus")))
        with pytest.raises(Exception, match=r"attention_backend: 'fastest' is not usable: .*must be one of"):
            QwenImageEdit(replace(PARAMS, attention_backend="fastest"), context)

    def test_missing_library_says_where_and_what_to_do(self, tiny, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(
            ModelError,
            match=r"python\S* has no transformers; pip install 'edit-eval\[diffusers\]' into it, or set editor\.python",
        ):
            QwenImageEdit(PARAMS, HostContext(model=str(tiny("qwen-image-edit-plus"))))


def test_a_diffusers_that_would_ignore_what_makes_a_2511_is_refused():
    class OldTransformer:
        def __init__(self, in_channels=64):
            self.config = {"zero_cond_t": True}

    with pytest.raises(ModelError, match="ignores this checkpoint's `zero_cond_t`; upgrade it"):
        _refuse_ignored_settings(OldTransformer())


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
def test_a_diffusers_without_the_pipeline_names_the_one_that_has_it(tiny, tmp_path, monkeypatch):
    import diffusers

    model = shutil.copytree(tiny("qwen-image-edit"), tmp_path / "model")
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, "_class_name": "QwenImageEditPlusPipeline"}))
    if hasattr(diffusers, "QwenImageEditPlusPipeline"):
        monkeypatch.setattr(diffusers, "QwenImageEditPlusPipeline", None)
    with pytest.raises(ModelError) as caught:
        QwenImageEdit(PARAMS, HostContext(model=str(model)))
    assert "has no pipeline QwenImageEditPlusPipeline" in str(caught.value)
    assert f"it needs diffusers 0.36 or newer: {sys.executable} -m pip install -U diffusers" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("library", "version"), [("diffusers", "0.34.0"), ("transformers", "4.56.2")])
def test_libraries_that_are_too_old_are_refused_in_one_line(tiny, monkeypatch, library, version):
    monkeypatch.setattr(f"{library}.__version__", version)
    with pytest.raises(
        ModelError, match=rf"has {library} {version}, and .* or newer is needed: .*install -U {library}"
    ):
        QwenImageEdit(PARAMS, HostContext(model=str(tiny("qwen-image-edit"))))


def test_a_diffusers_that_ignores_the_size_is_refused():
    class Pipeline:
        def __call__(self, image, height=None, width=None, _auto_resize=True):
            """As in diffusers 0.35.0."""

    with pytest.raises(ModelError, match=r"0\.35\.0 of .* ignores the size .* 0\.35\.1 or newer is needed"):
        _refuse_ignored_size(Pipeline)


class TestResolve:
    @pytest.mark.parametrize(
        ("kind", "steps", "guidance"),
        [("QwenImageEditPipeline", 50, None), ("QwenImageEditPlusPipeline", 40, 1.0)],
    )
    def test_model_card_defaults(self, tmp_path, kind, steps, guidance):
        model = index_folder(tmp_path, _class_name=kind)
        resolved = QwenImageEdit.resolve(QwenImageEditParams(), model)
        assert (resolved.num_inference_steps, resolved.guidance_scale) == (steps, guidance)
        assert (resolved.true_cfg_scale, resolved.negative_prompt) == (4.0, " ")
        assert QwenImageEdit.resolve(replace(resolved, num_inference_steps=8), model).num_inference_steps == 8

    def test_every_fault_is_named(self, tmp_path):
        params = QwenImageEditParams(
            num_inference_steps=0,
            dtype="bfloat",
            size="sauce",
            height=1000,
            width=0,
            max_sequence_length=2000,
        )
        with pytest.raises(ConfigError) as caught:
            QwenImageEdit.resolve(params, index_folder(tmp_path, _class_name="QwenImageEditPipeline"))
        assert caught.value.problems == [
            "editor.params.dtype is 'bfloat' (did you mean 'bfloat16'?); give one of bfloat16, float16, float32",
            "editor.params.size is 'sauce' (did you mean 'source'?); give one of model, source",
            "editor.params.num_inference_steps is 0; give 1 or more",
            "editor.params.max_sequence_length is 2000; give 1 to 1024",
            "editor.params.height is 1000; give a multiple of 16, such as 1024",
            "editor.params.width is 0; give a multiple of 16, such as 1024",
        ]

    @pytest.mark.parametrize(
        "kind", ["FluxKontextPipeline", "QwenImageEditInpaintPipeline", "QwenImageEditXPipeline"]
    )
    def test_other_pipelines_are_sent_elsewhere(self, tmp_path, kind):
        model = index_folder(tmp_path, _class_name=kind)
        with pytest.raises(
            ModelError, match=rf"is a {kind}, and qwen_image_edit runs .*; use `type: diffusers`"
        ):
            QwenImageEdit.resolve(QwenImageEditParams(), model)
        with pytest.raises(ModelError, match=kind):
            QwenImageEdit.check(model, {})

    def test_folder_without_a_pipeline(self, tmp_path):
        with pytest.raises(ModelError, match=r"holds no pipeline: model_index\.json is missing"):
            QwenImageEdit.resolve(QwenImageEditParams(), str(tmp_path))
        (tmp_path / "model_index.json").write_text("{")
        with pytest.raises(ModelError, match="cannot be read"):
            QwenImageEdit.resolve(QwenImageEditParams(), str(tmp_path))
        with pytest.raises(ModelError, match=r"editor\.model is missing"):
            QwenImageEdit.resolve(QwenImageEditParams(), None)


class TestComponents:
    INDEX = {  # noqa: RUF012
        "_class_name": "QwenImageEditPlusPipeline",
        "_diffusers_version": "0.42.1",
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
        "image_encoder": [None, None],
    }

    def test_fitting_ones_pass(self, tmp_path):
        QwenImageEdit.check(index_folder(tmp_path, **self.INDEX), {"vae": str(tmp_path)})

    def test_every_fault_is_named(self, tmp_path):
        model = index_folder(tmp_path, **self.INDEX)
        (tmp_path / "transformer").mkdir()
        components = {"transfomer": model, "image_encoder": model, "vae": "/nowhere", "transformer": model}
        with pytest.raises(ConfigError) as caught:
            QwenImageEdit.check(model, components)
        assert caught.value.problems == [
            "editor.components: the model has no 'transfomer' (did you mean 'transformer'?); it has transformer, vae",
            "editor.components: the model has no 'image_encoder'; it has transformer, vae",
            "editor.components.vae: no folder or file at /nowhere",
            f"editor.components.transformer: {model} is a whole pipeline; give {model}/transformer",
        ]


def test_size_policy_in_words():
    made = "in: sources resized to 1024 x 1024 px in area, aspect kept; out: "
    back = ", brought to the size of the (first) source image by Lanczos"
    assert (
        QwenImageEdit.size_policy(QwenImageEditParams())
        == made + "1024 x 1024 px in area, sides multiples of 32"
    )
    assert QwenImageEdit.size_policy(PARAMS) == made + "192 x 128 px (width x height)"
    assert (
        QwenImageEdit.size_policy(replace(PARAMS, size="source"))
        == made + "192 x 128 px (width x height)" + back
    )
