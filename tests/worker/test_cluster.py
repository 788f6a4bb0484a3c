"""What stands between a driver and keepers on other machines, without a cluster: code, files and GPUs on their way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_nvml import FakeNvml
from hypothesis import given
from hypothesis import strategies as st

import edit_eval
from edit_eval.core.types import Sample
from edit_eval.driver.payloads import edit_payload
from edit_eval.driver.plan import WantedEdit
from edit_eval.worker import readings
from edit_eval.worker.cluster import bridge as bridge_module
from edit_eval.worker.cluster import code as code_module
from edit_eval.worker.cluster import gpus as gpus_module
from edit_eval.worker.cluster.carrier import Carrier, files_read, files_written, is_seen, with_paths
from edit_eval.worker.cluster.code import PackageError, packed, unpacked
from edit_eval.worker.cluster.gpus import KeeperGpus
from edit_eval.worker.cluster.passage import Passage, Traffic
from edit_eval.worker.cluster.recorder import NodeRecorder
from edit_eval.worker.protocol import Channel


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def payload(folder: Path, data: bytes = b"picture", instruction: str = "go") -> dict:
    source = str(folder / "source.png")
    sample = Sample("s", instruction, (source,), references=(str(folder / "other.png"),))
    wanted = WantedEdit(0, sample, 0, 1, "ab" * 32, (sha256(data),))
    made = edit_payload(wanted, folder / "run")
    return {
        **made,
        "inputs": [list(one) for one in made["inputs"]],
        "sample": {**made["sample"], "images": [source]},
    }


def task(one: dict) -> dict:
    return {"v": 1, "type": "task", "tasks": [{"id": "t", "payload": one}]}


def test_code_comes_out_as_it_went_in_without_what_python_made_of_it(tmp_path):
    package = Path(edit_eval.__file__).parent / "worker"
    archive = packed(package)
    assert archive == packed(package)
    folder = unpacked(archive, tmp_path)
    found = {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    assert found["worker/host.py"] == (package / "host.py").read_bytes()
    assert not [name for name in found if "__pycache__" in name]


def test_a_package_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(code_module, "MOST_BYTES", 1 << 20)
    (tmp_path / "weights").write_bytes(bytes(1 + (1 << 20)))  # packed, it would be small
    monkeypatch.setattr(Path, "read_bytes", lambda _path: pytest.fail("was read"))
    with pytest.raises(PackageError, match=r"cannot be sent to other nodes: it holds more than 1 MiB; put"):
        packed(tmp_path)


def test_a_package_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PackageError, match=r"/none.py cannot be sent to other nodes: No such file"):
        packed(tmp_path / "none.py")


def test_code_that_does_not_come_out_whole_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Exception, match="not a zip file"):
        bridge_module._unpack(b"half of it")
    assert list(tmp_path.iterdir()) == []


def test_what_is_seen_is_used_where_it_lies(tmp_path):
    (tmp_path / "source.png").write_bytes(b"picture")
    carrier = Carrier(tmp_path / "files", seen=True)
    message, wanted, refused = carrier.tasks(task(payload(tmp_path)))
    assert message == task(payload(tmp_path))
    assert not wanted
    assert not refused
    assert carrier.answered({"type": "done", "id": "t"}) == ({"type": "done", "id": "t"}, {})


@pytest.mark.parametrize("there", [None, b"another picture"])
def test_what_is_not_seen_is_brought_and_what_is_made_is_taken_along(tmp_path, there):
    source = tmp_path / "source.png"
    if there:
        source.write_bytes(there)
    carrier = Carrier(tmp_path / "files", seen=False)
    one = payload(tmp_path)
    message, wanted, _ = carrier.tasks(task(one))
    assert wanted == [str(source)]
    carrier.bring(str(source), b"picture")
    moved = message["tasks"][0]["payload"]
    [(local, hashed)] = files_read(moved)
    assert Path(local).read_bytes() == b"picture"
    assert hashed == sha256(b"picture")
    assert moved["sample"]["images"] == [local]
    for path in files_written(moved):
        assert path.startswith(str(tmp_path / "files"))
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(path.encode())
    _, files = carrier.answered({"type": "done", "id": "t"})
    assert files == dict(
        zip(files_written(one), [path.encode() for path in files_written(moved)], strict=True)
    )
    assert list((tmp_path / "files").iterdir()) == []


def test_two_paths_with_the_same_bytes_both_arrive(tmp_path):
    carrier = Carrier(tmp_path / "files", seen=True)
    one = json.loads(json.dumps(payload(tmp_path)))
    [other] = one["sample"]["references"]
    one["inputs"].append([other, sha256(b"picture")])
    message, wanted, refused = carrier.tasks(task(one))
    assert (wanted, refused) == ([str(tmp_path / "source.png"), other], [])
    for path in wanted:
        carrier.bring(path, b"picture")
    moved = message["tasks"][0]["payload"]
    for path in (*moved["sample"]["images"], *moved["sample"]["references"], *dict(files_read(moved))):
        assert Path(path).read_bytes() == b"picture"
    carrier.answered({"type": "done", "id": "t"})
    assert list((tmp_path / "files").iterdir()) == []


def test_a_file_that_an_editor_looks_for_is_refused_also_where_its_bytes_are(tmp_path):
    carrier = Carrier(tmp_path / "files", seen=True)
    _, [source], _ = carrier.tasks(task(payload(tmp_path)))
    carrier.bring(source, b"picture")
    one = payload(tmp_path)
    one["inputs"].append([str(tmp_path / "finished.png"), sha256(b"picture")])
    _, _, [refusal] = carrier.tasks({**task(one), "tasks": [{"id": "u", "payload": one}]})
    assert refusal["reason"].startswith(f"{tmp_path}/finished.png is not on this node")


def test_a_reason_names_the_file_that_the_user_knows(tmp_path):
    carrier = Carrier(tmp_path / "files", seen=False)
    message, _, _ = carrier.tasks(task(payload(tmp_path)))
    [(local, _)] = files_read(message["tasks"][0]["payload"])
    failed = {"type": "failed", "id": "t", "kind": "unreadable", "reason": f"{local} is no image"}
    assert carrier.answered(failed)[0]["reason"] == f"{tmp_path}/source.png is no image"


def test_two_tasks_of_one_source_share_it_and_it_goes_with_the_last(tmp_path):
    carrier = Carrier(tmp_path / "files", seen=True)
    both = {**task(payload(tmp_path)), "tasks": [{"id": name, "payload": payload(tmp_path)} for name in "ab"]}
    _, wanted, _ = carrier.tasks(both)
    assert wanted == [str(tmp_path / "source.png")]
    carrier.bring(wanted[0], b"picture")
    carrier.answered({"type": "recalled", "ids": ["a"]})
    [kept] = (tmp_path / "files").iterdir()
    assert kept.read_bytes() == b"picture"
    carrier.over()
    assert list((tmp_path / "files").iterdir()) == []


def test_a_file_that_an_editor_looks_for_by_itself_fails_its_task_by_name(tmp_path):
    (tmp_path / "source.png").write_bytes(b"picture")
    one = payload(tmp_path)
    one["inputs"].append([str(tmp_path / "finished" / "s.png"), sha256(b"edit")])
    message, wanted, [refusal] = Carrier(tmp_path / "files", seen=True).tasks(task(one))
    assert message["tasks"] == []
    assert not wanted
    assert refusal["reason"].startswith(f"{tmp_path}/finished/s.png is not on this node")


@given(st.text())
def test_no_text_that_is_not_a_path_is_touched(instruction):
    one = payload(Path("/data"), instruction=instruction)
    places = (
        {"/data/source.png": "/other/x.png", instruction: "/wrong"}
        if instruction
        else {"/data/source.png": "/o"}
    )
    moved = with_paths(one, places)
    assert moved["sample"]["instruction"] == instruction
    assert moved["sample"]["images"] == [places["/data/source.png"]]


def test_a_folder_is_seen_only_if_it_is_the_same(tmp_path):
    probe = tmp_path / ".probe"
    assert not is_seen(probe, "0123456789")
    probe.write_text("another run's")
    assert not is_seen(probe, "0123456789")
    probe.write_text("0123456789")
    assert is_seen(probe, "0123456789")
    assert [one.name for one in tmp_path.iterdir()] == [".probe"]


def test_memory_is_waited_for_and_shared_as_on_this_machine(monkeypatch):
    nvml = FakeNvml(2)
    monkeypatch.setattr(gpus_module, "open_nvml", lambda: (nvml, ""))
    nvml.gpus[0].memory = nvml.gpus[1].memory = 1 << 30
    gpus = KeeperGpus(["0", nvml.uuid(1)])
    assert gpus.used_bytes() == 2 << 30
    assert gpus.share() == 0.975
    nvml.gpus[1].memory = 40 << 30
    assert gpus.share() == 0.487

    async def free_later():
        waiting = asyncio.ensure_future(gpus.drained())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        nvml.gpus[1].memory = 1 << 30
        await asyncio.wait_for(waiting, 10)

    asyncio.run(free_later())
    nvml.gpus[0].gone = True
    assert gpus.used_bytes() is None
    assert gpus.share() is None


def test_without_gpus_nothing_is_known_and_nothing_waited_for():
    gpus = KeeperGpus([])
    assert gpus.used_bytes() is None
    assert gpus.share() is None
    asyncio.run(gpus.drained())


def test_a_recorder_tells_what_it_read_once(monkeypatch):
    nvml = FakeNvml(1)
    monkeypatch.setattr(readings, "open_nvml", lambda: (nvml, ""))
    monkeypatch.setattr("edit_eval.worker.cluster.recorder.INTERVAL_S", 0.01)
    recorder = NodeRecorder()
    recorder.follow("a/GPU 0", 1, ["0"])
    found: dict = {"samples": []}
    while not any(gpus for _, gpus, _ in found["samples"]):
        found = recorder.read()
    recorder.end()
    assert found["devices"] == {"a/GPU 0": [nvml.uuid(0)]}
    assert found["gpus"] == {nvml.uuid(0): {"name": "NVIDIA Fake 80GB", "memory_bytes": 80 << 30}}
    assert all(age >= 0 for age, _, _ in found["samples"])


class RayError(Exception):
    """As Ray's own."""


class Method:
    """A method of a made-up actor: answers, or never does."""

    def __init__(self, answer: Callable[..., Any] | None) -> None:
        self._answer = answer

    async def remote(self, *arguments: Any) -> Any:
        if self._answer is None:
            await asyncio.Event().wait()
        return self._answer and self._answer(*arguments)


def actor(**answers: Callable[..., Any]) -> SimpleNamespace:
    """Return a made-up actor; methods without an answer wait, as those of one that Ray has not placed."""
    names = ("here", "up", "down", "package", "bring")
    return SimpleNamespace(**{name: Method(answers.get(name)) for name in names})


class MadeUpRay:
    """Ray, as far as the bridge uses it; every actor is `actor`."""

    def __init__(self, actor: Any, **refused: Any) -> None:
        self.exceptions = SimpleNamespace(RayError=RayError)
        pinned = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
        self.util = SimpleNamespace(scheduling_strategies=pinned)
        self.killed: list[Any] = []
        self._actor = actor
        self._refused = refused

    def remote(self, kind: type) -> Any:
        def options(**given: Any) -> Any:
            if kind is bridge_module.Actor and "order" in self._refused:
                raise self._refused["order"]
            return SimpleNamespace(remote=lambda *_: self._actor)

        return SimpleNamespace(options=options)

    def kill(self, one: Any) -> None:
        self.killed.append(one)

    def nodes(self) -> list[dict[str, Any]]:
        return []


def kept(ray: MadeUpRay, *said: dict[str, Any]) -> dict[str, Any]:
    """Have a bridge serve one keeper, whose driver says that and then, if nothing, hangs up; return what it says of it."""
    order = {"id": 7, "label": "a/CPU 0", "node": "1", "resources": {"slot": 1}, "spec": {}}

    async def serve() -> dict[str, Any]:
        driver, theirs = socket.socketpair()
        ours, control = (Channel(one) for one in socket.socketpair())
        way = SimpleNamespace(ray=ray, code=b"", traffic=Traffic(lambda data: data))
        bridge = bridge_module._Bridge(ray, control, None)
        with driver:
            if said:
                driver.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in said))
            else:
                driver.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(bridge._serve_keeper(way, theirs, order), 5)
        for one in asyncio.all_tasks() - {asyncio.current_task()}:
            one.cancel()
        [lost] = [one for one in ours.receive() if one["type"] == "lost"]
        ours.close()
        control.close()
        return lost

    return asyncio.run(serve())


START = {"type": "start", "host": {"log": "/dev/null", "links": {}}, "load": {}}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((), ""),
        (("quit",), ""),
        (("stop",), ""),
        (("kill",), "its keeper had not begun yet"),
    ],
)
@pytest.mark.parametrize("begun", [(), (START,)])
def test_a_keeper_that_waits_for_its_turn_hears_that_it_is_wanted_no_more(said, why, begun):
    waits = actor()
    ray = MadeUpRay(waits)
    lost = kept(ray, *(begun if said else ()), *({"type": kind} for kind in said))
    assert (lost["why"], lost["gone"]) == (why, False)
    assert ray.killed == [waits]


@pytest.mark.parametrize(
    ("ray", "said", "why"),
    [
        (
            MadeUpRay(actor(), order=ValueError("num_gpus is\nodd")),
            (START,),
            "ValueError: num_gpus is odd",
        ),
        (
            MadeUpRay(actor()),
            ({**START, "host": {"log": "/dev/null", "links": {"gone": "/no/such/package"}}},),
            "/no/such/package cannot be sent to other nodes: No such file or directory",
        ),
    ],
)
def test_what_keeps_a_keeper_from_starting_is_said_in_one_line(ray, said, why):
    assert kept(ray, *said) == {"v": 1, "type": "lost", "id": 7, "why": why, "gone": False}


TRACED = """\x1b[36mray::Actor.package()\x1b[39m (pid=1, ip=10.0.0.1)
  File "/x/relay.py", line 1, in package
OSError: [Errno 28] No space left on device"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TRACED, ("OSError: [Errno 28] No space left on device", False)),
        (
            "The actor died.\n\tpid: 7\nIts node has died.",
            ("The actor died. pid: 7 Its node has died.", True),
        ),
    ],
)
def test_what_ray_says_of_an_actor_is_one_line_without_a_trace(text, why):
    assert bridge_module._why(MadeUpRay(None), RayError(text)) == why


def test_a_bridge_that_may_open_no_more_files_says_so_and_goes_on():
    ours, control = (Channel(one) for one in socket.socketpair())
    sender, doors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bridge = bridge_module._Bridge(None, control, doors)
    sender.send(
        json.dumps({"id": 7}).encode()
    )  # as the kernel brings it where there is no room for the descriptor
    bridge._on_door(None)
    [lost] = ours.receive()
    assert (lost["id"], lost["why"].partition(";")[0]) == (7, "the bridge may open no more files")
    assert not bridge._over.is_set()
    for one in (ours, control, sender, doors):
        one.close()


def test_what_a_task_may_write_is_looked_up_where_tasks_come_and_go(tmp_path):
    """The writer is a thread of its own: it must not read what changes meanwhile."""
    readers: set[int] = set()

    class Watched(dict):
        def __contains__(self, name: object) -> bool:
            readers.add(threading.get_ident())
            return super().__contains__(name)

    done = json.dumps({"type": "done", "id": "t"}).encode() + b"\n"
    answers = [(done, {str(tmp_path / "x.png"): b"edit"}, b""), (b"", {}, b"")]
    driver, theirs = socket.socketpair()
    theirs.setblocking(False)
    passage = Passage(theirs, actor(up=lambda: answers.pop(0)), Traffic(lambda data: data), lambda _pid: None)
    passage._writes["t"] = Watched(image=str(tmp_path / "x.png"))
    assert asyncio.run(passage.run()) == ""
    assert (tmp_path / "x.png").read_bytes() == b"edit"
    assert driver.recv(100) == done
    assert readers == {threading.get_ident()}
    driver.close()
    theirs.close()


def test_only_what_a_task_names_is_read_and_written(tmp_path):
    """And what is said comes in turn, files before the tasks that need them."""
    (tmp_path / "source.png").write_bytes(b"picture")
    one = payload(tmp_path)
    heard: list[Any] = []
    asked = [str(tmp_path / "source.png"), os.fspath(Path(edit_eval.__file__))]
    brought = asyncio.Event()

    def down(lines: list[bytes]) -> list[str]:
        heard.extend(json.loads(line)["type"] for line in lines)
        return asked

    def bring(files: dict[str, bytes]) -> None:
        heard.append(files)
        brought.set()

    driver, theirs = socket.socketpair()
    theirs.setblocking(False)
    driver.sendall(json.dumps(task(one)).encode() + b"\n")
    passage = Passage(theirs, actor(down=down, bring=bring), Traffic(lambda data: data), lambda _pid: None)

    async def run() -> None:
        running = asyncio.ensure_future(passage.run())
        await asyncio.wait_for(brought.wait(), 5)
        driver.close()
        await asyncio.wait_for(running, 5)

    asyncio.run(run())
    theirs.close()
    assert heard == ["task", {asked[0]: b"picture"}]
