"""The doctor: each fault that was planted is found, each with its mend, and none hides another."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from gpus import GIB, FakeGpus
from harness import config_tree, make_benchmark

from edit_eval.driver import devices, stagecheck
from edit_eval.driver.config import read_tree
from edit_eval.driver.doctor import examine, examine_machine
from edit_eval.driver.environments import Environment, TorchFacts
from edit_eval.driver.hubcache import FETCH
from edit_eval.driver.store import RunStore

PACKAGES = dict.fromkeys(("torch", "torchvision", "diffusers", "transformers", "PIL", "accelerate"), "9.9")


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_nvml", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def gpus(monkeypatch):
    """Return `gpus(count, **more)`: from then on this machine has that many."""

    def set_up(count: int, **more) -> None:
        monkeypatch.setattr(devices, "_nvml", lambda: FakeGpus(count, **more))

    return set_up


@pytest.fixture
def probed(monkeypatch):
    """Return `probed(environment)`: from then on every interpreter is like that; gives the list of what was asked."""
    asked: list[dict] = []

    def set_up(environment: Environment) -> list[dict]:
        def probe(interpreter, env, packages, **more):
            asked.append(more)
            return environment

        monkeypatch.setattr(stagecheck, "probe_environment", probe)
        return asked

    return set_up


def tree(tmp_path: Path, **changes) -> dict:
    return config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 3), **changes)


def pipeline(folder: Path, name: str = "QwenImageEditPlusPipeline") -> Path:
    """Write a pipeline whose only model has 4 bytes of weights."""
    part = folder / "transformer"
    part.mkdir(parents=True)
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (part / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    (part / "config.json").write_text("{}")
    index = {"_class_name": name, "transformer": ["diffusers", "T"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def with_model(tmp_path: Path, **changes) -> dict:
    """Return a config whose editor is a pipeline on all GPUs."""
    found = tree(tmp_path)
    model = pipeline(tmp_path / "model")
    found["editor"] = {"type": "qwen_image_edit", "model": str(model), "devices": "all", **changes}
    return found


def findings(given: dict, level: str | None = None, **options) -> dict[str, list]:
    """Return what was found by `what`; nothing bad is without its mend."""
    found: dict[str, list] = {}
    for one in examine(lambda: given, **options):
        assert one.level != "bad" or one.mend, one
        if level in (None, one.level):
            found.setdefault(one.what, []).append(one)
    return found


def only_bad(given: dict, what: str, **options):
    """Return the one bad finding that there is."""
    found = findings(given, "bad", **options)
    assert list(found) == [what], found
    [one] = found[what]
    return one


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# All is well


def test_nothing_is_wrong_with_a_good_config(tmp_path):
    found = findings(tree(tmp_path))
    assert {one.level for many in found.values() for one in many} == {"ok"}
    assert {"config", "output", "benchmark", "disk for edits", "editor.devices", "judge.python"} <= set(found)
    assert "3 samples of folder" in found["benchmark"][0].detail
    assert not (tmp_path / "run").exists()


def test_a_machine_by_itself():
    found = {one.what: one for one in examine_machine()}
    assert list(found) == [
        "edit-eval",
        "libraries",
        "CPU",
        "memory",
        "disk",
        "temporary",
        "shared memory",
        "cache",
        "GPUs",
    ]
    assert (found["GPUs"].level, found["GPUs"].detail) == ("warn", "none (NVML finds none)")
    assert "run where there are GPUs" in found["GPUs"].mend


def test_a_machine_with_gpus(gpus):
    gpus(2, used={1: 41 * GIB}, holders={1: os.getpid()})
    found = {one.what: one for one in examine_machine()}
    assert found["NVIDIA driver"].detail == "580.159.04, runs CUDA up to 13.0"
    assert (found["GPU 0"].level, found["GPU 0"].detail) == (
        "ok",
        "NVIDIA H100 80GB HBM3, 79.7 GiB of 80.0 GiB free",
    )
    assert found["GPU 1"].level == "warn"
    assert f"(pid {os.getpid()}) 41.0 GiB" in found["GPU 1"].detail
    assert found["GPU 1"].mend


def test_a_full_disk_of_the_machine():
    usage = lambda _path: types.SimpleNamespace(free=5 << 20)  # noqa: E731
    found = {one.what: one for one in examine_machine(disk_usage=usage)}
    assert (found["disk"].level, found["disk"].mend[:9]) == ("warn", "make room")


# The config


def test_every_unknown_key_is_a_line_and_the_rest_is_looked_at(tmp_path):
    given = tree(tmp_path, editor__params={"lod": "x"}, editor__python=str(tmp_path / "none"))
    found = findings({**given, "outptu": "x", "sead": 1}, "bad")
    details = {one.detail: one.mend for one in found["config"]}
    assert details["outptu: unknown key"] == "write 'output'"
    assert details["sead: unknown key"] == "write 'seed'"
    assert details["editor.params.lod: faulty:FaultyEditor has no such parameter"] == "write 'load'"
    assert [one.detail for one in found["editor.python"]] == [f"no interpreter at {tmp_path / 'none'}"]


@pytest.mark.parametrize(
    ("change", "says", "looked_at"),
    [
        ({"editor": {"type": "scriptd"}}, "editor.type: no editor is called 'scriptd'", "judge.devices"),
        ({"benchmark": 5}, "benchmark: input should be", "editor.devices"),
        ({"judge": {"type": "faulty:FaultyJudge", "env": {"A": []}}}, "judge.env.A", "judge.devices"),
        ({"limit": 0}, "limit: input should be", "benchmark"),
        ({"editor": None}, "editor: input should be", "benchmark"),
    ],
)
def test_a_faulty_section_hides_no_other(tmp_path, change, says, looked_at):
    found = findings({**tree(tmp_path), **change})
    bads = [one for one in found["config"] if one.level == "bad"]
    assert bads[0].detail.startswith(says)
    assert looked_at in found


def test_a_config_that_is_not_there():
    found = list(examine(lambda: read_tree("none.yaml")))
    [one] = [one for one in found if one.level == "bad"]
    assert (one.what, one.mend) == ("config", "name a YAML file, or the directory of an earlier run")
    assert found[0].what == "edit-eval"


# Output, benchmark, disk


def test_an_output_that_is_locked(tmp_path):
    with RunStore(tmp_path / "run"):
        one = only_bad(tree(tmp_path), "output")
    assert f"is in use by process {os.getpid()} on " in one.detail
    assert "set another output" in one.mend
    assert findings(tree(tmp_path), "bad") == {}


def test_an_output_of_something_else(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    assert "holds other files" in only_bad(tree(tmp_path), "output").detail


def test_an_output_that_is_a_file_or_not_writable(tmp_path, monkeypatch):
    (tmp_path / "run").touch()
    assert "is a file" in only_bad(tree(tmp_path), "output").detail
    (tmp_path / "run").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.X_OK)
    assert "is not writable" in findings(tree(tmp_path), "bad")["output"][0].detail


def test_images_that_are_missing_are_counted(tmp_path):
    given = tree(tmp_path)
    (tmp_path / "data" / "0001.png").unlink()
    (tmp_path / "data" / "0002.png").unlink()
    one = only_bad(given, "benchmark")
    assert one.detail.startswith("3 samples of folder; 2 images are missing, the first is ")
    assert "0001.png of sample 's0001'" in one.detail
    assert "benchmark.params.images" in one.mend


def test_a_benchmark_that_is_not_there(tmp_path):
    given = tree(tmp_path, benchmark__path="gone.jsonl")
    assert "there is nothing at gone.jsonl" in only_bad(given, "benchmark").detail


def test_not_enough_disk(tmp_path):
    usage = lambda _path: types.SimpleNamespace(free=1000)  # noqa: E731
    one = only_bad(tree(tmp_path), "disk for edits", disk_usage=usage)
    assert "3 edits take at most" in one.detail
    assert one.mend.startswith("make room")


def test_a_rubric_that_is_not_there(tmp_path):
    assert only_bad(tree(tmp_path, judge__rubric="genral-v1"), "judge.rubric").mend == "write 'general-v1'"


# Interpreters


def test_an_interpreter_that_is_missing(tmp_path):
    one = only_bad(tree(tmp_path, judge__python=str(tmp_path / "none")), "judge.python")
    assert one.detail == f"no interpreter at {tmp_path / 'none'}"
    assert "setup_qwen3_vl_env.sh" in one.mend


def test_a_python_that_is_too_old(tmp_path):
    old = script(tmp_path / "python", "echo 3 9")
    one = only_bad(tree(tmp_path, editor__python=str(old)), "editor.python")
    assert "is Python 3.9" in one.detail
    assert "3.10 or newer" in one.mend


def test_a_conda_environment_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CONDA_EXE", raising=False)
    assert "no conda environment" in only_bad(tree(tmp_path, judge__conda="qwen"), "judge.conda").detail


def test_an_interpreter_without_torch(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    given = with_model(tmp_path, devices=["cpu:0"], python=str(tmp_path / "bare"))
    one = only_bad(given, "editor.python")
    assert "has no torch, diffusers, transformers, PIL" in one.detail
    assert "-m pip install -U torch diffusers transformers pillow" in one.mend
    assert "set editor.python" in one.mend


def test_libraries_that_are_too_old_or_do_not_know_the_model(tmp_path, probed):
    found = Environment("3.12.3", {**PACKAGES, "transformers": "4.50.1"}, unknown=["qwen3_vl_moe"])
    probed(found)
    given = tree(tmp_path)
    model = tmp_path / "judge"
    model.mkdir()
    (model / "config.json").write_text('{"vision_config": {}, "model_type": "qwen3_vl_moe"}')
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    given["judge"] = {"type": "qwen3_vl", "model": str(model), "devices": ["cpu:0"]}
    many = findings(given)["judge.python"]
    assert [one.level for one in many] == ["bad", "warn"]
    assert "has transformers 4.50.1 (older than 4.57)" in many[0].detail
    assert "run ./setup_qwen3_vl_env.sh" in many[0].mend
    assert "does not know the model type 'qwen3_vl_moe'" in many[1].detail


def test_a_diffusers_without_the_pipeline(tmp_path, probed):
    probed(Environment("3.12.3", PACKAGES, unknown=["QwenImageEditPlusPipeline"]))
    one = only_bad(with_model(tmp_path, devices=["cpu:0"]), "editor.python")
    assert one.detail == "the installed diffusers has no QwenImageEditPlusPipeline, which needs 0.36 or newer"


# Devices


def test_too_few_gpus(tmp_path, gpus):
    gpus(2)
    one = only_bad(tree(tmp_path, editor__devices=[0, 1, 2, 3, 4, 5]), "editor.devices")
    assert "but there are 2 GPUs here" in one.detail
    assert one.mend == "set editor.devices=[cuda:0, cuda:1]"


def test_gpu_memory_that_others_hold(tmp_path, gpus):
    gpus(2, used={1: 41 * GIB}, holders={1: os.getpid()})
    given = tree(tmp_path, judge__devices="all")
    one = only_bad(given, "judge.devices")
    assert one.detail.startswith("GPU 1: 41.0 GiB held by ")
    assert f"(pid {os.getpid()})" in one.detail
    assert "busy_gpus=leave_out" in one.mend
    left_out = findings({**given, "busy_gpus": "leave_out"})["judge.devices"]
    assert [one.level for one in left_out] == ["ok", "warn"]
    assert left_out[0].detail == "GPU 0"


# Models


def test_a_model_that_is_missing(tmp_path):
    one = only_bad(with_model(tmp_path, model="Qwen/Qwen-Image-Edit-2509", devices=["cpu:0"]), "editor.model")
    assert "is not on this machine" in one.detail
    assert one.mend == "run 'edit-eval fetch CONFIG' on a node with internet"


def test_a_model_without_a_name_and_a_name_without_a_model(tmp_path):
    assert (
        only_bad(with_model(tmp_path, model=None, devices=["cpu:0"]), "editor.model").detail == "is missing"
    )
    assert "takes no model" in only_bad(tree(tmp_path, editor__model="a/b"), "editor.model").detail
    given = tree(tmp_path, editor__components={"vae": "x"})
    assert "has no components" in only_bad(given, "editor.components").detail


def test_a_shard_that_is_not_whole(tmp_path, probed):
    probed(Environment("3.12.3", PACKAGES))
    given = with_model(tmp_path, devices=["cpu:0"])
    shard = tmp_path / "model" / "transformer" / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    one = only_bad(given, "editor.model")
    assert "transformer/model.safetensors is cut off" in one.detail
    assert "download it again" in one.mend


def test_a_download_that_was_cut_short(tmp_path, probed, monkeypatch):
    probed(Environment("3.12.3", PACKAGES))
    monkeypatch.chdir(tmp_path)
    snapshot = tmp_path / "hub" / "models--Qwen--Edit" / "snapshots" / ("a" * 40)
    pipeline(snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("a" * 40)
    (snapshot.parent.parent / "blobs").mkdir()
    (snapshot.parent.parent / "blobs" / "b.incomplete").touch()
    given = with_model(tmp_path, model="Qwen/Edit", devices=["cpu:0"])
    one = only_bad(given, "editor.model")
    assert "a download of Qwen/Edit has not ended" in one.detail
    assert one.mend == f"{FETCH}, or remove that file if it is a leftover"
    (snapshot.parent.parent / "blobs" / "b.incomplete").unlink()
    (snapshot / "transformer" / "model.safetensors").unlink()
    one = only_bad(given, "editor.model")
    assert (one.detail, one.mend) == ("Qwen/Edit: transformer/ holds no weights", FETCH)


def test_a_model_of_another_class(tmp_path, probed):
    probed(Environment("3.12.3", PACKAGES))
    given = with_model(tmp_path, devices=["cpu:0"])
    pipeline(tmp_path / "flux", "FluxKontextPipeline")
    given["editor"]["model"] = str(tmp_path / "flux")
    one = only_bad(given, "editor.model")
    assert "is a FluxKontextPipeline" in one.detail
    assert "type: diffusers" in one.mend


def test_parameters_that_the_class_refuses(tmp_path, probed):
    probed(Environment("3.12.3", PACKAGES))
    given = with_model(tmp_path, devices=["cpu:0"], params={"height": 1001})
    assert "give a multiple of 16" in only_bad(given, "editor.params").mend
    given = tree(tmp_path)
    given["editor"] = {"type": "precomputed", "params": {"folder": str(tmp_path / "none")}}
    assert list(findings(given, "bad")) == ["editor.params"]


def test_a_lora(tmp_path, probed):
    asked = probed(Environment("3.12.3", PACKAGES | {"peft": "0.21"}))
    given = with_model(
        tmp_path, devices=["cpu:0"], lora={"model": str(tmp_path / "l.safetensors"), "scale": 0.5}
    )
    assert "no model folder or file at" in only_bad(given, "editor.lora").detail
    header = b'{"a":{"dtype":"U8","shape":[10485760],"data_offsets":[0,10485760]}}'
    data = len(header).to_bytes(8, "little") + header + bytes(10485760)
    (tmp_path / "l.safetensors").write_bytes(data[:-1])
    assert "is cut off" in only_bad(given, "editor.lora").detail
    (tmp_path / "l.safetensors").write_bytes(data)
    found = findings(given)
    [one] = found["editor.lora"]
    assert one.level == "ok"
    assert one.detail.endswith(f"at {tmp_path / 'l.safetensors'}"[-50:])
    assert "scale 0.5" in one.detail
    assert "(10.0 MiB of weights" in found["editor memory"][0].detail
    assert asked
    probed(Environment("3.12.3", {**PACKAGES, "peft": None}))
    assert "has no peft" in only_bad(given, "editor.python").detail
    given["editor"] = {"type": "scripted", "lora": "x"}
    assert "scripted takes no LoRA" in only_bad(given, "editor.lora").detail


# Do they fit?


@pytest.mark.parametrize(
    ("total", "level", "mend"),
    [
        (80 * GIB, "ok", ""),
        (62 * GIB, "ok", ""),
        (58 * GIB, "warn", "set editor.params.memory to encoder_offload"),
        (48 * GIB, "bad", "set editor.params.memory to encoder_offload"),
        (24 * GIB, "bad", "set editor.params.memory to group_offload"),
        (6 * GIB, "bad", "use several GPUs for each (editor.devices: [[cuda:0, cuda:1]])"),
    ],
)
def test_whether_a_model_fits(tmp_path, gpus, probed, monkeypatch, total, level, mend):
    gpus(2, total=total)
    probed(Environment("3.12.3", PACKAGES, (13, 0), torch=TorchFacts(True)))
    whole = stagecheck.inspect_checkpoint
    sizes = {"transformer": 38.1, "text_encoder": 15.5, "vae": 0.2}
    parts = {name: int(size * GIB) for name, size in sizes.items()}
    monkeypatch.setattr(
        stagecheck,
        "inspect_checkpoint",
        lambda *given: dataclasses.replace(whole(*given), weights_bytes=sum(parts.values()), parts=parts),
    )
    given = with_model(tmp_path)
    many = findings(given)["editor memory"]
    assert [one.level for one in many] == [level, level]
    assert f"GPU 0 has {total / GIB:.1f} GiB, needs 61.9 GiB a device (53.8 GiB of weights" in many[0].detail
    assert many[0].mend.startswith(mend)
    given["editor"]["params"] = {"memory": "group_offload"}
    assert "needs 7.0 GiB a device (5.0 GiB of weights" in findings(given)["editor memory"][0].detail


def test_models_on_the_cpu_need_main_memory(tmp_path, probed, monkeypatch):
    probed(Environment("3.12.3", PACKAGES))
    monkeypatch.setattr(
        stagecheck, "memory", lambda: types.SimpleNamespace(free=5 * GIB, total=8 * GIB, limited=False)
    )
    given = with_model(tmp_path, devices=["cpu:0", "cpu:1", "cpu:2"])
    [one] = findings(given)["editor memory"]
    assert (one.level, one.detail[:31]) == ("warn", "tight: 3 CPU slots need 2.0 GiB")


def test_devices_of_other_nodes_are_not_held_against_this_machine(tmp_path, gpus, probed, monkeypatch):
    gpus(1, cuda=12000)
    asked = probed(Environment("3.12.3", {**PACKAGES, "accelerate": None}, (13, 0), torch=TorchFacts(True)))
    monkeypatch.setattr(
        stagecheck, "memory", lambda: types.SimpleNamespace(free=GIB, total=2 * GIB, limited=False)
    )
    elsewhere = [
        devices.Device(kind, (index,), (), "a", "1", 1) for kind in ("cuda", "cpu") for index in range(50)
    ]
    monkeypatch.setattr(stagecheck, "stage_devices", lambda *_: elsewhere)
    found = findings(with_model(tmp_path))
    [one] = found["editor memory"]
    assert (one.level, one.detail) == (
        "ok",
        "needs 2.0 GiB a device (0.0 MiB of weights, the rest is margin); that of 100 devices of other nodes is not known here",
    )
    assert "editor main memory" not in found
    assert "editor CUDA" not in found
    assert asked[0]["device"] is None


# CUDA and Conv3d


@pytest.mark.parametrize(
    ("built", "cuda", "level"),
    [
        ((13, 0), 13000, "ok"),
        ((13, 1), 13000, "ok"),
        ((12, 8), 13000, "ok"),
        ((13, 0), 12080, "bad"),
        (None, 13000, "bad"),
    ],
)
def test_the_driver_must_run_the_cuda_that_torch_was_built_for(tmp_path, gpus, probed, built, cuda, level):
    gpus(1, cuda=cuda)
    probed(Environment("3.12.3", PACKAGES, built, torch=TorchFacts(True)))
    [one] = findings(with_model(tmp_path))["editor CUDA"]
    assert one.level == level
    assert f"runs CUDA up to {cuda // 1000}.{cuda % 1000 // 10}" in one.detail


@pytest.mark.parametrize(
    ("facts", "level", "says"),
    [
        (
            TorchFacts(True, "", 0.0021, 0.0009, 0.004, "4096 patches, bfloat16"),
            "ok",
            "2.1 ms, the equal Linear 0.9",
        ),
        (TorchFacts(True, "", 2.5, 0.0009, 0.004, "4096 patches, bfloat16"), "warn", "2,778 times slower"),
        (TorchFacts(True, "", 0.015, 0.0001, 0.004, "4096 patches, bfloat16"), "ok", "15.0 ms"),
        (
            TorchFacts(True, "", 0.002, 0.001, 0.8, "4096 patches, bfloat16"),
            "bad",
            "computes wrong values: off by 80%",
        ),
    ],
)
def test_conv3d(tmp_path, gpus, probed, facts, level, says):
    gpus(1)
    asked = probed(Environment("3.12.3", PACKAGES, (13, 0), torch=facts))
    [one] = findings(with_model(tmp_path))["editor Conv3d"]
    assert (one.level, says in one.detail) == (level, True)
    assert level == "ok" or "use another build of torch" in one.mend
    assert [more["torch"] for more in asked] == [True, False]  # the judge needs no torch


def test_torch_that_does_not_see_the_gpu(tmp_path, gpus, probed):
    gpus(1)
    probed(Environment("3.12.3", PACKAGES, (13, 0), torch=TorchFacts(False, "no CUDA-capable device")))
    assert only_bad(with_model(tmp_path), "editor torch").detail == "no CUDA-capable device"


def test_without_a_gpu_torch_is_imported_only_if_asked_to(tmp_path, probed):
    asked = probed(Environment("3.12.3", PACKAGES))
    findings(with_model(tmp_path, devices=["cpu:0"]))
    assert [more["torch"] for more in asked] == [False, False]


def test_two_stages_in_one_interpreter_are_measured_once(tmp_path, gpus, probed):
    gpus(1)
    asked = probed(
        Environment("3.12.3", PACKAGES, (13, 0), torch=TorchFacts(True, "", 0.002, 0.001, 0.0, "x"))
    )
    given = with_model(tmp_path)
    model = tmp_path / "judge"
    model.mkdir()
    (model / "config.json").write_text('{"vision_config": {}}')
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    given["judge"] = {"type": "qwen3_vl", "model": str(model), "devices": ["cuda:0"]}
    found = findings(given)
    assert [more["torch"] for more in asked] == [True, False]
    assert found["editor Conv3d"][0].detail == found["judge Conv3d"][0].detail


def test_an_environment_without_accelerate(tmp_path, gpus, probed):
    gpus(1)
    probed(Environment("3.12.3", {**PACKAGES, "accelerate": None}, (13, 0), torch=TorchFacts(True)))
    [warning] = [one for one in findings(with_model(tmp_path))["editor.python"] if one.level == "warn"]
    assert "has no accelerate" in warning.detail


# Deep


def test_deep_makes_one_edit_and_one_verdict(tmp_path):
    given = tree(tmp_path)
    found = findings(given, deep=True)
    assert [found[name][0].level for name in ("deep edit", "deep verdict")] == ["ok", "ok"]
    assert "32 x 24 px" in found["deep edit"][0].detail
    assert "scored " in found["deep verdict"][0].detail
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "instruction", "what", "says"),
    [
        ({}, "raise", "deep edit", "error: ValueError: asked to raise"),
        ({"editor__type": "needy:NeedyEditor"}, "ok", "deep", "lacks torch"),
        ({"editor__params": {"load": "raise"}}, "ok", "deep", "asked to raise"),
    ],
)
def test_deep_finds_what_only_shows_when_it_runs(tmp_path, changes, instruction, what, says):
    given = tree(tmp_path, **changes)
    make_benchmark(tmp_path / "data", [instruction])
    assert says in only_bad(given, what, deep=True).detail


def test_deep_is_not_tried_where_a_run_would_fail(tmp_path):
    found = findings(tree(tmp_path, judge__python="/none"), deep=True)
    assert (found["deep"][0].level, found["deep"][0].detail) == ("warn", "not tried: a run would fail")
