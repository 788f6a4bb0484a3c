"""Expected scores where what questions share is read once: the same as when each question is read alone."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import Call, Rubric
from edit_eval.driver.rubrics import load_rubric
from edit_eval.judges.asking import AskingJudge
from edit_eval.judges.engines import Question
from edit_eval.judges.engines.prefix import common_length
from edit_eval.judges.engines.transformers import TransformersEngine
from edit_eval.judges.qwen3_vl import Qwen3VL
from edit_eval.worker.protocol import FROM_HOST
from judges.vision_requests import PARAMS, context, requests

EXPECTED = replace(PARAMS, mode="expected", least_mass=0.0)
FIVE = AskingJudge.adapted(EXPECTED, load_rubric("general-5-v1"))
LEVELS = ("1", "2", "3", "4", "5")


def models(test):
    """Mark a test that runs a tiny model."""
    return pytest.mark.models(pytest.mark.usefixtures("one_thread")(test))


def questions(rubric=FIVE):
    """Three questions about each of five edits, as the judge asks them."""
    judge = AskingJudge.__new__(AskingJudge)
    judge.params, judge.rubrics = EXPECTED, (rubric,)
    return [judge._question(one, 0) for each in requests(rubric) for one in judge._asked(each)]


def apart(some, others):
    """The largest difference of two lists of replies in any probability."""
    return max(
        abs(one.probabilities[level] - other.probabilities[level])
        for one, other in zip(some, others, strict=True)
        for level in one.probabilities
    )


def plainly(engine, asked):
    """Replies where every question is read whole and alone."""
    kept, engine._shared_prefix = engine._shared_prefix, None
    replies = [engine.ask([one])[0] for one in asked]
    engine._shared_prefix = kept
    return replies


class Counting(TransformersEngine):
    """Notes rows and tokens of each forward."""

    def build(self):
        model, processor = super().build()
        self.forwards = []
        before = model.forward

        def forward(*args, **inputs):
            self.forwards.append(tuple(inputs["input_ids"].shape))
            return before(*args, **inputs)

        forward.__signature__ = inspect.signature(before)
        model.forward = forward
        return model, processor


@models
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_probabilities_are_those_of_the_plain_forward(folder, batch_size):
    """Images of different sizes, texts of different lengths, padding on the left: within 1e-4 in float32."""
    engine = TransformersEngine(EXPECTED, context(folder, batch_size))
    assert engine.facts()["shared_prefix"] is True
    assert FROM_HOST["ready"]["facts"].test(engine.facts())
    asked = questions()
    together, alone = engine.ask(asked), plainly(engine, asked)
    assert apart(together, alone) < 1e-4
    assert [one.tokens_in for one in together] == [one.tokens_in for one in alone]
    assert len({one.tokens_in for one in together}) > 5


@models
def test_batches_of_one_and_eight_give_the_same_verdicts(folder):
    """Expected scores on a scale of 1 to 5 within 1e-4 in float32."""
    one, eight = (Qwen3VL(EXPECTED, context(folder, size), [FIVE]).judge(requests(FIVE)) for size in (1, 8))
    for first, second in zip(one, eight, strict=True):
        assert first.scores == pytest.approx(second.scores, abs=1e-4)
        assert first.overall == pytest.approx(second.overall, abs=1e-4)


@models
def test_what_is_shared_is_read_once(dense):
    engine = Counting(EXPECTED, context(dense, 8))
    engine.forwards.clear()
    replies = engine.ask(questions())
    head, *tails = engine.forwards
    assert head[0] == 5  # one row for each edit
    assert [rows for rows, _ in tails] == [5, 5, 5]
    assert head[1] + tails[0][1] == pytest.approx(max(one.tokens_in for one in replies), abs=40)
    assert max(tokens for _, tokens in tails) < 0.3 * head[1]


@models
def test_endings_of_different_lengths_are_read_to_their_own_end(dense):
    engine = TransformersEngine(EXPECTED, context(dense, 8))
    first, second = requests(FIVE)[:2]
    asked = []
    for each, ends in ((first, ("a", "b" * 30, "cc")), (second, ("d" * 50, "e"))):
        head = (("image", each.sources[0]), ("text", "and"), ("image", each.edited))
        asked += [Question((*head, ("text", f"Is it {end}?")), 1, choices=LEVELS) for end in ends]
    rows = engine._next_rows(asked)
    assert [len(row) for row in rows] == [3, 2]
    assert apart(engine.ask(asked), plainly(engine, asked)) < 1e-4


@models
def test_questions_that_end_with_an_image_are_read_alone(dense):
    rubric = load_rubric("general-5-v1")
    prompt = "{output_format} {instruction} {image:source} {image:edited}"
    turned = replace(rubric, calls=(Call("c", prompt, rubric.calls[0].dimensions),))
    asked = questions(AskingJudge.adapted(EXPECTED, turned))
    engine = TransformersEngine(EXPECTED, context(dense, 8))
    assert [len(row) for row in engine._next_rows(asked)] == [1] * 8
    assert apart(engine.ask(asked), plainly(engine, asked)) < 1e-4


@models
def test_several_rubrics_in_one_batch_stay_apart(dense):
    engine = TransformersEngine(EXPECTED, context(dense, 8))
    short = Rubric(
        "s",
        FIVE.dimensions[:1],
        (Call("q", "{output_format}", ("instruction",), ("edited",), "level"),),
        "1",
        1,
        5,
    )
    asked = [*questions(short)[:2], *questions()[:3], *questions(short)[2:3]]
    assert [len(row) for row in engine._next_rows(asked)] == [1, 1, 3, 1]
    assert apart(engine.ask(asked), plainly(engine, asked)) < 1e-4


@models
def test_out_of_memory_halves_the_edits_and_redoes_none_that_is_answered(dense, capsys):
    class Tight(TransformersEngine):
        """Has room for `room[i]` edits at its i-th batch."""

        room = (2, 1, 1)

        def _weigh(self, rows):
            self.tried = [*getattr(self, "tried", []), len(rows)]
            if len(rows) > self.room[min(len(self.tried), len(self.room)) - 1]:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return super()._weigh(rows)

    engine = Tight(EXPECTED, context(dense, 2))
    asked = questions()
    replies = engine.ask(asked)
    assert engine.tried == [2, 2, 1, 1, 1]
    assert engine.window == 1
    assert "out of memory with 2 edits at once; going on with 1" in capsys.readouterr().err
    assert apart(replies, plainly(TransformersEngine(EXPECTED, context(dense, 8)), asked)) < 1e-4


@models
def test_out_of_memory_within_an_ending_is_out_of_memory(dense, capsys):
    class Late(TransformersEngine):
        """Has no room for the second ending of more than two edits."""

        def build(self):
            model, processor = super().build()
            before, self.seen = model.forward, []

            def forward(*args, **inputs):
                self.seen.append(inputs["input_ids"].shape[0])
                if len(self.seen) > 20 and self.seen[-3:] == [4, 4, 4]:
                    raise RuntimeError("CUDA out of memory.")
                return before(*args, **inputs)

            forward.__signature__ = inspect.signature(before)
            model.forward = forward
            return model, processor

    engine = Late(EXPECTED, context(dense, 4))
    engine.seen[:] = [0] * 20
    asked = questions()
    replies = engine.ask(asked)
    assert engine.seen[20:] == [4, 4, 4, *[2] * 8, *[1] * 4]
    assert "out of memory with 4 edits at once; going on with 2" in capsys.readouterr().err
    assert apart(replies, plainly(engine, asked)) < 1e-4


@models
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("signature", "its forward takes no "),
        ("positions", "probabilities are "),
        ("cache", "its cache cannot be cut, or"),
        ("text", "or its processor does not put a text's tokens last"),
    ],
)
def test_a_model_that_cannot_be_asked_so_is_asked_plainly(dense, capsys, fault, said):
    class Other(TransformersEngine):
        """A model of another kind."""

        def build(self):
            model, processor = super().build()
            before = model.forward

            def forward(input_ids, attention_mask=None, **inputs):
                out = before(input_ids=input_ids, attention_mask=attention_mask, **inputs)
                cache = getattr(out, "cache", None) or out.past_key_values
                for layer in cache.layers if cache and fault == "cache" else ():
                    layer.__class__ = type("OtherLayer", (layer.__class__,), {})
                return out

            if fault in ("signature", "cache"):
                model.forward = forward
            if fault == "cache":
                forward.__signature__ = inspect.signature(before)
            if fault == "positions":
                right = model.model.get_rope_index

                @functools.wraps(right)
                def wrong(*args, **inputs):
                    """Right for the model itself, which passes the tokens by place."""
                    positions, deltas = right(*args, **inputs)
                    return positions + (0 if args else 500), deltas

                model.model.get_rope_index = wrong
            if fault == "text":
                call = type(processor).__call__

                class Ending(type(processor)):
                    def __call__(self, text, **more):
                        return call(self, text=[f"{one} " for one in text], **more)

                processor.__class__ = Ending
            return model, processor

    engine = Other(EXPECTED, context(dense, 4))
    assert engine.facts()["shared_prefix"] is False
    told = capsys.readouterr().err
    assert said in told
    asked = questions()[:4]
    assert apart(engine.ask(asked), plainly(engine, asked)) < 1e-4


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_common_beginning_leaves_each_an_end(sequences):
    common = common_length(sequences)
    assert all(len(one) > common for one in sequences)
    assert len({tuple(one[:common]) for one in sequences}) == 1
    longer = {tuple(one[: common + 1]) for one in sequences}
    assert len(longer) > 1 or min(map(len, sequences)) == common + 1
