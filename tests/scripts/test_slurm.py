"""The batch script: at the limit it ends in order and goes back into the queue; what was finished is kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import PYTHONPATH, make_benchmark, ours

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "run.sbatch"


class Cluster:
    """Stands in for Slurm: starts the script as a job, and records what it asks of `scontrol`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"slurm-{os.getpid()}-{folder.name}"
        (folder / "bin").mkdir()
        self.asked = folder / "asked"
        self.asked.touch()
        self._program("scontrol", f'echo "$@" >> {self.asked}')
        self._program("edit-eval", f'exec {sys.executable} -m edit_eval "$@"')
        self.jobs: list[subprocess.Popen[str]] = []

    def _program(self, name: str, line: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def config(self, instruction: str, count: int) -> None:
        benchmark = make_benchmark(self.folder / "data", [instruction] * count)
        (self.folder / "c.yaml").write_text(
            f"benchmark: {{type: folder, path: {benchmark}}}\n"
            "editor: {type: 'faulty:FaultyEditor', devices: [cpu:0, cpu:1]}\n"
            "judge: {type: 'faulty:FaultyJudge', devices: [cpu:0]}\n"
            "output: run\n"
        )

    def start(self, *arguments: str, restarts: int = 0, **env: str) -> subprocess.Popen[str]:
        job = subprocess.Popen(
            ["bash", SCRIPT, "c.yaml", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": PYTHONPATH,
                "XDG_CACHE_HOME": str(self.folder / "cache"),
                "EDIT_EVAL_TEST": self.mark,
                "SLURM_JOB_ID": "7",
                "SLURM_RESTART_COUNT": str(restarts),
                **env,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.jobs.append(job)
        return job

    def ledger(self, name: str) -> list[dict]:
        path = self.folder / "run" / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def wait_for_edits(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.ledger("edits.jsonl")) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self, job: subprocess.Popen[str]) -> tuple[int, str]:
        out, _ = job.communicate(timeout=60)
        assert ours(self.mark) == []
        return job.returncode, out


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    for job in made.jobs:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()


def test_the_warning_comes_long_enough_before_the_limit():
    text = SCRIPT.read_text(encoding="utf-8")
    [warning] = re.findall(r"^#SBATCH --signal=B:USR1@(\d+)$", text, re.MULTILINE)
    [grace] = re.findall(r"grace_s=(\d+)", text)
    assert int(warning) >= int(grace) + 30
    options = re.findall(r"^#SBATCH --([\w-]+)", text, re.MULTILINE)
    assert {"requeue", "gres", "cpus-per-task", "mem", "time", "open-mode"} < set(options)
    first_command = re.search(r"^[^#\n]", text, re.MULTILINE)
    assert first_command
    assert text.rindex("#SBATCH") < first_command.start(), "Slurm reads none below the first command"


def test_a_run_that_ends_before_the_limit(cluster):
    cluster.config("ok", 2)
    assert cluster.end(cluster.start())[0] == 0
    assert cluster.asked.read_text() == ""


def test_at_the_limit_it_ends_in_order_is_put_back_and_finishes(cluster):
    cluster.config("sleep:0.5", 12)
    job = cluster.start()
    cluster.wait_for_edits(3)
    job.send_signal(signal.SIGUSR1)
    code, out = cluster.end(job)
    assert code == 130, out
    assert "stopping: " in out
    assert cluster.asked.read_text() == "requeue 7\n"
    before = cluster.ledger("edits.jsonl")
    assert 3 <= len(before) < 12
    code, out = cluster.end(cluster.start(restarts=1))
    assert code == 0, out
    assert cluster.asked.read_text() == "requeue 7\n"
    edits, verdicts = cluster.ledger("edits.jsonl"), cluster.ledger("verdicts.jsonl")
    assert edits[: len(before)] == before
    for ledger in (edits, verdicts):
        assert len({one["key"] for one in ledger}) == len(ledger) == 12, "nothing is lost, nothing done twice"


def test_the_signal_may_come_while_the_run_is_still_being_prepared(cluster):
    cluster.config("sleep:0.5", 12)  # longer than the second after which the signal is passed on
    cluster._program("edit-eval", f'touch begun; exec {sys.executable} -m edit_eval "$@"')
    job = cluster.start()
    deadline = time.monotonic() + 30
    while not (cluster.folder / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    job.send_signal(signal.SIGUSR1)
    code, out = cluster.end(job)
    assert code in (130, 138), out
    assert "Traceback" not in out
    assert cluster.asked.read_text() == "requeue 7\n"


def test_the_signal_may_come_before_the_script_knows_the_run(cluster):
    """Between the start of the run and the line that notes its number."""
    cluster.config("sleep:0.5", 12)
    first = cluster.folder / "first.sh"
    first.write_text("""trap '[[ $BASH_COMMAND != run=?* || -z $! ]] || kill -USR1 $$' DEBUG\n""")
    code, out = cluster.end(cluster.start(BASH_ENV=str(first)))
    assert code in (130, 138), out
    assert cluster.asked.read_text() == "requeue 7\n"


def test_what_a_person_cancels_stays_cancelled(cluster):
    """`scancel` signals every process of the job, and again after a while."""
    cluster.config("sleep:1", 8)
    job = cluster.start()
    cluster.wait_for_edits(1)
    os.killpg(job.pid, signal.SIGTERM)
    code, out = cluster.end(job)
    assert code == 130, out
    assert "second signal" in out, "once, although every process was signalled"
    assert cluster.asked.read_text() == ""


def test_it_is_not_put_back_for_ever(cluster):
    cluster.config("sleep:0.5", 12)
    job = cluster.start(restarts=3, MOST_RESTARTS="3")
    cluster.wait_for_edits(1)
    job.send_signal(signal.SIGUSR1)
    code, out = cluster.end(job)
    assert code == 130
    assert "not put back into the queue: this was start 4" in out
    assert cluster.asked.read_text() == ""


@pytest.mark.parametrize(
    ("instruction", "arguments", "expected"),
    [("raise", (), 3), ("ok", ("--set", "seed=one"), 2), ("ok", ("--devices", "cuda:77"), 2)],
)
def test_what_trying_again_does_not_mend_is_not_tried_again(cluster, instruction, arguments, expected):
    cluster.config(instruction, 2)
    code, out = cluster.end(cluster.start(*arguments))
    assert code == expected, out
    assert cluster.asked.read_text() == ""


def test_the_command_may_be_another(cluster):
    cluster.config("ok", 1)
    code, out = cluster.end(cluster.start(EDIT_EVAL=f"{sys.executable} -m edit_eval"))
    assert code == 0, out
