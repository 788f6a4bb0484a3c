"""The Ray backend without a cluster: what its config may say, and what it says where there is no cluster."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any, ClassVar

import pytest
from harness import Ran, cli, config_tree, make_benchmark, ours

from edit_eval.cli import _parser
from edit_eval.cli.configs import described
from edit_eval.core.errors import ConfigError, DeviceError, RunError
from edit_eval.driver.backends import DevicesAsked, Left, Remark
from edit_eval.driver.backends import ray as ray_module
from edit_eval.driver.backends.bridge import Bridge, RayKeeper
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.backends.ray import RayBackend, device_count
from edit_eval.driver.config import BackendConfig, check_config
from edit_eval.driver.forecast import forecast
from edit_eval.driver.store import RunReader
from edit_eval.views.forecast import forecast_text
from edit_eval.worker.protocol import VERSION, Channel


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


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ({"resources": {"GPU": 0.5}}, r"^backend.resources: 0.5 GPUs: a device holds whole ones"),
        (
            {"resources": {"GPU": 1.5, "slot": 1}},
            r"^backend.resources: 1.5 GPUs: a device holds whole ones",
        ),
        ({"resources": {"slot": 0.00001}}, r"^backend.resources.slot: .*0.0001"),
        ({"address": "ray://head:10001"}, r"^backend.address: .*give the cluster's own address, HEAD:6379"),
    ],
)
def test_what_no_cluster_can_give_is_refused(tmp_path, backend, says):
    benchmark = make_benchmark(tmp_path / "data", ["ok"])
    with pytest.raises(ConfigError, match=says):
        check_config(config_tree(tmp_path, benchmark, backend={"type": "ray", **backend}))


def asked(*, accelerated: bool = False) -> DevicesAsked:
    return DevicesAsked("editor", "ray", accelerated=accelerated)


class MadeUpBridge:
    """A bridge to a cluster of one node; `fault` keeps it from connecting."""

    has: ClassVar[dict[str, float]] = {"CPU": 4.0}
    fault: Exception | None = None
    ended = False
    connected = True

    def __init__(self, config: BackendConfig) -> None:
        self.nodes = [{"id": "1", "name": "a", "resources": self.has}]
        self.is_closed = False

    def wait_for_nodes(self) -> None:
        if self.fault:
            raise self.fault

    def poll(self) -> None:
        pass

    def take_remarks(self) -> list[Any]:
        return []

    def last_words(self) -> str:
        return "killed"

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def bridges(monkeypatch):
    """Return all made-up bridges that were started, the last one last."""
    started: list[MadeUpBridge] = []

    def start(config: BackendConfig) -> MadeUpBridge:
        started.append(MadeUpBridge(config))
        return started[-1]

    monkeypatch.setattr(ray_module, "Bridge", start)
    return started


@pytest.mark.parametrize(
    ("needs", "has", "count"),
    [
        ({"slot": 0.1}, {"slot": 1.0}, 10),  # 1 // 0.1 == 9
        ({"slot": 0.1}, {"slot": 0.3}, 3),  # 0.3 // 0.1 == 2
        ({"slot": 0.3}, {"slot": 1.0}, 3),
        ({"slot": 1.0, "CPU": 0.7}, {"slot": 9.0, "CPU": 2.1}, 3),
        ({"slot": 1.0, "CPU": 3.0}, {"slot": 9.0, "CPU": 8.0}, 2),
    ],
)
def test_devices_of_a_node_are_counted_exactly(monkeypatch, bridges, needs, has, count):
    monkeypatch.setattr(MadeUpBridge, "has", has)
    found = RayBackend(BackendConfig(type="ray", resources=needs)).devices(asked())
    assert [one.label for one in found] == [f"a/CPU {number}" for number in range(count)]


def test_a_device_over_several_gpus_holds_them_all(monkeypatch, bridges):
    monkeypatch.setattr(MadeUpBridge, "has", {"GPU": 5.0, "CPU": 16.0})
    found = RayBackend(BackendConfig(type="ray", resources={"GPU": 2})).devices(asked(accelerated=True))
    assert [(one.label, one.threads) for one in found] == [("a/GPU 0+1", 8), ("a/GPU 2+3", 8)]


def test_a_model_that_wants_a_gpu_does_not_run_without_one_unasked(monkeypatch, bridges):
    monkeypatch.setattr(MadeUpBridge, "has", {"slot": 2.0, "CPU": 2.0})
    with pytest.raises(
        DeviceError, match=r"^editor: its type wants a GPU, .* \(slot 1\); add GPU: 1, or CPU: 1"
    ):
        RayBackend(BackendConfig(type="ray", resources={"slot": 1})).devices(asked(accelerated=True))
    assert bridges == []
    both = BackendConfig(type="ray", resources={"slot": 1, "CPU": 1})
    assert {one.kind for one in RayBackend(both).devices(asked(accelerated=True))} == {"cpu"}


def test_a_connection_that_failed_can_be_tried_again(monkeypatch, bridges):
    backend = RayBackend(BackendConfig(type="ray"))
    monkeypatch.setattr(MadeUpBridge, "fault", RunError("backend: nobody there"))
    with pytest.raises(RunError, match="nobody there"):
        backend.devices(asked())
    assert [one.is_closed for one in bridges] == [True]
    backend.close()
    monkeypatch.setattr(MadeUpBridge, "fault", None)
    assert len(backend.devices(asked())) == 4
    backend.close()
    assert [one.is_closed for one in bridges] == [True, True]


def no_more_files(*_arguments: Any, **_options: Any) -> None:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize(
    ("module", "name"), [(tempfile, "TemporaryFile"), (socket, "socketpair"), (subprocess, "Popen")]
)
def test_a_bridge_that_cannot_be_started_is_said_in_one_line(monkeypatch, module, name):
    monkeypatch.setattr(module, name, no_more_files)
    with pytest.raises((RunError, ConfigError), match=r"^backend.*: cannot start .*: Too many open files$"):
        RayBackend(BackendConfig(type="ray")).devices(asked())


def test_a_connection_that_cannot_be_tried_again_yet_is_lost_and_no_fault(monkeypatch, bridges):
    monkeypatch.setattr(ray_module, "_AGAIN_S", 0.0)
    backend = RayBackend(BackendConfig(type="ray"))
    devices = backend.devices(asked())
    bridges[-1].ended = True
    [remark, *left] = backend.changes()
    assert remark.text.startswith("the connection to the Ray cluster was lost (killed); trying")
    assert [one.device for one in left if isinstance(one, Left)] == devices
    start = ray_module.Bridge
    monkeypatch.setattr(ray_module, "Bridge", _refuse_files)
    why = "the Ray cluster cannot be connected to again now: backend: Too many open files"
    assert backend.changes() == [Remark(why)]
    assert backend.changes() == ()  # said once
    assert backend.hopes()
    monkeypatch.setattr(ray_module, "Bridge", start)
    assert backend.changes() == ()
    assert Remark("the connection to the Ray cluster is there again") in backend.changes()
    backend.close()


def _refuse_files(_config: BackendConfig) -> None:
    raise RunError("backend: Too many open files")


def test_a_keeper_is_waited_for_however_many_there_are():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("this process may open few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    ours, theirs = socket.socketpair()
    try:
        os.dup2(ours.fileno(), 1500)  # select.select knows none above 1023
        keeper = RayKeeper(None, 1, socket.socket(fileno=1500))
        assert not keeper.wait(0.01)
    finally:
        ours.close()
        theirs.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_finished_run_connects_to_no_cluster(tmp_path, monkeypatch):
    benchmark = make_benchmark(tmp_path / "data", ["ok"])
    given = config_tree(tmp_path, benchmark, judge=None, editor__devices=["cpu:0"])
    assert Ran(given).worked
    again = config_tree(tmp_path, benchmark, judge=None, editor__devices="ray", backend="ray")
    monkeypatch.setattr(ray_module, "Bridge", lambda _config: pytest.fail("connected"))
    assert not Ran(again).worked
    assert "0 left" in forecast_text(forecast(check_config(again)))
    more = make_benchmark(tmp_path / "data", ["ok", "ok"])
    monkeypatch.setattr(ray_module, "Bridge", _refuse_files)
    with pytest.raises(RunError, match="Too many open files"):
        Ran({**again, "benchmark": {**again["benchmark"], "path": str(more)}})
    assert len(RunReader(tmp_path / "run").info["starts"]) == 1


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


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 20_000), [(20_000, 20_000)]),
        ((1024, 1 << 20), [(1 << 16, 1 << 20)]),
        ((1024, resource.RLIM_INFINITY), [(1 << 16, resource.RLIM_INFINITY)]),
        ((20_000, 20_000), []),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_a_thousand_keepers_are_no_more_files_than_may_be_open(monkeypatch, bridges, limits, wanted):
    asked_for = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _what, given: asked_for.append(given))
    RayBackend(BackendConfig(type="ray")).devices(asked())
    assert asked_for == wanted


@pytest.mark.parametrize(
    ("last_words", "why"),
    [
        (
            b'{"v":%d,"type":"lost","id":7,"why":"its node died","gone":true}\n' % VERSION,
            ("its node died", True),
        ),
        (b"", ("the connection to the Ray cluster was lost", True)),
    ],
)
def test_a_bridge_that_ends_after_it_hung_up_on_a_keeper_is_waited_for(last_words, why):
    here, there = socket.socketpair()
    bridge = Bridge.__new__(Bridge)  # without its process
    bridge._control, bridge._lost, bridge._refusal = Channel(here), {}, ""

    def end() -> None:
        there.sendall(last_words)
        there.close()

    ending = threading.Timer(0.2, end)
    ending.start()
    assert bridge.why_lost(7) == why
    ending.join()
    here.close()
