"""Scripts that need GPUs say so in one line where there are none."""

from __future__ import annotations

import pytest
from perf_scripts import run_script

SCRIPTS = ("scaling.py", "judge.py", "pipeline.py", "headline.py", "edit.py", "full_size.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_gpu_one_line_says_so(script, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run_script(script, tmp_path, ends_with=[2])
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{script}: ")
    assert "GPU" in line


@pytest.mark.parametrize("script", ["scaling.py", "pipeline.py", "headline.py"])
def test_a_gpu_that_is_not_here_is_named(script, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run_script(script, tmp_path, "--devices", "cuda:7", ends_with=[2])
    assert (
        done.stderr == f"{script}: cuda:7 needed, no GPU here; --tiny tries the script itself without any\n"
    )
