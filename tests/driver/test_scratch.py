"""Caches and temporary files: where they go, that nobody else may write there, and what is refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import Ran, config_tree, make_benchmark

from edit_eval.core.errors import ConfigError
from edit_eval.driver import scratch as module
from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.scratch import Scratch, find_scratch, home_folder, keeper_prefix

MINE = f"edit-eval-{os.getuid()}"


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a home that can be written; no cache variable is set."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (*module._CACHES, *module._DOWNLOADS):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def no_home(home, monkeypatch):
    """Let the home be one that is not there."""
    monkeypatch.setenv("HOME", str(home / "not" / "there"))
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    return home


def test_by_default_nothing_is_said(home):
    found = find_scratch(None)
    assert found == Scratch(None, asked=False)
    assert found.environment({"USER": "me"}) == {}
    assert (found.temporary, found.hashes) == (None, None)
    found.make()
    assert list(home.iterdir()) == []


def test_every_cache_goes_there_and_downloads_stay(home, tmp_path):
    found = find_scratch(str(tmp_path / "scratch"))
    assert not (tmp_path / "scratch").exists(), "looking writes nothing"
    said = found.environment({"USER": "me", "TRITON_CACHE_DIR": "/elsewhere"})
    mine = tmp_path / "scratch" / MINE
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "VLLM_CACHE_ROOT"):
        assert Path(said[name]).parent == mine / "cache"
    assert said["XDG_CACHE_HOME"] == str(mine / "cache")
    assert said["HF_HOME"] == str(home / ".cache/huggingface")
    assert said["TORCH_HOME"] == str(home / ".cache/torch")
    assert "HOME" not in said
    assert found.hashes is None, "what is remembered of weights outlives the scratch folder"
    found.make()
    for name in {*module._CACHES} - {"FLASHINFER_WORKSPACE_BASE"}:
        assert Path(said[name]).is_dir()
    for path in mine.rglob("*"):
        assert mode(path) & 0o077 == 0
    assert mode(mine) == 0o700


def test_downloads_stay_where_variables_say(home, tmp_path):
    found = find_scratch(str(tmp_path))
    said = found.environment({"USER": "me", "XDG_CACHE_HOME": "/big/cache", "TORCH_HOME": "/big/torch"})
    assert said["HF_HOME"] == "/big/cache/huggingface"
    assert "TORCH_HOME" not in said


@pytest.mark.parametrize("text", ["$JOB_DIR/x", "${JOB_DIR}/x"])
def test_variables_are_expanded(home, tmp_path, monkeypatch, text):
    monkeypatch.setenv("JOB_DIR", str(tmp_path / "job"))
    assert find_scratch(text).folder == tmp_path / "job" / "x" / MINE


def test_home_is_expanded(home):
    assert find_scratch("~/fast").folder == home / "fast" / MINE


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(monkeypatch, value):
    monkeypatch.delenv("JOB_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("JOB_DIR", value)
    with pytest.raises(ConfigError, match="scratch: the variable JOB_DIR is not set here"):
        find_scratch("/data/${JOB_DIR}")


@pytest.mark.parametrize("text", ["", " ", "~nobody-of-that-name/x", "a\0b"])
def test_what_names_no_folder(text):
    with pytest.raises(ConfigError, match="names no folder"):
        find_scratch(text)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not a folder; set scratch to another folder"):
        find_scratch(str(tmp_path / "file" / "x"))


def test_too_little_room(tmp_path):
    with pytest.raises(ConfigError, match=r"scratch: 0\.5 GiB free at .*, and 1 GiB is needed; set scratch"):
        find_scratch(str(tmp_path), lambda _path: Usage(1 << 40, 0, 1 << 29))


def test_not_writable(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _how: False)
    with pytest.raises(ConfigError, match="is not writable; set scratch"):
        find_scratch(str(tmp_path))


def test_mounted_noexec(tmp_path, monkeypatch):
    class Found:
        f_flag = os.ST_NOEXEC

    monkeypatch.setattr(os, "statvfs", lambda _path: Found)
    with pytest.raises(ConfigError, match="mounted noexec, so compiled code cannot be loaded"):
        find_scratch(str(tmp_path))


def test_a_disk_that_fills_between_looking_and_making(tmp_path, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    found = find_scratch(str(tmp_path))
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(ConfigError, match=r"scratch: cannot write .*: No space left on device; set scratch"):
        found.make()


# Nobody else may put code there


def test_a_folder_that_is_open_to_others_is_refused(tmp_path):
    (tmp_path / MINE).mkdir()
    (tmp_path / MINE).chmod(0o775)
    with pytest.raises(ConfigError, match="is open to others; chmod 700 it"):
        find_scratch(str(tmp_path)).make()


def test_a_link_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / MINE).symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="is a link or somebody else's"):
        find_scratch(str(tmp_path)).make()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_somebody_elses_folder_is_refused(tmp_path):
    (tmp_path / MINE).mkdir(mode=0o700)
    os.chown(tmp_path / MINE, 12345, 12345)
    with pytest.raises(ConfigError, match="somebody else's"):
        find_scratch(str(tmp_path)).make()


def test_a_shared_folder_has_one_inside_for_each_user(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o3777)
    find_scratch(str(shared)).make()
    find_scratch(str(shared)).make()
    assert stat.S_IMODE((shared / MINE).stat().st_mode) & 0o777 == 0o700


# No home


def test_without_a_home_the_folder_for_temporary_files_stands_in(no_home):
    found = find_scratch(None)
    assert found == Scratch(no_home / MINE, asked=False)
    said = found.environment({"USER": "me", "TRITON_CACHE_DIR": str(no_home)})
    assert "TRITON_CACHE_DIR" not in said, "what was chosen stays chosen"
    assert said["XDG_CACHE_HOME"] == str(no_home / MINE / "cache")
    assert said["HOME"] == str(no_home / MINE / "home")
    assert found.temporary is None
    assert found.hashes == no_home / MINE / "file-hashes.tsv"
    found.make()
    assert Path(said["HOME"]).is_dir()


def test_a_cache_that_the_user_chose_is_used(no_home, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "chosen"))
    assert "XDG_CACHE_HOME" not in find_scratch(None).environment({**os.environ, "USER": "me"})


def test_a_cache_that_cannot_be_written_is_not(home, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/caches")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, how: str(path) != "/proc" and real(path, how))
    found = find_scratch(None)
    assert found.hashes == tmp_path / MINE / "file-hashes.tsv"
    said = found.environment({**os.environ, "USER": "me"})
    assert said["XDG_CACHE_HOME"] == str(tmp_path / MINE / "cache")
    assert said["HF_HOME"] == "/proc/caches/huggingface", "what lies there can still be read"


def test_a_user_without_a_name_gets_one(home, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    for name in module._NAMES_OF_A_USER:
        monkeypatch.delenv(name, raising=False)
    assert find_scratch(None).environment({}) == {"LOGNAME": "uid54321", "USER": "uid54321"}
    assert find_scratch(None).environment({"LNAME": "me"}) == {}


def test_a_user_without_a_home_at_all(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert home_folder() is None


def test_neither_home_nor_temporary_files(no_home, monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ConfigError, match="set scratch or TMPDIR"):
        find_scratch(None)


# What killed runs leave


def test_folders_of_drivers_that_ended_are_removed(tmp_path, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    found = find_scratch(str(tmp_path))
    found.make()
    mine = tmp_path / MINE
    here = keeper_prefix().split("-")[0]
    kept = [f"{keeper_prefix()}aaaa", "0000-1-elsewhere", "other", f"{here}-1-abcd"]
    for name in [*kept, f"{here}-{gone.pid}-b_c9", "1111-2-abandoned"]:
        (mine / name / "deep").mkdir(parents=True)
    long_ago = time.time() - 40 * 86_400
    os.utime(mine / "1111-2-abandoned", (long_ago, long_ago))
    found.make()
    assert {one.name for one in mine.iterdir()} == {*kept, "cache", "home"}


# In a run


def surveyed(tmp_path: Path, what: str, **changes):
    tree = config_tree(
        tmp_path, make_benchmark(tmp_path / "data", [what]), editor__type="surveyor:Surveyor", **changes
    )
    del tree["judge"]
    tree["editor"]["devices"] = ["cpu:0"]
    return tree


def test_hosts_find_their_places_and_leave_no_temporary_file(tmp_path, home):
    scratch = tmp_path / "scratch"
    tree = surveyed(
        tmp_path,
        f"env:{tmp_path}/env.json + temp:{tmp_path}/temp.txt",
        scratch=str(scratch),
        editor__env={"NUMBA_CACHE_DIR": "/my/own"},
    )
    [row] = Ran(tree).rows
    assert row.image
    env = json.loads((tmp_path / "env.json").read_text())
    mine = scratch / MINE
    assert Path(env["TMPDIR"]).parent == mine
    assert Path(env["TORCHINDUCTOR_CACHE_DIR"]) == mine / "cache" / "inductor"
    assert env["NUMBA_CACHE_DIR"] == "/my/own", "what a stage's env says is above all"
    left = Path((tmp_path / "temp.txt").read_text())
    assert left.is_relative_to(env["TMPDIR"])
    assert not left.exists()
    assert {one.name for one in mine.iterdir()} == {"cache", "home"}


def test_scratch_is_not_part_of_the_identity(tmp_path, home):
    tree = surveyed(tmp_path, "ok", scratch=str(tmp_path / "a"))
    Ran(tree)
    again = Ran(tree | {"scratch": str(tmp_path / "b"), "lock": False, "links": False, "proxy": "none"})
    assert not again.worked
    assert again.events == []
    assert again.run.info["config"]["scratch"] == str(tmp_path / "b")


def test_a_run_keeps_the_variables_as_they_were_written(tmp_path, home, monkeypatch):
    monkeypatch.setenv("JOB_DIR", str(tmp_path / "job"))
    ran = Ran(surveyed(tmp_path, "ok", scratch="$JOB_DIR"))
    assert ran.run.info["config"]["scratch"] == "$JOB_DIR"


def test_a_fault_is_found_before_anything_is_written(tmp_path, home):
    tree = surveyed(tmp_path, "ok", scratch="/proc/nowhere")
    with pytest.raises(ConfigError, match="scratch: "):
        prepare(check_config(tree))
    assert not (tmp_path / "run").exists()


def test_links_can_be_left_out(tmp_path, home):
    Ran(surveyed(tmp_path, "ok", links=False))
    assert not (tmp_path / "run" / "by-id").exists()
    shutil.rmtree(tmp_path / "run")
    Ran(surveyed(tmp_path, "ok"))
    assert (tmp_path / "run" / "by-id" / "all" / "s0000.png").is_file()
