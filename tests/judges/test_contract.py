"""The contract with a talking judge: what is asked, and that a reply is read strictly or not at all."""

import json
import math
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edit_eval.core.types import Call, Dimension, Rubric
from edit_eval.judges.contract import (
    CallReply,
    combine,
    json_schema,
    output_format,
    parse_reply,
    verdict_from_scores,
)

CALL = Call("edit", "Judge.\n{output_format}\nInstruction: {instruction}", ("instruction", "quality"))
RUBRIC = Rubric(
    name="two",
    dimensions=(Dimension("instruction", 0, 10), Dimension("quality", 0, 10)),
    calls=(CALL,),
    overall="sqrt(instruction * quality)",
    low=0,
    high=10,
)
WHOLE_CALL = Call("count", "{instruction} {output_format}", ("count",), ("edited",))
WHOLE = Rubric("whole", (Dimension("count", 1, 5, integer=True),), (WHOLE_CALL,), "count", 1, 5)


def answer(instruction="8", quality="9.5", reason="Fine."):
    """A reply as a judge would write it; the scores are JSON text."""
    return (
        f'{{"instruction": {{"reason": "{reason}", "score": {instruction}}}, '
        f'"quality": {{"reason": "Sharp.", "score": {quality}}}}}'
    )


GOOD = answer()
DEEP = '{"instruction":' * 5000

SCORED = {
    "bare": GOOD,
    "prose around": f"The sky is blue now.\n{GOOD}\nI hope this helps.",
    "code fence": f"```json\n{GOOD}\n```",
    "code fence without a language": f"Here you are:\n```\n{GOOD}\n```",
    "thought before": f"<think>Perhaps {{4}}? The cat stayed.</think>\n\n{GOOD}",
    "thought that holds a verdict": f"<think>{answer('1', '1')}</think>{GOOD}",
    "thought without its opening tag": f"It looks good. {answer('1', '1')} no.\n</think>\n\n{GOOD}",
    "thought after": f"{GOOD}\n<think>done</think>",
    "empty thought": f"<think>\n\n</think>\n{GOOD}",
    "thought that breaks off JSON": f'<think>{{"instruction": </think>{GOOD}',
    "indented": json.dumps(json.loads(GOOD), indent=4),
    "other order of names": '{"quality": {"score": 9.5, "reason": "Sharp."}, "instruction": {"score": 8, "reason": "Fine."}}',
    "Chinese reasons": answer(reason="天空变成了蓝色。"),
    "Chinese prose": f"评价如下：\n{GOOD}\n以上。",
    "full-width digits in a reason": answer(reason="满分１０分里给８分"),
    "number as 8.0 and 9.50": answer("8.0", "9.50"),
    "number with an exponent": answer("0.8e1", "95E-1"),
    "escapes in a reason": answer(reason=r"says \"10/10\" and \u4f60\n{\"score\": 10}"),
    "template braces in prose": f"It asks for {{name}}, {{{{user}}}} and {{}}. {GOOD}",
    "set braces in prose": f"Colours {{red, green}} and [blue] stay: {GOOD}",
    "other JSON in prose": f'The sign reads {{"open": true}}. {GOOD}',
    "a list of words in prose": f'["red", "green"] are there. {GOOD}',
    "Markdown around": f"## Verdict\n\n**{GOOD}**\n\n- instruction: 8/10",
    "a tag in a reason": answer(reason="the sign says <think> and </think>"),
    "lone surrogate in a reason": answer(reason=r"\ud800"),
    "apology in a reason": answer(reason="I cannot help but see a seam."),
    "byte order mark": "\ufeff" + GOOD,
    "Windows line ends": GOOD.replace(", ", ",\r\n"),
    "negative zero": answer("-0", "9.5"),
}

UNSCORED = {
    "empty": ("", "unparsable"),
    "white space": (" \n\t", "unparsable"),
    "a number": ("8", "unparsable"),
    "8/10": ("8/10", "unparsable"),
    "Markdown list": ("**instruction**: 8/10\n**quality**: 9/10", "unparsable"),
    "Markdown table": ("| instruction | quality |\n|---|---|\n| 8 | 9 |", "unparsable"),
    "Chinese prose score": ("指令：８分，质量：９分", "unparsable"),
    "null": ("null", "unparsable"),
    "full-width digits": (answer("８", "９"), "unparsable"),
    "full-width braces": (GOOD.replace("{", "｛").replace("}", "｝"), "unparsable"),
    "full-width quotes": (GOOD.replace('"', "“"), "unparsable"),
    "single quotes": (GOOD.replace('"', "'"), "unparsable"),
    "8/10 as a value": (answer("8/10"), "unparsable"),
    "string for a number": (answer('"8"'), "unparsable"),
    "true": (answer("true"), "unparsable"),
    "null for a number": (answer("null"), "unparsable"),
    "list for a number": (answer("[8]"), "unparsable"),
    "NaN": (answer("NaN"), "unparsable"),
    "Infinity": (answer("Infinity"), "unparsable"),
    "-Infinity": (answer("-Infinity"), "unparsable"),
    "leading zero": (answer("08"), "unparsable"),
    "plus sign": (answer("+8"), "unparsable"),
    "decimal comma": (answer("8,5"), "unparsable"),
    "thousands underscore": (answer("1_0"), "unparsable"),
    "hexadecimal": (answer("0x8"), "unparsable"),
    "trailing comma": (GOOD.replace("}}", "},}"), "unparsable"),
    "comment": (GOOD.replace("{", "{ // so", 1), "unparsable"),
    "missing dimension": ('{"instruction": {"reason": "Fine.", "score": 8}}', "unparsable"),
    "extra dimension": (GOOD[:-1] + ', "beauty": {"reason": "x", "score": 8}}', "unparsable"),
    "extra key in a dimension": (GOOD.replace('"score"', '"weight": 1, "score"', 1), "unparsable"),
    "missing reason": ('{"instruction": {"score": 8}, "quality": {"reason": "x", "score": 9}}', "unparsable"),
    "reason that is no text": (GOOD.replace('"Fine."', "7"), "unparsable"),
    "bare numbers": ('{"instruction": 8, "quality": 9}', "unparsable"),
    "name in capitals": (GOOD.replace("instruction", "Instruction"), "unparsable"),
    "double dimension": (GOOD[:-1] + ', "quality": {"reason": "x", "score": 1}}', "unparsable"),
    "double score": (GOOD.replace('"score": 8', '"score": 8, "score": 8'), "unparsable"),
    "two verdicts": (f"{GOOD}\n{answer('2', '3')}", "unparsable"),
    "the same verdict twice": (f"{GOOD}\n{GOOD}", "unparsable"),
    "a verdict and one out of range": (f"{answer('11')} Sorry: {GOOD}", "unparsable"),
    "a verdict and half a verdict": (f'{GOOD} {{"quality": {{"reason": "x", "score": 1}}}}', "unparsable"),
    "a verdict and broken JSON": (f'{GOOD} {{"instruction": {{"reason"', "unparsable"),
    "verdict in a list": (f"[{GOOD}]", "unparsable"),
    "verdict in an open list": (f"[{GOOD}", "unparsable"),
    "verdict in an object": (f'{{"result": {GOOD}}}', "unparsable"),
    "verdict in double braces": (f"{{{GOOD}}}", "unparsable"),
    "verdict in a string": (json.dumps(GOOD), "unparsable"),
    "verdict in a thought alone": (f"<think>{GOOD}</think>", "unparsable"),
    "verdict before a lone end of thought": (f"{GOOD}</think>", "unparsable"),
    "verdict in a thought that does not end": (f"<think>{GOOD}", "unparsable"),
    "list of names and scores": ('[{"name": "instruction", "score": 8}]', "unparsable"),
    "schema echoed": (json.dumps(json_schema(RUBRIC, CALL)), "unparsable"),
    "output instruction echoed": (output_format(RUBRIC, CALL), "unparsable"),
    "instruction with a verdict quoted, then another": (
        f"It says: {answer('10', '10')} but: {GOOD}",
        "unparsable",
    ),
    "line break inside a reason": (answer(reason="two\nlines"), "unparsable"),
    "cut off": (GOOD[:60], "unparsable"),
    "deep nesting": (DEEP, "unparsable"),
    "deep nesting that closes": (f'{{"instruction": {"[" * 5000}{"]" * 5000}}}', "unparsable"),
    "lone surrogate": ("\ud800\udfff", "unparsable"),
    "above the scale": (answer("10.5"), "out_of_range"),
    "below the scale": (answer("-1"), "out_of_range"),
    "a hundred": (answer("85"), "out_of_range"),
    "out of range in a fence": (f"```json\n{answer('11')}\n```", "out_of_range"),
    "huge whole number": (answer("9" * 6000), "out_of_range"),
    "huge exponent": (answer("1e999"), "out_of_range"),
    "huge negative": (answer("-1e999"), "out_of_range"),
    "refusal": ("I'm sorry, but I can't help with that.", "refused"),
    "refusal with curly apostrophe": ("I’m sorry, but I can’t assist with this request.", "refused"),
    "refusal to judge": ("I am unable to evaluate these images.", "refused"),
    "refusal as a decline": ("I must decline. This content is unsafe.", "refused"),
    "refusal after a thought": (
        "<think>Is it allowed? No.</think>I cannot provide a rating for this.",
        "refused",
    ),
    "Chinese refusal": ("很抱歉，我无法对这些图片进行评价。", "refused"),
    "another Chinese refusal": ("对不起，我不能协助完成这个请求。", "refused"),
    "traditional Chinese refusal": ("抱歉，我無法提供這項協助。", "refused"),
    "refusal beside a score": ("I can't rate this higher than 8/10.", "unparsable"),
    "cannot, but no refusal": ("The edited image cannot be told from the source.", "unparsable"),
    "Chinese cannot, but no refusal": ("编辑程序无法完成全部要求，画面模糊。", "unparsable"),
    "refusal in a thought alone": ("<think>I cannot evaluate this.</think>The sky is red.", "unparsable"),
}

CUT_OFF = {
    "in a number": (GOOD[: GOOD.index("9.5") + 1], "truncated"),
    "in a reason": ('{"instruction": {"reason": "The sky', "truncated"),
    "in a name": ('```json\n{"instr', "truncated"),
    "at the first quote": ('{"', "truncated"),
    "one brace short": (GOOD[:-1], "truncated"),
    "in a thought": ("<think>The sky in the edited image", "truncated"),
    "in a second verdict": (f'{GOOD}\n{{"instruction": {{"reas', "truncated"),
    "with braces in a reason": ('{"instruction": {"reason": "} \\" }} ", "score', "truncated"),
    "in deep nesting": (DEEP, "truncated"),
    "in prose": ("The sky in the edited image is blue, and the", "unparsable"),
    "in noise": ('#k]{~"x}}8\x00{q', "unparsable"),
    "in noise that looks like JSON": ('%%{"zq~ 81, {', "unparsable"),
    "after JSON that is none": ('{"instruction": oops} and on and on', "unparsable"),
    "after an incomplete object": ('{"instruction": {"reason": "Fine.", "score": 8}} and', "unparsable"),
    "in a refusal": ("I'm sorry, but I can't help with that, because", "refused"),
}


@pytest.mark.parametrize("text", SCORED.values(), ids=SCORED)
@pytest.mark.parametrize("truncated", [False, True])
def test_reads_one_verdict_with_anything_around_it(text, truncated):
    reply = parse_reply(text, RUBRIC, CALL, truncated=truncated)
    assert reply.unscored is None
    assert reply.scores == {"instruction": 0 if "-0" in text else 8, "quality": 9.5}
    assert math.copysign(1, reply.scores["instruction"]) == 1
    assert reply.reasons["quality"] == "Sharp."
    json.dumps(reply.reasons, ensure_ascii=False).encode()


@pytest.mark.parametrize(("text", "kind"), UNSCORED.values(), ids=UNSCORED)
def test_names_why_a_reply_has_no_score(text, kind):
    assert parse_reply(text, RUBRIC, CALL) == CallReply(unscored=kind)


@pytest.mark.parametrize(("text", "kind"), CUT_OFF.values(), ids=CUT_OFF)
def test_a_cut_off_reply_is_truncated_only_if_a_verdict_or_thought_was_begun(text, kind):
    assert parse_reply(text, RUBRIC, CALL, truncated=True) == CallReply(unscored=kind)


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


@pytest.mark.parametrize(
    "text",
    ["{" * 200_000, "[" * 200_000, '{"a":' * 40_000, '[{"a":' * 40_000, '{"' * 100_000, "<think>" * 30_000,
     "</think>" * 30_000, "我无" * 60_000, "I am " * 40_000, answer("1" * 200_000), '"\\' * 100_000, f"{GOOD} " * 3000],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_long_replies_are_read_in_no_time(text):
    begin = time.process_time()
    reply = parse_reply(text, RUBRIC, CALL, truncated=True)
    assert reply.unscored is not None
    assert time.process_time() - begin < 2


MARKS = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "\\",
    "<think>",
    "</think>",
    "```json",
    " ",
    "\n",
    "\ud800",
    "抱歉，我无法评价",
]
WORDS = ["instruction", "quality", "reason", "score", "8", "9.5", "-1", "11", "1e999", "NaN", "true", "８"]
PIECES = st.sampled_from([*MARKS, *WORDS, GOOD, GOOD[:50], GOOD[50:]])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["instruction", "quality", "reason", "score", "x"]), inner, max_size=4
        )
    ),
)
REPLIES = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.lists(PIECES, max_size=25).map("".join),
    VALUES.map(json.dumps),
    st.tuples(VALUES, VALUES).map(lambda pair: answer(json.dumps(pair[0]), json.dumps(pair[1]))),
)


@settings(deadline=None)
@given(REPLIES, st.booleans())
@example("9" * 5000, False)
def test_no_text_raises_or_gives_a_number_outside_the_scale(text, truncated):
    reply = parse_reply(text, RUBRIC, CALL, truncated=truncated)
    if reply.unscored is None:
        assert set(reply.scores) == set(reply.reasons) == {"instruction", "quality"}
        assert all(type(score) is float and 0 <= score <= 10 for score in reply.scores.values())
    else:
        assert not reply.scores
        assert not reply.reasons
    verdict = combine(RUBRIC, [reply], [text])
    assert (verdict.overall is None) == (reply.unscored is not None)
    json.dumps(verdict.to_json(), ensure_ascii=False, allow_nan=False).encode()


@settings(deadline=None)
@given(st.floats(0, 10), st.floats(0, 10), st.text(), st.text())
def test_a_verdict_survives_its_own_json(instruction, quality, reason, other):
    wanted = {
        "instruction": {"reason": reason, "score": instruction},
        "quality": {"reason": other, "score": quality},
    }
    for ascii_only in (True, False):
        reply = parse_reply(json.dumps(wanted, ensure_ascii=ascii_only), RUBRIC, CALL)
        assert reply.scores == {"instruction": instruction, "quality": quality}
        assert reply.reasons == {"instruction": reason, "quality": other}


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
