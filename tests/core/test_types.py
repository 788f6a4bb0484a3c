"""The vocabulary survives JSON, and a verdict is either scored or unscored."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import (
    Call,
    Dimension,
    EditRequest,
    HostContext,
    JudgeRequest,
    Prompt,
    Rubric,
    Sample,
    UnscoredKind,
    Verdict,
)

texts = st.text(max_size=20)
paths = st.lists(texts, min_size=1, max_size=3).map(tuple)
samples = st.builds(
    Sample,
    id=texts,
    instruction=texts,
    images=paths,
    edit_instruction=st.none() | texts,
    tags=st.dictionaries(texts, texts, max_size=3),
    cluster=texts,
    references=st.lists(texts, max_size=2).map(tuple),
    target=st.none() | texts,
)
numbers = st.floats(-100, 100, allow_nan=False)
names = st.text("abcde", min_size=1, max_size=4)
verdicts = st.one_of(
    st.builds(
        Verdict,
        scores=st.dictionaries(names, numbers, max_size=4),
        overall=numbers,
        unscored=st.none(),
        reasons=st.dictionaries(names, texts, max_size=4),
        reply=texts,
    ),
    st.builds(Verdict, unscored=st.sampled_from(get_args(UnscoredKind)), reply=texts),
)
rubrics = st.builds(
    Rubric,
    name=texts,
    dimensions=st.lists(st.builds(Dimension, names, numbers, numbers, st.booleans(), texts), max_size=3).map(
        tuple
    ),
    calls=st.lists(
        st.builds(
            Call,
            texts,
            texts,
            st.lists(names, max_size=3).map(tuple),
            st.permutations(["source", "edited"]).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    overall=texts,
    low=numbers,
    high=numbers,
)


@given(samples | verdicts | rubrics)
def test_json_and_back_is_the_same(value):
    assert type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


@given(samples)
def test_the_editor_reads_the_rewritten_instruction_where_there_is_one(sample):
    expected = sample.instruction if sample.edit_instruction is None else sample.edit_instruction
    assert sample.editor_instruction == expected
    empty = dataclasses.replace(sample, edit_instruction="")
    assert empty.editor_instruction == ""  # given, though empty


def test_a_verdict_is_scored_or_unscored_never_both_never_neither():
    with pytest.raises(ValueError, match="either scored or unscored"):
        Verdict()
    with pytest.raises(ValueError, match="either scored or unscored"):
        Verdict({"quality": 3.0}, 3.0, "unparsable")
    assert Verdict(unscored="unparsable").overall is None
    assert Verdict({"quality": 0.0}, 0.0).unscored is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_is_a_finite_number(bad):
    # As JSON, NaN would become null and the whole run unreadable.
    with pytest.raises(ValueError, match="finite"):
        Verdict({"quality": 3.0}, bad)
    with pytest.raises(ValueError, match="finite"):
        Verdict({"quality": bad}, 3.0)


def test_values_cannot_be_changed_once_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Verdict(unscored="error").overall = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sample("a", "b", ("c",)).id = "d"


def test_a_rubric_finds_its_dimensions():
    rubric = Rubric("r", (Dimension("a", 0, 1), Dimension("b", 0, 5)), (), "a", 0, 1)
    assert rubric.dimension("b").high == 5
    with pytest.raises(KeyError):
        rubric.dimension("c")


def test_a_prompt_shows_its_images_in_its_order():
    request = JudgeRequest(
        sample=Sample("a", "b", ("c",)),
        rubric=Rubric("r", (), (), "1", 0, 1),
        prompts=(),
        sources=("source 1", "source 2"),
        edited="edit",
        references=("reference",),
        seed=0,
    )
    assert request.images_of(Prompt("c", "t", ("edited", "source", "reference"))) == [
        "edit",
        "source 1",
        "source 2",
        "reference",
    ]
    assert request.images_of(Prompt("c", "t", ("edited",))) == ["edit"]
    with pytest.raises(KeyError):
        request.images_of(Prompt("c", "t", ("target",)))


def test_a_host_has_a_first_device():
    assert HostContext().device == "cpu"
    assert HostContext(devices=("cuda:0", "cuda:1")).device == "cuda:0"
    assert EditRequest(Sample("a", "b", ("c",)), "b", (), 1).repeat == 0
