"""`edit-eval fetch` in a process of its own: interrupted, killed, behind proxies; and runs that follow, offline."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from fake_github import FakeGitHub
from fake_hub import FakeHub
from harness import PYTHONPATH, cli, make_benchmark, ours
from PIL import Image
from repositories import judge, pipeline, tensor_file

CONFIG = """\
benchmark: {{type: folder, path: {benchmark}}}
editor: {{type: "weighty_offline:Weighty", model: me/model, devices: [cpu:0]}}
output: run
"""
FILES = {"config.json": b"{}", "tokenizer.json": b"[]", "model.safetensors": tensor_file(400_000)}


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def hub():
    with FakeHub() as running:
        yield running


@pytest.fixture
def place(tmp_path, hub) -> Path:
    """Return a folder with a config; the hub has its model."""
    benchmark = make_benchmark(tmp_path / "data", ["a", "b"])
    (tmp_path / "my.yaml").write_text(CONFIG.format(benchmark=benchmark))
    hub.add("me/model", FILES)
    return tmp_path


def environment(place: Path, hub: FakeHub | None, **more: str) -> dict[str, str]:
    url = hub.url if hub else f"http://127.0.0.1:{closed_port()}"
    cut = dict.fromkeys(
        ("HF_HUB_CACHE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY"), ""
    )
    return {**cut, "HF_ENDPOINT": url, "HF_HOME": str(place / "hf"), "HF_TOKEN": "", "no_proxy": "", **more}


def offline(place: Path) -> dict[str, str]:
    """Return an environment in which every way out is closed."""
    dead = f"http://127.0.0.1:{closed_port()}"
    return environment(place, None, HTTP_PROXY=dead, HTTPS_PROXY=dead, http_proxy=dead, https_proxy=dead)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = done.stderr.splitlines()
    return line


def begin(place: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edit_eval", "fetch", "my.yaml"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(place / "cache"), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_some_bytes(place: Path) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for one in (place / "hf").rglob("*.incomplete"):
            if one.stat().st_size > 2000:
                return one
        time.sleep(0.01)
    raise AssertionError("nothing came in")


def test_fetched_here_run_there(place, hub):
    done = cli("fetch", "my.yaml", cwd=place, env=environment(place, hub))
    assert done.returncode == 0, done.stderr
    row, total, end = done.stdout.splitlines()
    assert row.split()[:4] == ["editor.model", "me/model", "main", "="]
    assert "3 files" in row
    assert total.startswith("To fetch: 0.4 MiB; ")
    assert end.startswith(f"All of it is in {place}/hf/hub, whole and verified.")
    hub.asked.clear()
    ran = cli("run", "my.yaml", cwd=place, env=offline(place))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    commit = hub.repositories["model", "me/model"].refs["main"]
    info = json.loads((place / "run" / "run.json").read_text())
    assert info["identity"]["editor"]["model"] == {"repository": "me/model", "commit": commit}
    assert hub.asked == []


def test_a_run_without_its_model_is_refused_before_any_process_starts(place):
    line = one_line(cli("run", "my.yaml", cwd=place, env=offline(place)))
    assert line == (
        f"edit-eval: editor.model: me/model is not on this machine (looked in {place}/hf/hub); "
        "run 'edit-eval fetch CONFIG' on a node with internet"
    )
    assert not (place / "run").exists()


def test_a_dry_run_says_the_sizes_and_fetches_nothing_large(place, hub):
    done = cli("fetch", "my.yaml", "--dry-run", cwd=place, env=environment(place, hub))
    assert done.returncode == 0
    assert "0.4 MiB" in done.stdout
    assert "All of it" not in done.stdout
    assert not any("signature" in path for path in hub.paths())


def test_nothing_to_fetch(place, hub):
    (place / "own").mkdir()
    done = cli("fetch", "my.yaml", "--set", "editor.model=own", cwd=place, env=environment(place, hub))
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["editor.model: own is on this machine", "Nothing to fetch: the config names nothing of a hub."],
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_gone_on_with(place, hub, how):
    hub.fault("signature", slow_s=0.06)
    process = begin(place, environment(place, hub))
    wait_for_some_bytes(place)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "edit-eval: interrupted; what was finished is kept, the same command goes on from there"
    )
    assert "Traceback" not in err
    one_line(cli("run", "my.yaml", cwd=place, env=offline(place)))
    done = cli("fetch", "my.yaml", cwd=place, env=environment(place, hub))
    assert done.returncode == 0, done.stderr
    assert any("range" in headers for _, _, headers in hub.asked)
    assert cli("run", "my.yaml", cwd=place, env=offline(place)).returncode == 0


def test_killed_and_gone_on_with(place, hub):
    hub.fault("signature", slow_s=0.06)
    process = begin(place, environment(place, hub))
    growing = wait_for_some_bytes(place)
    process.kill()
    process.wait(30)
    process.stdout.close()
    process.stderr.close()
    left = growing.stat().st_size
    assert "is not on this machine" in one_line(cli("run", "my.yaml", cwd=place, env=offline(place)))
    done = cli("fetch", "my.yaml", cwd=place, env=environment(place, hub))
    assert done.returncode == 0, done.stderr
    assert f"bytes={left}-" in [headers.get("range") for _, _, headers in hub.asked]
    assert cli("run", "my.yaml", cwd=place, env=offline(place)).returncode == 0
    assert not ours(str(place))


def test_no_proxy_stands_before_loopback_and_others_go_through_it(place, hub):
    dead = f"http://127.0.0.1:{closed_port()}"
    env = environment(place, hub, HTTP_PROXY=dead, http_proxy=dead, ALL_PROXY=dead)
    assert cli("fetch", "my.yaml", cwd=place, env=env).returncode == 0
    hub.asked.clear()
    through = environment(
        place, None, HF_ENDPOINT="http://hub.example", HTTP_PROXY=hub.url, http_proxy=hub.url
    )
    done = cli("fetch", "my.yaml", "--set", "hub_cache=other", cwd=place, env=through)
    assert done.returncode == 0, done.stderr
    assert hub.asked[0][1].startswith("http://hub.example/api/models/me/model")
    none = ("--set", "proxy=none", "--set", "hub_cache=third")
    assert "cannot reach http://hub.example" in one_line(
        cli("fetch", "my.yaml", *none, cwd=place, env=through)
    )
    behind = environment(place, None, HF_ENDPOINT="http://hub.example", HTTP_PROXY=dead, http_proxy=dead)
    line = one_line(cli("fetch", "my.yaml", cwd=place, env=behind))
    assert "cannot reach http://hub.example" in line or "the proxy (HTTPS_PROXY) does not let us" in line


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set; unset it to fetch"),
        ({"HF_TOKEN": "hf_wrong"}, "does not know the token in HF_TOKEN"),
        (
            {"ALL_PROXY": "socks5://127.0.0.1:1", "HF_ENDPOINT": "http://hub.example"},
            "SOCKS proxy (ALL_PROXY)",
        ),
        (
            {"HTTP_PROXY": "ftp://x", "http_proxy": "ftp://x", "HF_ENDPOINT": "http://hub.example"},
            "the address of the proxy",
        ),
    ],
)
def test_faults_are_one_line(place, hub, env, says):
    line = one_line(cli("fetch", "my.yaml", cwd=place, env=environment(place, hub, **env)))
    assert says in line
    assert "hf_wrong" not in line


def test_the_doctor_says_what_is_missing_and_when_it_is_there(place, hub):
    found = cli("doctor", "my.yaml", cwd=place, env=offline(place))
    assert found.returncode == 2
    assert "run 'edit-eval fetch CONFIG' on a node with internet" in " ".join(found.stdout.split())
    assert cli("fetch", "my.yaml", cwd=place, env=environment(place, hub)).returncode == 0
    found = cli("doctor", "my.yaml", cwd=place, env=offline(place))
    assert found.returncode == 0, found.stdout
    assert "me/model, whole: 0.4 MiB" in " ".join(found.stdout.split())


def test_the_ready_made_config(place, hub):
    config = Path(__file__).parents[2] / "config_full_multi_gpu.yaml"
    hub.add("Qwen/Qwen-Image-Edit-2509", pipeline())
    hub.add("Qwen/Qwen3-VL-30B-A3B-Instruct", judge())
    done = cli("fetch", "--config", str(config), cwd=place, env=environment(place, hub))
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[:2]] == [
        ["editor.model", "Qwen/Qwen-Image-Edit-2509"],
        ["judge.model", "Qwen/Qwen3-VL-30B-A3B-Instruct"],
    ]


def test_wrong_usage(place):
    assert "name one config" in one_line(cli("fetch", cwd=place))
    assert "no config at" in one_line(cli("fetch", "none.yaml", cwd=place))
    said = one_line(cli("fetch", "gedt", cwd=place))
    assert said.endswith("no config and no benchmark is called 'gedt' (did you mean 'gedit'?)")


TINY = """\
benchmark: {{type: folder, path: {benchmark}}}
editor:
  type: qwen_image_edit
  model: Qwen/Edit
  devices: [cpu:0]
  params: {{num_inference_steps: 2, height: 64, width: 64, dtype: float32}}
judge: {{type: qwen3_vl, model: Qwen/Judge, devices: [cpu:0], params: {{max_new_tokens: 12, constrained: off, dtype: float32}}}}
output: run
"""


@pytest.mark.models
def test_real_checkpoints_are_fetched_and_run_without_a_network(tmp_path, hub, tiny):
    hub.add("Qwen/Edit", tiny("qwen-image-edit-plus"))
    hub.add("Qwen/Judge", tiny("qwen3-vl-moe"))
    (tmp_path / "my.yaml").write_text(TINY.format(benchmark=make_benchmark(tmp_path / "data", ["a"])))
    done = cli("fetch", "my.yaml", cwd=tmp_path, env=environment(tmp_path, hub))
    assert done.returncode == 0, done.stderr
    ran = cli("run", "my.yaml", cwd=tmp_path, env=offline(tmp_path), timeout=240)
    assert ran.returncode == 3, ran.stdout + ran.stderr  # random weights write nothing that can be read
    assert "Unscored:  1 (1 unparsable)" in ran.stdout
    again = cli("fetch", "my.yaml", cwd=tmp_path, env=environment(tmp_path, hub))
    assert again.stdout.count("all here") == 2


def test_judges_too(place, hub):
    hub.add("me/judge", judge())
    text = (place / "my.yaml").read_text() + "judge: {type: qwen3_vl, model: me/judge, devices: [cpu:0]}\n"
    (place / "my.yaml").write_text(text)
    done = cli("fetch", "my.yaml", cwd=place, env=environment(place, hub))
    assert done.returncode == 0, done.stderr
    assert "judge.model" in done.stdout


# A public benchmark by its name


@pytest.fixture
def kris(hub):
    item = {"ori_img": "1.png", "gt_img": "", "ins_en": "go", "explain_en": ""}
    files = {
        "KRIS_Bench/color_change/annotation.json": json.dumps({"1": item}),
        "KRIS_Bench/color_change/1.png": png(),
    }
    return hub.add("Liang0223/KRIS_Bench", files, kind="dataset")


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (1, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_public_benchmark_by_its_name_and_what_to_write_into_the_config(tmp_path, hub, kris):
    with FakeGitHub() as github:
        github.files["mercurystraw/Kris_Bench/main/utils/prompts.py"] = b"x = 1\n"
        env = environment(tmp_path, hub, GITHUB_RAW_ENDPOINT=github.url)
        done = cli("fetch", "krisbench", cwd=tmp_path, env=env)
        again = cli("fetch", "krisbench", "--dry-run", cwd=tmp_path, env=env)
    assert (done.returncode, again.returncode) == (0, 0), done.stderr + again.stderr
    written = done.stdout.partition("For the config:\n")[2]
    assert "# no path: runs find the data by themselves" in written
    told = yaml.safe_load(written)["benchmark"]
    assert told["type"] == "krisbench"
    assert (Path(told["params"]["prompts"]) / "utils" / "prompts.py").read_text() == "x = 1\n"
    assert kris[:12] in again.stdout
    assert "github.com/mercurystraw/Kris_Bench" in again.stdout
    # the data is found offline, without the prompts too
    config = {
        "benchmark": {"type": "krisbench"},
        "editor": {"type": "scripted", "devices": ["cpu:0"]},
        "judge": {"type": "replying:Replying", "devices": ["cpu:0"]},
        "output": "run",
    }
    (tmp_path / "kris.yaml").write_text(yaml.safe_dump(config))
    ran = cli("run", "kris.yaml", cwd=tmp_path, env=offline(tmp_path))
    assert "own-prompts" in ran.stdout, ran.stdout + ran.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert kris in json.dumps(run)


def test_prompts_that_cannot_be_had_are_one_line_and_the_data_is_there(tmp_path, hub, kris):
    gone = f"http://127.0.0.1:{closed_port()}"
    done = cli("fetch", "krisbench", cwd=tmp_path, env=environment(tmp_path, hub, GITHUB_RAW_ENDPOINT=gone))
    line = one_line(done)
    assert f"benchmark.params.prompts: cannot reach {gone} (connection refused)" in line
    assert "All of it is in" in done.stdout
    assert "prompts:" not in done.stdout.partition("For the config:")[2]


def test_only_the_names_of_public_benchmarks_stand_for_a_config(tmp_path, hub):
    done = cli("fetch", "scenes", cwd=tmp_path, env=environment(tmp_path, hub))
    assert "scenes" in one_line(done)
    (tmp_path / "gedit").write_text("benchmark: {type: scenes}\neditor: {type: scripted}\n")
    done = cli("fetch", "gedit", cwd=tmp_path, env=environment(tmp_path, hub))
    assert "Nothing to fetch" in done.stdout
