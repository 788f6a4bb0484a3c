"""Replies are read strictly or not at all: the zoo, cut off anywhere, mutated, made up, and very long."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from cpu_time import within
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edit_eval.core.types import Call, Rubric
from edit_eval.judges.contract import CallReply, combine, json_schema, parse_reply
from judges.reply_zoo import FORMS, ZOO, Specimen
from judges.zoo_objects import CUT_OFF, GOOD, RUBRIC, SCORED, UNSCORED, answer
from judges.zoo_texts import NOT_REFUSED, OFFICIAL, REFUSED


def read(form: str, text: str, *, truncated: bool = False) -> CallReply:
    rubric, call = FORMS[form]
    return parse_reply(text, rubric, call, truncated=truncated)


# The zoo


@pytest.mark.parametrize("one", ZOO, ids=str)
def test_every_reply_of_the_zoo_is_read_as_it_must_be(one: Specimen):
    rubric, call = FORMS[one.form]
    reply = read(one.form, one.text, truncated=one.cut_off)
    if isinstance(one.outcome, str):
        assert reply == CallReply(unscored=one.outcome)
    else:
        assert reply.unscored is None
        assert tuple(reply.scores[name] for name in call.dimensions) == one.outcome
        assert all(math.copysign(1, score) == 1 for score in reply.scores.values())
        assert set(reply.reasons) == set(call.dimensions)
        json.dumps(reply.reasons, ensure_ascii=False).encode()
    assert combine(rubric, [reply], [one.text]).unscored == reply.unscored


def test_the_zoo_is_large_and_varied():
    texts = Counter(one.form for one in ZOO)
    assert len({one.text for one in ZOO}) >= 400
    assert len(SCORED) + len(UNSCORED) + len(CUT_OFF) >= 200
    assert texts.keys() == FORMS.keys()
    assert min(texts.values()) >= 80
    assert len(set(REFUSED)) >= 40
    assert not set(REFUSED) & set(NOT_REFUSED)
    assert {one.outcome for one in ZOO if isinstance(one.outcome, str)} == {
        "unparsable", "refused", "out_of_range", "truncated",
    }  # fmt: skip


def test_reasons_of_an_object_are_kept():
    for name, text in SCORED.items():
        assert read("object", text).reasons["quality"] == "Sharp.", name


# Cut off anywhere


def best(form: str) -> str:
    """The plainest good reply of a form; one of lines ends with its line."""
    if form == "object":
        return GOOD
    text = next(text for text, outcome in OFFICIAL[form].items() if isinstance(outcome, tuple))
    return text if text.endswith("}") else f"{text}\n"


@pytest.mark.parametrize("form", FORMS)
def test_a_reply_cut_off_anywhere_has_no_score(form):
    text = best(form)
    whole = read(form, text).scores
    assert whole
    for end in range(len(text)):
        assert read(form, text[:end], truncated=True).unscored is not None, text[:end]
        if text[:end].strip() != text.strip():
            assert read(form, text[:end]).scores != whole, text[:end]


@pytest.mark.parametrize("form", ["object", "fields", "list"])
def test_an_object_whose_beginning_is_lost_has_no_score(form):
    text = best(form)
    for start in range(1, len(text)):
        assert read(form, text[start:]).unscored is not None, text[start:]


def test_what_was_begun_of_an_object_is_truncated():
    kinds = [read("object", GOOD[:end], truncated=True).unscored for end in range(len(GOOD))]
    assert set(kinds[:2]) == {"unparsable"}  # nothing, and a brace alone, which prose may have
    assert set(kinds[2:]) == {"truncated"}


# Mutated and made up

MARKS = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "\\",
    "*",
    "/",
    "-",
    "−",
    ".",
    "\n",
    " ",
    "\ud800",
    "\ufeff",
    "\u200b",
]
TAGS = [
    "<think>",
    "</think>",
    "<thinking>",
    "</thinking>",
    "◁think▷",
    "◁/think▷",
    "[THINK]",
    "```json",
    "```",
    "//",
]
WORDS = [
    "instruction",
    "quality",
    "reason",
    "score",
    "a_score",
    "Prompt",
    "Quality & X",
    "Final Scores",
    "result",
]
NUMBERS = [
    "8",
    "9.5",
    "4",
    "5",
    "-1",
    "11",
    "1e999",
    "1e400",
    "NaN",
    "Infinity",
    "true",
    "null",
    "８",
    "٤",
    "½",
    "0x8",
]
GOOD_ONES = [best(form) for form in FORMS]
PIECES = st.sampled_from(
    [*MARKS, *TAGS, *WORDS, *NUMBERS, *GOOD_ONES, GOOD[:50], GOOD[50:], "抱歉，我无法评价"]
)
PLACES = st.floats(0, 1)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A good reply after up to three changes: something inserted, deleted, doubled, replaced, or spliced from another."""
    text = draw(st.sampled_from(GOOD_ONES) | st.sampled_from(ZOO).map(lambda one: one.text[:600]))
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(int(draw(PLACES) * len(text)) for _ in range(2))
        end = min(end, start + draw(st.sampled_from([0, 1, 2, 8, 1000])))
        before, within, after = text[:start], text[start:end], text[end:]
        other = draw(st.sampled_from(GOOD_ONES))
        new = draw(PIECES | st.text(st.characters(exclude_categories=()), max_size=3))
        tail = other[int(draw(PLACES) * len(other)) :]
        middle = draw(st.sampled_from([new + within, "", within * 2, new, tail, within + tail]))
        text = before + middle + after
    return text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, "b_score", "x"]), inner, max_size=4)
    ),
)
MADE_UP = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.lists(PIECES, max_size=25).map("".join),
    VALUES.map(json.dumps),
    st.tuples(VALUES, VALUES).map(lambda pair: answer(json.dumps(pair[0]), json.dumps(pair[1]))),
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)).map(lambda pair: answer(*pair)),
)


def objects(text: str) -> Iterator[Any]:
    """Every object that `json.loads` accepts and that is a piece of `text`, by brute force."""
    ends = [match.end() for match in re.finditer("}", text)]
    for start in (match.start() for match in re.finditer("{", text)):
        for end in ends:
            if end > start:
                try:
                    yield json.loads(text[start:end])
                except (ValueError, RecursionError):
                    continue


def wanted(form: str, value: Any, scores: dict[str, float]) -> bool:
    """Whether this object says exactly these scores."""
    rubric, call = FORMS[form]
    if form == "object":
        if not jsonschema.Draft202012Validator(json_schema(rubric, call)).is_valid(value):
            return False
        return {name: part["score"] for name, part in value.items()} == scores
    numbers = value.get("score") if form == "list" else [value.get(key) for key in call.keys]
    return numbers == list(scores.values()) and not any(isinstance(one, bool) for one in numbers)


def check(form: str, text: str, *, truncated: bool) -> None:
    """Nothing raises, no score is off its scale, and every score stands in the text as the form has it."""
    rubric, call = FORMS[form]
    reply = read(form, text, truncated=truncated)
    if reply.unscored is None:
        assert set(reply.scores) == set(reply.reasons) == set(call.dimensions)
        for name, score in reply.scores.items():
            one = rubric.dimension(name)
            assert type(score) is float
            assert one.low <= score <= one.high
            assert score.is_integer() or not one.integer
        if form in ("object", "fields", "list"):
            assert any(wanted(form, value, dict(reply.scores)) for value in objects(text))
        else:
            digits = {float(one) for one in re.findall(r"[+-]?[0-9]+(?:\.[0-9]+)?", text)}
            assert digits >= set(reply.scores.values())
    else:
        assert not reply.scores
        assert not reply.reasons
        assert truncated or reply.unscored != "truncated"
    verdict = combine(rubric, [reply], [text])
    assert (verdict.overall is None) == (reply.unscored is not None)
    json.dumps(verdict.to_json(), ensure_ascii=False, allow_nan=False).encode()


@settings(max_examples=400)
@given(mutated() | MADE_UP, st.sampled_from(list(FORMS)), st.booleans())
@example("9" * 5000, "object", False)
@example("Final Scores: 4, 5", "finals", True)
def test_no_text_raises_or_gives_a_score_that_it_does_not_say(text, form, truncated):
    check(form, text, truncated=truncated)


@settings(max_examples=200)
@given(mutated(), st.booleans())
def test_a_mutated_object_gives_only_the_scores_that_it_says(text, truncated):
    check("object", text, truncated=truncated)


@given(st.floats(0, 10), st.floats(0, 10), st.text(), st.text())
def test_a_verdict_survives_its_own_json(instruction, quality, reason, other):
    wanted = {
        "instruction": {"reason": reason, "score": instruction},
        "quality": {"reason": other, "score": quality},
    }
    for ascii_only in (True, False):
        reply = read("object", json.dumps(wanted, ensure_ascii=ascii_only))
        assert reply.scores == {"instruction": instruction, "quality": quality}
        assert reply.reasons == {"instruction": reason, "quality": other}


# Very long

MEGABYTE = 1_000_000
REPEATED = (
    "{", "[", "{ ", '{"', '{"a":', '[{"a":', '[{"instruction":', '"\\', "<think>", "</think>", "<think></think>", "◁think▷ ",
    "[THINK]", "*", " ", "\n", "\u200b", "]", "} ", "我无", "我无法", "抱歉", "I am ", "I cannot ", "not ", "je ne ", "ich kann nicht ",
    "죄송", "申し訳", "Final Score", "Final ", "Final Score: 4,", "Prompt: ", "Prompt:4\n", "- ", "4,", "4*", "Quality & X: *", f"{GOOD} ", "(",
)  # fmt: skip
AROUND = (
    ("Final Score: 4", " ", "x"), ("Final Scores: 4", "*", ", 5"), ("Final Score", "\n", "4,"), ("Prompt: 4", "*", "x"),
    ("Prompt", " ", ": 4"), ("Final Score: 4 (", "a", ""), ('{"instruction": {"reason": "', "a", '"'), ("I ", "a", " cannot help"),
    (GOOD, " ", GOOD), (GOOD, "\n", "]"), ("", "9", ""), ("Final Score: ", "9", "."), ('{"instruction": ', "9", "}"),
)  # fmt: skip


LONG = [("", text, "") for text in REPEATED] + list(AROUND)


@pytest.mark.parametrize("form", ["object", "lines", "final"])
@pytest.mark.parametrize(("head", "unit", "tail"), LONG, ids=repr)
def test_a_megabyte_is_read_in_less_than_a_second(head, unit, tail, form):
    text = head + unit * (MEGABYTE // len(unit)) + tail
    for truncated in (True, False):
        with within(1):
            read(form, text, truncated=truncated)


def test_a_long_good_reply_is_read_too():
    reply = read("object", "word " * 100_000 + answer(reason="word " * 100_000) + " word" * 100_000)
    assert reply.scores == {"instruction": 8, "quality": 9.5}


def test_many_dimensions_are_read_in_time_linear_in_the_text():
    names = tuple(f"d{number}" for number in range(20))
    call = Call("c", "", names, reply="lines")
    rubric = Rubric(
        "r", tuple(RUBRIC.dimensions[0].__class__(name, 0, 10) for name in names), (call,), "d0", 0, 10
    )
    with within(2):
        reply = parse_reply("d0: 4\nfiller line\n" * 50_000, rubric, call)
    assert reply.unscored == "unparsable"
