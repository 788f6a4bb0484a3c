"""No network at all, the normal case on a compute node: a namespace that has none, its loopback down or up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import PYTHONPATH, make_benchmark

LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
"""
CUT = ["unshare", "-rn"]


def is_cut() -> bool:
    """Whether this machine lets us cut a process off."""
    try:
        done = subprocess.run([*CUT, "cat", "/proc/net/dev"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and re.findall(r"^\s*(\S+):", done.stdout, re.MULTILINE) == ["lo"]


QUICK = ("--set", "benchmark.params.n=2")

pytestmark = pytest.mark.skipif(not is_cut(), reason="no network namespaces here (unshare -rn)")


def offline(*command: str, cwd: Path, loopback: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `edit-eval` with the network cut."""
    up = f"{sys.executable} -c '{LOOPBACK_UP}' && " if loopback == "up" else ""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "http"))}
    return subprocess.run(
        [*CUT, "sh", "-c", f'{up}exec "$@"', "sh", sys.executable, "-m", "edit_eval", *command],
        cwd=cwd,
        env={**given, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(cwd / "cache"), **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("loopback", ["down", "up"])
def test_the_demo(tmp_path, loopback):
    done = offline("demo", *QUICK, cwd=tmp_path, loopback=loopback)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.count("Total images: 2") == 2
    assert (tmp_path / "runs/demo/compare/index.html").is_file()


def test_the_demo_behind_a_proxy_that_is_not_there(tmp_path):
    dead = "http://127.0.0.1:9"
    done = offline(
        "demo", *QUICK, cwd=tmp_path, loopback="up", http_proxy=dead, https_proxy=dead, ALL_PROXY=dead
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


CONFIG = """\
benchmark: {{type: folder, path: {benchmark}}}
editor:
  type: qwen_image_edit
  model: {editor}
  params: {{num_inference_steps: 2, height: 64, width: 64, dtype: float32}}
judge:
  type: qwen3_vl
  model: {judge}
  params: {{max_new_tokens: 12, constrained: off, dtype: float32}}
"""


@pytest.mark.models
@pytest.mark.long
def test_real_model_classes(tmp_path, tiny):
    benchmark = make_benchmark(tmp_path / "data", ["Add a ruby pendant."])
    text = CONFIG.format(editor=tiny("qwen-image-edit-plus"), judge=tiny("qwen3-vl-moe"), benchmark=benchmark)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    done = offline(
        "run", "config.yaml", "--output", "run", "--devices", "cpu:0", cwd=tmp_path, loopback="down"
    )
    assert done.returncode == 3, done.stderr  # random weights: no reply can be read
    assert "Unscored:  1 (1 unparsable)" in done.stdout
    assert len((tmp_path / "run" / "edits.jsonl").read_text().splitlines()) == 1


def test_a_model_that_is_not_there_is_one_line_at_once(tmp_path):
    benchmark = make_benchmark(tmp_path / "data", ["ok"])
    text = CONFIG.format(editor="Qwen/Qwen-Image-Edit-2509", judge="Qwen/Qwen3-VL", benchmark=benchmark)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    done = offline("run", "config.yaml", "--devices", "cpu:0", cwd=tmp_path, loopback="down")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Qwen" in done.stderr
    assert "is not on this machine" in done.stderr
