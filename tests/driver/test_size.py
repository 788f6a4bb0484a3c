"""Work grows with the size of a run and no faster; what is done for one outcome does not grow at all.

Counted are calls of functions, Python's and C's, which are the same on a busy machine. How long all this takes is
measured by perf/scale.py.
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import os
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import config_tree, make_benchmark

from edit_eval.driver.config import check_config
from edit_eval.driver.events import EditFinished, Event, VerdictGiven
from edit_eval.driver.job import prepare
from edit_eval.driver.ledger import Ledger, read_ledger
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.queue import Task, TaskQueue
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import read_rows, summarize
from edit_eval.views.export import canonical_lines
from edit_eval.views.report import html_report
from edit_eval.views.terminal import open_display

PERF = Path(__file__).resolve().parents[2] / "perf"


def hollow() -> Any:
    """Return perf/hollow.py: hosts that do nothing, so that only the driver's work is counted."""
    spec = importlib.util.spec_from_file_location("hollow", PERF / "hollow.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def calls(function: Callable[[], object]) -> int:
    """Return how many calls `function` makes, its own and all below it, in this thread."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """Return what makes a finished run of so many samples, and its config."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(count: int) -> tuple[Any, list[Event], list[int]]:
        folder = tmp_path / str(count)
        texts = [f"Make object {index} red and leave the rest as it is." for index in range(count)]
        tags = [{"category": "abcd"[index % 4], "name": f"n{index}"} for index in range(count)]
        tree = config_tree(
            folder,
            make_benchmark(folder / "data", texts, tags),
            editor__type="scripted",
            judge__rubric="general-v1",
        )
        backend = hollow().HollowBackend(load_rubric("general-v1"))
        events: list[Event] = []
        counted: list[int] = []
        count_calls = [0]

        def note(_frame: object, event: str, _argument: object) -> None:
            count_calls[0] += event in ("call", "c_call")

        def emit(event: Event) -> None:
            display(event)
            events.append(event)
            if isinstance(event, VerdictGiven):
                counted.append(count_calls[0])

        with (folder / "shown").open("w") as stream, open_display("plain", stream) as display:
            job = prepare(check_config(tree))
            sys.setprofile(note)
            try:
                assert run_job(job, emit, backend=backend)
            finally:
                sys.setprofile(None)
        return tree, events, counted

    return make


def grows_linearly(sizes: list[int], work: list[int]) -> None:
    """Assert that each further sample costs what the ones before it did."""
    small, middle, large = sizes
    first = (work[1] - work[0]) / (middle - small)
    then = (work[2] - work[1]) / (large - middle)
    assert 0.9 * first <= then <= 1.1 * first, (sizes, work)


def test_planning_reporting_and_exporting_grow_linearly(run_of):
    def work_of(size: int) -> dict[str, int]:
        tree, _, _ = run_of(size)
        path, made = Path(tree["output"]), {}

        def keep(name: str, value: object) -> None:
            made[name] = value

        work = {"prepare": calls(lambda: keep("job", prepare(check_config(tree))))}
        work["plan"] = calls(lambda: keep("worked", run_job(made["job"], lambda _: None)))
        work["read"] = calls(lambda: keep("run", RunReader(path)))
        work["rows"] = calls(lambda: keep("rows", read_rows(made["run"])))
        work["summary"] = calls(lambda: keep("summary", summarize(made["run"], made["rows"])))
        work["page"] = calls(lambda: html_report(path, made["summary"], made["rows"]))
        work["export"] = calls(lambda: list(canonical_lines(made["rows"])))
        assert made["worked"] is False
        assert sum(row.verdict is not None for row in made["rows"]) == size
        return work

    work_of(10)  # what is imported and compiled once
    sizes = [40, 80, 160]
    several = [work_of(size) for size in sizes]
    for what in several[0]:
        grows_linearly(sizes, [one[what] for one in several])


def test_an_outcome_costs_the_same_early_and_late_in_a_small_run_and_a_large_one(run_of):
    each = []
    for size in (60, 480):
        _, _, counted = run_of(size)
        steps = [after - before for before, after in itertools.pairwise(counted)]
        half = len(steps) // 2
        each += [sum(steps[:half]) / half, sum(steps[half:]) / (len(steps) - half)]
    # Ticks come by the clock, so no two runs make the same number of calls; what grew with n would be 8 times as much.
    assert max(each) < 2 * min(each), each


def test_appending_and_looking_up_cost_the_same_in_a_long_ledger(tmp_path):
    ledger = Ledger(tmp_path / "l.jsonl")
    counts = []
    for index in range(3000):
        record = {"key": f"{index:064}", "reply": "r" * 300}
        if index in (10, 100, 2990):
            counts.append(calls(lambda record=record: ledger.append(record)))
            counts[-1] += calls(lambda key=record["key"]: ledger.records[key])
        else:
            ledger.append(record)
    ledger.close()
    assert len(set(counts)) == 1


def test_reading_a_ledger_grows_linearly(tmp_path):
    sizes = [100, 200, 400]
    work = []
    for size in sizes:
        path = tmp_path / f"{size}.jsonl"
        path.write_bytes(b"".join(b'{"v":1,"key":"%d"}\n' % index for index in range(size)))
        work.append(calls(lambda path=path: read_ledger(path)))
    grows_linearly(sizes, work)


def test_a_queue_is_asked_in_the_same_time_however_long_it_is():
    counts = set()
    for size in (10, 10_000):
        queue = TaskQueue()
        queue.put_all(Task(str(index), {}) for index in range(size))
        counts.add(calls(lambda queue=queue: queue.take("cpu-0", {"cpu-0", "cpu-1"})))
        counts.add(calls(lambda queue=queue: queue.take("cpu-1", {"cpu-0", "cpu-1"})))
    assert len(counts) == 1


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_and_all_its_samples_are_freed_without_a_search_for_garbage(run_of, resume):
    class Watched:
        """Dies with the run that holds it."""

    tree, _, _ = run_of(20)
    if not resume:
        tree["seed"] = 1
    job = prepare(check_config(tree))
    watched = Watched()
    dead = weakref.ref(watched)
    object.__setattr__(job, "watched", watched)
    del watched
    gc.collect()
    gc.disable()
    try:
        worked = run_job(job, lambda _: None, backend=hollow().HollowBackend(load_rubric("general-v1")))
        assert worked != resume
        del job
        assert dead() is None
    finally:
        gc.enable()


def named(function: Callable[[], object]) -> Counter[str]:
    """Return how often each function of C is called, by its name."""
    counts: Counter[str] = Counter()

    def note(_frame: object, event: str, argument: Any) -> None:
        if event == "c_call":
            counts[argument.__qualname__] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counts


def test_a_start_with_nothing_to_do_looks_at_each_file_once_and_reads_no_record_again(run_of):
    """Of each sample: the source is looked at, the edit is looked at, two lines are read, seed and key are hashed."""

    def resumed(size: int) -> tuple[Counter[str], int]:
        tree, _, _ = run_of(size)
        for path in (Path(tree["output"]).parent / "data").rglob("*.png"):
            os.utime(path, (1_600_000_000, 1_600_000_000))  # else its hash is not remembered

        def again() -> None:
            assert not run_job(prepare(check_config(tree)), lambda _: None)

        again()  # notes that everything is in its place, and no verdict is missing
        return named(again), calls(again)

    resumed(10)  # what is imported and compiled once
    (few, work), (many, more) = resumed(40), resumed(140)
    each = {name: (many[name] - few[name]) / 100 for name in many if many[name] - few[name] >= 50}
    assert each["stat"] == 2
    assert each["openssl_sha256"] == 2
    assert each["loads"] == 2  # a line of the table, one of the ledger of edits
    assert not {"pread", "lstat", "readlink", "open", "access", "scandir"} & set(each)
    assert (more - work) / 100 < 230


def test_what_changes_after_a_start_with_nothing_to_do_is_found_by_the_next(run_of):
    tree, _, _ = run_of(6)
    run = Path(tree["output"])
    backend = hollow().HollowBackend(load_rubric("general-v1"))

    def done(**changed: Any) -> Counter[type]:
        """Return how many edits and verdicts a start gives."""
        events: list[Event] = []
        run_job(prepare(check_config({**tree, **changed})), events.append, backend=backend)
        return Counter(type(one) for one in events if isinstance(one, EditFinished | VerdictGiven))

    def settled() -> None:
        assert not done()
        assert not done()

    settled()
    ledger = run / "verdicts.jsonl"
    before, lines = ledger.stat(), ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b'"v":1', b'"v":x')]))  # as long as it was
    os.utime(ledger, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert done() == {VerdictGiven: 1}
    settled()
    with ledger.open("ab") as file:
        file.write(b'{"v":1,"key":"to')
    settled()
    next(run.glob("images/*/*.png")).write_bytes(b"another image")
    assert done()[EditFinished] == 1
    settled()
    assert done(seed=1) == {EditFinished: 6, VerdictGiven: 6}
    settled()
    assert done(judge={**tree["judge"], "rubric": "reference-v1"}) == {VerdictGiven: 6}
    settled()
