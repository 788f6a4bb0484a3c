"""The judges of one run: which one its headline is of, and that none is lost or mixed up with another."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.core.types import Sample, Verdict
from edit_eval.driver.judges import is_beside, judges_info, main_judge, other_judges
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.runinfo import DamagedInfo, read_info
from edit_eval.driver.starts import starts_of
from edit_eval.driver.store import RunReader, RunStore
from edit_eval.driver.summary import read_rows, summarize
from edit_eval.views.export import canonical_lines

RUBRIC = load_rubric("general-v1")
FIVE = load_rubric("general-5-v1")
OWN = Judging({"name": "own"}, {"": RUBRIC}, ("reference",))
SAME_SCALE = Judging({"name": "other"}, {"": RUBRIC}, ("reference",))
OTHER_SCALE = Judging({"name": "own"}, {"": FIVE}, ("reference",))


def said(judging: Judging, **more: Any) -> dict[str, Any]:
    """Return what a start says of its judge, as run.json gives it back."""
    name = judging.identity["name"]
    data = {
        "protocol": "p",
        "judge": name,
        "judge_size_policy": "",
        "judging": judging.to_json(),
        "headlines": [],
    }
    return json.loads(json.dumps({**data, "config": {"type": name}, **more}))


def kept(info):
    return [info["judge"], *(one["judge"] for one in info.get("other_judges", []))]


def test_the_first_judge_is_the_runs_own_whoever_it_is():
    assert not is_beside({}, OWN)
    info = judges_info({}, said(OWN))
    assert main_judge(info).judging.id == OWN.id
    assert other_judges(info) == []
    assert not is_beside(info, OWN)
    assert is_beside(info, SAME_SCALE)
    assert is_beside(info, OTHER_SCALE)


def test_one_beside_stays_beside_and_one_that_follows_takes_the_place():
    info = judges_info({}, said(OWN))
    info = judges_info(info, said(SAME_SCALE), beside=True)
    assert kept(info) == ["own", "other"]
    info = judges_info(info, said(SAME_SCALE), beside=True)  # again
    assert kept(info) == ["own", "other"]
    info = judges_info({**info, "config": {"judge": {"type": "own"}}}, said(SAME_SCALE))
    assert kept(info) == ["other", "own"]
    assert info["other_judges"][0]["config"] == {"type": "own"}
    assert judges_info(info, None) == info  # a start that only edits
    info = judges_info(info, said(OWN))
    assert kept(info) == ["own", "other"]


def test_more_rubrics_of_one_judge_are_the_same_judge():
    """As after a run of few samples was given more: others of the protocol's rubrics come into use."""
    few = Judging({"name": "own", "scale": 4.0}, {"a": RUBRIC}, ("reference",))
    more = Judging({"name": "own", "scale": 4}, {"a": RUBRIC, "b": FIVE}, ("reference",))
    info = judges_info(judges_info({}, said(few)), said(more))
    assert other_judges(info) == []
    assert main_judge(info).judging.id == more.id
    assert is_beside(info, Judging({"name": "own", "scale": 4}, {"a": FIVE}, ("reference",)))
    assert is_beside(info, Judging({"name": "own", "scale": 5}, {"a": RUBRIC}, ("reference",)))
    assert is_beside(info, Judging({"name": "own", "scale": 4}, {"a": RUBRIC}, ()))


def test_starts_are_those_of_one_judge():
    info = {
        **judges_info({}, said(OWN)),
        "starts": [None, {"at": "1"}, {"at": "2", "judge": SAME_SCALE.judge_id}, {"at": "3", "judge": None}],
    }
    assert [start.get("at") for start in starts_of(info, OWN)] == [None, "1"]  # of before they were marked
    assert [start["at"] for start in starts_of(info, SAME_SCALE)] == ["2"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"judging": None}, "other_judges.0.judging"),
        ({"judge": 3}, "other_judges.0.judge"),
        ({"headlines": [{"name": "x"}]}, "other_judges.0.headlines.0.low"),
        ({"judging": {**said(OWN)["judging"], "rubrics": {"": {"name": "x"}}}}, "other_judges.0.judging"),
    ],
)
def test_damage_to_one_of_them_is_named(tmp_path, change, where):
    info = {
        **judges_info({}, said(OWN)),
        "other_judges": [{**said(SAME_SCALE), **change}],
    }
    (tmp_path / "edits.jsonl").touch()
    (tmp_path / "run.json").write_text(json.dumps({"format": 1, **info}))
    with pytest.raises(DamagedInfo, match=where):
        read_info(tmp_path)


# Numbers

verdicts = st.one_of(
    st.none(),
    st.just("refused"),
    st.integers(1, 5).map(float),
)


def verdict(value) -> Verdict:
    if isinstance(value, str):
        return Verdict(unscored=value, reply="no")
    return Verdict({one.name: value for one in RUBRIC.dimensions}, value, reply="seen")


def written(root: Path, samples, judges) -> RunReader:
    """Write a run; per sample its cluster and what each judge says of each repeat."""
    wanted = []
    info: dict[str, Any] = {"name": "run", "editor": "e", "min_coverage": 0.98}
    for judging in judges:
        info |= judges_info(info, said(judging), beside=judging is not judges[0])
    with RunStore(root) as store:
        store.write_info(info)
        for number, (cluster, repeats) in enumerate(samples):
            sample = Sample(f"s{number}", "do it", ("/a.png",), cluster=cluster)
            for repeat, values in enumerate(repeats):
                one = WantedEdit(
                    len(wanted), sample, repeat, len(wanted), f"{number:03}-{repeat}", ("f" * 64,)
                )
                wanted.append(one)
                image = {"sha256": "s", "bytes": 1, "mtime_ns": 1, "width": 1, "height": 1}
                store.edits.append({"key": one.key, "status": "edited", "image": image, "seconds": 1.0})
                for judging, value in zip(judges, values, strict=False):
                    if value is not None:
                        key = judging.key(one, "s")
                        store.verdicts.append({"key": key, "verdict": verdict(value).to_json()})
        store.write_wanted(wanted)
    return RunReader(root)


runs = st.integers(1, 2).flatmap(
    lambda repeats: st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.lists(st.tuples(verdicts, verdicts, verdicts), min_size=repeats, max_size=repeats),
        ),
        min_size=1,
        max_size=6,
    )
)


@settings(deadline=None, max_examples=20)
@given(runs)
def test_other_judges_never_change_the_first_ones_numbers(samples):
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as together:
        first = written(Path(alone), samples, [OWN])
        all_three = written(Path(together), samples, [OWN, SAME_SCALE, OTHER_SCALE])
        one, every = summarize(first), summarize(all_three)
        assert dataclasses.replace(every, others=[]) == one
        assert [*canonical_lines(read_rows(all_three))] == [*canonical_lines(read_rows(first))]
    assert one.others == []
    both = [
        number
        for number, (_, repeats) in enumerate(samples)
        if any(isinstance(a, float) and isinstance(b, float) for a, b, _ in repeats)
    ]
    said_anything = any(b is not None for _, repeats in samples for _, b, _ in repeats)
    others = {other.scale: other for other in every.others}
    assert ((0.0, 10.0) in others) is said_anything
    if said_anything:
        other = others[0.0, 10.0]
        values = [b for _, repeats in samples for _, b, _ in repeats]
        assert other.scored == sum(isinstance(value, float) for value in values)
        assert other.bridge.n == len(both)
        assert (other.bridge.shift is None) is (len(both) < 2)
    if (1.0, 5.0) in others:
        assert others[1.0, 5.0].bridge.same_scale is (others[1.0, 5.0].bridge.n == 0)
