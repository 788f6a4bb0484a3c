"""The contract with a talking judge: what is asked, and that a reply is read strictly or not at all."""

import math

import pytest

from edit_eval.core.types import Call, Dimension, Rubric
from edit_eval.judges.contract import (
    CallReply,
    combine,
    json_schema,
    output_format,
    parse_reply,
    parse_verdict,
    verdict_from_scores,
)
from judges.zoo_objects import CALL, GOOD, RUBRIC, answer

WHOLE_CALL = Call("count", "{instruction} {output_format}", ("count",), ("edited",))
WHOLE = Rubric("whole", (Dimension("count", 1, 5, integer=True),), (WHOLE_CALL,), "count", 1, 5)


@pytest.mark.parametrize(
    ("score", "kind"),
    [
        ("3", None),
        ("3.0", None),
        ("1", None),
        ("5", None),
        ("3.5", "out_of_range"),
        ("0", "out_of_range"),
        ("6", "out_of_range"),
    ],
)
def test_an_integer_scale_wants_whole_numbers(score, kind):
    reply = parse_reply(f'{{"count": {{"reason": "r", "score": {score}}}}}', WHOLE, WHOLE_CALL)
    assert reply.unscored == kind


# The form of an answer


def test_the_output_instruction_names_scales_and_dimensions():
    text = output_format(WHOLE, WHOLE_CALL)
    assert '"count": {"reason": "<one sentence>", "score": <whole number from 1 to 5>}' in text
    assert "number from 0 to 10" in output_format(RUBRIC, CALL)


def test_the_schema_is_closed_and_asks_for_the_reason_first():
    schema = json_schema(WHOLE, WHOLE_CALL)
    assert schema["required"] == ["count"]
    assert schema["additionalProperties"] is False
    count = schema["properties"]["count"]
    assert list(count["properties"]) == ["reason", "score"]
    assert count["properties"]["score"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert count["additionalProperties"] is False


# What it comes to


def test_combines_the_scores_of_all_calls():
    calls = (Call("a", "", ("instruction",)), Call("b", "", ("quality",)))
    rubric = Rubric("r", RUBRIC.dimensions, calls, RUBRIC.overall, 0, 10)
    first = CallReply({"instruction": 4.0}, {"instruction": "Half."})
    second = CallReply({"quality": 9.0}, {"quality": "Good."})
    verdict = combine(rubric, [first, second], ["one", "two"])
    assert verdict.overall == 6
    assert verdict.scores == {"instruction": 4, "quality": 9}
    assert verdict.reasons == {"instruction": "Half.", "quality": "Good."}
    assert verdict.reply == "one\n\ntwo"

    broken = combine(rubric, [first, CallReply(unscored="truncated")], ["one", "tw"])
    assert (broken.overall, broken.unscored, broken.scores) == (None, "truncated", {})
    both = combine(rubric, [CallReply(unscored="refused"), CallReply(unscored="truncated")], ["", ""])
    assert both.unscored == "refused"
    with pytest.raises(ValueError, match="2 calls, 1 replies"):
        combine(rubric, [first], ["one"])


@pytest.mark.parametrize(
    ("overall", "scores"),
    [
        ("1 / (count - 3)", 3.0),
        ("count * 2", 4.0),
        ("0 - count", 1.0),
        ("count", 9.0),
        ("count", 1.5),
        ("count", math.nan),
    ],
)
def test_an_overall_outside_its_range_is_no_score(overall, scores):
    rubric = Rubric("r", WHOLE.dimensions, (), overall, 1, 5)
    verdict = verdict_from_scores(rubric, {"count": scores}, {}, "note")
    assert (verdict.unscored, verdict.overall, verdict.reply) == ("out_of_range", None, "note")


def test_rounding_alone_does_not_leave_the_range():
    dimensions = tuple(Dimension(name, 0, 1) for name in "abc")
    rubric = Rubric("r", dimensions, (), "0.1 * a + 0.2 * b + 0.3 * c + 0.4", 0, 1)
    verdict = verdict_from_scores(rubric, {"a": 1, "b": 1, "c": 1}, {}, "")
    assert verdict.overall == pytest.approx(1)
    assert verdict.overall <= 1


def test_measured_scores_must_be_the_rubrics():
    with pytest.raises(ValueError, match=r"scored \['x'\]"):
        verdict_from_scores(WHOLE, {"x": 1}, {}, "")


# One reply, one verdict


def test_one_reply_to_one_question_is_a_verdict():
    verdict = parse_verdict(f"Well. {answer('4', '9')}", RUBRIC)
    assert verdict.scores == {"instruction": 4, "quality": 9}
    assert (verdict.overall, verdict.unscored) == (6, None)
    assert verdict.reasons == {"instruction": "Fine.", "quality": "Sharp."}
    assert verdict.reply.startswith("Well. ")


@pytest.mark.parametrize(
    ("text", "cut_off", "kind"),
    [
        ("8/10", False, "unparsable"),
        (answer("11"), False, "out_of_range"),
        (GOOD[:40], False, "unparsable"),
        (GOOD[:40], True, "truncated"),
        ("I cannot evaluate this.", False, "refused"),
    ],
)
def test_one_reply_without_a_score_is_an_unscored_verdict(text, cut_off, kind):
    verdict = parse_verdict(text, RUBRIC, truncated=cut_off)
    assert (verdict.unscored, verdict.overall, verdict.scores, verdict.reply) == (kind, None, {}, text)


@pytest.mark.parametrize("count", [0, 2])
def test_one_reply_answers_one_question(count):
    calls = tuple(Call(f"c{number}", "", ("instruction",)) for number in range(count))
    with pytest.raises(ValueError, match=rf"rubric 'r' asks {count} questions, and one reply answers one"):
        parse_verdict(GOOD, Rubric("r", RUBRIC.dimensions, calls, RUBRIC.overall, 0, 10))
