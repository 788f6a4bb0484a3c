"""What the system refuses: a disk that is full, a folder that may be read but not written, one that may not be read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from harness import PYTHONPATH, cli
from small_disk import Disks, fill

CONFIG = {
    "benchmark": {"type": "scenes", "params": {"n": 2, "size": 48}},
    "editor": {"type": "scripted", "devices": ["cpu:0"]},
    "judge": {"type": "reference", "devices": ["cpu:0"]},
    "output": "run",
}
LOOKING = (
    ("report", "run"),
    ("report", "run", "--format", "json"),
    ("export", "run", "--canonical"),
    ("ls", "runs", "--runs", "."),
)
STARTING = (
    ("run", "c.yaml"),
    ("edit", "c.yaml"),
    ("score", "c.yaml"),
    ("run", "run"),
    ("run", "c.yaml", "--dry-run"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    assert cli("run", "c.yaml", cwd=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with a config and a run of which one sample of two is done."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    assert cli("run", "c.yaml", "--set", "limit=1", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def here(whole, tmp_path):
    yield from copy_of(whole, tmp_path)


@pytest.fixture
def half_done(begun, tmp_path):
    yield from copy_of(begun, tmp_path)


def copy_of(folder, tmp_path):
    """Yield a copy of a folder that can be removed afterwards."""
    folder = shutil.copytree(folder, tmp_path / "here", symlinks=True)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o700)


def obeying(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Give a command as somebody whom permissions bind: anybody but root, or root without its capabilities."""
    bound = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if bound and shutil.which("setpriv") is None:
        pytest.skip("permissions do not bind root, and there is no setpriv here")
    return subprocess.run(
        [*bound, sys.executable, "-m", "edit_eval", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(cwd / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess[str], *says: str) -> None:
    [line] = done.stderr.splitlines()
    assert line.startswith("edit-eval: ")
    assert all(text in line for text in says), line


def close(folder: Path, mode: int) -> None:
    """Take rights from a folder and everything in it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & mode)
    folder.chmod(folder.stat().st_mode & mode)


def test_a_run_that_may_be_read_but_not_written(here):
    before = [cli(*command, cwd=here).stdout for command in LOOKING]
    close(here / "run", 0o555)
    for command, expected in zip(LOOKING, before, strict=True):
        done = obeying(*command, cwd=here)
        assert done.returncode == 0, done.stderr
        if command == ("report", "run"):  # the numbers are there; the page, in one line, is not
            assert done.stdout == expected.rpartition("Report: ")[0]
            one_line(
                done, "cannot write the report run/report/index.html: Permission denied; make it writable"
            )
        else:
            assert (done.stdout, done.stderr) == (expected, "")
    done = obeying("report", "run", "--format", "html", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    one_line(done, "cannot write the report")
    for command in STARTING:
        done = obeying(*command, cwd=here)
        assert (done.returncode, done.stdout) == (2, "")
        one_line(done, "cannot write the run directory", "set another output")
    done = obeying("doctor", "c.yaml", cwd=here)
    assert done.returncode == 2
    assert "is not writable" in done.stdout


@pytest.mark.parametrize("name", ["", "run.json", "edits.jsonl", "verdicts.jsonl", "samples.jsonl"])
def test_what_may_not_be_read_is_named(here, name):
    (here / "run" / name).chmod(0)
    for command in (*LOOKING[:3], ("score", "c.yaml", "--dry-run")):
        done = obeying(*command, cwd=here)
        assert done.returncode == 2
        one_line(done, f"run/{name}" if name else "run", "Permission denied; ")
    assert obeying(*LOOKING[3], cwd=here).returncode == 0
    done = obeying("doctor", "c.yaml", cwd=here)
    assert done.returncode == (0 if name in ("samples.jsonl", "verdicts.jsonl") else 2)
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["images", "thumbs", "logs", "report", "by-id", "telemetry.jsonl"])
def test_a_part_that_may_not_be_written_costs_only_what_needs_it(half_done, name):
    here = half_done
    close(here / "run" / name, 0o555)
    done = obeying("run", "c.yaml", cwd=here)
    if name == "images":
        assert done.returncode == 2
        one_line(
            done, "cannot write", "images", "Permission denied; make it writable", "what was finished is kept"
        )
    elif name == "report":
        assert done.returncode == 2
        one_line(done, "cannot write the report")
        assert "Score:" in done.stdout
    else:
        assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    for path in [here / "run" / name, *(here / "run" / name).rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755)
    again = cli("run", "c.yaml", cwd=here)
    assert again.returncode == 0, again.stderr
    assert (
        len(list((here / "run").glob("thumbs/*/*"))) == len(list((here / "run").glob("by-id/*/*"))) * 2 == 4
    )


# Nowhere to print to


@pytest.mark.parametrize("command", [*LOOKING, ("ls",), ("doctor", "c.yaml"), ("run", "c.yaml", "--dry-run")])
def test_an_output_that_is_full_is_one_line(here, command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edit_eval", *command],
            cwd=here,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(here / "cache")},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    one_line(done, "what is printed here: No space left on device; make room there")


@pytest.mark.parametrize("display", ["plain", "json", "none"])
def test_a_run_goes_on_when_nothing_more_can_be_printed(here, display):
    shutil.rmtree(here / "run")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edit_eval", "run", "c.yaml", "--display", display],
            cwd=here,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(here / "cache")},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert cli("report", "run", cwd=here).returncode == 0


# Other places that are written


@pytest.mark.parametrize("place", ["full", "read-only", "garbage", "a folder"])
def test_a_memory_of_hashes_that_cannot_be_used_costs_nothing(here, place):
    shutil.rmtree(here / "run")
    shutil.rmtree(here / "cache", ignore_errors=True)
    folder = here / "cache"
    folder.mkdir()
    with Disks() as disks:
        if place in ("full", "read-only"):
            folder = disks.small(folder, 64)
        memory = folder / "edit-eval" / "file-hashes.tsv"
        memory.parent.mkdir()
        if place == "full":
            fill(folder)
        elif place == "read-only":
            disks.remount(here / "cache", "ro")
        elif place == "garbage":
            memory.write_bytes(bytes(range(256)) * 1000)
        else:
            memory.mkdir()
        for says in ("Score:", "Nothing to do"):
            done = cli("run", "c.yaml", cwd=here, env={"XDG_CACHE_HOME": str(folder)})
            assert (done.returncode, done.stderr) == (0, "")
            assert says in done.stdout
