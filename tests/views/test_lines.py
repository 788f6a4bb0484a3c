from __future__ import annotations

from edit_eval.driver.events import DeviceState, EditFinished, StageFinished, StageStarted, VerdictGiven
from edit_eval.views.lines import PermanentLines
from views.samples import run_started, scored, unscored, whole_run


def texts(events: object) -> list[str]:
    lines = PermanentLines()
    said = [line.text for event in events for line in lines(event)]  # type: ignore[attr-defined]
    return said + [line.text for line in lines.rest()]


def verdict(index: int, overall: float | None) -> VerdictGiven:
    given = unscored() if overall is None else scored(overall)
    return VerdictGiven(1.0, f"GPU {index % 2}", index, f"s{index}", given)


def test_the_record_of_a_run_is_in_the_style_that_was_asked_for() -> None:
    assert texts(
        whole_run(text="The image successfully shows a house that is painted blue from top to bottom")
    ) == [
        "  [Sample   5] Edit failed (crash) | signal 9 The image successfully shows a house that is painted blue from top to bottom",
        "[Unload] 2 devices ended editing in 0.05 s",
        "[Warning] slow The image successfully shows a house that is painted blue from top to bottom",
        "[Qwen3-VL Scoring] Starting batch scoring for 9 images",
        "  Batch size: 4",
        "  [Sample   0] Score: 6.50 | Response: The image successfully shows a house that is painted blue...",
        "  [Sample   1] Score: 6.80 | Response: The image successfully shows a house that is painted blue...",
        "  [Sample   2] Score: 7.10 | Response: The image successfully shows a house that is painted blue...",
        "  [Sample   3] Unscored (unparsable) | Response: The image successfully shows a house that is painted blue...",
        "[Batch 1] Images 0-3 done, avg_score=6.800 (1 unscored)",
        "  [Sample   4] Score: 7.70 | Response: The image successfully shows a house that is painted blue...",
        "  [Sample   6] Score: 8.30 | Response: The image successfully shows a house that is painted blue...",
        "  [Sample   7] Score: 8.60 | Response: The image successfully shows a house that is painted blue...",
        "  [Sample   8] Score: 8.90 | Response: The image successfully shows a house that is painted blue...",
        "[Batch 2] Images 4, 6-8 done, avg_score=8.375",
        "  [Sample   9] Score: 9.20 | Response: The image successfully shows a house that is painted blue...",
        "[Batch 3] Images 9 done, avg_score=9.200",
        "[Qwen3-VL Scoring] Completed!",
        "  Total images: 9",
        "  Average score: 7.887",
        "  Min score: 6.500",
        "  Max score: 9.200",
        "  Unscored: 1 (1 unparsable)",
        "  Without an edit: 1",
    ]


def test_a_group_holds_what_ended_together_whatever_its_order() -> None:
    events = [run_started(batch_size=4), *(verdict(index, 5.0) for index in (7, 2, 0, 1))]
    assert texts(events)[-1] == "[Batch 1] Images 0-2, 7 done, avg_score=5.000"


def test_a_group_without_a_score_has_no_average() -> None:
    said = texts(
        [run_started(batch_size=2), StageStarted(0, "judge", 2, 0), verdict(0, None), verdict(1, None)]
    )
    assert said[-1] == "[Batch 1] Images 0-1 done, avg_score=- (2 unscored)"


def test_a_run_without_a_score_ends_with_dashes() -> None:
    said = texts(
        [run_started(), StageStarted(0, "judge", 1, 0), verdict(0, None), StageFinished(2, "judge", 2)]
    )
    assert said[-5:] == [
        "  Total images: 1",
        "  Average score: -",
        "  Min score: -",
        "  Max score: -",
        "  Unscored: 1 (1 unparsable)",
    ]


def test_an_interrupted_run_closes_its_group_and_claims_no_completion() -> None:
    said = texts([run_started(), StageStarted(0, "judge", 9, 0), verdict(0, 7.0)])
    assert said[-1] == "[Batch 1] Images 0 done, avg_score=7.000"
    assert not any("Completed" in line for line in said)


def test_a_resumed_run_counts_its_own_verdicts_and_names_the_earlier_ones() -> None:
    said = texts(
        [run_started(), StageStarted(0, "judge", 10, 9), verdict(9, 7.0), StageFinished(2, "judge", 2)]
    )
    assert said[0] == "[Qwen3-VL Scoring] Starting batch scoring for 1 images (9 more were scored before)"
    assert "  Total images: 1 (9 more were scored before)" in said


def test_nothing_to_score_says_nothing() -> None:
    assert texts([run_started(), StageStarted(0, "judge", 10, 10), StageFinished(2, "judge", 2)]) == []


def test_what_happens_to_a_device_is_said_once_with_its_reason() -> None:
    lost = DeviceState(1, "GPU 1", "edit", "restarting", "signal 9\n\x1b[2Jof the host")
    retired = DeviceState(9, "GPU 1", "edit", "retired", "3 hosts were lost")
    assert texts([lost, lost, DeviceState(4, "GPU 1", "edit", "ready"), lost, retired]) == [
        "[GPU 1] Restarting the editor: signal 9 of the host",
        "[GPU 1] Restarting the editor: signal 9 of the host",
        "[GPU 1] Retired from editing: 3 hosts were lost",
    ]


def test_a_flagged_edit_is_said_as_it_comes() -> None:
    finished = [
        EditFinished(1.0, "GPU 0", 3, "s3", 1.0, 0, ("blank", "nan")),
        EditFinished(1.0, "GPU 0", 4, "s4", 1.0, 0),
    ]
    assert texts(finished) == ["  [Sample   3] Edit flagged: blank, nan"]
