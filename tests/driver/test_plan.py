"""The planner: what is wanted is either done or to be done, once, whatever the ledger holds."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from edit_eval.core.identity import file_sha256
from edit_eval.core.types import Sample
from edit_eval.driver.ledger import Ledger, tells_of_edit
from edit_eval.driver.plan import EditPlan, Judging, WantedEdit, plan_edits, verdict_is_done
from edit_eval.driver.store import image_is_intact, image_path

EDITED = {"status": "edited", "image": {"sha256": "a" * 64}}
FAILED = {"status": "failed", "kind": "error"}


def wanted(count: int) -> list[WantedEdit]:
    return [
        WantedEdit(index, Sample(f"s{index}", "do it", ("/a.png",)), 0, index, f"key-{index}", ("f" * 64,))
        for index in range(count)
    ]


def test_a_task_is_held_to_every_file_that_its_key_was_made_of():
    sample = Sample("s", "do it", ("/a.png", "/b.png"), references=("/r.png",), target="/t.png")
    beside = {"reference": ("3",), "target": ("4",)}
    one = WantedEdit(0, sample, 0, 7, "k", ("1", "2"), beside, [("/t.png", "4")])
    assert one.inputs == [("/a.png", "1"), ("/b.png", "2"), ("/t.png", "4")]
    assert Judging({}, {}, ()).inputs(one) == [("/a.png", "1"), ("/b.png", "2")]
    both = Judging({}, {}, ("target", "reference")).inputs(one)
    assert both == [("/a.png", "1"), ("/b.png", "2"), ("/t.png", "4"), ("/r.png", "3")]
    smaller = replace(one, sample=replace(sample, judged=("/c.png",)), beside_sha256={"judged": ("5",)})
    assert Judging({}, {}, ()).inputs(smaller) == [("/c.png", "5")]
    assert smaller.inputs == one.inputs


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


# The planner over a real ledger and real images, and whatever happens to them


class Disk:
    """A run directory with the images and the ledger of some edits; knows what was really finished."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.path = root / "edits.jsonl"
        self.everything = wanted(count)
        self.times_made: Counter[int] = Counter()

    def plan(self, *, verify: bool = False) -> EditPlan:
        """Open the ledger for writing, as a start does, and plan."""
        ledger = Ledger(self.path, tells_of_edit)
        try:
            return plan_edits(
                self.everything,
                ledger.records,
                lambda one, record: image_is_intact(self.root, one.key, record, verify=verify),
            )
        finally:
            ledger.close()

    def work(self, edits: Sequence[WantedEdit], failing: AbstractSet[int] = frozenset()) -> None:
        """Make edits: the image first, then its line."""
        ledger = Ledger(self.path, tells_of_edit)
        for one in edits:
            self.times_made[one.index] += 1
            if one.index in failing:
                ledger.append({"key": one.key, "status": "failed", "kind": "error", "reason": "-"})
                continue
            path = self.root / image_path(one.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"image {one.index} made {self.times_made[one.index]}".encode())
            image = {
                "sha256": file_sha256(path),
                "bytes": path.stat().st_size,
                "mtime_ns": path.stat().st_mtime_ns,
            }
            ledger.append({"key": one.key, "status": "edited", "image": image, "text": "x" * one.index})
        ledger.close()

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield what whole lines of the ledger say, read in the plainest way."""
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if (
                isinstance(record, dict)
                and isinstance(record.get("key"), str)
                and isinstance(record.get("v"), int)
            ):
                yield record

    def told(self) -> dict[str, dict[str, Any]]:
        """Return the last that is told of every key."""
        return {record["key"]: record for record in self.records() if tells_of_edit(record)}

    def is_newer(self) -> bool:
        """Whether the damage made a line one of a later version, which is refused."""
        return any(record["v"] > 1 for record in self.records())


damages = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(b"")),
    st.tuples(st.just("overwrite"), st.floats(0, 1), st.binary(min_size=1, max_size=30)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=30)),
    st.tuples(st.just("double"), st.floats(0, 1), st.just(b"")),
    st.tuples(st.just("swap"), st.floats(0, 1), st.just(b"")),
)


def damage(path: Path, how: str, where: float, what: bytes) -> None:
    data = path.read_bytes()
    at = int(where * len(data))
    lines = data.splitlines(keepends=True)
    if how == "cut":
        data = data[:at]
    elif how == "overwrite":
        data = data[:at] + what + data[at + len(what) :]
    elif how == "insert":
        data = data[:at] + what + data[at:]
    elif lines:
        line = lines[int(where * (len(lines) - 1))]
        data = data + line if how == "double" else b"".join(lines[::-1])
    path.write_bytes(data)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 8),
    st.lists(
        st.tuples(st.integers(0, 8), st.lists(damages, max_size=3), st.sets(st.integers(0, 7))), max_size=4
    ),
    st.sets(st.integers(0, 7)),
    st.booleans(),
)
@example(1, [(1, [], {0}), (1, [("overwrite", 0.75, b" ")], set())], set(), False)
def test_killed_anywhere_and_damaged_anyhow_nothing_is_lost_or_made_twice(count, starts, failing, verify):
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder), count)
        disk.path.touch()
        for done_before_killed, several, lost_images in starts:
            plan = disk.plan(verify=verify)
            disk.work(plan.todo[:done_before_killed], failing)
            for how, where, what in several:
                damage(disk.path, how, where, what)
            assume(not disk.is_newer())
            for index in lost_images & {one.index for one in disk.everything}:
                path = disk.root / image_path(disk.everything[index].key)
                if path.exists() and index % 2:
                    path.unlink()
                elif path.exists():
                    path.write_bytes(b"another")

            again = disk.plan(verify=verify)
            parts = [again.todo, again.edited, again.failed]
            assert sorted(one.index for part in parts for one in part) == list(range(count))
            told = disk.told()
            for one in (
                disk.everything
            ):  # what a whole line tells, and the disk bears out, stands; nothing else does
                record = told.get(one.key)
                stands = record is not None and (
                    record["status"] == "failed" or image_is_intact(disk.root, one.key, record, verify=verify)
                )
                assert (one in again.todo) != stands
            assert {one.key: told[one.key]["image"]["sha256"] for one in again.edited} == again.edited_sha256

        before = disk.times_made.copy()
        last = disk.plan(verify=True)  # a damaged digit of a hash leaves a right line: only the bytes tell
        disk.work(last.todo)
        assert disk.times_made - before == Counter(one.index for one in last.todo)  # no more than was left
        end = disk.plan(verify=True)
        assert end.todo == []
        assert len(end.edited) + len(end.failed) == count


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
