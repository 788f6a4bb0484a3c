"""The Ray backend without a cluster: what its config may say, and what it says where there is no cluster."""

from __future__ import annotations

import os
import sys

import pytest
from harness import cli, config_tree, make_benchmark, ours

from edit_eval.cli import _parser
from edit_eval.cli.configs import described
from edit_eval.core.errors import ConfigError, DeviceError, RunError
from edit_eval.driver.backends import DevicesAsked
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.backends.ray import RayBackend, device_count
from edit_eval.driver.config import BackendConfig, check_config


@pytest.mark.parametrize(
    ("devices", "count"),
    [
        ("ray", None),
        (["ray"], None),
        ("all", None),
        (None, None),
        ("auto", 1),
        ("ray:16", 16),
        (["ray:2"], 2),
        ({"ray": 16}, 16),
    ],
)
def test_devices_of_a_cluster(devices, count):
    assert device_count(DevicesAsked("editor", devices, accelerated=True)) == count


@pytest.mark.parametrize(
    "devices",
    [
        "cuda:0",
        ["cpu:0", "cpu:1"],
        {"ray": 0},
        {"ray": True},
        {"ray": "all"},
        "ray:",
        "ray:0",
        {"gpu": 1},
        3,
        [],
    ],
)
def test_devices_that_no_cluster_has(devices):
    with pytest.raises(DeviceError, match=r"^editor.devices: .*with backend: ray, write ray for all"):
        device_count(DevicesAsked("editor", devices, accelerated=True))


def test_a_judge_at_an_endpoint_needs_one_device():
    assert device_count(DevicesAsked("judge", None, accelerated=False, remote=True)) == 1


@pytest.mark.parametrize("devices", ["ray", ["ray"], {"ray": 2}, "ray:2"])
def test_this_machine_has_no_devices_of_a_cluster(devices):
    with pytest.raises(DeviceError, match=r"^editor.devices: .*needs backend: ray"):
        LocalBackend().devices(DevicesAsked("editor", devices, accelerated=False))


def test_the_local_backend_takes_nothing_of_a_cluster(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"]), backend={"address": "auto"})
    with pytest.raises(ConfigError, match=r"^backend: .*are for type ray"):
        check_config(tree)


@pytest.mark.parametrize(
    ("written", "options", "wanted"),
    [
        ("[cpu:0, cpu:1]", ["--backend", "ray"], None),
        ("{ray: 16}", ["--backend", "ray"], {"ray": 16}),
        ("[cpu:0]", ["--backend", "ray", "--set", "editor.devices={ray: 16}"], {"ray": 16}),
        ("ray", ["--backend", "ray", "--devices", "ray:2"], ["ray:2"]),
        ("[cpu:0]", ["--backend", "local"], ["cpu:0"]),
        ("{ray: 16}", ["--set", "backend=ray", "--backend", "local"], None),
        ("{ray: 16}", ["--set", "backend=ray", "--backend", "ray"], {"ray": 16}),
    ],
)
def test_devices_of_one_backend_are_of_no_use_to_another(tmp_path, written, options, wanted):
    file = tmp_path / "c.yaml"
    file.write_text(f"benchmark: {{type: scenes}}\neditor: {{type: scripted, devices: {written}}}\n")
    arguments = _parser().parse_args(["run", str(file), *options])
    assert described(arguments)["editor"]["devices"] == wanted


def test_a_text_stands_for_the_type(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"]), backend="ray")
    assert check_config(tree).config.backend == BackendConfig(type="ray")


def asked() -> DevicesAsked:
    return DevicesAsked("editor", "ray", accelerated=False)


def test_a_python_without_ray_is_said(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    with pytest.raises(
        RunError, match=r"^backend: .*python.* has no ray; pip install 'edit-eval\[ray\]' into it$"
    ):
        RayBackend(BackendConfig(type="ray", python=str(python))).devices(asked())


def test_a_python_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"^backend.python: cannot start .*: No such file"):
        RayBackend(BackendConfig(type="ray", python=str(tmp_path / "none"))).devices(asked())


def test_a_cluster_that_is_not_there_is_said_on_one_line(tmp_path):
    make_benchmark(tmp_path / "data", ["ok"])
    (tmp_path / "c.yaml").write_text(
        f"benchmark: {{type: folder, path: {tmp_path}/data/samples.jsonl}}\neditor: {{type: 'faulty:FaultyEditor'}}\n"
        "backend: {type: ray, address: '127.0.0.1:1'}\noutput: run\n"
    )
    mark = f"MARK_{os.getpid()}"
    done = cli("run", "c.yaml", cwd=tmp_path, env={mark: "1"})
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert "no connection to a Ray cluster at 127.0.0.1:1: " in line
    assert not ours(mark)
