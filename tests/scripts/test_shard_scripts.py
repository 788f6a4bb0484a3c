"""The batch scripts for several nodes: what they ask of edit-eval, of Ray and of Slurm, which programs stand in for here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[2] / "examples" / "slurm"
SCRIPTS = ("shards.sbatch", "merge.sbatch", "ray.sbatch")


class Cluster:
    """Programs that note what they are asked; `edit-eval` ends with the code that the file `code` has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self.program(
            "edit-eval",
            """echo "edit-eval $*" >> asked; trap 'exit "$(cat code)"' USR1\n"""
            'for i in $(seq 600); do [[ ! -e slow ]] || sleep 0.1; done; exit "$(cat code)"',
        )
        self.program("scontrol", 'echo "scontrol $*" >> asked')
        self.program("srun", 'echo "srun $*" >> asked; while [ "$1" != ray ]; do shift; done; exec "$@"')
        self.program("ray", 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
        self.ends_with(0)

    def program(self, name: str, line: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{line}\n")
        path.chmod(0o755)

    def ends_with(self, code: int) -> None:
        (self.folder / "code").write_text(str(code))

    def start(self, script: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        given = {
            "SLURM_JOB_ID": "8",
            "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "4",
            "HEAD_ADDRESS": "192.0.2.7",
            "TMPDIR": str(self.folder),
        }
        return subprocess.Popen(
            ["bash", SLURM / script, *arguments],
            cwd=self.folder,
            env={**os.environ, **given, **env, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str, *arguments: str, **env: str) -> tuple[int, str, list[str]]:
        job = self.start(script, *arguments, **env)
        out, _ = job.communicate(timeout=60)
        return job.returncode, out, self.asked()

    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, program: str) -> None:
        deadline = time.monotonic() + 60
        while not any(one.startswith(program) for one in self.asked()):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def task(index: int, count: int) -> dict[str, str]:
    return {
        "SLURM_ARRAY_TASK_ID": str(index),
        "SLURM_ARRAY_TASK_COUNT": str(count),
        "SLURM_ARRAY_TASK_MAX": str(count - 1),
    }


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_slurm_reads_every_option(script):
    text = (SLURM / script).read_text(encoding="utf-8")
    first_command = re.search(r"^[^#\n]", text, re.MULTILINE)
    assert first_command
    assert text.rindex("#SBATCH") < first_command.start()


@pytest.mark.parametrize("script", ["shards.sbatch", "ray.sbatch"])
def test_the_warning_comes_long_enough_before_the_limit(script):
    text = (SLURM / script).read_text(encoding="utf-8")
    [warning] = re.findall(r"^#SBATCH --signal=B:USR1@(\d+)$", text, re.MULTILINE)
    [grace] = re.findall(r"grace_s=(\d+)", text)
    assert int(warning) >= int(grace) + 30


def test_each_task_of_the_array_does_its_shard(cluster):
    code, _, asked = cluster.run("shards.sbatch", "my.yaml", "--output", "runs/a b", **task(2, 4))
    assert code == 0
    assert asked == ["edit-eval run --set grace_s=120 --shard 2/4 my.yaml --output runs/a b"]


def test_some_tasks_again_need_to_know_of_how_many_shards_they_are(cluster):
    again = {**task(2, 1), "SLURM_ARRAY_TASK_MAX": "2"}
    code, out, asked = cluster.run("shards.sbatch", "my.yaml", **again)
    assert (code, asked) == (2, [])
    assert out == "edit-eval: the array is not 0 to N-1: set SHARDS to how many shards the run has\n"
    assert cluster.run("shards.sbatch", "my.yaml", **again, SHARDS="4")[2][0].endswith("--shard 2/4 my.yaml")


@pytest.mark.parametrize("script", ["shards.sbatch", "ray.sbatch"])
@pytest.mark.parametrize("code", [0, 1, 2, 3, 130])
def test_it_ends_as_the_run_does_and_does_not_begin_again(cluster, script, code):
    cluster.ends_with(code)
    ended, _, asked = cluster.run(script, "my.yaml", **task(0, 4))
    assert ended == code
    assert not [one for one in asked if one.startswith("scontrol")]
    assert sorted(one.name for one in cluster.folder.iterdir()) == ["asked", "bin", "code"]


@pytest.mark.parametrize(("script", "job"), [("shards.sbatch", "7_1"), ("ray.sbatch", "8")])
def test_at_the_limit_it_goes_back_into_the_queue(cluster, script, job):
    cluster.ends_with(130)
    (cluster.folder / "slow").touch()
    started = cluster.start(script, "my.yaml", **task(1, 4))
    cluster.wait_for("edit-eval")
    time.sleep(0.5)
    started.send_signal(signal.SIGUSR1)
    started.communicate(timeout=60)
    assert cluster.asked()[-1] == f"scontrol requeue {job}"


def test_the_limit_may_come_while_ray_is_still_being_started(cluster):
    """The run is told as soon as there is one; else it would work on until Slurm kills it, and not be put back."""
    cluster.ends_with(130)
    (cluster.folder / "slow").touch()
    cluster.program(
        "ray", 'echo "ray" >> asked; sleep 1.5; while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    )
    started = cluster.start("ray.sbatch", "my.yaml")
    cluster.wait_for("ray")
    started.send_signal(signal.SIGUSR1)
    out, _ = started.communicate(timeout=30)
    assert started.returncode in (130, 138), out
    assert cluster.asked()[-1] == "scontrol requeue 8"


def test_the_limit_may_come_before_ray_is_started_at_all(cluster):
    cluster.ends_with(130)
    (cluster.folder / "slow").touch()
    first = cluster.folder / "first.sh"
    first.write_text("trap '[[ $BASH_COMMAND != step=?* || -z $! ]] || kill -USR1 $$' DEBUG\n")
    started = cluster.start("ray.sbatch", "my.yaml", BASH_ENV=str(first))
    out, _ = started.communicate(timeout=30)
    assert started.returncode in (130, 138), out
    assert cluster.asked()[-1] == "scontrol requeue 8"


def test_a_ray_that_ends_at_the_limit_before_there_is_a_run(cluster):
    cluster.program("ray", "echo ray >> asked; sleep 1; exit 1")
    started = cluster.start("ray.sbatch", "my.yaml")
    cluster.wait_for("ray")
    started.send_signal(signal.SIGUSR1)
    out, _ = started.communicate(timeout=30)
    assert started.returncode == 1
    assert "Ray did not start on all nodes" in out


def test_a_shards_signal_may_come_before_the_script_knows_the_run(cluster):
    """Between the start of the run and the line that notes its number."""
    cluster.ends_with(130)
    (cluster.folder / "slow").touch()
    first = cluster.folder / "first.sh"
    first.write_text("trap '[[ $BASH_COMMAND != run=?* || -z $! ]] || kill -USR1 $$' DEBUG\n")
    started = cluster.start("shards.sbatch", "my.yaml", **task(1, 4), BASH_ENV=str(first))
    out, _ = started.communicate(timeout=30)
    assert started.returncode in (130, 138), out
    assert cluster.asked()[-1] == "scontrol requeue 7_1"


def test_ray_is_started_on_every_node_and_the_run_on_the_first(cluster):
    code, _, asked = cluster.run(
        "ray.sbatch", "my.yaml", "--output", "x", RAY_OPTIONS="--resources {}", RAY_PORT="7000"
    )
    assert code == 0
    assert asked[0].startswith(
        "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=4 ray symmetric-run --address 192.0.2.7:7000 "
        "--min-nodes 2 --num-cpus 4 --resources {} -- bash -c "
    )
    assert asked[-1] == "edit-eval run --set grace_s=120 --backend ray my.yaml --output x"


def test_a_ray_that_does_not_start_is_said(cluster):
    cluster.program("ray", "echo 'Failed to start Ray'; exit 0")
    code, out, _ = cluster.run("ray.sbatch", "my.yaml")
    assert code == 1
    assert out.endswith("edit-eval: Ray did not start on all nodes, or ended before the run; see above\n")


def test_the_merge_is_given_what_follows(cluster):
    assert cluster.run("merge.sbatch", "runs/mine/shards", "--partial")[2] == [
        "edit-eval merge runs/mine/shards --partial"
    ]
