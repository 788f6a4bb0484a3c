"""The planner: what is wanted is either done or to be done, once, whatever the ledger holds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import Sample
from edit_eval.driver.plan import WantedEdit, plan_edits, verdict_is_done

EDITED = {"status": "edited", "image": {"sha256": "a" * 64}}
FAILED = {"status": "failed", "kind": "error"}


def wanted(count: int) -> list[WantedEdit]:
    return [
        WantedEdit(index, Sample(f"s{index}", "do it", ("/a.png",)), 0, index, f"key-{index}", ("f" * 64,))
        for index in range(count)
    ]


ledgers = st.dictionaries(
    st.integers(0, 20).map(lambda index: f"key-{index}") | st.text(max_size=3),
    st.sampled_from([EDITED, FAILED]),
)


@given(st.integers(0, 15), ledgers, st.sets(st.integers(0, 15)), st.booleans())
def test_every_edit_is_in_exactly_one_place(count, ledger, damaged, retry):
    everything = wanted(count)
    plan = plan_edits(everything, ledger, lambda one, _: one.index not in damaged, retry_failed=retry)
    parts = [plan.todo, plan.edited, plan.failed]
    assert sorted(one.index for part in parts for one in part) == list(range(count))
    for part in parts:
        assert [one.index for one in part] == sorted(one.index for one in part)  # the benchmark's order
    for one in plan.edited:
        assert ledger[one.key] is EDITED
        assert one.index not in damaged
    for one in plan.todo:
        record = ledger.get(one.key)
        assert record is None or (record is EDITED and one.index in damaged) or (record is FAILED and retry)
    assert not (retry and plan.failed)


@given(st.integers(0, 12), st.data())
def test_resumed_after_any_prefix_nothing_is_done_twice_or_left_out(count, data):
    everything = wanted(count)
    ledger: dict[str, Any] = {}
    order = data.draw(st.permutations(everything))
    outcomes = data.draw(st.lists(st.sampled_from([EDITED, FAILED]), min_size=count, max_size=count))
    done: list[int] = []
    while len(done) < count:
        plan = plan_edits(everything, ledger, lambda *_: True)
        assert {one.index for one in plan.todo} == set(range(count)) - set(done)
        todo = {one.index for one in plan.todo}
        left = [one for one in order if one.index in todo]
        for one in left[: data.draw(st.integers(1, len(left)))]:  # then killed
            assert one.index not in done
            ledger[one.key] = outcomes[one.index]
            done.append(one.index)
    last = plan_edits(everything, ledger, lambda *_: True)
    assert last.todo == []
    assert len(last.edited) == outcomes.count(EDITED)


@given(st.integers(1, 10), st.data())
def test_planning_again_is_the_same_plan(count, data):
    ledger = data.draw(ledgers)
    assert plan_edits(wanted(count), ledger, lambda *_: True) == plan_edits(
        wanted(count), dict(ledger), lambda *_: True
    )


def test_records_of_other_edits_are_left_alone():
    ledger = {f"key-{index}": EDITED for index in range(100)} | {"other": FAILED}
    plan = plan_edits(wanted(3), ledger, lambda *_: True)
    assert len(plan.edited) == 3
    assert plan.failed == plan.todo == []


def test_whether_an_image_is_intact_is_asked_of_edited_ones_only():
    asked = []

    def intact(one: WantedEdit, record: Any) -> bool:
        asked.append((one.index, record))
        return True

    plan_edits(wanted(3), {"key-0": EDITED, "key-1": FAILED}, intact, retry_failed=True)
    assert asked == [(0, EDITED)]


def test_verdicts():
    scored = {"verdict": {"overall": 3.0, "unscored": None}}
    unscored = {"verdict": {"overall": None, "unscored": "unparsable"}}
    assert not verdict_is_done(None)
    assert not verdict_is_done(None, retry_failed=True)
    assert verdict_is_done(scored)
    assert verdict_is_done(scored, retry_failed=True)
    assert verdict_is_done(unscored)
    assert not verdict_is_done(unscored, retry_failed=True)
