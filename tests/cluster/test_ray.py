"""The Ray backend on a real cluster of three nodes on this machine: the same results as without, whatever happens."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PYTHONPATH, Ran, cli, config_tree, make_benchmark, ours
from ray_cluster import RayCluster

from edit_eval.core.errors import DeviceError, RunError
from edit_eval.driver.config import check_config
from edit_eval.driver.events import DeviceState, EditFinished, Event, Note, RunStarted
from edit_eval.driver.job import prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import read_rows
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.timeline import timelines
from edit_eval.views.export import canonical_lines
from edit_eval.worker.processes import descendants


def tree(tmp_path, cluster: RayCluster, **changes: Any) -> dict[str, Any]:
    """Return the config of `harness.config_tree` on all devices of the cluster."""
    backend = {"type": "ray", "address": cluster.address, "resources": {"slot": 1}}
    return config_tree(
        tmp_path,
        tmp_path / "data" / "samples.jsonl",
        backend=backend,
        **{"editor__devices": "ray", "judge__devices": "ray", **changes},
    )


def test_three_nodes_give_what_one_machine_gives(apart, cluster):
    """One of them does not see the disk, one is killed half-way, and one joins."""
    tmp_path = apart / "first"
    instructions = ["ok", "crash", *["sleep:0.4"] * 28]
    benchmark = make_benchmark(tmp_path / "data", instructions)
    expected = Ran(config_tree(tmp_path / "local", benchmark)).canonical()
    events: list[Event] = []
    changed: list[threading.Thread] = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, EditFinished) and event.device.startswith("b/") and not changed:
            changed.append(threading.Thread(target=lambda: (cluster.kill("b"), cluster.add("b"))))
            changed[0].start()

    job = prepare(check_config(tree(tmp_path, cluster)))
    assert run_job(job, watch)
    for one in changed:
        one.join()
    run = RunReader(job.output)
    assert list(canonical_lines(read_rows(run))) == expected
    [started] = [event for event in events if isinstance(event, RunStarted)]
    assert started.devices["edit"] == ("a/CPU 0", "a/CPU 1", "b/CPU 0", "b/CPU 1", "c/CPU 0", "c/CPU 1")
    assert {record["attempts"] for record in run.edits.values() if record["status"] == "edited"} == {0}
    said = [event.text for event in events if isinstance(event, Note)]
    assert "node b left the cluster; its work is done elsewhere" in said, said
    samples = [record for record in read_telemetry(job.output) if record["type"] == "sample"]
    seen = {device.partition("/")[0] for record in samples for device in record["hosts"]}
    assert {"a", "c"} <= seen <= {"a", "b", "c", "b-2"}
    lanes = {lane for start in timelines(read_telemetry(job.output)) for lane in start.lanes}
    assert lanes - {"b-2/CPU 0", "b-2/CPU 1"} == {
        *started.devices["edit"]
    }  # the node that joins may be in time or not
    assert not ours(str(tmp_path))


@pytest.mark.long
def test_nodes_that_do_not_see_the_disk_give_the_same(apart, cluster):
    apart = apart / "second"
    benchmark = make_benchmark(apart / "data", ["ok", "raise", "crash", *["ok"] * 7])
    expected = Ran(config_tree(apart / "local", benchmark)).canonical()
    config = tree(apart, cluster)
    config["backend"]["resources"] = {"slot": 1, "apart": 1}
    ran = Ran(config)
    assert ran.canonical() == expected
    assert {record["device"] for record in ran.run.edits.values()} <= {"c/CPU 0", "c/CPU 1"}
    assert not [path for path in apart.rglob(".*") if path.name.startswith(".probe")]


def test_without_a_cluster_ray_is_not_imported(tmp_path):
    script = (
        "import sys, edit_eval; from harness import *; from pathlib import Path; "
        "Ran(config_tree(Path(sys.argv[1]), make_benchmark(Path(sys.argv[1]) / 'data', ['ok'])));"
        "from edit_eval.driver.backends.ray import RayBackend; assert 'ray' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_cluster_with_too_few_says_what_it_has_and_what_is_missing(tmp_path, cluster):
    make_benchmark(tmp_path / "data", ["ok"])
    config = tree(tmp_path, cluster, editor__devices={"ray": 7})
    with pytest.raises(DeviceError) as raised:
        Ran(config)
    text = str(raised.value)
    assert text.startswith(
        "editor.devices: 7 devices of slot 1 asked for, and the cluster has 6 (a CPU 1, slot 2; b "
    )
    assert text.endswith(
        "1 missing; add nodes, ask for fewer, or say with backend.resources what a device is"
    )
    config["backend"]["resources"] = {"GPU": 1}
    config["editor"]["devices"] = "ray"
    with pytest.raises(
        DeviceError, match=r"a device of GPU 1 asked for, and the cluster has 0 \(a CPU 1, .*: 1 missing"
    ):
        Ran(config)
    assert not (tmp_path / "run" / "edits.jsonl").exists()


@pytest.mark.parametrize("versions", ["'1.2.3', platform.python_version()", "ray.__version__, '3.9.1'"])
def test_another_version_than_the_clusters_is_said_in_one_line(tmp_path, cluster, versions):
    make_benchmark(tmp_path / "data", ["ok"])
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        f"import platform, ray, ray._private.utils as utils\nutils.compute_version_info = lambda: ({versions})\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/site exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    config = tree(tmp_path, cluster)
    config["backend"]["python"] = str(python)
    with pytest.raises(RunError) as raised:
        Ran(config)
    text = str(raised.value)
    assert text.startswith("backend: Version mismatch")
    assert text.endswith("or set backend.python to a Python here that has the cluster's")
    assert "\n" not in text


def bridges() -> list[int]:
    """Return the pids of bridges that this process has started."""
    return [
        pid
        for pid in descendants(os.getpid())
        if b"cluster.bridge" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.long
def test_a_connection_that_is_lost_is_made_again_and_costs_no_attempt(tmp_path, cluster):
    benchmark = make_benchmark(tmp_path / "data", ["sleep:0.5"] * 24)
    expected = Ran(config_tree(tmp_path / "local", benchmark)).canonical()
    events: list[Event] = []
    killed: list[int] = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, EditFinished) and not killed:
            killed.extend(bridges())
            os.kill(killed[0], signal.SIGKILL)

    job = prepare(check_config(tree(tmp_path, cluster)))
    assert run_job(job, watch)
    run = RunReader(job.output)
    assert list(canonical_lines(read_rows(run))) == expected
    assert {record["attempts"] for record in run.edits.values()} == {0}
    said = "\n".join(event.text for event in events if isinstance(event, Note))
    assert "the connection to the Ray cluster was lost" in said
    assert "the connection to the Ray cluster is there again" in said
    assert not bridges()


@pytest.mark.long
def test_a_driver_that_is_killed_leaves_nothing_and_its_run_goes_on_without_ray(tmp_path, cluster):
    benchmark = make_benchmark(tmp_path / "data", ["sleep:0.5"] * 24)
    expected = Ran(config_tree(tmp_path / "local", benchmark)).canonical()
    (tmp_path / "c.yaml").write_text(json.dumps(tree(tmp_path, cluster)))
    mark = f"MARK_{secrets.token_hex(8)}"
    driver = subprocess.Popen(
        [sys.executable, "-m", "edit_eval", "run", "c.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, mark: "1"},
        stdout=subprocess.DEVNULL,
    )
    ledger = tmp_path / "run" / "edits.jsonl"
    wait_until(lambda: ledger.exists() and ledger.read_bytes().count(b"\n") >= 3)
    driver.kill()
    driver.wait()
    wait_until(lambda: not ours(mark) and not ours("edit_eval.worker.keeper"))
    before = ledger.read_bytes().count(b"\n")
    assert before < 24
    done = cli("run", "run", "--backend", "local", "--devices", "cpu:0,cpu:1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = RunReader(tmp_path / "run")
    assert list(canonical_lines(read_rows(run))) == expected
    assert sum("/" in record["device"] for record in run.edits.values()) == before


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.long
def test_devices_of_a_node_without_the_interpreter_are_retired_and_named(apart, cluster):
    apart = apart / "third"
    benchmark = make_benchmark(apart / "data", [f"until:{apart / 'go'}"] * 12)
    config = tree(apart, cluster)
    config["editor"]["python"] = str(apart / "python")
    python = apart / "python"  # which one of the nodes does not see
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    retired: dict[str, str] = {}

    def watch(event: Event) -> None:
        if isinstance(event, DeviceState) and event.state == "retired":
            retired[event.device] = event.detail
        if len(retired) == 2:
            (apart / "go").touch()

    job = prepare(check_config(config))
    assert run_job(job, watch)
    expected = Ran(config_tree(apart / "local", benchmark)).canonical()
    assert list(canonical_lines(read_rows(RunReader(job.output)))) == expected
    assert set(retired) == {"c/CPU 0", "c/CPU 1"}
    assert all("cannot start" in detail for detail in retired.values())


@pytest.mark.long
def test_the_demo_runs_on_a_cluster_of_its_own(tmp_path):
    folder = tempfile.mkdtemp(prefix="ray")
    mark = f"MARK_{secrets.token_hex(8)}"
    env = {"RAY_TMPDIR": folder, mark: "1"}
    options = ("--backend", "ray", "--set", "backend.address=local", "--limit", "4", "--output", "demo")
    try:
        done = cli("demo", *options, cwd=tmp_path, env=env, timeout=280)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        wait_until(lambda: not ours(mark))
    finally:
        shutil.rmtree(folder)
