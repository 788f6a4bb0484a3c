"""What a judge that talks asks, when it asks again, and what it makes of the replies; the engine is a script."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edit_eval.core.errors import ConfigError, UserError
from edit_eval.core.types import HostContext, JudgeRequest, Rubric, Sample, Verdict
from edit_eval.driver.rubrics import check_recorded_rubric, load_rubric
from edit_eval.judges.asking import AskingJudge, AskingParams
from edit_eval.judges.contract import held_to
from edit_eval.judges.engines import Engine, Question, Reply
from edit_eval.judges.prompts import render_prompts

FIVE = load_rubric("general-5-v1")
NAMES = [one.name for one in FIVE.dimensions]


def said(*scores: float) -> str:
    return json.dumps(
        {name: {"reason": "Seen.", "score": score} for name, score in zip(NAMES, scores, strict=True)}
    )


class Script(Engine):
    """Answers the k-th question it is ever asked with `answer(k, question)`."""

    def __init__(self, answer: Callable[[int, Question], Reply]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        replies = []
        for question in questions:
            replies.append(self.answer(len(self.asked), question))
            self.asked.append(question)
        return replies


def judge_of(answer: Callable[[int, Question], Reply], **params: object) -> AskingJudge:
    class Scripted(AskingJudge):
        def open_engine(self) -> Engine:
            return Script(answer)

    given = AskingParams(**params)
    return Scripted(given, HostContext(), [AskingJudge.adapted(given, FIVE)])


def request(rubric: Rubric, seed: int = 7, instruction: str = "add a cat") -> JudgeRequest:
    sample = Sample("s", instruction, ("a.png",))
    images = (Image.new("RGB", (8, 8)),)
    return JudgeRequest(sample, rubric, render_prompts(rubric, sample), images, images[0], (), seed)


def verdicts(judge: AskingJudge, count: int = 1) -> list[Verdict]:
    """What the judge says of so many edits; each is held against the rubric as a host does."""
    (rubric,) = judge.rubrics
    return [held_to(rubric, one) for one in judge.judge([request(rubric, seed) for seed in range(count)])]


def test_a_good_reply_is_asked_for_once_greedily_and_held_to_the_schema():
    judge = judge_of(lambda _, __: Reply(said(5, 4, 4), tokens_in=100, tokens_out=20))
    (verdict,) = verdicts(judge)
    assert verdict.scores == {"instruction": 5, "preservation": 4, "quality": 4}
    assert verdict.overall == 4
    (question,) = judge.engine_in_use.asked
    assert (question.temperature, question.max_tokens, question.choices) == (0, 512, ())
    assert list(question.schema["properties"]) == NAMES
    assert [kind for kind, _ in question.parts] == ["text", "image", "text", "image", "text"]
    assert verdict.facts == {"replies": 1, "attempts": 1, "tokens_in": 100, "tokens_out": 20}


def test_constrained_off_holds_nothing():
    judge = judge_of(lambda _, __: Reply(said(5, 4, 4)), constrained="off")
    verdicts(judge)
    assert judge.engine_in_use.asked[0].schema is None


def test_only_what_gave_no_score_is_asked_again_sampled_with_seeds_of_its_own():
    replies = [said(5, 4, 4), "I think it is fine.", said(1, 2, 3), "No.", said(3, 3, 9), said(2, 2, 2)]
    judge = judge_of(lambda number, _: Reply(replies[number]), retries=3)
    first, second, third = verdicts(judge, 3)
    assert (first.overall, second.unscored, second.facts["replies"]) == (4, None, 4)
    assert second.scores["instruction"] == 2
    assert third.scores == {"instruction": 1, "preservation": 2, "quality": 3}
    asked = judge.engine_in_use.asked
    assert [one.temperature for one in asked] == [0, 0, 0, 0.7, 0.7, 0.7]
    assert len({one.seed for one in asked[3:]}) == 3


def test_retries_are_bounded_and_then_the_edit_is_unscored_with_the_last_reply():
    judge = judge_of(lambda number, _: Reply(f"No {number}"), retries=3)
    (verdict,) = verdicts(judge)
    assert (verdict.unscored, verdict.overall, verdict.reply) == ("unparsable", None, "No 3")
    assert verdict.facts["replies"] == 4


@pytest.mark.parametrize("kind", ["timeout", "error"])
def test_what_the_engine_itself_gave_up_is_not_asked_again(kind):
    judge = judge_of(lambda _, __: Reply("no answer within 60 s", unscored=kind, attempts=5))
    (verdict,) = verdicts(judge)
    assert (verdict.unscored, verdict.reply, verdict.facts["attempts"]) == (kind, "no answer within 60 s", 5)
    assert len(judge.engine_in_use.asked) == 1


def test_a_providers_refusal_is_a_refusal_whatever_its_text():
    judge = judge_of(lambda _, __: Reply(said(5, 5, 5), unscored="refused"), retries=0)
    assert verdicts(judge)[0].unscored == "refused"


def test_a_cut_off_reply_is_truncated_and_asked_again():
    judge = judge_of(
        lambda number, _: Reply(said(4, 4, 4)) if number else Reply(said(4, 4, 4)[:-9], truncated=True)
    )
    assert verdicts(judge)[0].overall == 4


# Several readings


def test_the_mean_of_several_readings_and_their_spread():
    scores = [(5, 4, 2), (3, 4, 4), (4, 4, 3)]
    judge = judge_of(lambda number, _: Reply(said(*scores[number])), samples=3, temperature=1.0)
    (verdict,) = verdicts(judge)
    assert verdict.scores == {"instruction": 4, "preservation": 4, "quality": 3}
    # sqrt(min(4, 4) * 3), of the means; the standard deviations of 5, 3, 4 and of 2, 4, 3 are 1
    assert verdict.overall == pytest.approx(math.sqrt(12))
    assert verdict.facts["spread"] == {"instruction": 1, "preservation": 0, "quality": 1}
    seeds = [one.seed for one in judge.engine_in_use.asked]
    assert len(set(seeds)) == 3
    assert judge.rubrics[0].name == "general-5-v1-mean-of-3"


def test_a_mean_may_lie_between_the_levels():
    scores = [(5, 4, 2), (4, 4, 2)]
    judge = judge_of(lambda number, _: Reply(said(*scores[number])), samples=2, temperature=0.5)
    assert verdicts(judge)[0].scores["instruction"] == 4.5
    plain = Verdict({"instruction": 4.5, "preservation": 4, "quality": 2}, math.sqrt(8))
    with pytest.raises(ValueError, match=r"4\.5 of instruction is no whole number"):
        held_to(FIVE, plain)


def test_one_reading_without_a_score_leaves_the_edit_unscored():
    judge = judge_of(
        lambda number, _: Reply("?" if number == 1 else said(4, 4, 4)), samples=3, temperature=1.0, retries=0
    )
    (verdict,) = verdicts(judge)
    assert (verdict.unscored, "spread" in verdict.facts) == ("unparsable", False)


# Expected scores


def levels(**weights: float) -> Reply:
    return Reply("", probabilities={name.removeprefix("p"): one for name, one in weights.items()})


def test_an_expected_score_is_the_mean_over_the_levels_by_their_probability():
    answers = [levels(p1=0, p2=0, p3=0.1, p4=0.3, p5=0.4), levels(p5=0.9), levels(p1=0.25, p5=0.25)]
    judge = judge_of(lambda number, _: answers[number], mode="expected")
    (verdict,) = verdicts(judge)
    # (3 * 0.1 + 4 * 0.3 + 5 * 0.4) / 0.8 = 3.5 / 0.8; 5; (1 * 0.25 + 5 * 0.25) / 0.5
    assert verdict.scores == pytest.approx({"instruction": 4.375, "preservation": 5, "quality": 3})
    assert verdict.facts["mass"] == {"instruction": 0.8, "preservation": 0.9, "quality": 0.5}
    assert "instruction by probability: 1: 0.0000" in verdict.reply
    asked = judge.engine_in_use.asked
    assert [one.choices for one in asked] == [("1", "2", "3", "4", "5")] * 3
    assert judge.rubrics[0].name == "general-5-v1-expected"


def test_the_questions_of_one_sample_share_all_but_their_end():
    judge = judge_of(lambda _, __: levels(p3=1), mode="expected")
    verdicts(judge)
    heads = {
        tuple(part[1] for part in one.parts if part[0] == "text")[:-1] for one in judge.engine_in_use.asked
    }
    tails = [one.parts[-1][1] for one in judge.engine_in_use.asked]
    assert len(heads) == 1
    shared = tails[0].index('Give the score of "')
    assert {tail[:shared] for tail in tails} == {tails[0][:shared]}
    assert [f'Give the score of "{name}" alone' in tail for name, tail in zip(NAMES, tails, strict=True)] == [
        True
    ] * 3


def test_too_little_probability_on_the_levels_is_no_score_and_is_not_asked_again():
    judge = judge_of(lambda _, __: levels(p5=0.3), mode="expected")
    (verdict,) = verdicts(judge)
    assert (verdict.unscored, verdict.overall) == ("unparsable", None)
    assert verdict.facts["mass"]["quality"] == 0.3
    assert len(judge.engine_in_use.asked) == 3


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0, 1))
def test_no_probabilities_give_a_number_off_the_scale(weights, least):
    answer = levels(**{f"p{level}": one for level, one in enumerate(weights, 1)})
    (verdict,) = verdicts(judge_of(lambda _, __: answer, mode="expected", least_mass=least))
    if verdict.unscored is None:
        assert all(1 <= one <= 5 for one in verdict.scores.values())
    else:
        assert math.fsum(weights) <= least or not math.fsum(weights)


def test_scales_that_digits_cannot_tell_are_refused():
    with pytest.raises(
        ConfigError, match=r"expected cannot follow rubric 'general-v1': the scale .* is not of whole"
    ):
        AskingJudge.adapted(AskingParams(mode="expected"), load_rubric("general-v1"))
    ten = replace(FIVE, dimensions=tuple(replace(one, low=0, high=10) for one in FIVE.dimensions))
    with pytest.raises(ConfigError, match="0 to 10, and not every level is one digit; use general-5-v1"):
        AskingJudge.adapted(AskingParams(mode="expected"), ten)
    lines = replace(FIVE, calls=(replace(FIVE.calls[0], reply="lines"),))
    with pytest.raises(ConfigError, match="wants a text of another form"):
        AskingJudge.adapted(AskingParams(mode="expected"), lines)


@pytest.mark.parametrize("params", [{"mode": "expected"}, {"samples": 4, "temperature": 1.0}])
def test_an_adapted_rubric_can_be_recorded_and_read_again(params):
    rubric = AskingJudge.adapted(AskingParams(**params), FIVE)
    check_recorded_rubric(json.loads(json.dumps(rubric.to_json())))
    assert Rubric.from_json(json.loads(json.dumps(rubric.to_json()))) == rubric


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"samples": 0}, "samples: must be at least 1"),
        ({"samples": 3}, "samples: more than 1 needs a temperature above 0"),
        ({"samples": 3, "temperature": 1.0, "mode": "expected"}, "leave out samples"),
        ({"retries": -1}, "retries: must be at least 0 and at most 20, is -1"),
        ({"temperature": float("nan")}, "temperature: must be"),
        ({"least_mass": 1.5}, "least_mass: must be at least 0 and at most 1"),
        ({"max_new_tokens": 0}, "max_new_tokens: must be at least 1, is 0"),
    ],
)
def test_senseless_parameters_are_refused_in_one_line(params, said):
    with pytest.raises(UserError, match=said) as caught:
        AskingParams(**params).check()
    assert "\n" not in str(caught.value)


def test_two_edits_are_compared_in_both_orders_in_the_same_words():
    """What differs between the two questions is the order of the images alone; the better one is named by its place."""
    rubric = load_rubric("pairwise-v1")
    sample = Sample("s", "add a cat", ("a.png",))
    source, edited, other = (Image.new("RGB", (8, 8), (level,) * 3) for level in (0, 200, 100))
    asked = JudgeRequest(sample, rubric, render_prompts(rubric, sample), (source,), edited, (other,), 7)

    def brighter(_: int, question: Question) -> Reply:
        *_, first, second = (part.getpixel((0, 0))[0] for kind, part in question.parts if kind == "image")
        return Reply(json.dumps({"better": {"reason": "Seen.", "score": 0 if first > second else 2}}))

    class Scripted(AskingJudge):
        def open_engine(self) -> Engine:
            return Script(brighter)

    judge = Scripted(AskingParams(), HostContext(), [rubric])
    (verdict,) = judge.judge([asked])
    assert held_to(rubric, verdict).overall == 1
    assert verdict.scores == {"first": 0, "second": 2}
    first, second = judge.engine_in_use.asked
    assert [part for kind, part in first.parts if kind == "text"] == [
        part for kind, part in second.parts if kind == "text"
    ]
    assert [part for kind, part in first.parts if kind == "image"] == [source, edited, other]
    assert [part for kind, part in second.parts if kind == "image"] == [source, other, edited]
    assert first.schema == second.schema
    assert list(first.schema["properties"]) == ["better"]
