from __future__ import annotations

import pytest

from edit_eval.core.stats import mean_interval
from edit_eval.driver.events import DeviceState, EditFinished, StageStarted, StepProgress, VerdictGiven
from edit_eval.views.board import Board
from views.samples import scored, whole_run


def test_a_whole_run_adds_up() -> None:
    board = Board()
    for event in whole_run():
        board.observe(event)
    edit, judge = board.stages["edit"], board.stages["judge"]
    assert (edit.done, edit.reachable) == (10, 10)
    assert (judge.done, judge.reachable) == (9, 9)
    assert board.scores.count == 8
    assert board.scores.unscored == {"unparsable": 1}
    assert board.edit_failed == {"crash": 1}
    assert board.scores.mean == pytest.approx(7.8875)


def editing(*, devices: int, loading: int = 0) -> Board:
    """Return a board on which every device needs 10 s an edit, and two edits of 20 are done."""
    board = Board()
    board.observe(StageStarted(0, "edit", 20, 0))
    for index in range(loading):
        board.observe(DeviceState(0, f"CPU {index}", "edit", "loading"))
    for index in range(devices):
        board.observe(DeviceState(5, f"GPU {index}", "edit", "ready"))
    for index in range(devices):
        board.observe(EditFinished(15, f"GPU {index}", index, str(index), 10, 0))
    return board


def test_time_left_comes_from_measured_times() -> None:
    assert editing(devices=2).left("edit", 15) == pytest.approx(18 / 0.2)
    assert editing(devices=4).left("edit", 15) == pytest.approx(16 / 0.4)


def test_a_device_that_loads_counts_at_the_pace_of_its_siblings() -> None:
    assert editing(devices=2, loading=2).left("edit", 15) == pytest.approx(18 / 0.4)


def test_time_left_is_unknown_before_anything_was_measured() -> None:
    board = Board()
    board.observe(StageStarted(0, "edit", 20, 0))
    assert board.left("edit", 9) is None
    assert board.left("judge", 9) is None


def test_the_steps_of_the_first_edits_promise_a_time() -> None:
    board = Board()
    board.observe(StageStarted(0, "edit", 21, 0))
    board.observe(DeviceState(0, "GPU 0", "edit", "ready"))
    for step in (1, 2, 3):
        board.observe(StepProgress(step * 2.0, "GPU 0", 0, "a", step, 10))
    # 20 s an edit, 21 of them, 6 s of the first are over.
    assert board.left("edit", 6) == pytest.approx(21 * 20 - 6)


def test_time_left_goes_down_between_two_edits_and_stops_before_the_next_task() -> None:
    board = editing(devices=2)
    assert board.left("edit", 20) == pytest.approx(18 / 0.2 - 5)
    assert board.left("edit", 25) == board.left("edit", 500) == pytest.approx(18 / 0.2 - 10)


def test_the_last_edits_take_as_long_as_one_edit() -> None:
    board = editing(devices=8)  # 8 of 20 done
    for index in range(8):
        board.observe(EditFinished(25, f"GPU {index}", index, str(index), 10, 0))
    # 4 are left for 8 devices: 10 s, not 4 times 10 by 8.
    assert board.left("edit", 25) == pytest.approx(10)


def test_time_spent_waiting_makes_no_judge_slow() -> None:
    board = Board()
    board.observe(StageStarted(0, "judge", 100, 0))
    board.observe(DeviceState(0, "GPU 0", "judge", "ready"))
    board.observe(VerdictGiven(2, "GPU 0", 0, "0", scored(5)))
    for start in (10, 50):
        board.observe(DeviceState(start, "GPU 0", "judge", "waiting"))
        board.observe(VerdictGiven(start + 30, "GPU 0", 1, "1", scored(5)))
        board.observe(VerdictGiven(start + 30.01, "GPU 0", 2, "2", scored(5)))  # of the same batch
        board.observe(VerdictGiven(start + 32.01, "GPU 0", 3, "3", scored(5)))
    pace = board.device("GPU 0").paces["judge"]
    assert (pace.count, pace.timed) == (7, 3)
    assert pace.rate == pytest.approx(0.5)


def test_a_judge_that_is_told_when_its_wait_is_over_is_timed_from_there() -> None:
    board = Board()
    board.observe(DeviceState(0, "GPU 0", "judge", "waiting"))
    board.observe(DeviceState(10, "GPU 0", "judge", "ready"))
    board.observe(VerdictGiven(14, "GPU 0", 0, "0", scored(5)))
    assert board.device("GPU 0").paces["judge"].rate == pytest.approx(0.25)


def test_tokens_of_a_batch_are_the_judges_progress() -> None:
    board = Board()
    board.observe(DeviceState(0, "GPU 0", "judge", "ready"))
    for token in range(1, 11):
        board.observe(StepProgress(token / 10, "GPU 0", 3, "a", token, 512, "judge"))
    device = board.device("GPU 0")
    assert (device.step, device.steps) == (10, 512)
    assert device.step_rate == pytest.approx(10)
    board.observe(VerdictGiven(1.1, "GPU 0", 3, "a", scored(5)))
    assert (device.step, device.steps, device.index) == (0, 512, -1)


@pytest.mark.parametrize("scores", [[], [7.0], [7.0, 8.0], [1.0, 9.5, 3.25, 3.25, 10.0]])
def test_the_running_error_is_that_of_the_final_statistics(scores: list[float]) -> None:
    board = Board()
    for index, score in enumerate(scores):
        board.observe(VerdictGiven(1, "GPU 0", index, str(index), scored(score)))
    known = mean_interval(scores)
    assert board.scores.mean == pytest.approx(known.mean)
    assert board.scores.standard_error == pytest.approx(known.standard_error)


def test_repeats_of_a_sample_are_one_sample() -> None:
    board = Board()
    for sample, score in [("a", 4.0), ("b", 9.0), ("a", 6.0)]:
        board.observe(VerdictGiven(1, "GPU 0", 0, sample, scored(score)))
    known = mean_interval([5.0, 9.0])
    assert (board.scores.count, board.scores.samples) == (3, 2)
    assert board.scores.mean == pytest.approx(known.mean)
    assert board.scores.standard_error == pytest.approx(known.standard_error)


def test_scoring_does_not_end_before_editing() -> None:
    board = editing(devices=2)
    board.observe(StageStarted(0, "judge", 20, 0))
    board.observe(DeviceState(5, "GPU 7", "judge", "ready"))
    board.observe(VerdictGiven(6, "GPU 7", 0, "0", scored(5)))
    assert board.left("judge", 15) == pytest.approx(90)


def test_work_ends_waiting_and_a_new_edit_starts_its_own_clock() -> None:
    board = Board()
    board.observe(DeviceState(0, "GPU 0", "edit", "ready"))
    board.observe(DeviceState(1, "GPU 0", "edit", "waiting"))
    for step in range(1, 6):
        board.observe(StepProgress(10 + step, "GPU 0", 0, "a", step, 10))
    device = board.device("GPU 0")
    assert (device.state, device.step_rate, device.step_left(15)) == ("ready", 1.0, 5.0)
    assert device.step_left(17) == 3.0
    assert device.begun == 11
    board.observe(StepProgress(40, "GPU 0", 1, "b", 1, 10))
    assert device.step_rate is None
    assert device.step_left(41) is None
    assert device.begun == 40


def test_a_lost_host_does_not_count_as_slow() -> None:
    board = editing(devices=1)
    board.observe(DeviceState(16, "GPU 0", "edit", "restarting", "signal 9"))
    board.observe(DeviceState(100, "GPU 0", "edit", "loading"))
    board.observe(DeviceState(200, "GPU 0", "edit", "ready"))
    board.observe(EditFinished(210, "GPU 0", 1, "1", 10, 0))
    assert board.device("GPU 0").paces["edit"].rate == pytest.approx(0.1)
