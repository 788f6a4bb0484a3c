"""What a killed process was writing is removed; what a living one writes stays, and everything else."""

from __future__ import annotations

import os
import subprocess
import sys

from edit_eval.driver.abandoned import remove_abandoned
from edit_eval.driver.config import check_config
from edit_eval.driver.samples import load_samples


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    done.wait()
    return done.pid


def test_only_that_of_a_process_that_is_gone(tmp_path):
    dead, alive = dead_pid(), os.getpid()
    gone = [f".a.png.{dead}.tmp", f"below/.b.png.{dead}.tmp", f".index-page.{dead}.html"]
    kept = [
        f".a.png.{alive}.tmp",
        f"a.png.{dead}.tmp",
        ".a.tmp",
        f".{dead}.tmp",
        f"below/deep/.c.{dead}.tmp",
        "x.png",
    ]
    for name in [*gone, *kept]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / f".folder.{dead}.tmp").mkdir()
    remove_abandoned(tmp_path)
    assert not any((tmp_path / name).exists() for name in gone)
    assert all((tmp_path / name).exists() for name in kept)


def test_a_folder_that_is_not_there(tmp_path):
    remove_abandoned(tmp_path / "none")
    (tmp_path / "file").touch()
    remove_abandoned(tmp_path / "file")


def test_a_benchmark_that_was_killed_while_it_drew(tmp_path):
    tree = {
        "benchmark": {"type": "scenes", "params": {"n": 1, "size": 32}},
        "editor": {"type": "scripted"},
        "output": str(tmp_path / "run"),
    }
    left = tmp_path / "run" / "inputs" / "scenes-1" / f".scene-0000-source.png.{dead_pid()}.tmp"
    left.parent.mkdir(parents=True)
    left.touch()
    assert len(load_samples(check_config(tree), tmp_path / "run")) == 1
    assert not left.exists()
