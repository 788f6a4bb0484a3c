"""Weights that are replaced: between two starts they are another model, and while a run goes on they stop it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from harness import PLUGINS, Ran, config_tree, make_benchmark
from weighty import MODEL_FILE, WEIGHTS

from edit_eval.core.errors import RunError
from edit_eval.driver.events import Note
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.models import resolve_model


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def model(folder: Path, data: bytes = b"0123456789") -> Path:
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_text("{}")
    (folder / WEIGHTS).write_bytes(data)
    for path in folder.iterdir():
        os.utime(path, (time.time() - 1000,) * 2)  # old enough to be remembered
    return folder


def replace_in_place(path: Path, *, keep_time: bool) -> None:
    """Change one byte; size and inode stay, and the mtime if asked for."""
    before = path.stat()
    with path.open("r+b") as file:
        byte = file.read(1)[0]
        file.seek(0)
        file.write(bytes([byte ^ 1]))
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert (path.stat().st_size, path.stat().st_ino) == (before.st_size, before.st_ino)


def weighty(tmp_path: Path, **changes) -> dict:
    benchmark = make_benchmark(tmp_path / "data", ["-"] * 3)
    tree = config_tree(
        tmp_path,
        benchmark,
        editor={"type": "weighty:WeightyEditor", "model": str(tmp_path / "e"), "devices": ["cpu:0"]},
        judge={"type": "weighty:WeightyJudge", "model": str(tmp_path / "j"), "devices": ["cpu:0"]},
    )
    for stage in ("editor", "judge"):
        tree[stage]["env"] = {"PYTHONPATH": str(PLUGINS)}
    for folder in ("e", "j"):
        if not (tmp_path / folder).exists():
            model(tmp_path / folder)
    for name, value in changes.items():
        stage, _, key = name.partition("__")
        tree[stage]["params"] = {**tree[stage].get("params", {}), key: value}
    return tree


def said(ran: Ran) -> str:
    return "\n".join(note.text for note in ran.of(Note))


@pytest.mark.parametrize("keep_time", [True, False])
@pytest.mark.parametrize(("folder", "stage"), [("e", "editor"), ("j", "judge")])
def test_one_changed_byte_is_another_model_and_nothing_is_silently_reused(tmp_path, folder, stage, keep_time):
    first = Ran(weighty(tmp_path))
    replace_in_place(tmp_path / folder / WEIGHTS, keep_time=keep_time)
    again = Ran(weighty(tmp_path))
    assert again.worked
    assert f"changed since this run began: {stage}.model.files: " in said(again)
    old, new = ({row.verdict_key for row in ran.rows} for ran in (first, again))
    assert not old & new
    edits = {row.edit_key for row in first.rows} & {row.edit_key for row in again.rows}
    assert bool(edits) == (stage == "judge")
    assert not Ran(weighty(tmp_path)).worked


def test_what_only_touches_the_file_is_no_other_model(tmp_path):
    Ran(weighty(tmp_path))
    path = tmp_path / "e" / WEIGHTS
    path.chmod(0o600)  # another ctime
    path.with_name("link").hardlink_to(path)
    os.utime(path)
    assert not Ran(weighty(tmp_path)).worked


@pytest.mark.parametrize("how", ["in place, time kept", "another length", "removed", "another file"])
@pytest.mark.parametrize(("folder", "stage"), [("e", "editor"), ("j", "judge")])
def test_weights_that_change_while_a_host_loads_stop_the_run(tmp_path, folder, stage, how):
    begun, go_on = tmp_path / "begun", tmp_path / "go on"
    tree = weighty(tmp_path, **{f"{stage}__begun": str(begun), f"{stage}__load": f"until:{go_on}"})
    path = tmp_path / folder / WEIGHTS

    def change() -> None:
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if how == "in place, time kept":
            replace_in_place(path, keep_time=True)
        elif how == "another length":
            path.write_bytes(b"012345678")
        elif how == "another file":
            path.with_name("new").write_bytes(b"9876543210")
            path.with_name("new").replace(path)
        go_on.touch()
        if how == "removed":  # after it was loaded, or before: nobody can tell
            path.unlink()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        with pytest.raises(Exception, match="weights") as caught:
            Ran(tree)
    finally:
        changing.join()
    if how != "removed":
        assert isinstance(caught.value, RunError)
        assert f"{stage}: {path} changed while the run went on" in str(caught.value)
        whole = Ran(tree)
        assert all(row.verdict.overall is not None for row in whole.rows)
        assert whole.canonical() == Ran({**tree, "output": str(tmp_path / "other")}).canonical()


def test_what_only_touches_the_file_while_a_host_loads_does_not(tmp_path):
    begun, go_on = tmp_path / "begun", tmp_path / "go on"
    tree = weighty(tmp_path, editor__begun=str(begun), editor__load=f"until:{go_on}")

    def touch() -> None:
        while not begun.exists():
            time.sleep(0.01)
        (tmp_path / "e" / WEIGHTS).chmod(0o600)
        os.utime(tmp_path / "e" / WEIGHTS)
        go_on.touch()

    touching = threading.Thread(target=touch)
    touching.start()
    ran = Ran(tree)
    touching.join()
    assert all(row.verdict.overall is not None for row in ran.rows)


def test_a_file_is_looked_at_again_by_what_it_was_when_it_was_hashed(tmp_path):
    folder = model(tmp_path / "m")
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        found = resolve_model("editor.model", str(folder), MODEL_FILE, hashes)
    assert found.changed_file() is None
    os.utime(folder / WEIGHTS)
    assert found.changed_file() is None
    replace_in_place(folder / WEIGHTS, keep_time=True)
    assert found.changed_file() == str(folder / WEIGHTS)
    replace_in_place(folder / WEIGHTS, keep_time=True)  # as it was
    assert found.changed_file() is None
    (folder / MODEL_FILE).unlink()
    assert found.changed_file() == str(folder / MODEL_FILE)
