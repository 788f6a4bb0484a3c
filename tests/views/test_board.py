from __future__ import annotations

import pytest

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
    assert editing(devices=2).left("edit") == pytest.approx(18 / 0.2)
    assert editing(devices=4).left("edit") == pytest.approx(16 / 0.4)


def test_a_device_that_loads_counts_at_the_pace_of_its_siblings() -> None:
    assert editing(devices=2, loading=2).left("edit") == pytest.approx(18 / 0.4)


def test_time_left_is_unknown_before_anything_was_measured() -> None:
    board = Board()
    board.observe(StageStarted(0, "edit", 20, 0))
    assert board.left("edit") is None
    assert board.left("judge") is None


def test_scoring_does_not_end_before_editing() -> None:
    board = editing(devices=2)
    board.observe(StageStarted(0, "judge", 20, 0))
    board.observe(DeviceState(5, "GPU 7", "judge", "ready"))
    board.observe(VerdictGiven(6, "GPU 7", 0, "0", scored(5)))
    assert board.left("judge") == pytest.approx(90)


def test_work_ends_waiting_and_a_new_edit_starts_its_own_clock() -> None:
    board = Board()
    board.observe(DeviceState(0, "GPU 0", "edit", "ready"))
    board.observe(DeviceState(1, "GPU 0", "edit", "waiting"))
    for step in range(1, 6):
        board.observe(StepProgress(10 + step, "GPU 0", 0, "a", step, 10))
    device = board.device("GPU 0")
    assert (device.state, device.step_rate, device.step_left) == ("ready", 1.0, 5.0)
    assert device.step_elapsed == 5.0
    board.observe(StepProgress(40, "GPU 0", 1, "b", 1, 10))
    assert device.step_rate is None
    assert device.step_left is None


def test_a_lost_host_does_not_count_as_slow() -> None:
    board = editing(devices=1)
    board.observe(DeviceState(16, "GPU 0", "edit", "restarting", "signal 9"))
    board.observe(DeviceState(100, "GPU 0", "edit", "loading"))
    board.observe(DeviceState(200, "GPU 0", "edit", "ready"))
    board.observe(EditFinished(210, "GPU 0", 1, "1", 10, 0))
    assert board.device("GPU 0").paces["edit"].rate == pytest.approx(0.1)
