"""The real model classes through the command line, on tiny checkpoints with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import cli, make_benchmark

pytestmark = pytest.mark.models

CONFIG = """\
diffusion_model:
  type: multi_gpu_qwen_image_edit
  params: {{model: {editor}, num_inference_steps: 2, height: 64, width: 64, dtype: float32}}
reward_model:
  type: qwen3_vl_multi_gpu_subprocess
  params: {{model: {judge}, batch_size: 2, max_new_tokens: 12, constrained: off, dtype: float32}}
benchmark: {{type: folder, path: {benchmark}}}
"""


def check_run(folder: Path, count: int) -> None:
    """Run on so many devices: random weights are unscored and never a number."""
    devices = ",".join(f"cpu:{slot}" for slot in range(count))
    result = cli("run", "config.yaml", "--output", f"runs/{count}", "--devices", devices, cwd=folder)
    assert result.returncode == 3, result.stderr
    assert "Unscored:  3 (3 unparsable)" in result.stdout
    assert (folder / f"runs/{count}/report/index.html").is_file()
    verdicts = [
        json.loads(line) for line in (folder / f"runs/{count}/verdicts.jsonl").read_text().splitlines()
    ]
    assert {line["verdict"]["unscored"] for line in verdicts} == {"unparsable"}
    assert {line["verdict"]["overall"] for line in verdicts} == {None}


@pytest.fixture(scope="module")
def ran(tiny, tmp_path_factory) -> Path:
    """Return a folder with a run on two devices, and its config."""
    folder = tmp_path_factory.mktemp("photos")
    benchmark = make_benchmark(
        folder / "data", ["Add a ruby pendant.", "让她哭。", "Change it to anime style."]
    )
    text = CONFIG.format(editor=tiny("qwen-image-edit-plus"), judge=tiny("qwen3-vl-moe"), benchmark=benchmark)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    check_run(folder, 2)
    return folder


@pytest.mark.long
def test_one_and_two_devices_make_the_same_images_to_the_byte(ran):
    folder = ran
    check_run(folder, 1)
    exports = [cli("export", f"runs/{count}", "--canonical", cwd=folder).stdout for count in (1, 2)]
    one, two = (
        {line["edit_key"]: line["image_sha256"] for line in map(json.loads, text.splitlines())}
        for text in exports
    )
    assert len(one) == 3
    assert one == two
    assert len(set(one.values())) == 3


def test_random_weights_are_unscored_and_the_driver_records_what_the_hosts_were(ran):
    info = json.loads((ran / "runs/2/run.json").read_text())
    hosts = info["starts"][-1]["hosts"]
    assert {"torch", "diffusers", "transformers", "python"} <= set(hosts["edit CPU 0"])
    assert info["config"]["editor"]["type"] == "qwen_image_edit"
