"""The transformers judge on tiny random-weight checkpoints of the real classes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from edit_eval.core.errors import ModelError, UserError
from edit_eval.core.identity import identity_params
from edit_eval.core.types import HostContext
from edit_eval.driver.rubrics import load_rubric
from edit_eval.judges.engines import Question
from edit_eval.judges.engines.decoding import StaticDecoding
from edit_eval.judges.engines.transformers import TransformersEngine
from edit_eval.judges.qwen3_vl import Qwen3VL
from edit_eval.judges.vision import VisionParams
from judges.vision_requests import PARAMS, RUBRIC, SHORT, context, request, requests

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]


def test_random_weights_give_unreadable_judgements(folder):
    judge = Qwen3VL(PARAMS, context(folder), [RUBRIC])
    verdicts = judge.judge(requests(RUBRIC)[:3])
    assert [one.unscored for one in verdicts] == ["unparsable"] * 3
    assert all(one.reply for one in verdicts)
    assert judge.window == 4


@pytest.mark.parametrize("size", [3, 8])
def test_a_batch_gives_the_same_replies_as_one_at_a_time(folder, size):
    """Left padding is masked: in float32 greedy replies are equal, text for text."""
    alone = Qwen3VL(PARAMS, context(folder, 1), [SHORT]).judge(requests())
    together = Qwen3VL(PARAMS, context(folder, size), [SHORT]).judge(requests())
    assert texts(together) == texts(alone)
    assert all("\n\n" in one.reply for one in alone)


@pytest.mark.parametrize("size", [3, 8])
def test_a_static_cache_and_full_batches_give_the_same_replies(folder, size):
    """On a CPU nothing is compiled; the arguments, the filled batches and what is dropped are those of a GPU."""
    plain = Qwen3VL(PARAMS, context(folder, size), [SHORT])
    static = Qwen3VL(replace(PARAMS, compile="on"), context(folder, size), [SHORT])
    assert texts(static.judge(requests())) == texts(plain.judge(requests()))
    assert static.engine_in_use.facts()["compile"] == ("off" if transformers_is_old() else "on")
    assert plain.engine_in_use.facts()["compile"] == "off"
    earlier = HostContext(("cpu",), str(folder), options={"batch_size": size, "compile": "on"})
    assert Qwen3VL(PARAMS, earlier, [SHORT]).engine_in_use.facts() == static.engine_in_use.facts()


@pytest.mark.long
def test_a_compiled_step_gives_the_same_replies_and_is_compiled_once(folder):
    from torch._dynamo.utils import counters
    from transformers import CompileConfig

    how = CompileConfig(backend="aot_eager", mode=None)
    how._compile_all_devices = True
    judge = Qwen3VL(replace(PARAMS, compile="on"), context(folder, 3), [SHORT])
    judge.engine_in_use.model.generation_config.compile_config = how
    counters.clear()
    replies = texts(judge.judge(requests()))
    assert replies == texts(Qwen3VL(PARAMS, context(folder, 3), [SHORT]).judge(requests()))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_the_same_question_gets_the_same_reply_in_bfloat16(dense):
    params = VisionParams(max_new_tokens=8, min_pixels=4096, max_pixels=4096)
    judge = Qwen3VL(params, context(dense), [SHORT])
    first, second = judge.judge([request(), request()])
    assert first == second
    assert str(judge.engine_in_use.model.dtype) == "torch.bfloat16"


class Tight(TransformersEngine):
    """An engine whose device has room for `room[i]` questions at its i-th batch."""

    room = (4,)
    message = "CUDA out of memory. Tried to allocate 2.00 GiB."

    def _generate(self, batch):
        self.tried = [*getattr(self, "tried", []), len(batch)]
        if len(batch) > self.room[min(len(self.tried), len(self.room)) - 1]:
            raise RuntimeError(self.message)
        return super()._generate(batch)


def judge_with(engine, folder, batch_size=4):
    """A judge that asks this engine."""

    class With(Qwen3VL):
        def open_engine(self):
            return engine(self.params, self.context)

    return With(PARAMS, context(folder, batch_size), [SHORT])


def texts(verdicts):
    return [one.reply for one in verdicts]


def test_a_batch_out_of_memory_is_halved_and_nothing_is_done_twice(dense, capsys):
    class Shrinking(Tight):
        room = (4, 2)

    judge = judge_with(Shrinking, dense)
    verdicts = judge.judge(requests()[:4])
    tried = judge.engine_in_use.tried
    assert tried == [4, 4, 2, 2]  # eight questions: four fit, the next four had to be asked in pairs
    assert judge.window == 2
    assert texts(verdicts) == texts(Qwen3VL(PARAMS, context(dense, 1), [SHORT]).judge(requests()[:4]))
    assert "out of memory with 4 questions at once; going on with 2" in capsys.readouterr().err
    judge.judge(requests()[:1])
    assert judge.engine_in_use.tried[4:] == [2]


def test_out_of_memory_with_one_question_is_the_samples_failure(dense):
    class Full(Tight):
        room = (0,)

    judge = judge_with(Full, dense)
    with pytest.raises(RuntimeError, match="out of memory"):
        judge.judge(requests()[:2])
    assert judge.engine_in_use.tried == [4, 2, 1]
    assert judge.window == 1


def test_other_faults_are_not_taken_for_lack_of_memory(dense):
    class Broken(Tight):
        room = (0,)
        message = "shapes cannot be multiplied"

    judge = judge_with(Broken, dense)
    with pytest.raises(RuntimeError, match="shapes"):
        judge.judge(requests())
    assert (judge.engine_in_use.tried, judge.window) == ([4], 4)


@pytest.mark.parametrize(("choice", "asked"), [("auto", [4, 4, 1]), ("on", [4])])
def test_a_step_that_does_not_compile_is_not_compiled(dense, monkeypatch, capsys, choice, asked):
    plain = TransformersEngine(PARAMS, context(dense, 4))
    monkeypatch.setattr(
        "edit_eval.judges.engines.transformers.find_static_decoding",
        lambda _model, _choice, rows, _questions: StaticDecoding(rows),
    )

    class Uncompiled(Tight):
        def _generate(self, batch):
            self.tried = [*getattr(self, "tried", []), len(batch)]
            if self._static is not None:
                raise RuntimeError("backend='inductor' raised: no kernel for this")
            return TransformersEngine._generate(self, batch)

    engine = Uncompiled(replace(PARAMS, compile=choice), context(dense, 4))
    questions = [question(one) for one in requests()]
    if choice == "on":
        with pytest.raises(RuntimeError, match="no kernel"):
            engine.ask(questions)
    else:
        assert engine.ask(questions) == plain.ask(questions)
        assert "not compiled: backend='inductor' raised: no kernel for this" in capsys.readouterr().err
    assert engine.tried == asked


def question(request, **how):
    parts = [("image", request.sources[0]), ("text", request.prompts[0].text)]
    return Question(tuple(parts), PARAMS.max_new_tokens, **how)


def test_tells_a_reply_that_ended_from_one_that_was_cut_off(dense):
    asked = [question(one) for one in (request(), request("x", (64, 64)))]
    replies = TransformersEngine(PARAMS, context(dense)).ask(asked)
    assert [(one.truncated, one.tokens_out) for one in replies] == [(True, 16), (True, 16)]

    class Ending(TransformersEngine):
        """Ends a reply at a byte that the first question's reply is known to hold."""

        def build(self):
            model, processor = super().build()
            known = processor.tokenizer(replies[0].text)["input_ids"]
            model.generation_config.eos_token_id = known[0]
            return model, processor

    ended, _ = Ending(PARAMS, context(dense)).ask(asked)
    assert not ended.truncated
    assert len(ended.text) < len(replies[0].text)
    assert ended.tokens_out < 16


def test_tokens_are_counted_without_padding(dense):
    engine = TransformersEngine(PARAMS, context(dense))
    short, long = question(request("x", (64, 64))), question(request("more " * 40, (128, 128)))
    together = [one.tokens_in for one in engine.ask([short, long])]
    assert together == [engine.ask([one])[0].tokens_in for one in (short, long)]
    assert together[0] < together[1]


def test_the_real_processor_takes_the_device_on_which_images_are_resized(dense):
    engine = TransformersEngine(PARAMS, context(dense))
    assert engine.facts()["images_on_device"] is False  # a CPU gains nothing
    asked = [question(request("x", (200, 90)))]
    plain = engine._inputs(asked)
    engine._how_images = {"images_kwargs": {"device": "cpu"}}
    told = engine._inputs(asked)
    assert engine.facts()["images_on_device"] is True
    assert set(plain) == set(told)
    assert all(plain[name].equal(told[name]) for name in plain)


def test_a_sampled_reply_depends_on_its_seed_alone(dense):
    engine = TransformersEngine(PARAMS, context(dense))
    asked = [question(request(), temperature=1.0, seed=seed) for seed in (1, 2)]
    together = [one.text for one in engine.ask([question(request("y")), *asked])][1:]
    assert together[0] != together[1]
    assert [engine.ask([one])[0].text for one in reversed(asked)] == together[::-1]


def test_the_probability_of_each_choice_is_that_of_the_first_token(dense):
    import torch

    engine = TransformersEngine(PARAMS, context(dense))
    levels = ("1", "2", "3", "4", "5")
    asked = [question(one, choices=levels) for one in (request(), request("x", (64, 64)))]
    together = engine.ask(asked)
    for one, reply in zip(asked, together, strict=True):
        inputs = engine._inputs([one])
        with torch.inference_mode():
            last = engine.model(**inputs).logits[0, -1].softmax(dim=-1)
        for level, probability in reply.probabilities.items():
            (token,) = engine.processor.tokenizer.encode(level)
            assert probability == pytest.approx(float(last[token]), rel=1e-4)
        assert reply.text == ""
    with pytest.raises(ModelError, match="writes the level 10 as 2 tokens"):
        engine.ask([question(request(), choices=("10",))])


def test_images_are_kept_within_the_pixel_limits(dense):
    judge = Qwen3VL(PARAMS, context(dense), [SHORT])
    images = [Image.new("RGB", size) for size in [(1000, 1000), (8, 8), (600, 90), (100, 100)]]
    grids = judge.engine_in_use.processor.image_processor(images=images, return_tensors="pt")[
        "image_grid_thw"
    ]
    pixels = (grids.prod(dim=1) * 16 * 16).tolist()
    assert all(PARAMS.min_pixels <= one <= PARAMS.max_pixels for one in pixels)
    assert (max(pixels), min(pixels)) == (128 * 128, 64 * 64)
    assert "16384 pixels" in Qwen3VL.size_policy(PARAMS)


def test_a_checkpoint_that_asks_for_sampling_is_decoded_greedily_without_a_word(dense, tmp_path, capfd):
    copy = tmp_path / "model"
    shutil.copytree(dense, copy)
    path = copy / "generation_config.json"
    sampling = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 2.0}
    path.write_text(json.dumps({**json.loads(path.read_text()), **sampling}))
    plain = Qwen3VL(PARAMS, context(dense), [SHORT]).judge([request()])
    capfd.readouterr()
    judge = Qwen3VL(PARAMS, context(copy), [SHORT])
    assert texts(judge.judge([request()])) == texts(plain)
    assert not any(
        word in capfd.readouterr().err for word in ("temperature", "top_p", "generation flags", "pad_token")
    )


def test_what_moves_scores_is_identity_the_way_of_computing_is_not():
    assert sorted(identity_params(VisionParams())) == [
        "constrained", "dtype", "ignore_eos", "least_mass", "load_format", "max_new_tokens", "max_pixels",
        "min_pixels", "mode", "retries", "retry_temperature", "samples", "temperature",
    ]  # fmt: skip


def test_the_way_of_computing_can_be_chosen(tiny):
    params = VisionParams(
        max_new_tokens=4,
        dtype="float32",
        max_pixels=65536,
        experts_implementation=None if transformers_is_old() else "eager",
        attn_implementation="eager",
        constrained="off",
    )
    judge = Qwen3VL(params, context(tiny("qwen3-vl-moe")), [SHORT])
    assert judge.engine_in_use.model.config._attn_implementation == "eager"
    assert judge.judge([request()])[0].unscored == "unparsable"


def test_what_only_newer_transformers_can_choose_is_refused_in_one_line(tiny, monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.57.1")
    params = VisionParams(dtype="float32", experts_implementation="eager")
    with pytest.raises(
        ModelError, match=r"experts_implementation: only transformers 5 .*; leave it out"
    ) as caught:
        Qwen3VL(params, context(tiny("qwen3-vl-moe")), [SHORT])
    assert "\n" not in str(caught.value)


def test_a_transformers_before_4_57_is_refused_in_one_line(tiny, monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.56.2")
    with pytest.raises(
        ModelError, match=r"has transformers 4\.56\.2, which is older than 4\.57: run setup_qwen3"
    ):
        Qwen3VL(PARAMS, context(tiny("qwen3-vl")), [SHORT])


def transformers_is_old() -> bool:
    import transformers

    return transformers.__version__.startswith("4.")


def test_resolve_accepts_a_vision_language_model_and_nothing_else(folder, tmp_path):
    assert Qwen3VL.resolve(PARAMS, str(folder)) is PARAMS
    config = tmp_path / "config.json"
    for text, reason in [
        ('{"model_type": "qwen3"}', "model type 'qwen3' has no vision_config"),
        ("[]", "is no model configuration"),
        ("{", "cannot be read"),
    ]:
        config.write_text(text)
        with pytest.raises(ModelError, match=reason) as caught:
            Qwen3VL.resolve(PARAMS, str(tmp_path))
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="No such file"):
        Qwen3VL.resolve(PARAMS, str(tmp_path / "gone"))
    with pytest.raises(ModelError, match=r"needs judge\.model"):
        Qwen3VL.resolve(PARAMS, None)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"min_pixels": 2 << 20}, "min_pixels <= max_pixels"),
        ({"min_pixels": 0}, "1 <="),
    ],
)
def test_resolve_refuses_senseless_parameters(wrong, reason):
    with pytest.raises(UserError, match=reason):
        Qwen3VL.resolve(VisionParams(**wrong), None)


def test_a_judge_over_several_devices_gives_the_same_replies(dense):
    spread = Qwen3VL(PARAMS, context(dense, 4, devices=("cpu", "cpu")), [SHORT])
    assert texts(spread.judge(requests())) == texts(
        Qwen3VL(PARAMS, context(dense, 4), [SHORT]).judge(requests())
    )
    with pytest.raises(UserError, match="a judge over several devices is not compiled"):
        Qwen3VL(replace(PARAMS, compile="on"), context(dense, devices=("cpu", "cpu")), [SHORT])


def test_a_rubric_must_ask_something(dense):
    with pytest.raises(UserError, match="rubric 'reference-v1' asks nothing"):
        Qwen3VL(PARAMS, context(dense), [load_rubric("reference-v1")])


def test_a_checkpoint_that_does_not_load_is_told_in_one_line(dense, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "model"
    shutil.copytree(dense, copy)
    (weights,) = copy.glob("*.safetensors")
    tensors = load_file(weights)
    dropped = min(tensors)
    save_file({name: value for name, value in tensors.items() if name != dropped}, weights, {"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 weights") as caught:
        Qwen3VL(PARAMS, context(copy), [SHORT])
    assert dropped.removeprefix("model.") in str(caught.value)

    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="does not load as a judge: ") as caught:
        Qwen3VL(PARAMS, context(copy), [SHORT])
    assert "\n" not in str(caught.value)


def test_an_interpreter_without_the_libraries_is_named_with_the_mends():
    package = Path(sys.modules["edit_eval"].__file__).parents[1]
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(package)!r})
        from edit_eval.core.errors import ModelError
        from edit_eval.core.types import Call, HostContext, Rubric
        from edit_eval.judges.qwen3_vl import Qwen3VL
        from edit_eval.judges.vision import VisionParams
        try:
            Qwen3VL(VisionParams(), HostContext(model="/nowhere"), [Rubric("r", (), (Call("c", "", ()),), "1", 0, 1)])
        except ModelError as error:
            print(error)
    """
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.startswith(f"{sys.executable} has no torch: run setup_qwen3_vl_env.sh and set judge.python")
    assert f"{sys.executable} -m pip install" in out
    assert out.count("\n") == 1
