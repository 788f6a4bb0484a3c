"""The numbers of a run: the sample is the unit, failures are never numbers, what is missing is bracketed."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from cpu_time import within
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.core.stats import mean_interval
from edit_eval.core.types import EditFailureKind, Sample, UnscoredKind, Verdict
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.store import RunReader, RunStore
from edit_eval.driver.summary import Row, Summary, _by_tag, read_rows, summarize

RUBRIC = load_rubric("general-v1")
JUDGING = Judging({"name": "qwen3_vl", "version": 1}, {"": RUBRIC}, ("reference",))


@dataclass(frozen=True)
class Outcome:
    """What became of one sample and repeat: `score` is the overall one; `failed`, `unscored` are kinds."""

    score: float | None = None
    failed: str | None = None
    unscored: str | None = None
    pending: bool = False


def verdict_of(outcome: Outcome) -> Verdict:
    if outcome.unscored:
        return Verdict(unscored=outcome.unscored, reply="?")
    return Verdict({one.name: outcome.score for one in RUBRIC.dimensions}, outcome.score, reply="fine")


def info(**changes: Any) -> dict[str, Any]:
    return {
        "name": "run",
        "protocol": "folder/v1+general-v1",
        "config": {"seed": 0},
        "editor": "scripted",
        "judge": "qwen3_vl",
        "judging": JUDGING.to_json(),
        "size_policy": {"editor": "as is"},
        "judge_size_policy": "as is",
        "min_coverage": 0.98,
        "starts": [{"edit_eval": "0.1.0", "hosts": {"edit CPU 0": {"python": "3.11.7"}}}],
        **changes,
    }


def edit_record(key: str, sha: str = "s") -> dict[str, Any]:
    image = {"sha256": sha, "bytes": 1, "mtime_ns": 1, "width": 1, "height": 1}
    return {"key": key, "status": "edited", "image": image, "seconds": 1.0, "steps": 0}


def verdict_record(
    one: WantedEdit, verdict: Verdict, judging: Judging = JUDGING, sha: str = "s"
) -> dict[str, Any]:
    return {
        "key": judging.key(one, sha),
        "edit_key": one.key,
        "edited_sha256": sha,
        "verdict": verdict.to_json(),
    }


def write_run(root: Path, samples: list[tuple[str, list[Outcome]]], tags=(), **changes: Any) -> RunReader:
    """Write a run: per sample its cluster and one outcome a repeat."""
    wanted = []
    with RunStore(root) as store:
        store.write_info(info(**changes))
        for number, (cluster, outcomes) in enumerate(samples):
            own = tags[number] if tags else {}
            sample = Sample(f"s{number}", "do it", ("/a.png",), tags=own, cluster=cluster)
            for repeat, outcome in enumerate(outcomes):
                one = WantedEdit(
                    len(wanted), sample, repeat, len(wanted), f"{number:03}-{repeat}", ("f" * 64,)
                )
                wanted.append(one)
                if outcome.failed:
                    store.edits.append(
                        {"key": one.key, "status": "failed", "kind": outcome.failed, "reason": "?"}
                    )
                elif not outcome.pending:
                    store.edits.append(edit_record(one.key))
                if outcome.score is not None or outcome.unscored:
                    store.verdicts.append(verdict_record(one, verdict_of(outcome)))
        store.write_wanted(wanted)
    return RunReader(root)


def summary_of(samples, **more: Any) -> Summary:
    with tempfile.TemporaryDirectory() as folder:
        return summarize(write_run(Path(folder), samples, **more))


scores = st.floats(0, 10, allow_nan=False)
scored = scores.map(lambda value: Outcome(score=value))
outcomes = st.one_of(
    scored,
    scored,
    st.sampled_from(get_args(EditFailureKind)).map(lambda kind: Outcome(failed=kind)),
    st.sampled_from(get_args(UnscoredKind)).map(lambda kind: Outcome(unscored=kind)),
    st.just(Outcome(pending=True)),
    st.just(Outcome()),  # edited, not judged yet
)


def runs(of=outcomes, min_size: int = 1):
    return st.integers(1, 3).flatmap(
        lambda repeats: st.lists(
            st.tuples(st.sampled_from("abcde"), st.lists(of, min_size=repeats, max_size=repeats)),
            min_size=min_size,
            max_size=8,
        )
    )


relaxed = settings(deadline=None, max_examples=40)


@relaxed
@given(runs())
def test_counts_add_up_and_no_failure_is_a_number(samples):
    flat = [outcome for _, repeats in samples for outcome in repeats]
    summary = summary_of(samples)
    assert summary.wanted == len(flat)
    assert summary.scored == sum(one.score is not None for one in flat)
    assert summary.edited == sum(not one.failed and not one.pending for one in flat)
    assert sum(summary.edit_failed.values()) == sum(one.failed is not None for one in flat)
    assert sum(summary.unscored.values()) == sum(one.unscored is not None for one in flat)
    for kind, count in {**summary.edit_failed}.items():
        assert count == sum(one.failed == kind for one in flat)
    assert summary.coverage == pytest.approx(summary.scored / len(flat))
    means = [
        statistics.fmean([one.score for one in repeats if one.score is not None])
        for _, repeats in samples
        if any(one.score is not None for one in repeats)
    ]
    estimate = summary.headline
    assert estimate.n == len(means)
    if means:
        assert estimate.mean == pytest.approx(statistics.fmean(means), abs=1e-9)
        assert (estimate.minimum, estimate.maximum) == (pytest.approx(min(means)), pytest.approx(max(means)))
    else:
        nothing = dataclasses.asdict(estimate)
        assert nothing.pop("n") == nothing.pop("clusters") == 0
        assert set(nothing.values()) == {None}


@relaxed
@given(runs())
def test_bounds_hold_the_mean_and_are_there_only_where_something_is_missing(samples):
    summary = summary_of(samples)
    if summary.coverage == 1.0:
        assert summary.bounds is None
        return
    low, high = summary.bounds
    missing = 1 - summary.coverage
    assert RUBRIC.low - 1e-9 <= low <= high <= RUBRIC.high + 1e-9
    assert high - low == pytest.approx(missing * (RUBRIC.high - RUBRIC.low), abs=1e-9)
    if summary.headline.mean is not None:
        assert low - 1e-9 <= summary.headline.mean <= high + 1e-9


@relaxed
@given(runs(scored, 2))
def test_what_failed_would_have_changed_nothing_but_the_coverage(samples):
    whole = summary_of(samples)
    broken = [
        ("z", [Outcome(failed="crash")] * len(samples[0][1])),
        ("z", [Outcome(unscored="unparsable")] * len(samples[0][1])),
    ]
    with_failures = summary_of([*samples, *broken])
    assert with_failures.headline == whole.headline
    assert with_failures.dimensions == whole.dimensions
    assert whole.complete
    assert with_failures.coverage < whole.coverage == 1.0


@relaxed
@given(st.lists(st.tuples(st.sampled_from("abcd"), scores), min_size=2, max_size=8), st.integers(2, 4))
def test_repeats_count_once(pairs, times):
    once = summary_of([(cluster, [Outcome(score=value)]) for cluster, value in pairs])
    repeated = summary_of([(cluster, [Outcome(score=value)] * times) for cluster, value in pairs])
    assert repeated.headline.n == once.headline.n == len(pairs)
    for name in ("mean", "low", "high", "standard_error"):
        before, after = getattr(once.headline, name), getattr(repeated.headline, name)
        assert (before is None) == (after is None)
        assert after is None or after == pytest.approx(before, abs=1e-9)
    assert repeated.wanted == times * len(pairs)


@relaxed
@given(st.lists(st.tuples(st.sampled_from("abcd"), scores), min_size=1, max_size=10))
def test_the_error_bar_is_clustered_by_source_image(pairs):
    summary = summary_of([(cluster, [Outcome(score=value)]) for cluster, value in pairs])
    known = mean_interval([value for _, value in pairs], [cluster for cluster, _ in pairs])
    assert summary.headline.clusters == len({cluster for cluster, _ in pairs}) == known.clusters
    assert summary.headline.standard_error == known.standard_error
    if known.low is None:
        assert summary.headline.low is summary.headline.high is None
    else:  # no mean can lie outside the scale
        assert summary.headline.low == max(known.low, RUBRIC.low)
        assert summary.headline.high == min(known.high, RUBRIC.high)


@relaxed
@given(runs(min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_the_benchmark_does_not_matter(samples, random):
    mixed = list(samples)
    random.shuffle(mixed)
    one, other = summary_of(samples), summary_of(mixed)
    assert one.headline.mean == other.headline.mean  # to the last bit
    assert (one.coverage, one.edit_failed, one.unscored) == (
        other.coverage,
        other.edit_failed,
        other.unscored,
    )


def test_by_tag_and_by_dimension():
    samples = [
        ("a", [Outcome(score=2.0)]),
        ("b", [Outcome(score=4.0)]),
        ("c", [Outcome(unscored="refused")]),
        ("d", [Outcome(score=9.0)]),
    ]
    tags = [{"category": "add", "language": "en"}, {"category": "add"}, {"category": "remove"}, {}]
    summary = summary_of(samples, tags=tags)
    assert {tag: one.mean for tag, one in summary.tags["category"].items()} == {"add": 3.0, "remove": None}
    assert {tag: one.n for tag, one in summary.tags["category"].items()} == {"add": 2, "remove": 0}
    assert summary.tag_coverage == {"category": {"add": 1.0, "remove": 0.0}, "language": {"en": 1.0}}
    assert {tag: one.n for tag, one in summary.tags["language"].items()} == {"en": 1}
    assert set(summary.dimensions) == {one.name for one in RUBRIC.dimensions}
    assert all(one.mean == 5.0 and one.n == 3 for one in summary.dimensions.values())


def test_complete_is_a_matter_of_coverage():
    samples = [("a", [Outcome(score=5.0)])] * 49 + [("b", [Outcome(unscored="timeout")])]
    assert summary_of(samples).complete
    assert not summary_of(samples, min_coverage=0.99).complete
    assert not summary_of([*samples, ("c", [Outcome(failed="crash")])]).complete
    assert summary_of([("a", [Outcome(unscored="error")])], min_coverage=0.0).complete


def test_a_run_without_judging_is_complete_when_everything_is_edited():
    unjudged = {"judge": None, "judging": None}
    whole = summary_of([("a", [Outcome()]), ("b", [Outcome()])], **unjudged)
    assert (whole.complete, whole.coverage, whole.bounds, whole.headline.mean) == (True, 1.0, None, None)
    partial = summary_of([("a", [Outcome()]), ("b", [Outcome(failed="missing")])], **unjudged)
    assert not partial.complete


def test_only_the_present_judge_on_the_present_image_counts(tmp_path):
    def verdict(value: float) -> Verdict:
        return verdict_of(Outcome(score=value))

    [one] = write_run(tmp_path, [("a", [Outcome()])]).wanted
    others = [
        dataclasses.replace(JUDGING, identity={"name": "qwen3_vl", "version": 2}),
        dataclasses.replace(JUDGING, rubrics={"": dataclasses.replace(RUBRIC, overall="quality")}),
    ]
    reworded = dataclasses.replace(one, sample=dataclasses.replace(one.sample, instruction="do it, please"))
    with RunStore(tmp_path) as store:
        store.verdicts.append(verdict_record(one, verdict(1.0), others[0]))
        store.verdicts.append(verdict_record(one, verdict(2.0), sha="an older edit"))
    assert read_rows(RunReader(tmp_path))[0].verdict is None
    with RunStore(tmp_path) as store:
        store.verdicts.append(verdict_record(one, verdict(3.0)))
        # Whatever came later: other rubrics, judges, and what was asked when the instruction was another one.
        store.verdicts.append(verdict_record(one, verdict(4.0), others[1]))
        store.verdicts.append(verdict_record(one, verdict(5.0), others[0]))
        store.verdicts.append(verdict_record(reworded, verdict(6.0)))
    row = read_rows(RunReader(tmp_path))[0]
    assert (row.verdict.overall, row.verdict_key) == (3.0, JUDGING.key(one, "s"))


def test_a_verdict_on_an_edit_that_failed_since_does_not_count(tmp_path):
    write_run(tmp_path, [("a", [Outcome(score=7.0)])])
    with RunStore(tmp_path) as store:
        store.edits.append({"key": "000-0", "status": "failed", "kind": "crash", "reason": "?"})
    [row] = read_rows(RunReader(tmp_path))
    assert (row.edited, row.edit_failure, row.verdict, row.image) == (False, ("crash", "?"), None, None)
    assert summarize(RunReader(tmp_path)).headline.mean is None


def test_rows_come_in_the_benchmarks_order(tmp_path):
    run = write_run(tmp_path, [("a", [Outcome(score=1.0)] * 2), ("b", [Outcome(pending=True)] * 2)])
    run.wanted.reverse()
    assert [(row.index, row.sample.id, row.repeat) for row in read_rows(run)] == [
        (0, "s0", 0),
        (1, "s0", 1),
        (2, "s1", 0),
        (3, "s1", 1),
    ]


def test_an_empty_run_is_not_complete(tmp_path):
    summary = summarize(write_run(tmp_path, []))
    assert (summary.wanted, summary.coverage, summary.complete, summary.bounds) == (0, 0.0, False, None)


def test_mixed_provenance_is_said():
    host = {"python": "3.11.7", "torch": "2.14.1"}
    starts = [
        {"edit_eval": "0.1.0", "hosts": {"edit GPU 0": {**host, "accelerator": "H100"}}},
        {"edit_eval": "0.1.0", "hosts": {"edit GPU 0": {**host, "accelerator": "A100"}}},
    ]
    facts = summary_of([("a", [Outcome(score=1.0)])], starts=starts).facts
    assert facts["accelerators"] == "A100, H100 (mixed)"
    assert facts["torch"] == "2.14.1"
    assert facts["starts"] == "2"


def test_a_tag_that_only_names_its_sample_is_no_group():
    few = [("a", [Outcome(score=5.0)])] * 20
    assert list(summary_of(few, tags=[{"image": str(n)} for n in range(20)]).tags) == ["image"]
    many = [("a", [Outcome(score=5.0)] * 2)] * 21
    tags = [{"image": str(n), "kind": str(n % 20)} for n in range(21)]
    assert list(summary_of(many, tags=tags).tags) == ["kind"]


def test_grouping_by_tag_is_linear():
    tags = [{"pair": str(number // 2)} for number in range(24000)]
    rows = [
        Row(
            n, Sample(str(n), "x", ("a",), tags=tags[n]), 0, "k", True, None, {}, None, None, None, None, None
        )
        for n in range(24000)
    ]
    with within(5):
        assert len(_by_tag([(row, 5.0) for row in rows], (0, 10))["pair"]) == 12000


def test_without_a_judge_coverage_is_the_share_of_edits():
    samples = [("a", [Outcome()])] * 99 + [("a", [Outcome(failed="error")])]
    summary = summary_of(samples, judge=None, judging=None)
    assert (summary.coverage, summary.complete) == (0.99, True)
    assert not summary_of(samples, judge=None, judging=None, min_coverage=1.0).complete


def test_the_editing_stage_of_a_judged_run_is_measured_by_its_edits():
    summary = summary_of([("a", [Outcome()])] * 10)
    assert (summary.complete, summary.reaches(judged=False)) == (False, True)


def test_a_run_json_that_lacks_provenance_is_summarized_all_the_same(tmp_path):
    with RunStore(tmp_path) as store:
        store.write_wanted([])
        store.write_info({"starts": [{}, None, {"hosts": None}], "size_policy": None})
    assert summarize(RunReader(tmp_path)).facts == {"edit-eval": "?", "starts": "3"}


def test_flags_are_counted_by_edit_and_by_flag(tmp_path):
    run = write_run(tmp_path, [("a", [Outcome(score=1.0)] * 4), ("b", [Outcome(failed="error")])])
    run.edits = dict(run.edits)
    flags = {"000-0": ["blank", "nan"], "000-1": ["blank"], "000-2": []}
    for key, found in flags.items():
        run.edits[key] = {**run.edits[key], "flags": found}
    run.edits["000-1"] = {**run.edits["000-1"], "first_frames": [0]}
    rows = read_rows(run)
    assert [row.flags for row in rows] == [("blank", "nan"), ("blank",), (), (), ()]
    found = summarize(run, rows)
    assert (found.flagged, found.flags, found.first_frames) == (2, {"blank": 2, "nan": 1}, 1)
    assert found.facts["flags"] == "not looked for in 1 edits, made by an earlier version"
    assert found.headline.mean == 1.0  # a flag changes no score


@pytest.mark.parametrize("odd", [None, "blank", 3, {"blank": 1}, [None, 3]])
def test_odd_flags_in_a_ledger_are_none(tmp_path, odd):
    run = write_run(tmp_path, [("a", [Outcome(score=1.0)])])
    run.edits = dict(run.edits)
    run.edits["000-0"] = {**run.edits["000-0"], "flags": odd}
    assert summarize(run).flagged == 0


def test_coverage_by_tag_counts_everything_that_was_wanted():
    samples = [
        ("a", [Outcome(score=2.0), Outcome(failed="crash")]),
        ("b", [Outcome(pending=True)]),
        ("c", [Outcome(unscored="refused")] * 2),
    ]
    tags = [{"kind": "x"}, {"kind": "x"}, {"kind": "y"}]
    summary = summary_of(samples, tags=tags)
    assert summary.tag_coverage == {"kind": {"x": 1 / 3, "y": 0.0}}
    assert [one.n for one in summary.tags["kind"].values()] == [1, 0]
    assert summary_of(samples, tags=tags, judge=None, judging=None).tags == {}
