"""Runs on machines that others use too: umask and group, no home, no name, a source that is read-only, NFS."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from harness import PLUGINS, make_benchmark

import edit_eval

SOURCE = Path(edit_eval.__file__).resolve().parent.parent
CONFIG = """benchmark: {{type: folder, path: {benchmark}}}
editor: {{type: '{editor}', devices: [cpu:0, cpu:1]}}
judge: {{type: 'faulty:FaultyJudge', devices: [cpu:0]}}
output: run
"""
A_GROUP = 23456


def as_user(uid: int, *command: str) -> list[str]:
    """Return a command that becomes another user of the group first, and holds no capability of root."""
    user = ["setpriv", f"--reuid={uid}", f"--regid={A_GROUP}", "--clear-groups"]
    return [*user, "sh", "-c", 'exec "$@"', "-", *command]  # the shell, for setpriv itself may run anything


@functools.cache
def python_for_all() -> str | None:
    """Return an interpreter with our libraries that every user may run; None: there is none (ours may lie in a home)."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for base in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = as_user(12345, base, "-c", "import ctypes, ssl")
        if Path(base).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            break
    else:
        return None
    folder = Path(tempfile.mkdtemp(prefix="python-for-all-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / "bin" / "python")


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="becomes other users: needs root and setpriv"
)


def config(
    folder: Path, instructions: Sequence[str] = ("ok",) * 3, editor: str = "faulty:FaultyEditor"
) -> None:
    benchmark = make_benchmark(folder / "data", instructions)
    (folder / "c.yaml").write_text(CONFIG.format(benchmark=benchmark, editor=editor))


def edit_eval_as(
    *arguments: str,
    cwd: Path,
    umask: int = 0o022,
    uid: int | None = None,
    env: Mapping[str, str] | None = None,
    source: Path = SOURCE,
) -> subprocess.CompletedProcess[str]:
    """Run `edit-eval` with a umask, as another user of the shared group."""
    paths = [str(source), str(PLUGINS), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "edit_eval", *arguments]
    if uid is not None:
        if (python := python_for_all()) is None:
            pytest.skip("no interpreter here that every user may run")
        command = as_user(uid, python, *command[1:])
    return subprocess.run(
        command,
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(paths),
            "HOME": str(cwd),
            **(env or {}),
        },
        umask=umask,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def everything(run: Path) -> list[Path]:
    return [run, *(path for path in run.rglob("*") if not path.is_symlink())]


@pytest.fixture
def commons():
    """Return a folder that every user may write; pytest's own are ours alone."""
    folder = Path(tempfile.mkdtemp(prefix="commons-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shared(commons):
    """Return a folder of the group, in which what is made belongs to the group."""
    folder = commons / "shared"
    folder.mkdir()
    os.chown(folder, -1, A_GROUP)
    folder.chmod(0o2775)
    return folder


# umask


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_every_file_of_a_run_has_the_mode_that_the_umask_says(tmp_path, umask):
    config(tmp_path)
    done = edit_eval_as("run", "c.yaml", cwd=tmp_path, umask=umask)
    assert done.returncode == 0, done.stderr
    assert edit_eval_as("report", "run", cwd=tmp_path, umask=umask).returncode == 0
    found = everything(tmp_path / "run")
    names = {path.name for path in found}
    assert {"run.json", "samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl"} < names
    assert {"lock", "index.html", "keepers.log", "edit-cpu-0.log", "judge-cpu-0.log"} < names
    assert sum(path.suffix == ".png" for path in found) == 3
    assert sum(path.suffix == ".webp" for path in found) >= 3
    for path in found:
        whole = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == whole & ~umask, path


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_images_that_a_benchmark_makes_too(tmp_path, umask):
    (tmp_path / "c.yaml").write_text(
        "benchmark: {type: scenes, params: {n: 1, size: 128}}\n"
        "editor: {type: scripted, devices: [cpu:0]}\noutput: run\n"
    )
    done = edit_eval_as("run", "c.yaml", cwd=tmp_path, umask=umask)
    assert done.returncode == 0, done.stderr
    inputs = everything(tmp_path / "run" / "inputs")
    assert len(inputs) == 4
    for path in inputs:
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path


@needs_root
def test_what_is_made_in_a_folder_of_a_group_belongs_to_the_group(shared):
    config(shared)
    done = edit_eval_as("run", "c.yaml", cwd=shared, umask=0o002)
    assert done.returncode == 0, done.stderr
    for path in everything(shared / "run"):
        assert path.stat().st_gid == A_GROUP, path
        if path.is_dir():
            assert path.stat().st_mode & stat.S_ISGID, path


@needs_root
def test_a_second_person_of_the_group_goes_on_with_a_run(shared):
    config(shared)
    first = edit_eval_as("edit", "c.yaml", "--set", "limit=1", cwd=shared, umask=0o002, uid=12345)
    assert first.returncode == 0, first.stderr
    second = edit_eval_as("run", "c.yaml", cwd=shared, umask=0o002, uid=12346)
    assert second.returncode == 0, second.stderr
    third = edit_eval_as("run", "c.yaml", cwd=shared, umask=0o002, uid=12345)
    assert "Nothing to do" in third.stdout, third.stderr
    ledger = [json.loads(line) for line in (shared / "run" / "edits.jsonl").read_text().splitlines()]
    assert [one["status"] for one in ledger] == ["edited"] * 3


@needs_root
def test_a_second_person_may_read_and_is_told_what_cannot_be_written(shared):
    config(shared)
    assert edit_eval_as("run", "c.yaml", cwd=shared, umask=0o022, uid=12345).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in everything(shared / "run")}
    report = edit_eval_as("report", "run", cwd=shared, uid=12346)
    assert report.returncode == 0, report.stderr
    assert "Score:" in report.stdout
    [line] = report.stderr.splitlines()
    assert "cannot write the report run/report/index.html" in line
    for command in (
        ("export", "run", "--canonical"),
        ("ls", "runs", "--runs", "."),
        ("report", "run", "--format=json"),
    ):
        done = edit_eval_as(*command, cwd=shared, uid=12346)
        assert (done.returncode, done.stderr) == (0, "")
    for command in (("report", "run", "--format=html"), ("run", "c.yaml")):
        done = edit_eval_as(*command, cwd=shared, uid=12346)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "cannot write" in line or "Permission denied" in line
    assert before == {path: path.stat().st_mtime_ns for path in everything(shared / "run")}


# Nobody's home


@pytest.mark.parametrize("home", ["/proc/no-home", ""])
@pytest.mark.parametrize("uid", [pytest.param(12345, marks=needs_root), None])
def test_a_run_without_a_home(commons, home, uid):
    """As in a container: a number of a user that no list has, and no home."""
    temporary = commons / "temporary"
    temporary.mkdir()
    temporary.chmod(0o1777)
    said = commons / "user.json"
    config(commons, [f"user:{said}"], "surveyor:Surveyor")
    env = {"TMPDIR": str(temporary), "HOME": home}
    done = edit_eval_as("run", "c.yaml", cwd=commons, uid=uid, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    name, host_home = json.loads(said.read_text())
    assert name == ("uid12345" if uid else name)
    if home or uid:
        assert Path(host_home).is_dir()
    doctor = edit_eval_as("doctor", "c.yaml", cwd=commons, uid=uid, env=env)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "Traceback" not in doctor.stderr


@needs_root
def test_a_home_that_is_read_only(commons):
    home = commons / "home"
    home.mkdir()
    home.chmod(0o555)
    found = commons / "env.json"
    config(commons, [f"env:{found}"], "surveyor:Surveyor")
    done = edit_eval_as(
        "run", "c.yaml", cwd=commons, uid=12345, env={"HOME": str(home), "TMPDIR": str(commons)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    env = json.loads(found.read_text())
    assert env["HOME"] == str(home)
    assert env["HF_HOME"] == str(home / ".cache/huggingface")
    assert env["TRITON_CACHE_DIR"] == str(commons / "edit-eval-12345/cache/triton")


@needs_root
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "theirs/c.yaml"],
        ["report", "theirs/run"],
        ["export", "theirs/run", "--canonical"],
        ["ls", "runs", "--runs", "theirs/runs"],
        ["score", "c.yaml", "--edits", "theirs/edits"],
        *(
            [command, "c.yaml", "--set", f"{key}=theirs/x"]
            for command in ("run", "doctor")
            for key in (
                "output",
                "scratch",
                "benchmark.path",
                "benchmark.params.images",
                "editor.python",
                "judge.python",
                "judge.rubric",
            )
        ),
        ["run", "m.yaml", "--set", "editor.model=./theirs/x"],
        ["run", "m.yaml", "--set", "editor.model=theirs/x"],
        ["doctor", "m.yaml", "--set", "editor.components.vae=./theirs/x"],
    ],
    ids=" ".join,
)
def test_a_folder_of_somebody_else_is_one_line(commons, arguments):
    config(commons)
    whole = (commons / "c.yaml").read_text()
    (commons / "m.yaml").write_text(whole.replace("'faulty:FaultyEditor'", "qwen_image_edit, model: x/y"))
    (commons / "theirs").mkdir(mode=0o700)
    done = edit_eval_as(*arguments, cwd=commons, uid=12345)
    assert done.returncode == 2, done.stdout + done.stderr
    if arguments[0] != "doctor":
        [line] = done.stderr.splitlines()
        assert "theirs" in line
    assert "Traceback" not in done.stderr
    assert not (commons / "run").exists()


@needs_root
def test_the_source_may_be_read_only(commons):
    source = commons / "source"
    shutil.copytree(SOURCE / "edit_eval", source / "edit_eval", ignore=shutil.ignore_patterns("__pycache__"))
    source.chmod(0o555)
    config(commons)
    done = edit_eval_as("run", "c.yaml", cwd=commons, uid=12345, source=source)
    assert done.returncode == 0, done.stderr
    assert list(source.rglob("__pycache__")) == []
    assert str(source) in done.stdout or done.stdout


@pytest.mark.parametrize(
    "change",
    [
        "output=~nobody-of-that-name/run",
        "benchmark.path=~nobody-of-that-name/x",
        "scratch=~nobody-of-that-name",
    ],
)
def test_a_home_of_nobody_is_one_line(tmp_path, change):
    config(tmp_path)
    done = edit_eval_as("run", "c.yaml", "--set", change, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "~nobody-of-that-name" in line
    assert change.partition("=")[0] in line


# NFS


def test_files_that_nfs_keeps_of_open_ones_harm_nothing(tmp_path):
    """A file that is removed while somebody has it open stays as `.nfs` and 24 digits until it is closed."""
    config(tmp_path)
    assert edit_eval_as("edit", "c.yaml", "--set", "limit=1", cwd=tmp_path).returncode == 0
    run = tmp_path / "run"
    for folder in [*(path for path in run.rglob("*") if path.is_dir()), run, tmp_path / "data"]:
        (folder / ".nfs000000000131004c00000001").write_bytes(b"\x89PNG of old")
    done = edit_eval_as("run", "c.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert edit_eval_as("report", "run", cwd=tmp_path).returncode == 0
    assert "Nothing to do" in edit_eval_as("run", "c.yaml", cwd=tmp_path).stdout


WITHOUT_FLOCK = """
import errno, fcntl, sys

def flock(_file, _how):
    raise OSError(errno.ENOSYS, "Function not implemented")

fcntl.flock = flock
from edit_eval.cli import main

sys.exit(main(sys.argv[1:]))
"""


def test_a_file_system_without_flock(tmp_path):
    """As Lustre without the mount option: refused in one line, gone on with when told so, and said."""
    config(tmp_path)
    command = [sys.executable, "-c", WITHOUT_FLOCK, "run", "c.yaml"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(PLUGINS)])}
    refused = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    [line] = refused.stderr.splitlines()
    assert "has no flock (Function not implemented)" in line
    assert "lock=false" in line
    goes_on = subprocess.run(
        [*command, "--set", "lock=false"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert goes_on.returncode == 0, goes_on.stderr
    assert "[Warning]" in goes_on.stdout
    assert "see to it that only one start is at work" in goes_on.stdout


@pytest.mark.skipif(shutil.which("unshare") is None or shutil.which("mount") is None, reason="mounts a tmpfs")
@pytest.mark.parametrize(
    ("options", "says"),
    [("size=16m", "16.0 MiB free at"), ("size=2g,noexec", "is mounted noexec"), ("ro", "is not writable")],
)
def test_a_scratch_folder_that_will_not_do(tmp_path, options, says):
    """On real file systems, in a name space of our own: one line, and nothing has begun."""
    config(tmp_path)
    (tmp_path / "fast").mkdir()
    done = subprocess.run(
        [
            *("unshare", "-rm", "sh", "-c"),
            f'mount -t tmpfs -o {options} none fast && exec "$@" --set scratch=fast/x',
            *("-", sys.executable, "-m", "edit_eval", "run", "c.yaml"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(PLUGINS)])},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this machine makes no name spaces")
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("edit-eval: scratch: ")
    assert says in line
    assert line.endswith("set scratch to another folder")
    assert not (tmp_path / "run").exists()
