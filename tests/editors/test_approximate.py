"""Approximations: refused in one line where they cannot be, and other edits, with another key, where they can."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from edit_eval.core.errors import ConfigError, ModelError, UserError
from edit_eval.core.identity import identity_params
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.driver.config import check_config
from edit_eval.driver.protocol import approximations_of, protocol_in_use
from edit_eval.editors._approximate import (
    APPROXIMATIONS,
    approximate,
    approximation_problems,
    breaks_graphs,
)
from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams

PARAMS = QwenImageEditParams(num_inference_steps=4, height=64, width=64, dtype="float32")
CACHE = {"first_block_cache": {"threshold": 100}}


class TestWhatIsAskedFor:
    @pytest.mark.parametrize("name", APPROXIMATIONS)
    def test_each_alone_is_fine(self, name):
        assert approximation_problems({name: {}}) == []

    def test_nothing_is_asked_for(self):
        assert approximation_problems({}) == []
        approximate(None, None, {}, "float32", lambda: None)
        assert not breaks_graphs({})

    @pytest.mark.parametrize(
        ("wanted", "said"),
        [
            ({"first_blok_cache": {}}, "there is no 'first_blok_cache'"),
            ({"first_block_cache": {}, "cache_dit": {}}, "cache_dit and first_block_cache both keep"),
            ({"fp8": {}, "layerwise_casting": {}}, "both put the weights into float8"),
            ({"fp8": {"a": 1}}, "takes no options"),
            ({"layerwise_casting": {"storage_dtype": "int8"}}, "give one of float8_e4m3fn"),
            ({"layerwise_casting": {"dtype": "x"}}, "no option 'dtype'"),
        ],
    )
    def test_what_cannot_be_is_said(self, wanted, said):
        problems = approximation_problems(wanted)
        assert len(problems) == 1
        assert said in problems[0]
        with pytest.raises(ConfigError):
            QwenImageEdit.resolve(replace(PARAMS, approximations=wanted), None)


class TestIdentity:
    def test_part_of_the_key_only_where_given(self):
        assert "approximations" not in identity_params(PARAMS)
        assert identity_params(replace(PARAMS, approximations=CACHE))["approximations"] == CACHE
        assert "compile" not in identity_params(replace(PARAMS, compile="on"))

    def test_named_in_the_protocol(self):
        assert approximations_of(PARAMS) == []
        assert approximations_of(SimpleNamespace()) == []
        wanted = {"fp8": {}, "cache_dit": {"b": [1, 2], "a": 0.5}}
        assert approximations_of(replace(PARAMS, approximations=wanted)) == ["cache_dit-a-0.5-b-1x2", "fp8"]


class TestFromAConfig:
    def tree(self, tmp_path, **params):
        model = tmp_path / "model"
        model.mkdir()
        (model / "model_index.json").write_text('{"_class_name": "QwenImageEditPlusPipeline"}')
        editor = {"type": "qwen_image_edit", "model": str(model), "devices": ["cpu:0"], "params": params}
        return check_config({"benchmark": {"type": "scenes", "params": {"n": 1}}, "editor": editor})

    def test_as_yaml_reads_it(self, tmp_path):
        wanted = {"pyramid_attention_broadcast": {"spatial_attention_timestep_skip_range": [100, 800]}}
        checked = self.tree(tmp_path, compile=True, memory="encoder_offload", approximations=wanted)
        params = checked.params["editor"]
        assert (params.compile, params.memory) == ("on", "encoder_offload")
        assert params.approximations == wanted
        name = "pyramid_attention_broadcast-spatial_attention_timestep_skip_range-100x800"
        assert protocol_in_use(checked, judging=False).id.endswith(f"+{name}")

    @pytest.mark.parametrize(
        "params", [{"compile": "maybe"}, {"memory": "little"}, {"approximations": ["fp8"]}]
    )
    def test_what_it_is_not(self, tmp_path, params):
        with pytest.raises(ConfigError, match=rf"^editor.params.{next(iter(params))}"):
            self.tree(tmp_path, **params)


def request(seed=7):
    from PIL import Image

    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    return EditRequest(Sample("s", "red", ("s.png",)), "red", (picture,), seed)


def no_step(step, steps):
    """A step callback that does nothing."""


@pytest.mark.models
@pytest.mark.usefixtures("one_thread", "small")
class TestOnTheModel:
    @pytest.fixture
    def editor(self, tiny):
        return QwenImageEdit(PARAMS, HostContext(model=str(tiny("qwen-image-edit-plus"))))

    def test_a_cache_makes_other_edits_and_keeps_nothing_for_the_next(self, editor, tiny):
        exact = editor.edit(request(), no_step).tobytes()
        context = HostContext(model=str(tiny("qwen-image-edit-plus")))
        caching = QwenImageEdit(replace(PARAMS, approximations=CACHE), context)
        first = caching.edit(request(), no_step).tobytes()
        assert first != exact
        with pytest.raises(RuntimeError, match="in the middle"):
            caching.edit(request(8), _fails_in_the_middle)
        assert caching.edit(request(), no_step).tobytes() == first

    def test_weights_stored_in_float8(self, editor):
        exact = editor.edit(request(), no_step).tobytes()
        pipeline = editor.pipeline
        approximate(pipeline, pipeline.transformer, {"layerwise_casting": {}}, "float32", lambda: None)
        dtypes = {str(one.dtype) for one in pipeline.transformer.parameters()}
        assert "torch.float8_e4m3fn" in dtypes
        assert editor.edit(request(), no_step).tobytes() != exact

    def test_what_is_missing_is_said_in_one_line(self, editor):
        pipeline = editor.pipeline
        for name, package in (("cache_dit", "cache-dit"), ("fp8", "torchao")):
            if not _is_installed(package):
                with pytest.raises(ModelError, match=f"has no {package}; .* -m pip install {package}$"):
                    approximate(pipeline, pipeline.transformer, {name: {}}, "float32", lambda: None)
        with pytest.raises(ConfigError, match=r"no option 'treshold'.*threshold"):
            approximate(
                pipeline,
                pipeline.transformer,
                {"first_block_cache": {"treshold": 0.1}},
                "float32",
                lambda: None,
            )
        with pytest.raises(UserError, match="takes no cache"):
            approximate(pipeline, SimpleNamespace(), CACHE, "float32", lambda: None)
        with pytest.raises(UserError, match="cannot store its weights so"):
            approximate(pipeline, SimpleNamespace(), {"layerwise_casting": {}}, "float32", lambda: None)

    def test_a_pipeline_that_bears_none_is_told_at_once(self, editor):
        def try_out():
            raise ValueError("No cache context is set.")

        with pytest.raises(UserError, match=r"^editor.params.approximations: .* No cache context is set"):
            approximate(editor.pipeline, editor.pipeline.transformer, CACHE, "float32", try_out)

    @pytest.mark.parametrize("name", ["pyramid_attention_broadcast", "faster_cache"])
    def test_a_pipeline_that_does_not_tell_its_step_is_said_so(self, name):
        class Silent:
            transformer = SimpleNamespace(enable_cache=lambda config: None)

        with pytest.raises(
            UserError, match=f"^editor.params.approximations.{name}: Silent does not tell which"
        ):
            approximate(Silent(), Silent.transformer, {name: {}}, "float32", lambda: None)
        approximate(Silent(), Silent.transformer, CACHE, "float32", lambda: None)  # this one does not ask

    def test_cache_dit(self, tiny):
        pytest.importorskip("cache_dit", reason="cache-dit is part of the extra test-models")
        context = HostContext(model=str(tiny("qwen-image-edit-plus")))
        wanted = {
            "cache_dit": {"max_warmup_steps": 1, "residual_diff_threshold": 0.9, "Fn_compute_blocks": 1}
        }
        editor = QwenImageEdit(replace(PARAMS, approximations=wanted), context)
        first = editor.edit(request(), no_step).tobytes()
        assert editor.edit(request(), no_step).tobytes() == first
        with pytest.raises(ConfigError, match="no option 'rdt'"):
            QwenImageEdit(replace(PARAMS, approximations={"cache_dit": {"rdt": 1}}), context)


def _fails_in_the_middle(step, steps):
    if step == 2:
        raise RuntimeError("in the middle")


def _is_installed(package):
    import importlib.util

    return importlib.util.find_spec(package.replace("-", "_")) is not None
