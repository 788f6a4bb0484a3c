"""The run directory: one writer at a time, files whole or not at all, readable wherever it is carried."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.core.errors import RunError
from edit_eval.core.types import Sample, Verdict
from edit_eval.driver import store as module
from edit_eval.driver.mounts import Mount
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.settled import note_settled, verdicts_hang_on
from edit_eval.driver.store import (
    RunReader,
    RunStore,
    image_is_intact,
    image_path,
    link_names,
    lock_holder,
    thumbnail_path,
)

KEY = "ab" + "0" * 62


def wanted(index: int = 0, sample_id: str = "s0", repeat: int = 0, **tags: str) -> WantedEdit:
    sample = Sample(sample_id, "make it red", ("/data/a.png",), tags=tags, cluster="c")
    return WantedEdit(index, sample, repeat, 7, f"{index:02x}" + "0" * 62, ("f" * 64,))


def test_where_things_lie():
    assert image_path(KEY) == f"images/ab/{KEY}.png"
    assert thumbnail_path(KEY) == f"thumbs/ab/{KEY}.webp"


def failed(key: str) -> dict:
    return {"key": key, "status": "failed", "kind": "error", "reason": "-"}


def test_what_is_written_is_read_back_wherever_the_run_is_carried(tmp_path):
    everything = [wanted(0, "s0"), wanted(1, "s0", repeat=1), wanted(2, "红\n\ud800", category="a/b")]
    with RunStore(tmp_path / "deep" / "run") as store:
        assert store.info() == {}
        store.write_info({"name": "run", "text": "\ud800"})
        store.write_wanted(everything)
        store.edits.append(failed("e"))
        store.verdicts.append({"key": "v", "verdict": Verdict(unscored="refused").to_json()})
        store.sync()
    shutil.copytree(tmp_path / "deep" / "run", tmp_path / "copy", symlinks=True)
    shutil.rmtree(tmp_path / "deep")
    run = RunReader(tmp_path / "copy")
    assert run.info == {"format": 1, "name": "run", "text": "\ud800"}
    assert run.wanted == everything
    assert (list(run.edits), list(run.verdicts)) == (["e"], ["v"])
    with RunStore(tmp_path / "copy") as store:
        assert store.info() == run.info
        assert store.edits.records == run.edits


def test_a_run_that_is_going_on_can_be_read(tmp_path):
    with RunStore(tmp_path) as store:
        store.write_info({"name": "run"})
        store.edits.append(failed("e"))
        assert list(RunReader(tmp_path).edits) == ["e"]
        store.write_wanted([wanted()])
        assert RunReader(tmp_path).wanted == [wanted()]


def test_replaced_files_leave_nothing_behind(tmp_path):
    with RunStore(tmp_path) as store:
        for number in range(3):
            store.write_info({"number": number})
            store.write_wanted([wanted(number)])
    assert RunReader(tmp_path).info["number"] == 2
    assert [one.index for one in RunReader(tmp_path).wanted] == [2]
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


# Who holds it


def test_a_second_writer_is_told_who_holds_it(tmp_path):
    with RunStore(tmp_path) as store:
        with pytest.raises(
            RunError, match=rf"in use by process {os.getpid()} on .+ \(boot .+\); wait for it"
        ):
            RunStore(tmp_path)
        store.edits.append(failed("still mine"))
    with RunStore(tmp_path) as store:
        assert list(store.edits.records) == ["still mine"]


HOLDER = """
import pathlib, sys, time
from edit_eval.driver.store import RunStore
with RunStore(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_holder_holds_nothing(tmp_path, number):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"process {holder.pid} on"):
        RunStore(tmp_path)
    holder.send_signal(number)
    holder.communicate()
    began = time.monotonic()
    with RunStore(tmp_path):
        assert time.monotonic() - began < 1
        assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()
    assert (tmp_path / "lock").exists()  # never deleted: two could hold two files of one name


def test_a_failed_start_lets_go(tmp_path):
    (tmp_path / "verdicts.jsonl").write_bytes(b'{"v": 99, "key": "a"}\n')
    with pytest.raises(RunError, match="newer"):
        RunStore(tmp_path)
    (tmp_path / "verdicts.jsonl").unlink()
    with RunStore(tmp_path):
        pass


def test_a_ledger_of_verdicts_that_was_noted_is_read_when_it_is_asked_for(tmp_path):
    with RunStore(tmp_path) as store:
        store.verdicts.append({"key": "v", "verdict": Verdict(unscored="refused").to_json()})
    (tmp_path / "samples.jsonl").write_bytes(b"")
    judging = Judging({}, {"": load_rubric("general-v1")}, ())
    note_settled(tmp_path, verdicts_hang_on(tmp_path, judging, twice=0.0, retry_failed=False))
    with RunStore(tmp_path) as store:
        assert "verdicts" not in vars(store)
        assert list(store.verdicts.records) == ["v"]
        store.verdicts.append({"key": "w", "verdict": Verdict(unscored="refused").to_json()})
    with RunStore(tmp_path) as store:
        assert list(vars(store)["verdicts"].records) == ["v", "w"]


# What is no run


@pytest.mark.parametrize("name", ["file", "file/below", "file/below/deep"])
def test_an_output_that_cannot_be(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write the run directory .*; set another output"):
        RunStore(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no run.json in it"),
        (b"", "cannot be read"),
        (b'{"format": 1', "cannot be read"),
        (b"[]", "is no run directory"),
        (b"null", "is no run directory"),
        (b'{"name": "of another program"}', "is no run directory"),
        (b'{"format": "1"}', "is no run directory"),
        (b'{"format": 2}', "newer edit-eval"),
    ],
)
def test_what_is_no_run(tmp_path, text, says):
    if text is not None:
        (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(RunError) as caught:
        RunReader(tmp_path)
    assert says in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        RunReader(tmp_path / "none")


# Links for people


def links(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root / "by-id")) for path in (root / "by-id").rglob("*") if path.is_symlink()
    )


def test_links_lead_to_the_edits(tmp_path):
    with RunStore(tmp_path / "run") as store:
        one, again = wanted(0, "s0", category="recolour"), wanted(1, "s0", repeat=1)
        for edit in (one, again):
            path = store.path / image_path(edit.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(edit.key)
            store.link_by_id(edit)
            store.link_by_id(edit)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert links(tmp_path / "moved") == ["all/s0-r1.png", "recolour/s0.png"]
    assert (tmp_path / "moved" / "by-id" / "recolour" / "s0.png").read_text() == one.key
    with RunStore(tmp_path / "moved") as store:
        newer = WantedEdit(0, one.sample, 0, 8, "ff" + "0" * 62, ("f" * 64,))
        store.link_by_id(newer)
    assert (tmp_path / "moved" / "by-id" / "recolour" / "s0.png").readlink() == Path(
        "../..", image_path(newer.key)
    )


@settings(deadline=None, max_examples=80)
@given(
    st.text(st.characters(), max_size=40)
    | st.sampled_from(["", ".", "..", "../../x", "/etc/passwd", "a" * 5000, "红" * 300]),
    st.text(max_size=10),
)
def test_no_id_and_no_tag_leads_out_or_breaks(tmp_path_factory, sample_id, tag):
    root = tmp_path_factory.mktemp("run")
    with RunStore(root) as store:
        store.link_by_id(wanted(0, sample_id, category=tag))
    [link] = links(root)
    assert link.count("/") == 1
    for part in link.split("/"):
        assert part not in ("", ".", "..")
        assert not part.startswith(".")
        assert len(part.encode("utf-8", "surrogateescape")) <= 255
        assert part.isprintable() or not any(ord(char) < 32 for char in part)
    assert [path for path in root.rglob("*") if path.is_symlink()] == [root / "by-id" / link]


@settings(deadline=None)
@given(st.text(st.sampled_from("aZ09_-. /é\n"), max_size=8) | st.integers(175, 185).map("x".__mul__))
def test_a_name_that_is_not_looked_through_would_have_stayed_as_it_is(text):
    name = module._file_name(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_HARMLESS", re.compile("(?!)"))
        assert module._file_name(text) == name


FULL_DISK = """
import pathlib, resource, sys
from edit_eval.core.errors import RunError
from edit_eval.driver.store import RunStore
with RunStore(pathlib.Path(sys.argv[1])) as store:
    store.write_info({"name": "first"})
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        store.write_info({"name": "second", "text": "x" * 500})
    except RunError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_file_before(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "run.json: File too large" in done.stdout
    assert orjson.loads((tmp_path / "run.json").read_bytes())["name"] == "first"
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_ids_that_are_one_file_name_have_links_of_their_own():
    several = [
        wanted(0, "a/b"),
        wanted(1, "a_b"),
        wanted(2, "c"),
        wanted(3, "c-r1"),
        wanted(4, "c", repeat=1),
    ]
    names = link_names(several)
    assert len({name.casefold() for name in names.values()}) == 5
    assert names[several[0].key] == f"all/a_b-{several[0].key[:8]}"
    assert names[several[2].key] == "all/c"


def test_what_is_the_same_is_not_written_again(tmp_path):
    with RunStore(tmp_path) as store:
        store.write_info({"name": "run"})
        store.write_wanted([wanted(0)])
        before = [(tmp_path / name).stat().st_ino for name in ("run.json", "samples.jsonl")]
        store.write_info({"name": "run"})
        store.write_wanted([wanted(0)])
        assert [(tmp_path / name).stat().st_ino for name in ("run.json", "samples.jsonl")] == before


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["s0", "s1", "红"]), max_size=5),
    st.lists(st.sampled_from(["s0", "s1"]), max_size=5),
)
def test_whatever_was_written_before_what_is_written_is_there(tmp_path_factory, before, after):
    root = tmp_path_factory.mktemp("run")
    with RunStore(root) as store:
        store.write_info({})
        for names in (before, after):
            everything = [wanted(index, name) for index, name in enumerate(names)]
            store.write_wanted(everything)
            assert RunReader(root).wanted == everything


SCORED = {
    "verdict": {"unscored": None, "overall": 7.0, "scores": {"a": 7.0}, "reasons": {}, "reply": ""},
    "device": "CPU 0",
    "seconds": 1.0,
}


@pytest.mark.parametrize(
    ("ledger", "line"),
    [
        ("edits", {}),
        ("edits", {"status": "edited"}),
        ("edits", {"status": "edited", "image": {"sha256": "s"}}),
        ("edits", {"status": "failed"}),
        ("edits", {"status": "tired", "image": {}}),
        ("verdicts", {}),
        ("verdicts", {"verdict": {}}),
        ("verdicts", {"verdict": {"unscored": None}}),
        ("verdicts", {"verdict": {"unscored": None, "overall": "7", "scores": {}}}),
        ("verdicts", {"verdict": {"unscored": None, "overall": 7.0, "scores": 3}}),
        ("verdicts", {"judge": [], **SCORED}),
        ("verdicts", {"judge": {}, "verdict": {"unscored": "refused", "overall": None}}),
        ("verdicts", {"verdict": {**SCORED["verdict"], "facts": 3}, "device": "CPU 0", "seconds": 1.0}),
    ],
)
def test_a_record_of_another_shape_is_left_out(tmp_path, ledger, line):
    with RunStore(tmp_path) as store:
        store.write_info({"name": "run"})
    with (tmp_path / f"{ledger}.jsonl").open("a") as file:
        file.write(json.dumps({"v": 1, "key": "k", **line}) + "\n")
    assert getattr(RunReader(tmp_path), ledger) == {}
    with RunStore(tmp_path) as store:
        assert getattr(store, ledger).records == {}


def test_a_ledger_that_cannot_be_synced_ends_the_run_in_one_line_and_lets_go(tmp_path, monkeypatch):
    def refuse(_file):
        raise OSError(5, "Input/output error")

    store = RunStore(tmp_path)
    store.edits.append(failed("e"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        store.edits._synced_at = 0.0
        with pytest.raises(RunError, match=r"cannot bring .*edits\.jsonl to the disk: Input/output error"):
            store.sync()
        with pytest.raises(RunError), store:
            pass
    for one in (store.edits, store.verdicts):
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(one._file)
    with RunStore(tmp_path) as again:
        assert list(again.edits.records) == ["e"]


def test_an_interrupt_is_not_hidden_by_a_failing_close(tmp_path, monkeypatch):
    def refuse(_file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(KeyboardInterrupt), RunStore(tmp_path):
        raise KeyboardInterrupt


# File systems of clusters


def _no_flock(number: int):
    def flock(_file, _how):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL])
def test_a_file_system_without_flock_is_refused_unless_told_otherwise(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", _no_flock(number))
    with pytest.raises(RunError, match=r"has no flock .*; set another output, or lock=false") as caught:
        RunStore(tmp_path / "run")
    assert os.strerror(number) in str(caught.value)
    with RunStore(tmp_path / "run", lock=False) as store:
        store.edits.append(failed("e"))
        assert "has no flock" in store.lock_note


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_a_lock_that_another_machine_holds(tmp_path, monkeypatch, number):
    """NFS may say EACCES where a local file system says EAGAIN (fcntl(2), F_SETLK)."""
    (tmp_path / "lock").write_text("process 7 on node9 (boot x)\n")
    monkeypatch.setattr(fcntl, "flock", _no_flock(number))
    for lock in (True, False):
        with pytest.raises(RunError, match="is in use by process 7 on node9"):
            RunStore(tmp_path, lock=lock)
    assert lock_holder(tmp_path) == "process 7 on node9 (boot x)"


def test_a_lock_that_can_be_held_is_held_in_any_case(tmp_path):
    with RunStore(tmp_path, lock=False) as store:
        assert store.lock_note == ""
        with pytest.raises(RunError, match="is in use by"):
            RunStore(tmp_path, lock=False)


def test_a_lock_that_no_other_machine_sees_is_said(tmp_path, monkeypatch):
    mount = Mount(Path("/"), "nfs", frozenset({"rw", "nolock"}))
    monkeypatch.setattr("edit_eval.driver.store.mount_of", lambda _path: mount)
    with RunStore(tmp_path) as store:
        assert store.lock_note == f"{tmp_path}: locks are not seen by other machines (mounted nolock)"


def test_the_lock_is_taken_on_a_file_open_for_writing(tmp_path, monkeypatch):
    """NFS makes flock a range lock, which needs that (flock(2))."""
    modes = []

    def flock(file, how):
        modes.append((how & ~fcntl.LOCK_NB, fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE))

    monkeypatch.setattr(fcntl, "flock", flock)
    RunStore(tmp_path).__exit__(None, None, None)
    lock_holder(tmp_path)
    assert modes == [(fcntl.LOCK_EX, os.O_RDWR), (fcntl.LOCK_SH, os.O_RDONLY)]


# File systems that lack something


def test_a_ledger_whose_torn_line_cannot_be_taken_back_spoils_no_other(tmp_path, monkeypatch):
    real = os.write
    with RunStore(tmp_path) as store:
        store.write_info({"name": "run"})
        store.edits.append(failed("a"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: real(file, data[:9]) if len(data) > 60 else _full())
            patch.setattr(os, "ftruncate", lambda _file, _size: _full())
            with pytest.raises(RunError, match=r"edits\.jsonl: No space left on device; make room"):
                store.edits.append(failed("b"))
        # What was written in part counts as nothing, and what comes after it is a line of its own.
        store.edits.append(failed("c"))
        store.edits.append(failed("d"))
    assert list(RunReader(tmp_path).edits) == ["a", "c", "d"]


def _full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("beside", [[], ["images"], ["images", "inputs"]])
def test_a_folder_of_samples_is_no_run_though_its_names_are_those_of_one(tmp_path, beside):
    (tmp_path / "samples.jsonl").write_text("mine")
    for name in beside:
        (tmp_path / name).mkdir()
    with pytest.raises(RunError, match=r"holds other files \('samples.jsonl' ...\) and is no run"):
        RunStore(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*beside, "samples.jsonl"])
    (tmp_path / "run.json").write_text("{}")  # somebody's, too
    with pytest.raises(RunError, match="is no run directory"):
        RunStore(tmp_path)
    assert (tmp_path / "samples.jsonl").read_text() == "mine"


# What is missing or damaged of a run that has begun


def test_what_is_mended_is_said_and_what_was_damaged_is_kept(tmp_path):
    with RunStore(tmp_path) as store:
        assert store.mended == []
        store.write_wanted([wanted()])
        store.write_info({"name": "run"})
    with RunStore(tmp_path) as store:
        assert store.mended == []
    (tmp_path / "run.json").write_bytes(b"{torn")
    (tmp_path / "verdicts.jsonl").unlink()
    with RunStore(tmp_path) as store:
        assert [line.partition(": ")[0].rpartition("/")[2] for line in store.mended] == [
            "run.json cannot be read (damaged",
            "verdicts.jsonl is missing",
        ]
        assert "kept as run.json.damaged and written anew" in store.mended[0]
        assert store.info() == {}
    assert (tmp_path / "run.json.damaged").read_bytes() == b"{torn"
    with RunStore(tmp_path) as store:
        assert store.mended == [f"{tmp_path / 'run.json'} is missing: it is written anew"]


@pytest.mark.parametrize("how", ["missing", "empty", "cut"])
def test_samples_that_are_not_all_there_are_refused_with_the_command_that_mends_them(tmp_path, how):
    with RunStore(tmp_path) as store:
        store.write_wanted([wanted(0), wanted(1)])
        store.write_info({"name": "run"})
        store.edits.append(failed("e"))
    path = tmp_path / "samples.jsonl"
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else path.read_bytes().splitlines(keepends=True)[0])
    run = RunReader(tmp_path)
    with pytest.raises(
        RunError, match=rf"samples\.jsonl cannot be read .*'edit-eval run {tmp_path}' writes it anew"
    ):
        _ = run.wanted


@pytest.mark.parametrize("verify", [False, True])
def test_a_folder_in_place_of_an_image_is_named_and_what_cannot_be_read_is_made_again(
    tmp_path, verify, monkeypatch
):
    path = tmp_path / image_path(KEY)
    path.mkdir(parents=True)
    record = {"image": {"sha256": "s", "bytes": 4, "mtime_ns": 1}}
    with pytest.raises(RunError, match="is a folder where an image belongs; remove it"):
        image_is_intact(tmp_path, KEY, record, verify=verify)
    path.rmdir()
    path.write_bytes(b"1234")

    def refuse(_path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edit_eval.driver.store.file_sha256", refuse)
    assert not image_is_intact(tmp_path, KEY, record, verify=verify, sha256=refuse)
