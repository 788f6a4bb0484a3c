"""Any diffusers pipeline, tried on FLUX.1-Kontext and InstructPix2Pix with tiny random weights."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edit_eval.core.errors import ConfigError, ModelError
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors.diffusers import Diffusers, DiffusersParams
from edit_eval.worker.returned import as_image

CALL = {"num_inference_steps": 2, "max_area": 128 * 128, "_auto_resize": False, "max_sequence_length": 64}
PARAMS = DiffusersParams(call=CALL, dtype="float32")


def picture(colour="orange", size=(64, 64)):
    from PIL import Image

    other = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, colour), Image.new("RGB", size, "navy"), other)


def request(instruction="make it red", images=None, seed=7):
    return EditRequest(Sample("s", instruction, ("s.png",)), instruction, images or (picture(),), seed)


def no_step(step, steps):
    """A step callback that does nothing."""


def index_folder(tmp_path, **content):
    (tmp_path / "model_index.json").write_text(json.dumps(content))
    return str(tmp_path)


@pytest.fixture(scope="module")
def flux(tiny):
    return Diffusers(PARAMS, HostContext(model=str(tiny("flux-kontext"))))


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
class TestEdits:
    def test_everything_that_should_changes_it(self, flux):
        steps = []
        edited = flux.edit(request(), lambda step, of: steps.append((step, of)))
        assert steps == [(1, 2), (2, 2)]
        assert (edited.mode, edited.size) == ("RGB", (128, 128))
        assert flux.edit(request(), no_step).tobytes() == edited.tobytes()
        for other in (request(seed=8), request("make it blue"), request(images=(picture("white"),))):
            assert flux.edit(other, no_step).tobytes() != edited.tobytes()

    @pytest.mark.parametrize(("value", "odd"), [(float("nan"), True), (float("inf"), True), (1.0, False)])
    def test_no_numbers_are_noticed_and_pixels_stay_what_diffusers_makes(self, flux, value, odd, monkeypatch):
        import torch

        plain = flux.edit(request(), no_step)
        decode = flux.pipeline.vae.decode

        def spoilt(*arguments, **options):
            (image,) = decode(*arguments, **{**options, "return_dict": False})
            image[0, :, 0, 0] = value
            return (image,)

        monkeypatch.setattr(flux.pipeline.vae, "decode", spoilt)
        image, nan = as_image(flux.edit(request(), no_step))
        assert nan == odd
        changed = [
            (x, y) for x in range(128) for y in range(128) if image.getpixel((x, y)) != plain.getpixel((x, y))
        ]
        assert set(changed) <= {(0, 0)}
        assert image.getpixel((0, 0)) == ((0, 0, 0) if value != value else (255, 255, 255))
        assert "postprocess" not in vars(flux.pipeline.image_processor)
        assert not as_image(plain).nan
        assert torch.is_grad_enabled()

    def test_a_pipeline_of_another_family(self, tiny):
        """InstructPix2Pix: a UNet, a negative prompt, an image guidance of its own, the source's size."""
        call = {"num_inference_steps": 2, "image_guidance_scale": 1.5, "guidance_scale": 7.5}
        editor = Diffusers(
            DiffusersParams(call=call, dtype="float32"), HostContext(model=str(tiny("instruct-pix2pix")))
        )
        steps = []
        edited = editor.edit(request(), lambda step, of: steps.append((step, of)))
        assert steps == [(1, 2), (2, 2)]
        assert (edited.mode, edited.size) == ("RGB", (64, 64))
        assert editor.edit(request(), no_step).tobytes() == edited.tobytes()
        for other in (request(seed=8), request("make it blue"), request(images=(picture("white"),))):
            assert editor.edit(other, no_step).tobytes() != edited.tobytes()

    def test_size_and_several_images(self, tiny):
        params = replace(PARAMS, size="source", several_images="first")
        editor = Diffusers(params, HostContext(model=str(tiny("flux-kontext"))))
        images = (picture(size=(50, 40)), picture(size=(70, 70)))
        assert editor.edit(request(images=images), no_step).size == (50, 40)
        assert editor.edit_size(request(images=images)) == (50, 40)

    def test_a_size_of_the_pipelines_own_is_not_foreseen(self, flux):
        assert flux.edit_size(request()) is None

    def test_several_images_are_refused_unless_asked_for(self, flux):
        with pytest.raises(
            ValueError, match=r"2 source images; if FluxKontextPipeline takes several, set .* to list"
        ):
            flux.edit(request(images=(picture(), picture())), no_step)


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
class TestRefusals:
    def test_arguments_that_the_pipeline_has_not(self, tiny):
        params = replace(PARAMS, call={"num_inference_step": 2, "strength": 0.5})
        with pytest.raises(ConfigError) as caught:
            Diffusers(params, HostContext(model=str(tiny("flux-kontext"))))
        first, second = caught.value.problems
        assert first.startswith(
            "editor.params.call.num_inference_step: FluxKontextPipeline has no such argument "
            "(did you mean 'num_inference_steps'?); it has "
        )
        assert second.startswith("editor.params.call.strength: FluxKontextPipeline has no such argument")

    @pytest.mark.parametrize(
        ("pipeline", "reason"),
        [
            ("FluxPipeline", "FluxPipeline takes no image, so it cannot edit"),
            (
                "FluxKontextPipelin",
                "has no pipeline FluxKontextPipelin \\(did you mean 'FluxKontextPipeline'",
            ),
            ("AutoencoderKL", "has no pipeline AutoencoderKL"),
        ],
    )
    def test_pipelines_that_cannot_edit(self, tiny, pipeline, reason):
        with pytest.raises(ModelError, match=reason):
            Diffusers(replace(PARAMS, pipeline=pipeline), HostContext(model=str(tiny("flux-kontext"))))


class TestResolve:
    def test_pipeline_of_the_checkpoint_is_filled_in(self, tmp_path):
        model = index_folder(tmp_path, _class_name="FluxKontextPipeline")
        assert Diffusers.resolve(PARAMS, model).pipeline == "FluxKontextPipeline"
        assert Diffusers.resolve(replace(PARAMS, pipeline="Other"), model).pipeline == "Other"

    def test_code_of_the_checkpoint_is_not_run(self, tmp_path):
        model = index_folder(tmp_path, _class_name=["pipeline", "MyPipeline"])
        with pytest.raises(ModelError, match="MyPipeline is code of the checkpoint itself, which is not run"):
            Diffusers.resolve(PARAMS, model)

    def test_every_fault_is_named(self, tmp_path):
        params = DiffusersParams(call={"prompt": "x", "sigmas": {1, 2}}, dtype="int8", several_images="all")
        with pytest.raises(ConfigError) as caught:
            Diffusers.resolve(params, index_folder(tmp_path, _class_name="FluxKontextPipeline"))
        assert caught.value.problems == [
            "editor.params.dtype is 'int8'; give one of bfloat16, float16, float32",
            "editor.params.several_images is 'all'; give one of refuse, list, first",
            "editor.params.call.prompt is set by edit-eval for every sample; leave it out",
            "editor.params.call holds what json cannot: Object of type set is not JSON serializable",
        ]

    def test_size_policy_in_words(self):
        assert Diffusers.size_policy(PARAMS).endswith("out: as the pipeline returns it")
        assert Diffusers.size_policy(replace(PARAMS, size="source")).endswith("by Lanczos")
