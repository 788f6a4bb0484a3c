"""Runs compared: who is joined with whom, what is not compared and why, and by which judge."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written import Item, judging, write_run

from edit_eval.core.errors import ConfigError, DataError, RunError
from edit_eval.core.headlines import Headline
from edit_eval.driver.compare import compare_runs, labels_of
from edit_eval.views.compare import comparison_text
from edit_eval.views.comparison_data import comparison_json


def compared(path: Path, *runs, **options):
    readers = [write_run(path / f"r{number}", run) for number, run in enumerate(runs)]
    return compare_runs(readers, **options)


A = {f"s{number}": value for number, value in enumerate([5, 6, 7, 4, 8, 5, 6, 7, 5, 6])}
B = {name: value + (1.5 if name != "s3" else -1) for name, value in A.items()}


def test_the_difference_is_the_others_minus_the_bases(tmp_path):
    found = compared(tmp_path, A, B)
    [pair] = found.pairs
    whole = pair.overall
    assert (whole.n, whole.clusters) == (10, 10)
    assert whole.base == pytest.approx(5.9)
    assert whole.difference == pytest.approx(1.25)  # (9 x 1.5 - 1) / 10
    assert (whole.wins, whole.ties, whole.losses) == (9, 0, 1)
    deviation = statistics.stdev([1.5] * 9 + [-1])
    assert whole.standard_error == pytest.approx(deviation / 10**0.5)
    assert whole.exact
    assert whole.p == pytest.approx(
        4 / 1024
    )  # all signs alike but for none or the smallest's, and their mirrors
    assert whole.shown
    assert [one.name for one in pair.dimensions] == ["instruction", "quality"]
    assert found.protocols == ()
    assert not found.partial
    backwards = compared(tmp_path / "again", B, A).pairs[0].overall
    assert (backwards.difference, backwards.p) == (-whole.difference, whole.p)


def test_the_largest_changes(tmp_path):
    found = compared(tmp_path, {"a": 5, "b": 5, "c": 5, "d": 5}, {"a": 4, "b": 9, "c": 1, "d": 6})
    assert [one.id for one in found.drops(1)] == ["c", "a"]
    assert [one.id for one in found.gains(1)] == ["b", "d"]
    assert [one.id for one in found.gains(1, 1)] == ["b"]
    assert found.samples[0].difference(1) == -1


def test_repeats_are_averaged_and_never_samples(tmp_path):
    base = {"a": Item([4, 6]), "b": Item([5, 5]), "c": Item([5, "refused"])}
    found = compared(tmp_path, base, {"a": 8, "b": 6, "c": Item([7, 7, 7])})
    whole = found.pairs[0].overall
    assert (whole.n, whole.clusters, whole.base) == (3, 3, 5)
    assert [one.overall for one in found.samples] == [(5, 8), (5, 6), (5, 7)]
    assert found.pairs[0].lost.partly == 1


def test_samples_of_one_cluster_are_not_independent(tmp_path):
    base = {f"s{number}": Item([5], cluster=f"c{number // 2}") for number in range(8)}
    found = compared(tmp_path, base, {name: 5 + number for number, name in enumerate(base)})
    assert (found.pairs[0].overall.n, found.pairs[0].overall.clusters) == (8, 4)
    assert [one.label for one in found.pairs[0].provenance] == ["clusters"]


def test_what_is_not_compared_and_why(tmp_path):
    base = {"a": 5, "b": "refused", "c": 5, "d": 5, "only": 5, "e": "edited"}
    other = {"a": 6, "b": "failed:crash", "c": "unparsable", "d": None, "new": 5, "e": 7}
    found = compared(tmp_path, base, other)
    lost = found.pairs[0].lost
    assert (lost.only_base, lost.only_other) == (("only",), ("new",))
    assert lost.without_base == {"b": "unscored (refused)", "e": "not judged"}
    assert lost.without_other == {
        "b": "edit-failed (crash)",
        "c": "unscored (unparsable)",
        "d": "not edited",
    }
    assert lost.count == 6
    assert found.pairs[0].overall.n == 1
    assert found.partial
    assert found.samples[-1].statuses == ("not in this run", "scored")
    text = comparison_text(found)
    assert "without a score in r1: 3 (b, c, d)" in text
    assert "r1 is partial: 3 of 6 scored" in text


@pytest.mark.parametrize(
    ("change", "what"), [({"instruction": "another"}, "instruction"), ({"source": "e"}, "source image")]
)
def test_the_same_id_of_another_sample_is_not_compared(tmp_path, change, what):
    found = compared(tmp_path, {"a": 5, "b": 5, "c": 4}, {"a": 6, "b": Item([9], **change), "c": 4})
    [pair] = found.pairs
    assert pair.lost.changed == {"b": (what,)}
    assert (pair.overall.n, pair.overall.difference) == (2, 0.5)
    assert found.samples[1].statuses == ("scored", "another sample")
    assert found.samples[1].overall == (5, None)
    with pytest.raises(DataError, match="the same ids but other instructions or images"):
        compared(tmp_path / "none", {"b": 5}, {"b": Item([9], **change)})


def test_an_instruction_rewritten_for_the_editor_is_provenance(tmp_path):
    found = compared(tmp_path, {"a": 5, "b": 5}, {"a": 6, "b": Item([9], edit_instruction="do it well")})
    [pair] = found.pairs
    assert pair.overall.n == 2
    [one] = pair.provenance
    assert (one.label, one.other) == ("instructions given to the editor", "differ in 1 of 2 samples")


def test_no_sample_in_common(tmp_path):
    with pytest.raises(DataError, match="no id is in both"):
        compared(tmp_path, {"a": 5}, {"b": 5})


def text_of(found, columns: int = 120) -> str:
    return " ".join(comparison_text(found, columns).split())


def test_nothing_scored_in_both_is_a_dash(tmp_path):
    found = compared(tmp_path, {"a": 5, "b": "refused"}, {"a": "refused", "b": 5})
    whole = found.pairs[0].overall
    assert (whole.n, whole.difference, whole.p, whole.smallest, whole.low) == (0, None, None, None, None)
    assert "No sample has a score in both r0 and r1: no difference can be computed." in text_of(found)
    assert comparison_json(found)["pairs"][0]["overall"]["difference"] is None


def test_one_sample(tmp_path):
    found = compared(tmp_path, {"a": 5}, {"a": 7})
    whole = found.pairs[0].overall
    assert (whole.n, whole.difference, whole.standard_error, whole.p) == (1, 2, None, None)
    assert "r1 is at +2.000 from r0 over 1 sample: of one cluster alone" in text_of(found)


def test_one_cluster(tmp_path):
    base = {name: Item([5], cluster="x") for name in "abc"}
    found = compared(tmp_path, base, dict.fromkeys("abc", 6))
    assert found.pairs[0].overall.p is None
    assert "over 3 samples in 1 cluster: of one cluster alone" in text_of(found)


def test_too_few_clusters_to_show_anything(tmp_path):
    found = compared(tmp_path, dict.fromkeys("abcd", 1), {"a": 9, "b": 8, "c": 9, "d": 7})
    assert found.pairs[0].overall.p == 0.125
    assert "With 4 clusters no difference can be shown, however large." in text_of(found)


def test_a_run_compared_with_itself(tmp_path):
    run = write_run(tmp_path / "run", A)
    found = compare_runs([run, run])
    [pair] = found.pairs
    assert pair.same_run
    assert (pair.overall.difference, pair.overall.p, pair.overall.ties) == (0, 1, 10)
    assert [one.label for one in found.runs] == ["run (1)", "run (2)"]
    assert "run (1) and run (2) are the same run." in text_of(found)
    assert "have the same score in all 10 samples" in text_of(found)


def test_two_runs_are_needed(tmp_path):
    run = write_run(tmp_path / "run", A)
    with pytest.raises(ConfigError, match="two runs"):
        compare_runs([run])
    with pytest.raises(ValueError, match="no run 2"):
        compare_runs([run, run], base=2)


def test_a_run_without_a_judge(tmp_path):
    runs = [write_run(tmp_path / "a", A), write_run(tmp_path / "b", A, None)]
    with pytest.raises(RunError, match=r"b has no scores; 'edit-eval score .*b' has its edits judged"):
        compare_runs(runs)


# Judges


def test_different_judges_are_refused_unless_told(tmp_path):
    runs = [write_run(tmp_path / "a", A), write_run(tmp_path / "b", B, judging("b"))]
    with pytest.raises(DataError, match=r"not judged alike .*judge.params.tag.*--any-protocol") as error:
        compare_runs(runs)
    assert "\n" not in str(error.value)
    found = compare_runs(runs, any_protocol=True)
    assert not found.same_judging
    assert found.judge == "tagged a / tagged b"
    assert found.pairs[0].overall.difference == pytest.approx(1.25)
    assert "Not judged alike" in text_of(found)
    assert "judge.params.tag" in [one.label for one in found.pairs[0].provenance]


def test_another_rubric_is_another_protocol(tmp_path):
    runs = [write_run(tmp_path / "a", A), write_run(tmp_path / "b", B, judging(name="other-v1"))]
    with pytest.raises(DataError, match=r"protocol 'folder/v1.two-v1' and 'folder/v1.other-v1'"):
        compare_runs(runs)
    found = compare_runs(runs, any_protocol=True)
    assert found.protocols == ("folder/v1+two-v1", "folder/v1+other-v1")


def test_two_scales_have_no_difference(tmp_path):
    runs = [write_run(tmp_path / "a", A), write_run(tmp_path / "b", A, judging(high=5.0))]
    with pytest.raises(DataError, match=r"0 to 10 and .* 0 to 5: scores on two scales have no difference"):
        compare_runs(runs, any_protocol=True)


def test_a_judge_that_all_have_in_common_compares(tmp_path):
    other = judging("b")
    runs = [
        write_run(tmp_path / "a", {"x": 1, "y": 2}, beside=[(other, {"x": 5, "y": 6})]),
        write_run(tmp_path / "b", {"x": 7, "y": 9}, other),
    ]
    found = compare_runs(runs)
    assert [one.own_judge for one in found.runs] == [False, True]
    assert found.judge == "tagged b"
    assert found.same_judging
    assert (found.runs[0].headline.mean, found.runs[1].headline.mean) == (5.5, 8)
    assert found.pairs[0].overall.difference == 2.5
    assert [row.verdict.overall for row in found.runs[0].rows] == [5, 6]
    assert "a: by a judge beside the run's own, tagged a." in text_of(found)


def test_the_bases_own_judge_is_preferred(tmp_path):
    both = judging("a"), judging("b")
    runs = [
        write_run(tmp_path / "a", {"x": 1}, both[0], beside=[(both[1], {"x": 5})]),
        write_run(tmp_path / "b", {"x": 7}, both[1], beside=[(both[0], {"x": 2})]),
    ]
    assert compare_runs(runs).judge == "tagged a"
    assert compare_runs(runs, base=1).judge == "tagged b"


# Tags and dimensions


def test_tags_are_corrected_together_and_dimensions_among_themselves(tmp_path):
    def items(high):
        return {
            f"s{number}": Item(
                [5 + (high if number < 8 else 0) + number / 100],
                tags={"c": "x" if number < 8 else "y", "one": "z"},
            )
            for number in range(16)
        }

    [pair] = compared(tmp_path, items(0), items(3)).pairs
    assert [(one.tag, one.name) for one in pair.tags] == [("c", "x"), ("c", "y")]
    x, y = pair.tags
    assert (x.p, x.adjusted_p) == (2 / 256, 4 / 256)
    assert (y.p, y.adjusted_p, y.difference) == (1, 1, 0)
    assert (x.shown, y.shown) == (True, False)
    assert (pair.tag_correction, pair.dimension_correction) == ("holm", "holm")


def test_many_tag_values_are_corrected_by_the_false_discovery_rate(tmp_path):
    items = {f"s{number}": Item([5], tags={"c": f"v{number % 11}"}) for number in range(33)}
    [pair] = compared(tmp_path, items, dict.fromkeys(items, 6)).pairs
    assert pair.tag_correction == "benjamini-hochberg"
    assert len(pair.tags) == 11


def test_a_dimension_may_go_the_other_way(tmp_path):
    other = {name: Item([value], quality=1) for name, value in A.items()}
    [pair] = compared(tmp_path, A, other).pairs
    assert [one.difference for one in pair.dimensions] == [-1, 1]
    assert pair.overall.difference == 0


def test_an_interval_ends_where_no_difference_can_be(tmp_path):
    [pair] = compared(tmp_path, {"a": 0, "b": 10}, {"a": 10, "b": 9}).pairs
    assert (pair.overall.low, pair.overall.high) == (-10, 10)


# Three or more


def test_three_runs(tmp_path):
    c = {name: value + 0.01 for name, value in B.items()}
    found = compared(tmp_path, A, B, c, base=1)
    assert [(one.base, one.other) for one in found.pairs] == [(1, 0), (1, 2)]
    assert found.pairs_correction == "holm"
    assert all(one.overall.adjusted_p >= one.overall.p for one in found.pairs)
    assert list(found.ranking.runs) == ["r2", "r1", "r0"]
    assert found.ranking.base == "r1"
    assert found.ranking.n == 10
    assert "r0" in comparison_text(found, 40)


def test_a_sample_that_changed_in_one_run_is_not_ranked(tmp_path):
    found = compared(
        tmp_path, {"a": 5, "b": 5}, {"a": 5, "b": 5}, {"a": 5, "b": Item([9], instruction="another")}
    )
    assert found.ranking.n == 1


# Names, provenance


def test_labels(tmp_path):
    paths = [tmp_path / one for one in ("x/run", "y/run", "y/other", "y/other")]
    assert labels_of(paths) == ["x/run", "y/run", "other (1)", "other (2)"]


def test_what_else_differs(tmp_path):
    base = write_run(tmp_path / "a", A)
    loading = {
        "load_s": 9.0,
        "prepared_s": 1.0,
        "disk_bytes": 5,
        "ahead_bytes": 6,
        "ahead_disk_bytes": 7,
        "ahead_disk_s": 0.5,
    }
    changes = {
        "identity": {"editor": {"name": "scripted", "params": {"steps": 8}}, "seed": 1},
        "starts": [{"edit_eval": "0.2.0", "hosts": {"edit CPU 1": {"python": "3.12.1", **loading}}}],
    }
    [pair] = compare_runs([base, write_run(tmp_path / "b", A, **changes)]).pairs
    assert {one.label: (one.base, one.other) for one in pair.provenance} == {
        "seed": ("0", "1"),
        "editor.params.steps": ("4", "8"),
        "edit: devices": ("CPU 0", "CPU 1"),
        "edit: python": ("3.11.7", "3.12.1"),
        "edit-eval": ("0.1.0", "0.2.0"),
    }


# Properties

outcome = st.one_of(
    st.integers(0, 20).map(lambda half: half / 2),
    st.sampled_from(["refused", "failed:crash", "edited", None]),
)
item = st.builds(
    Item,
    st.lists(outcome, min_size=1, max_size=2),
    cluster=st.sampled_from(["", "x", "y"]),
    instruction=st.sampled_from(["do it", "do it", "do it", "another"]),
    tags=st.fixed_dictionaries({"c": st.sampled_from("uv")}),
)
run = st.dictionaries(st.sampled_from("abcdefgh"), item, min_size=1)


def mean(one: Item) -> float | None:
    scores = [value for value in one.outcomes if isinstance(value, float)]
    return statistics.fmean(scores) if scores else None


@settings(max_examples=25, deadline=None)
@given(run, run)
def test_every_sample_is_compared_or_lost_and_no_failure_is_a_number(first, second):
    same = {
        name for name in first.keys() & second.keys() if first[name].instruction == second[name].instruction
    }
    with tempfile.TemporaryDirectory() as folder:
        runs = [write_run(Path(folder, "a"), first), write_run(Path(folder, "b"), second)]
        if not same:
            with pytest.raises(DataError, match="no sample in common"):
                compare_runs(runs)
            return
        found = compare_runs(runs)
    [pair] = found.pairs
    lost = pair.lost
    joined = {name for name in same if mean(first[name]) is not None and mean(second[name]) is not None}
    assert pair.overall.n == len(joined)
    assert pair.overall.n + lost.count == len(first.keys() | second.keys())
    assert set(lost.only_base) == first.keys() - second.keys()
    assert set(lost.changed) == (first.keys() & second.keys()) - same
    if joined:
        expected = statistics.fmean(mean(second[name]) - mean(first[name]) for name in joined)
        assert pair.overall.difference == pytest.approx(expected)
        assert pair.overall.wins + pair.overall.ties + pair.overall.losses == len(joined)
    else:
        assert pair.overall.difference is None
    for one in found.samples:
        assert (one.difference(1) is not None) == (one.id in joined)
    for columns in (40, 120):
        lines = comparison_text(found, columns).splitlines()
        assert all(len(line) <= columns for line in lines)


# The benchmark's own numbers, and where the spread comes from

OWN = Headline("G_O", 0.0, 10.0, group="c", groups={"x": 0, "y": 0})
OTHERS = tuple(Headline(name, 0.0, 10.0, value=name) for name in ("instruction", "quality"))


def grouped(change, count=12):
    items = {}
    for number in range(count):
        group = "x" if number % 3 else "y"
        items[f"s{number}"] = Item([5 + number % 2 + change(number, group)], tags={"c": group})
    return items


def with_headlines(path, *runs, headlines=(OWN, *OTHERS)):
    return compare_runs([write_run(path / f"r{n}", run, headlines=headlines) for n, run in enumerate(runs)])


def test_the_benchmarks_own_number_comes_first(tmp_path):
    found = with_headlines(
        tmp_path,
        grouped(lambda number, group: 0),
        grouped(lambda number, group: (2 if group == "x" else 1) + number / 100),
    )
    [pair] = found.pairs
    assert pair.main is pair.headlines[0]
    assert pair.main.name == "G_O"
    whole = (
        [2 + number / 100 for number in range(12) if number % 3],
        [1 + number / 100 for number in range(0, 12, 3)],
    )
    assert pair.main.difference == pytest.approx(statistics.fmean(map(statistics.fmean, whole)))
    assert pair.main.p == 2 / 4096
    assert pair.main.adjusted_p is None
    assert [one.adjusted_p for one in pair.headlines[1:]] == [4 / 4096, 4 / 4096]
    assert pair.headline_correction == "holm"
    text = text_of(found)
    assert "In G_O, r1 is better than r0 by 1.553 (95 % interval " in text
    assert "In the mean overall score, r1 is better than r0 by 1.7" in text
    assert "p of the benchmark's other numbers corrected for 2 values (Holm)" in text


def test_a_group_without_a_pair_leaves_the_number_undefined(tmp_path):
    other = {
        name: "refused" if item.tags["c"] == "y" else item for name, item in grouped(lambda *_: 1).items()
    }
    found = with_headlines(tmp_path, grouped(lambda *_: 0), other)
    [pair] = found.pairs
    assert (pair.main.difference, pair.main.low, pair.main.p) == (None, None, None)
    assert "In G_O, no difference can be computed: no sample that both scored of c: y." in text_of(found)


def test_three_runs_correct_their_main_number_too(tmp_path):
    runs = [grouped(lambda number, group, more=more: more * (1 + number / 100)) for more in (0, 1, 2)]
    found = with_headlines(tmp_path, *runs, headlines=(OWN,))
    assert [one.main.adjusted_p for one in found.pairs] == [4 / 4096, 4 / 4096]
    assert "corrected for 2 comparisons" in text_of(found)


def test_numbers_that_only_one_run_has_are_left_out(tmp_path):
    runs = [
        write_run(tmp_path / "a", A, headlines=(OTHERS[0], OTHERS[1])),
        write_run(tmp_path / "b", B, headlines=(OTHERS[1],)),
    ]
    assert [one.name for one in compare_runs(runs).pairs[0].headlines] == ["quality"]


def test_the_spread_by_samples_and_seeds(tmp_path):
    base = {f"s{number}": Item([number, number + 2.0]) for number in range(8)}
    found = compared(tmp_path, base, dict.fromkeys(base, 5))
    one, none = (run.variance for run in found.runs)
    assert none is None
    assert one.seed_and_judge == pytest.approx(2.0)  # two seeds, one point from their mean each
    assert one.sample == pytest.approx(6.0 - 1.0)  # 6 is the variance of 0 to 7; half of 2 is the seeds'
    assert one.doubled["seeds"] < one.standard_error
    text = text_of(found)
    assert (
        "r0: the variance of its scores is 5.000 between samples, 2.000 between seeds and judgements together."
        in text
    )
    assert "with twice the samples" in text
    assert comparison_json(found)["runs"][0]["variance"]["seed_and_judge"] == pytest.approx(2.0)
