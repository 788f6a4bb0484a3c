"""The Ray backend on a real cluster of three nodes on this machine: the same results as without, whatever happens."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from harness import Ran, config_tree, make_benchmark
from ray_cluster import RayCluster

from edit_eval.driver.events import RunStarted
from edit_eval.driver.store import RunReader


def tree(tmp_path, cluster: RayCluster, **changes: Any) -> dict[str, Any]:
    """Return the config of `harness.config_tree` on all devices of the cluster."""
    backend = {"type": "ray", "address": cluster.address, "resources": {"slot": 1}}
    return config_tree(
        tmp_path,
        tmp_path / "data" / "samples.jsonl",
        backend=backend,
        editor__devices="ray",
        judge__devices="ray",
        **changes,
    )


@pytest.fixture
def expected(tmp_path) -> list[str]:
    """Return the canonical export of the same run on this machine alone."""
    benchmark = make_benchmark(tmp_path / "data", ["ok"] * 12)
    return Ran(config_tree(tmp_path / "local", benchmark)).canonical()


def test_three_nodes_give_what_one_machine_gives(tmp_path, cluster, expected):
    ran = Ran(tree(tmp_path, cluster))
    assert ran.canonical() == expected
    [started] = ran.of(RunStarted)
    assert started.devices["edit"] == ("a/CPU 0", "a/CPU 1", "b/CPU 0", "b/CPU 1", "c/CPU 0", "c/CPU 1")
    assert {record["device"] for record in RunReader(tmp_path / "run").edits.values()} <= {
        *started.devices["edit"]
    }


def test_nodes_that_do_not_see_the_disk_give_the_same(apart, cluster):
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
