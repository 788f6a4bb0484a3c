from __future__ import annotations

from rich.cells import cell_len

from edit_eval.views.closing import closing_block
from views.samples import EMPTY, HOSTILE, estimate, partial, summary


def test_a_complete_run() -> None:
    assert closing_block(summary(), "runs/demo/report/index.html").splitlines() == [
        "Result of demo: scenes/v1+reference-v1",
        "  Editor:    scripted (careful)",
        "  Judge:     reference",
        "  Score:     7.930 on 0 to 10",
        "  Interval:  7.430 to 8.430 (95 %), n = 10",
        "  Minimum:   6.930",
        "  Maximum:   8.930",
        "  Coverage:  100.0 % (10 of 10 scored)",
        "  Unscored:  0",
        "  No edit:   0",
        "",
        "  Dimension   mean   95 % interval   n",
        "  quality    8.100  7.600 to 8.600  10",
        "",
        "  category   mean   95 % interval  n",
        "  color     7.600  7.100 to 8.100  6",
        "  背景替换  8.400  7.900 to 8.900  4",
        "",
        "Report: runs/demo/report/index.html",
    ]


def test_a_partial_run_says_so_and_gives_its_bounds() -> None:
    said = closing_block(partial())
    assert "  Score:     7.930 (partial) on 0 to 10" in said
    assert "  Coverage:  80.0 % (8 of 10 scored), below the 98.0 % that were asked for" in said
    assert "  Bounds:    6.344 to 8.344, if all that is missing had the lowest or the highest score" in said
    assert "  Unscored:  1 (1 unparsable)" in said
    assert "  No edit:   1 (1 crash)" in said


def test_coverage_just_below_one_does_not_read_as_one() -> None:
    said = closing_block(summary(wanted=10_000, scored=9_999, coverage=0.9999, bounds=(7.9, 8.0)))
    assert "99.9 % (9999 of 10000 scored)" in said
    assert "(partial)" in said


def test_undefined_numbers_are_dashes() -> None:
    said = closing_block(
        summary(
            headline=EMPTY, scored=0, coverage=0.0, bounds=(0.0, 10.0), dimensions={"quality": EMPTY}, tags={}
        )
    )
    assert "  Score:     - (partial) on 0 to 10" in said
    assert "  Interval:  - (95 %), n = 0" in said
    assert "  Minimum:   -" in said
    assert "  Not done:  10" in said
    assert said.splitlines()[-1].split() == ["quality", "-", "-", "0"]


def test_one_cluster_has_a_mean_and_no_interval() -> None:
    said = closing_block(summary(headline=estimate(7.5, 3, None)))
    assert "  Score:     7.500 on 0 to 10" in said
    assert "  Interval:  - (95 %), n = 3" in said


def test_a_run_without_a_judge_counts_its_edits() -> None:
    said = closing_block(
        summary(judge=None, headline=EMPTY, dimensions={}, tags={}, edited=9, edit_failed={"crash": 1})
    )
    assert said.splitlines()[1:] == [
        "  Editor:    scripted (careful)",
        "  Edited:    9 of 10",
        "  No edit:   1 (1 crash)",
    ]


def test_hostile_names_stay_harmless_and_tables_aligned() -> None:
    said = closing_block(
        summary(run=HOSTILE, tags={HOSTILE: {HOSTILE * 3: estimate(7), "b": estimate(None)}})
    )
    assert not [character for character in said if ord(character) < 0x20 and character != "\n"]
    table = said.splitlines()[-3:]
    assert len({cell_len(line) for line in table}) == 1


def test_flagged_edits_stand_beside_the_score() -> None:
    said = closing_block(summary(flagged=3, flags={"no_op": 1, "blank": 2}, first_frames=1)).splitlines()
    start = said.index("  Score:     7.930 on 0 to 10")
    assert said[start + 1 : start + 3] == [
        "  Flags:     3 edits are flagged: 2 blank, 1 no_op",
        "  Sources:   1 edit is of the first frame or page of several",
    ]
    edits_only = closing_block(summary(judge=None, dimensions={}, tags={}, flagged=1, flags={"nan": 1}))
    assert "  Flags:     1 edit is flagged: 1 nan" in edits_only


def test_a_tag_without_a_score_has_a_line_with_its_coverage() -> None:
    tags = {"category": {"color": estimate(7.6, 6), "removal": EMPTY}}
    shares = {"category": {"color": 0.75, "removal": 0.0}}
    said = closing_block(
        summary(coverage=0.6, bounds=(1.0, 9.0), tags=tags, tag_coverage=shares)
    ).splitlines()
    assert said[-3:] == [
        "  category   mean   95 % interval  n  coverage",
        "  color     7.600  7.100 to 8.100  6    75.0 %",
        "  removal       -               -  0     0.0 %",
    ]
