"""What stands between a driver and keepers on other machines, without a cluster: code, files and GPUs on their way."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from fake_nvml import FakeNvml
from hypothesis import given
from hypothesis import strategies as st

import edit_eval
from edit_eval.core.types import Sample
from edit_eval.driver.payloads import edit_payload
from edit_eval.driver.plan import WantedEdit
from edit_eval.worker import readings
from edit_eval.worker.cluster import gpus as gpus_module
from edit_eval.worker.cluster.carrier import Carrier, files_read, files_written, is_seen, with_paths
from edit_eval.worker.cluster.code import packed, unpacked
from edit_eval.worker.cluster.gpus import KeeperGpus
from edit_eval.worker.cluster.recorder import NodeRecorder


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
    package = Path(edit_eval.__file__).parent
    archive = packed(package)
    assert archive == packed(package)
    folder = unpacked(archive, tmp_path)
    found = {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    assert found["edit_eval/__init__.py"] == Path(edit_eval.__file__).read_bytes()
    assert not [name for name in found if "__pycache__" in name]


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
