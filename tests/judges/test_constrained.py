"""Replies held to a JSON schema by xgrammar, written by random weights, which keep to nothing by themselves."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import jsonschema
import pytest

from edit_eval.core.types import Call, Dimension, Rubric
from edit_eval.judges.contract import json_schema
from edit_eval.judges.engines import Question
from edit_eval.judges.engines.transformers import TransformersEngine
from edit_eval.judges.qwen3_vl import Qwen3VL
from judges.vision_requests import PARAMS, SHORT, context, request, requests

pytest.importorskip("xgrammar", reason="xgrammar is part of the extra test-models")
pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]

HELD = replace(PARAMS, constrained="auto", max_new_tokens=48)
NUMBER = {
    "type": "object",
    "properties": {"score": {"type": "number", "minimum": 0, "maximum": 10}},
    "required": ["score"],
    "additionalProperties": False,
}
WHOLE = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 1, "maximum": 5}, "sure": {"type": "boolean"}},
    "required": ["count", "sure"],
    "additionalProperties": False,
}
ONE = Rubric(
    "one",
    (Dimension("q", 1, 5, integer=True),),
    (Call("c", "Nice? {output_format}", ("q",), ("edited",)),),
    "q",
    1,
    5,
)


def question(schema, *, size=(96, 64), seed=0, temperature=0.0, most=48):
    each = request(size=size)
    parts = (("image", each.sources[0]), ("text", "Judge " * (size[0] // 8)))
    return Question(parts, most, temperature, seed, schema)


def test_a_batch_of_several_schemas_keeps_to_each(dense):
    engine = TransformersEngine(HELD, context(dense, 8))
    assert engine.facts()["constrained"] is True
    asked = [
        question(schema, size=size) for size in ((96, 64), (64, 64)) for schema in (NUMBER, WHOLE, NUMBER)
    ]
    assert len(engine._next_rows(asked)) == 6
    replies = engine.ask(asked)
    for one, reply in zip(asked, replies, strict=True):
        if not reply.truncated:
            jsonschema.validate(json.loads(reply.text), one.schema)
    assert [one.truncated for one in replies][1::3] == [False, False]  # a digit and a word come to an end
    assert [one.text for one in replies] == [engine.ask([one])[0].text for one in asked]


@pytest.mark.parametrize("seed", range(6))
def test_sampled_replies_keep_to_their_schema_too(dense, seed):
    engine = TransformersEngine(HELD, context(dense))
    (reply,) = engine.ask([question(WHOLE, seed=seed, temperature=1.5)])
    assert not reply.truncated
    jsonschema.validate(json.loads(reply.text), WHOLE)
    assert reply.tokens_out < 40


def test_a_judge_held_to_its_rubric_scores_or_is_cut_off(dense):
    params = replace(HELD, max_new_tokens=400, temperature=1.0, retries=3, retry_temperature=1.0)
    verdicts = Qwen3VL(params, context(dense, 8), [ONE]).judge([request(rubric=ONE) for _ in range(4)])
    assert {one.unscored for one in verdicts} <= {None, "truncated"}
    assert any(one.overall in (1, 2, 3, 4, 5) for one in verdicts)
    for one in verdicts:
        if one.unscored is None:
            jsonschema.validate(json.loads(one.reply), json_schema(ONE, ONE.calls[0]))


def test_greedy_replies_to_every_question_are_cut_off_or_read(dense):
    verdicts = Qwen3VL(HELD, context(dense, 8), [SHORT]).judge(requests())
    assert {one.unscored for one in verdicts} <= {None, "truncated"}
    assert all(one.reply.startswith('{"') for one in verdicts)


def test_batches_of_one_and_eight_write_the_same(dense):
    one, eight = (Qwen3VL(HELD, context(dense, size), [SHORT]).judge(requests()) for size in (1, 8))
    assert [each.reply for each in one] == [each.reply for each in eight]


def test_questions_without_a_schema_are_not_held_and_stand_in_batches_of_their_own(dense):
    engine = TransformersEngine(HELD, context(dense, 8))
    asked = [question(WHOLE), question(None), question(None), question(WHOLE)]
    assert len(engine._next_rows(asked)) == 1
    replies = engine.ask(asked)
    assert [one.text.startswith("{") for one in replies] == [True, False, False, True]
    free = TransformersEngine(replace(HELD, constrained="off"), context(dense, 8))
    assert free.facts()["constrained"] is False
    assert [one.text for one in free.ask(asked[1:3])] == [one.text for one in replies[1:3]]


def test_without_xgrammar_nothing_is_held_and_that_is_on_record(dense, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None if name == "xgrammar" else object())
    engine = TransformersEngine(HELD, context(dense))
    assert engine.facts()["constrained"] is False
    assert "replies are held to no schema: there is no xgrammar" in capsys.readouterr().err
    free = TransformersEngine(replace(HELD, constrained="off"), context(dense))
    assert [one.text for one in engine.ask([question(WHOLE)])] == [
        one.text for one in free.ask([question(WHOLE)])
    ]


def test_an_xgrammar_that_does_not_work_is_said(dense, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "xgrammar.contrib.hf", None)
    engine = TransformersEngine(HELD, context(dense))
    assert engine.facts()["constrained"] is False
    assert "replies are held to no schema: xgrammar fails: ModuleNotFoundError" in capsys.readouterr().err


def test_an_xgrammar_that_fails_at_the_second_token_is_found_at_the_start(dense, monkeypatch):
    """As its release 0.2.0 does, which takes no tensor for a token."""
    from xgrammar.contrib.hf import LogitsProcessor

    whole = LogitsProcessor.__call__

    def first_only(self, input_ids, scores):
        if input_ids.shape[1] > 1:
            raise TypeError("Mismatched type on argument #1: expected `int` but got `ffi.Tensor`")
        return whole(self, input_ids, scores)

    monkeypatch.setattr(LogitsProcessor, "__call__", first_only)
    engine = TransformersEngine(HELD, context(dense))
    assert engine.facts()["constrained"] is False
    engine.ask([question(NUMBER)])
