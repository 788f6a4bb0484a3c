"""What a host says of a task is held against what can be, before it is recorded."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import Dimension, Rubric, Verdict
from edit_eval.driver.outcomes import checked_edit, checked_verdict
from edit_eval.driver.store import image_path

KEY = "ab" * 32
RUBRIC = Rubric("r", (Dimension("a", 0, 10),), (), "a", low=0, high=10)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    path = root / image_path(KEY)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"an image")
    return root


def outcome(root) -> dict:
    path = root / image_path(KEY)
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "mtime_ns": path.stat().st_mtime_ns,
        "width": 8,
        "height": 6,
        "seconds": 0.25,
        "steps": 0,
        "source_size": [8, 6],
    }


def test_an_edit_is_recorded_as_it_is(root):
    given = outcome(root)
    image = {name: given[name] for name in ("sha256", "bytes", "mtime_ns", "width", "height")}
    assert checked_edit(root, KEY, given | {"more": 1}) == {
        "image": image,
        "source_size": [8, 6],
        "seconds": 0.25,
        "steps": 0,
    }


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("sha256", "0" * 64, "image is not in"),
        ("sha256", 7, "without the hash"),
        ("bytes", 9, "image is not in"),
        ("mtime_ns", True, "mtime_ns True"),
        ("width", None, "width None"),
        ("height", -6, "height -6"),
        ("steps", 1.0, "steps 1.0"),
        ("seconds", float("nan"), "took nan seconds"),
        ("seconds", float("inf"), "took inf seconds"),
        ("source_size", [8], "size of its source"),
        ("source_size", ["8", "6"], "'8'"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(root, field, value, says):
    given = outcome(root) | {field: value}
    if field == "sha256" and value == "0" * 64:
        given["mtime_ns"] += 1  # else size and time are believed
    with pytest.raises(ValueError, match=says):
        checked_edit(root, KEY, given)
    with pytest.raises(ValueError, match="edit"):
        checked_edit(root, KEY, {name: one for name, one in outcome(root).items() if name != field})


def test_an_edit_without_an_image_is_refused(root):
    with pytest.raises(ValueError, match="image is not in"):
        checked_edit(root, "cd" * 32, outcome(root))


@given(st.data())
def test_whatever_is_sent_of_an_edit_is_a_record_or_a_value_error(root, data):
    given = {name: data.draw(st.just(one) | anything, name) for name, one in outcome(root).items()}
    try:
        record = checked_edit(root, KEY, given)
    except ValueError:
        return
    assert record["image"]["sha256"] == given["sha256"]
    assert 0 <= record["seconds"] < float("inf")


def test_a_verdict_is_what_it_was():
    verdict = Verdict({"a": 7.0}, 7.0, None, {"a": "well"}, "7")
    assert checked_verdict(RUBRIC, verdict.to_json()) == verdict
    unscored = Verdict(unscored="refused", reply="no")
    assert checked_verdict(RUBRIC, unscored.to_json()) == unscored


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"scores": {"a": 7.0}, "overall": 8.0},
        {"scores": {"a": 11.0}, "overall": 11.0},
        {"scores": {"a": "7"}, "overall": "seven"},
        {"scores": 7, "overall": 7.0},
        {"scores": {"a": 7.0}, "overall": 7.0, "unscored": "error"},
        {"scores": {"a": 7.0}, "overall": 7.0, "reply": None},
        {"scores": {"a": None}, "overall": 7.0},
        {"scores": {"b": 7.0}, "overall": 7.0},
        {"unscored": "tired"},
        {"scores": {"a": 10**400}, "overall": 10**400},
        {"scores": {"a": float("nan")}, "overall": float("nan")},
    ],
)
def test_a_verdict_that_the_rubric_does_not_allow_is_refused(sent):
    with pytest.raises(ValueError, match=r"\w"):
        checked_verdict(RUBRIC, sent)


@given(st.dictionaries(st.sampled_from(["scores", "overall", "unscored", "reasons", "reply"]), anything))
def test_whatever_is_sent_of_a_verdict_is_a_verdict_or_a_value_error(sent):
    try:
        verdict = checked_verdict(RUBRIC, sent)
    except ValueError:
        return
    assert verdict.overall is None or 0 <= verdict.overall <= 10
