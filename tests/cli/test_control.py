"""Signals and the pause file: an orderly end, a sudden one, and a halt between tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import PYTHONPATH, cli, make_benchmark, ours


class Running:
    """A run in a process of its own, on two devices."""

    def __init__(self, folder: Path, instruction: str, count: int, **more: str) -> None:
        self.folder = folder
        self.mark = f"control-{os.getpid()}-{folder.name}"
        self.config = folder / "c.yaml"
        benchmark = make_benchmark(folder / "data", [instruction] * count)
        self.config.write_text(
            f"benchmark: {{type: folder, path: {benchmark}}}\n"
            "editor: {type: 'faulty:FaultyEditor', devices: [cpu:0, cpu:1]}\n"
            "judge: {type: 'faulty:FaultyJudge', devices: [cpu:0]}\n"
            "output: run\n" + "".join(f"{key}: {value}\n" for key, value in more.items())
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edit_eval", "run", str(self.config)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "EDIT_EVAL_TEST": self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def edited(self) -> int:
        ledger = self.folder / "run" / "edits.jsonl"
        return ledger.read_bytes().count(b"\n") if ledger.exists() else 0

    def wait_for_edits(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while self.edited < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self, timeout_s: float = 20) -> tuple[str, str]:
        out, err = self.process.communicate(timeout=timeout_s)
        assert ours(self.mark) == []
        return out, err


@pytest.fixture
def start(tmp_path):
    started = []

    def make(instruction: str, count: int, **more: str) -> Running:
        started.append(Running(tmp_path, instruction, count, **more))
        return started[-1]

    yield make
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_the_first_signal_finishes_what_is_begun_and_begins_nothing(start, number):
    run = start("sleep:1", 12)
    run.wait_for_edits(2)
    time.sleep(0.2)
    run.process.send_signal(number)
    out, err = run.end()
    assert run.process.returncode == 130
    assert run.edited == 4
    [line] = err.splitlines()
    assert "the same command goes on from there" in line
    assert "[Note] stopping: 2 begun finish first, at most 25 s; a second signal stops at once" in out
    assert all(
        json.loads(line)["status"] == "edited"
        for line in (run.folder / "run/edits.jsonl").read_text().splitlines()
    )


def test_the_second_signal_ends_it_now(start):
    run = start("sleep:60", 4)
    _wait_until_working(run)
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert run.process.poll() is None
    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    _, err = run.end()
    assert time.monotonic() - began < 5
    assert run.process.returncode == 130
    assert len(err.splitlines()) == 1


def test_one_request_that_comes_twice_is_one(start):
    """The terminal signals a container's front end and the run in it, and the front end passes it on."""
    run = start("sleep:1", 12)
    run.wait_for_edits(2)
    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGTERM)
    run.process.send_signal(signal.SIGINT)
    run.end()
    assert run.process.returncode == 130
    assert 2 < run.edited <= 4, "what was begun was finished"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_before_the_run_has_begun(tmp_path, number):
    """While samples are read and weights are hashed, which takes minutes."""
    code = (
        "import os, sys\n"
        "from edit_eval import cli\n"
        "from edit_eval.cli import performing\n"
        f"performing.prepare = lambda *_args, **_more: os.kill(os.getpid(), {int(number)})\n"
        "sys.exit(cli.main(['demo']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 130, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("edit-eval: interrupted; ")


def test_grace_runs_out(start):
    run = start("sleep:60", 4, grace_s="1")
    _wait_until_working(run)
    began = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    run.end()
    assert 0.9 < time.monotonic() - began < 6
    assert run.process.returncode == 130
    assert run.edited == 0


def test_a_signal_to_every_process_reaches_the_driver_alone(start):
    """As a scheduler does it: hosts and keepers do not fall to it."""
    run = start("sleep:1", 8)
    run.wait_for_edits(2)
    for pid in ours(run.mark):
        os.kill(pid, signal.SIGTERM)
    out, _ = run.end()
    assert run.process.returncode == 130
    assert run.edited == 4
    assert "restart" not in out.lower()


def test_a_stopped_run_goes_on(start, tmp_path):
    run = start("sleep:0.5", 6)
    run.wait_for_edits(1)
    run.process.send_signal(signal.SIGINT)
    run.end()
    before = run.edited
    rest = cli("run", str(run.config), cwd=tmp_path)
    assert rest.returncode == 0, rest.stderr
    assert run.edited == 6
    assert f"{6 - before}" in rest.stdout


def test_a_pause_file_halts_between_tasks(start):
    run = start("sleep:0.2", 30)
    run.wait_for_edits(2)
    (run.folder / "run" / "pause").touch()
    time.sleep(2.0)
    at_rest = run.edited
    time.sleep(1.5)
    assert run.edited == at_rest < 30
    (run.folder / "run" / "pause").unlink()
    out, _ = run.end(60)
    assert run.process.returncode == 0
    assert run.edited == 30
    assert "[Note] paused" in out
    assert "[Note] going on" in out


def _wait_until_working(run: Running) -> None:
    deadline = time.monotonic() + 20
    log = run.folder / "run" / "logs"
    while not (log / "edit-cpu-1.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)
