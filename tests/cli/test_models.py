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


@pytest.fixture(scope="module")
def ran(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    benchmark = make_benchmark(
        folder / "data", ["Add a ruby pendant.", "让她哭。", "Change it to anime style."]
    )
    config = folder / "config.yaml"
    text = CONFIG.format(editor=tiny("qwen-image-edit-plus"), judge=tiny("qwen3-vl-moe"), benchmark=benchmark)
    config.write_text(text, encoding="utf-8")
    return {
        count: cli("run", str(config), "--output", f"runs/{count}", "--devices", devices, cwd=folder)
        for count, devices in ((1, "cpu:0"), (2, "cpu:0,cpu:1"))
    }, folder


def test_random_weights_are_unscored_and_never_a_number(ran):
    results, folder = ran
    for count, result in results.items():
        assert result.returncode == 3, result.stderr
        assert "Unscored:  3 (3 unparsable)" in result.stdout
        assert (folder / f"runs/{count}/report/index.html").is_file()
        verdicts = [
            json.loads(line) for line in (folder / f"runs/{count}/verdicts.jsonl").read_text().splitlines()
        ]
        assert {line["verdict"]["unscored"] for line in verdicts} == {"unparsable"}
        assert {line["verdict"]["overall"] for line in verdicts} == {None}


def test_one_and_two_devices_make_the_same_images_to_the_byte(ran):
    _, folder = ran
    exports = [cli("export", f"runs/{count}", "--canonical", cwd=folder).stdout for count in (1, 2)]
    one, two = (
        {line["edit_key"]: line["image_sha256"] for line in map(json.loads, text.splitlines())}
        for text in exports
    )
    assert len(one) == 3
    assert one == two
    assert len(set(one.values())) == 3


def test_the_driver_records_what_the_hosts_were(ran):
    _, folder = ran
    info = json.loads(Path(folder / "runs/2/run.json").read_text())
    hosts = info["starts"][-1]["hosts"]
    assert {"torch", "diffusers", "transformers", "python"} <= set(hosts["edit CPU 0"])
    assert info["config"]["editor"]["type"] == "qwen_image_edit"
