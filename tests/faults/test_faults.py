"""Every fault of the table, injected into real runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faults.rows import FAULTS
from faults.suite import Judged, judged, trials

NO_END = ("it did not come to its end",)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("fault", "number"), trials(FAULTS))
def test_nothing_is_lost_or_done_twice(fault, number, trial, undisturbed, table):
    found = Judged((), (), NO_END)
    try:
        fault.inject(trial)
        found = judged(trial, trial.reference or undisturbed(trial))
    except AssertionError:  # what it has lost by then is counted
        trial.give_up()
        if (trial.output / "edits.jsonl").exists():
            found = replace(judged(trial, trial.reference or undisturbed(trial)), problems=NO_END)
        raise
    finally:
        if trial.note:
            table.notes[fault.name] = trial.note
        table.add(
            fault.family,
            fault.name,
            trial.injected,
            right=found.right,
            lost=len(found.lost),
            doubled=len(found.doubled),
        )
    assert found.right, "\n".join([f"lost: {found.lost}", f"done twice: {found.doubled}", *found.problems])
