"""The driver killed again and again, at moments spread over the whole run, with another number of devices each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time

import pytest
from harness import cli, ours

pytestmark = pytest.mark.long

CONFIG = """\
benchmark: {type: scenes, params: {n: 60, size: 96}}
editor: {type: scripted, params: {error_rate: 0.3, seconds: 0.4, steps: 4}}
judge: {type: reference, batch_size: 3, params: {seconds: 0.05}}
"""


@pytest.mark.timeout(900)
def test_nothing_is_lost_or_done_twice(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    mark = f"kills-{os.getpid()}"
    env = {**os.environ, "EDIT_EVAL_TEST": mark, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kills = 0
    for number in range(100):
        devices = ",".join(f"cpu:{index}" for index in range(1 + number % 3))
        command = [
            sys.executable,
            "-m",
            "edit_eval",
            "run",
            str(config),
            "--output",
            "run",
            "--devices",
            devices,
        ]
        driver = subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        wait_s = int(hashlib.sha256(f"{number}".encode()).hexdigest()[:4], 16) / 0xFFFF * 1.6
        try:
            code = driver.wait(wait_s)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
            kills += 1
        else:
            assert code == 0, driver.stdout.read()
            break
        finally:
            driver.stdout.close()
        deadline = time.monotonic() + 5
        while ours(mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ours(mark) == []
    last = cli("run", str(config), "--output", "run", cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    whole = cli("run", str(config), "--output", "whole", "--devices", "cpu:0,cpu:1", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    disturbed, undisturbed = (
        cli("export", name, "--canonical", cwd=tmp_path).stdout for name in ("run", "whole")
    )
    assert disturbed == undisturbed
    assert kills >= 10
    for ledger in ("edits.jsonl", "verdicts.jsonl"):
        assert (tmp_path / "run" / ledger).read_bytes().count(b"\n") == 60
