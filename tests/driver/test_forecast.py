"""A dry run says what a start then does, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path

import pytest
from gpus import GIB, FakeGpus
from harness import Ran, config_tree, make_benchmark

from edit_eval.core.errors import RunError, UserError
from edit_eval.driver import devices
from edit_eval.driver.config import check_config
from edit_eval.driver.forecast import StageForecast, _seconds, edit_bytes, forecast
from edit_eval.driver.store import RunStore


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "_nvml", lambda: None)


def tree(tmp_path: Path, samples: int = 5, **changes) -> dict:
    benchmark = make_benchmark(tmp_path / "data", [*["ok"] * (samples - 1), "raise"])
    return config_tree(tmp_path, benchmark, **changes)


def foreseen(given: dict, **options):
    return forecast(check_config(given), **options)


def left(found) -> tuple[int | None, int | None]:
    return tuple(stage and stage.left for stage in (found.edit, found.judge))


def test_a_new_run_is_foreseen_and_nothing_is_written(tmp_path):
    given = tree(tmp_path, repeats=2)
    before = sorted(tmp_path.rglob("*"))
    found = foreseen(given)
    assert sorted(tmp_path.rglob("*")) == before
    assert (found.is_new, found.samples, found.repeats, left(found)) == (True, 5, 2, (10, 10))
    assert (found.edit.devices, found.edit.hardware) == (("CPU 0", "CPU 1"), ("CPU",))
    assert (found.seconds, found.edit.task_s, found.judge.task_s) == (None, None, None)
    assert found.image_bytes == int(32 * 24 * 3 * 1.1)
    assert found.disk_bytes == 10 * found.image_bytes


def test_what_is_foreseen_is_what_is_done(tmp_path):
    given = tree(tmp_path)
    first = foreseen(given)
    assert foreseen({**given, "judge": {**given["judge"], "rubric": "general-v1"}}).judge_calls == 5
    ran = Ran(given)
    assert (first.edit.left, first.judge.left, first.judge_calls) == (len(ran.run.edits), 5, 0)
    after = foreseen(given)
    assert (after.is_new, after.failed, left(after), after.seconds) == (False, 1, (0, 0), 0.0)
    assert (after.edit.total, after.judge.total, after.judge_calls) == (5, 4, 0)
    again = foreseen(given, retry_failed=True)
    assert left(again) == (1, 1)


def test_work_left_is_that_of_the_ledgers(tmp_path):
    given = tree(tmp_path)
    ran = Ran(given)
    keys = [one.key for one in ran.run.wanted]
    for key in keys[:2]:
        (tmp_path / "run" / "images" / key[:2] / f"{key}.png").unlink()
    assert left(foreseen(given)) == (2, 2)
    assert left(foreseen(given, stages=("edit",))) == (2, None)
    scoring = foreseen({**given, "judge": {**given["judge"], "params": {"load": "ok"}}}, stages=("judge",))
    assert left(scoring) == (None, 2)  # a judge of other parameters; of two edits the image is gone
    ledger = (tmp_path / "run" / "edits.jsonl").read_bytes()
    assert left(foreseen(given)) == (2, 2)
    assert (tmp_path / "run" / "edits.jsonl").read_bytes() == ledger
    again = Ran(given)
    assert len([one for one in again.events if type(one).__name__ == "EditFinished"]) == 2


def test_drawn_scenes_are_drawn_elsewhere(tmp_path):
    given = {
        "benchmark": {"type": "scenes", "params": {"n": 3, "size": 64}},
        "editor": {"type": "scripted", "devices": ["cpu:0"]},
        "judge": {"type": "reference", "devices": ["cpu:0"]},
        "output": str(tmp_path / "run"),
    }
    assert left(foreseen(given)) == (3, 3)
    assert not (tmp_path / "run").exists()
    Ran(given)
    assert left(foreseen(given)) == (0, 0)  # the keys are of the bytes, not of the places


def test_the_time_comes_from_earlier_runs_of_the_same_kind(tmp_path):
    given = tree(tmp_path, 7, output=str(tmp_path / "runs" / "one"))
    Ran(given)
    edits = tmp_path / "runs" / "one" / "edits.jsonl"
    lines = [json.loads(line) for line in edits.read_text().splitlines()]
    edits.write_text("".join(json.dumps({**line, "seconds": 10.0}) + "\n" for line in lines))
    verdicts = tmp_path / "runs" / "one" / "verdicts.jsonl"
    lines = [json.loads(line) for line in verdicts.read_text().splitlines()]
    verdicts.write_text("".join(json.dumps({**line, "seconds": 2.0}) + "\n" for line in lines))
    other = {**given, "output": str(tmp_path / "runs" / "two"), "seed": 1}
    found = foreseen(other)
    assert (found.edit.task_s, found.judge.task_s) == (10.0, 2.0)
    assert found.edit.learnt_from == ((str(tmp_path / "runs" / "one"),), 6)
    assert found.seconds == (7 * 10 + 7 * 2) / 2
    assert foreseen({**other, "stages": "sequential"}).seconds == 4 * 10 + 4 * 2
    assert found.image_bytes_known_from == "mean of 6 earlier edits"
    assert foreseen({**other, "editor": {**given["editor"], "params": {"load": "x"}}}).edit.task_s is None
    assert foreseen({**other, "judge": {**given["judge"], "batch_size": 1}}).judge.task_s is None
    assert foreseen({**other, "judge": {**given["judge"], "rubric": "general-v1"}}).judge.task_s is None


def test_another_kind_of_device_says_nothing_about_this_one(tmp_path, monkeypatch):
    given = tree(tmp_path, output=str(tmp_path / "runs" / "one"))
    Ran(given)
    monkeypatch.setattr(devices, "_nvml", lambda: FakeGpus(2))
    on_gpus = {
        **given,
        "editor": {**given["editor"], "devices": "all"},
        "output": str(tmp_path / "runs" / "two"),
    }
    found = foreseen(on_gpus)
    assert found.edit.hardware == ("NVIDIA H100 80GB HBM3",)
    assert (found.edit.task_s, found.seconds) == (None, None)
    assert found.edit.device_bytes == 80 * GIB
    info = tmp_path / "runs" / "one" / "run.json"
    data = json.loads(info.read_text())
    for number in (0, 1):
        data["starts"][0]["hosts"][f"edit CPU {number}"] = {}
        data["starts"][0]["hosts"][f"edit GPU {number}"] = {"accelerator": "NVIDIA H100 80GB HBM3"}
    info.write_text(json.dumps(data))
    edits = tmp_path / "runs" / "one" / "edits.jsonl"
    edits.write_text(edits.read_text().replace('"CPU ', '"GPU '))
    assert foreseen(on_gpus).edit.task_s is not None


def test_gpus_that_others_hold_and_a_run_in_use_are_notes(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_nvml", lambda: FakeGpus(1, used={0: 30 * GIB}))
    given = tree(tmp_path, editor__devices=["cuda:0"])
    with RunStore(tmp_path / "run"):
        found = foreseen(given)
    assert "is in use by process" in found.notes[0]
    assert "GPU 0: 30.0 GiB held by" in found.notes[1]
    assert "would be refused" in found.notes[1]


def test_what_a_start_would_refuse_is_refused(tmp_path):
    with pytest.raises(UserError, match="no GPU here"):
        foreseen(tree(tmp_path, editor__devices=["cuda:0"]))
    with pytest.raises(UserError, match="holds no edits yet"):
        foreseen(tree(tmp_path), stages=("judge",))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(RunError, match="holds other files"):
        foreseen(tree(tmp_path))
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").touch()
    with pytest.raises(RunError, match="cannot write"):
        foreseen(tree(tmp_path))


@pytest.mark.models
def test_weights_are_measured_and_not_read(tmp_path, tiny, monkeypatch):
    given = tree(tmp_path)
    given["editor"] = {
        "type": "qwen_image_edit",
        "model": str(tiny("qwen-image-edit-plus")),
        "devices": ["cpu:0"],
    }
    monkeypatch.setattr("edit_eval.driver.hashes.file_sha256", None)  # called, it would raise
    found = foreseen(given)
    assert 0 < found.edit.weights_bytes < 1 << 20
    assert found.edit.need_bytes == found.edit.weights_bytes + 2 * GIB
    assert found.image_bytes_known_from == "uncompressed 1024 x 1024"


def stage(left: int, task_s: float | None, *labels: str) -> StageForecast:
    return StageForecast("", labels, (), left, left, task_s=task_s)


@pytest.mark.parametrize(
    ("edit", "judge", "overlapped", "seconds"),
    [
        (stage(5, 10.0, "GPU 0", "GPU 1"), None, True, 30.0),
        (stage(4, 10.0, "GPU 0"), stage(4, 5.0, "GPU 1"), True, 40.0),
        (stage(4, 10.0, "GPU 0"), stage(4, 5.0, "GPU 1"), False, 60.0),
        (stage(4, 10.0, "GPU 0", "GPU 1"), stage(4, 5.0, "GPU 0", "GPU 1"), True, 30.0),
        (stage(4, 10.0, "GPU 0"), stage(4, None, "GPU 1"), True, None),
        (stage(4, 10.0, "GPU 0"), stage(0, None, "GPU 1"), True, 40.0),
        (stage(0, None, "GPU 0"), None, True, 0.0),
        (None, None, False, 0),
    ],
)
def test_the_least_time(edit, judge, overlapped, seconds):
    assert _seconds(edit, judge, overlapped=overlapped) == seconds


def test_how_large_an_edit_may_be():
    fixed = types.SimpleNamespace(width=512, height=256)
    assert edit_bytes(fixed, [], has_model=True) == (int(512 * 256 * 3.3), "uncompressed 512 x 256")
    assert edit_bytes(None, [], has_model=True)[0] == int(1024 * 1024 * 3.3)
    assert edit_bytes(None, [], has_model=False)[0] == int(1024 * 1024 * 3.3)
