"""Second verdicts, other judges and the spread of readings, as shares of the scales that they are on."""

from __future__ import annotations

import pytest
from written import JUDGING, judging, write_run

from edit_eval.core.types import Verdict
from edit_eval.driver.opinions import opinions_on
from edit_eval.driver.rows import read_rows
from edit_eval.driver.store import RunReader, RunStore


def test_other_judges_and_scales(tmp_path):
    of_five = judging("b", "five-v1", 5.0)
    run = write_run(
        tmp_path / "r", {"a": 8, "b": 6, "c": "refused", "d": 7}, beside=[(of_five, {"a": 1, "b": 3, "c": 3})]
    )
    found = opinions_on(run, read_rows(run))
    assert sorted(found) == [0, 1]  # where both have a score
    assert [(one.judge, one.overall) for one in found[0].others] == [("tagged b", 1.0)]
    assert found[0].disagreement == pytest.approx(0.8 - 0.2)
    assert found[1].disagreement == 0.0


def test_a_second_verdict_and_the_spread_of_readings(tmp_path):
    run = write_run(tmp_path / "r", {"a": 8, "b": 6}, repeat_fraction=1.0)
    wanted = {one.sample.id: one for one in run.wanted}
    with RunStore(tmp_path / "r") as store:
        for name, repeat, overall, facts in (
            ("a", 1, 5.0, {}),
            ("b", 0, 6.0, {"spread": {"quality": 2.0, "instruction": 0.5, "gone": 9.0, "odd": "x"}}),
        ):
            scores = {"instruction": overall, "quality": overall}
            verdict = Verdict(scores, overall, facts=facts)
            store.verdicts.append(
                {
                    "key": JUDGING.key(wanted[name], "5" * 64, repeat=repeat),
                    "edit_key": wanted[name].key,
                    "edited_sha256": "5" * 64,
                    "judge": JUDGING.judge_id,
                    "seconds": 0.5,
                    "device": "CPU 1",
                    "verdict": verdict.to_json(),
                }
            )
    run = RunReader(tmp_path / "r")
    found = opinions_on(run, read_rows(run))
    assert [(one.judge, one.apart) for one in found[0].others] == [("", pytest.approx(0.3))]
    assert found[1].spread == pytest.approx(0.2)
    assert found[1].disagreement == pytest.approx(0.2)


def test_a_run_that_nobody_judged(tmp_path):
    run = write_run(tmp_path / "r", {"a": "edited"}, own=None)
    assert opinions_on(run, read_rows(run)) == {}
