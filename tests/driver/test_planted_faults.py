"""A table: each fault that a shared machine is known for, planted, found by the doctor, with the mend it names."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import FakeNvml
from harness import config_tree, make_benchmark

from edit_eval.driver import devices, doctor, stagecheck, surroundings
from edit_eval.driver.doctor import examine
from edit_eval.driver.environments import Environment
from edit_eval.driver.machine import Memory
from edit_eval.driver.mounts import Mount
from edit_eval.driver.scratch import find_scratch

GIB = 1 << 30
MIG = "MIG-0eadbeef-0000-1111-2222-333344445555"
PACKAGES = dict.fromkeys(("torch", "torchvision", "diffusers", "transformers", "PIL", "accelerate"), "9.9")


class Place:
    """Where a fault is planted: a good config, a machine with two free GPUs, and pytest's monkeypatch."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = tmp_path, monkeypatch
        self.nvml = FakeNvml(2)
        for gpu in self.nvml.gpus:
            gpu.memory = 300 << 20
        self.tree: dict[str, Any] = config_tree(
            tmp_path,
            make_benchmark(tmp_path / "data", ["ok"] * 2),
            editor__devices=["cuda:0", "cuda:1"],
            judge__devices=["cuda:0"],
        )

    def fail(self, module: object, name: str, error: Exception) -> None:
        def raises(*_given: object, **_more: object) -> None:
            raise error

        self.patch.setattr(module, name, raises)

    def script(self, text: str) -> str:
        path = self.folder / "python"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    def conda(self, script: str) -> str:
        prefix = self.folder / "envs" / "judge"
        for folder in ("conda-meta", "bin", "etc/conda/activate.d"):
            (prefix / folder).mkdir(parents=True)
        (prefix / "bin" / "python").symlink_to(sys.executable)
        (prefix / "etc" / "conda" / "activate.d" / "cuda.sh").write_text(script)
        return str(prefix)

    def judge_needs(self, *needs: str) -> None:
        from faulty import FaultyJudge

        self.patch.setattr(FaultyJudge, "needs", needs)

    def probed(self, **versions: str | None) -> None:
        found = Environment("3.12.3", {**PACKAGES, **versions})
        self.patch.setattr(stagecheck, "probe_environment", lambda *_given, **_more: found)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name in (
            "CUDA_VISIBLE_DEVICES",
            "HF_HUB_OFFLINE",
            "CONDA_PREFIX",
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    found = Place(tmp_path, monkeypatch)
    monkeypatch.setattr(devices, "_nvml", lambda: found.nvml)
    return found


# Environments


def wrong_python(place: Place) -> None:
    place.tree["judge"]["python"] = str(place.folder / "nowhere" / "bin" / "python")


def old_python(place: Place) -> None:
    place.tree["judge"]["python"] = place.script("echo 3 8")


def no_python(place: Place) -> None:
    place.tree["judge"]["python"] = place.script("exit 1")


def missing_library(place: Place) -> None:
    place.judge_needs("PIL", "no_such_library")


def old_library(place: Place) -> None:
    place.judge_needs("PIL>=99.0")


def no_such_conda(place: Place) -> None:
    place.tree["judge"]["conda"] = "no-such-environment"


def broken_activation(place: Place) -> None:
    place.tree["judge"]["conda"] = place.conda("if then")


def ending_activation(place: Place) -> None:
    place.tree["judge"]["conda"] = place.conda("exit 0")


# GPUs


def foreign_memory(place: Place) -> None:
    place.nvml.gpus[1].memory = 41 * GIB
    place.nvml.gpus[1].holders = [(os.getpid(), 41 * GIB)]


def hidden_memory(place: Place) -> None:
    place.nvml.gpus[1].memory = 41 * GIB


def too_few(place: Place) -> None:
    place.tree["editor"]["devices"] = [0, 1, 2]


def mig_without_instances(place: Place) -> None:
    place.nvml.gpus[1].instances = {}


def mig_is_off(place: Place) -> None:
    place.patch.setenv("CUDA_VISIBLE_DEVICES", f"0,1,{MIG}")


def mig_is_on(place: Place) -> None:
    place.nvml.gpus[0].instances = {0: MIG}
    place.tree["editor"]["devices"] = [["cuda:0", "cuda:1"]]


def stale_mask(place: Place) -> None:
    place.patch.setenv("CUDA_VISIBLE_DEVICES", "0,1,7")


def doubled_mask(place: Place) -> None:
    place.patch.setenv("CUDA_VISIBLE_DEVICES", f"0,{FakeNvml.uuid(0)}")


def gone(place: Place) -> None:
    place.nvml.gpus[1].gone = True


def another_jobs(place: Place) -> None:
    place.nvml.gpus[1].refused = True
    place.tree["editor"]["devices"] = ["cuda:0"]


def mismatch(place: Place) -> None:
    import pynvml

    place.fail(pynvml, "nvmlInit", pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH))
    place.patch.setattr(devices, "_nvml", lambda: None)


def hidden_by_the_mask(place: Place) -> None:
    place.patch.setenv("CUDA_VISIBLE_DEVICES", "")


# Disks and folders


def scratch_full(place: Place) -> None:
    place.tree["scratch"] = str(place.folder / "scratch")
    place.patch.setattr(surroundings.shutil, "disk_usage", usage(1 << 29))
    place.patch.setattr(doctor, "find_scratch", lambda given, _usage: find_scratch(given, usage(1 << 29)))


def scratch_not_set(place: Place) -> None:
    place.tree["scratch"] = "$NO_SUCH_VARIABLE/x"


def no_flock(place: Place) -> None:
    place.fail(fcntl, "flock", OSError(errno.ENOLCK, "No locks available"))


def home_not_writable(place: Place) -> None:
    place.patch.delenv("XDG_CACHE_HOME")
    place.patch.setenv("HOME", "/proc")
    access = os.access
    place.patch.setattr(
        os, "access", lambda path, mode: not str(path).startswith("/proc") and access(path, mode)
    )


def no_home(place: Place) -> None:
    place.patch.delenv("XDG_CACHE_HOME")
    real = Path.expanduser

    def expanduser(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return real(path)

    place.patch.setattr(Path, "expanduser", expanduser)


def output_not_writable(place: Place) -> None:
    access = os.access
    here = str(place.folder)
    place.patch.setattr(os, "access", lambda path, mode: str(path) != here and access(path, mode))


def disk_full(place: Place) -> None:
    place.patch.setattr(doctor, "edit_bytes", lambda *_given, **_more: (1 << 50, "as a test"))


def usage(free: int, total: int = 1 << 40) -> Callable[[object], types.SimpleNamespace]:
    return lambda _path: types.SimpleNamespace(free=free, total=total, used=0)


def temporary_full(place: Place) -> None:
    place.patch.setattr(surroundings.shutil, "disk_usage", usage(100))


def temporary_nearly_full(place: Place) -> None:
    place.patch.setattr(surroundings.shutil, "disk_usage", usage(50 << 20))


def temporary_not_writable(place: Place) -> None:
    place.patch.setattr(tempfile, "tempdir", str(place.folder / "gone"))


def small_shared_memory(place: Place) -> None:
    real = shutil.disk_usage
    small = usage(64 << 20, 64 << 20)
    place.patch.setattr(
        surroundings.shutil, "disk_usage", lambda path: (small if str(path) == "/dev/shm" else real)(path)
    )


# Memory


def little_memory(place: Place) -> None:
    place.patch.setattr(doctor, "memory", lambda: Memory(GIB, 2 * GIB, limited=True))


def cgroup_too_small(place: Place) -> None:
    place.patch.setattr(stagecheck, "memory", lambda: Memory(6 * GIB, 6 * GIB, limited=True))
    with_model(place, ["cuda:0", "cuda:1"])


def weights_over_the_cgroup(place: Place) -> None:
    place.patch.setattr(stagecheck, "memory", lambda: Memory(2, 2, limited=True))
    with_model(place, ["cpu:0"])


def with_model(place: Place, wanted: list[str]) -> None:
    part = place.folder / "model" / "transformer"
    part.mkdir(parents=True)
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (part / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    (part / "config.json").write_text("{}")
    index = '{"_class_name": "QwenImageEditPlusPipeline", "transformer": ["diffusers", "T"]}'
    (place.folder / "model" / "model_index.json").write_text(index)
    place.tree["editor"] = {
        "type": "qwen_image_edit",
        "model": str(place.folder / "model"),
        "devices": wanted,
    }
    place.probed()


# Networks


def proxy(place: Place) -> None:
    place.patch.setenv("http_proxy", "http://user:secret@proxy.example:3128")


def proxy_half_bypassed(place: Place) -> None:
    place.patch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    place.patch.setenv("NO_PROXY", "localhost,.example")


def offline_without_the_model(place: Place) -> None:
    place.patch.setenv("HF_HUB_OFFLINE", "1")
    place.tree["editor"] = {
        "type": "qwen_image_edit",
        "model": "Qwen/Qwen-Image-Edit-2509",
        "devices": ["cpu:0"],
    }
    place.probed()


TABLE = [
    (wrong_python, "bad", "judge.python", "no interpreter at", "./setup_qwen3_vl_env.sh makes one"),
    (old_python, "bad", "judge.python", "is Python 3.8", "3.10 or newer"),
    (no_python, "bad", "judge.python", "does not run as a Python", "3.10 or newer"),
    (missing_library, "bad", "judge.python", "has no no_such_library", "-m pip install -U pillow no_such_library"),
    (old_library, "bad", "judge.python", "(older than 99.0)", "-m pip install -U pillow"),
    (no_such_conda, "bad", "judge.conda", "no conda environment is called", ""),
    (broken_activation, "bad", "judge.conda", "activate.d/cuda.sh failed", "correct that script of judge, or set"),
    (ending_activation, "bad", "judge.conda", "activate.d/cuda.sh ended the shell", "correct that script"),
    (foreign_memory, "bad", "editor.devices", "GPU 1: 41.0 GiB held by", "wait until it is free"),
    (hidden_memory, "bad", "editor.devices", "a process that cannot be seen from here", "busy_gpus=leave_out"),
    (too_few, "bad", "editor.devices", "there are 2 GPUs here", "set editor.devices=[cuda:0, cuda:1]"),
    (mig_without_instances, "warn", "GPUs", "GPU 1 is in MIG mode and has no instance", "nvidia-smi mig -cgi"),
    (mig_is_off, "warn", "GPUs", f"'{MIG}' names no single GPU here", "nvidia-smi -L"),
    (mig_is_on, "bad", "editor.devices", "several MIG instances", "name each by itself"),
    (stale_mask, "warn", "GPUs", "'7' names no single GPU here", "correct the variable, or unset it"),
    (doubled_mask, "bad", "GPUs", "names a GPU twice", "name each once"),
    (gone, "bad", "editor.devices", "GPU 1 is gone (NVML: GPU is lost)", "reset it (nvidia-smi -r) or reboot"),
    (another_jobs, "warn", "GPUs", "GPU 1 is not for this process", "nothing, if it is another job's"),
    (mismatch, "warn", "GPUs", "NVML: driver/library version mismatch", "reboot, or load its kernel modules anew"),
    (hidden_by_the_mask, "bad", "editor.devices", "CUDA_VISIBLE_DEVICES=''", "run it on a machine with GPUs"),
    (no_flock, "bad", "output", "has no flock (No locks available)", "set output to a folder on another disk"),
    (scratch_full, "bad", "scratch", "0.5 GiB free at", "set scratch to another folder"),
    (scratch_not_set, "bad", "scratch", "the variable NO_SUCH_VARIABLE is not set here", "name the folder itself"),
    (home_not_writable, "warn", "cache", "is not writable", "set XDG_CACHE_HOME"),
    (no_home, "warn", "cache", "this user has no home folder", "set XDG_CACHE_HOME"),
    (output_not_writable, "bad", "output", "is not writable", "set another output"),
    (disk_full, "bad", "disk for edits", "2 edits take at most", "make room"),
    (temporary_full, "bad", "temporary", "0.0 MiB free in", "set TMPDIR"),
    (temporary_nearly_full, "warn", "temporary", "50.0 MiB free in", "set TMPDIR"),
    (temporary_not_writable, "bad", "temporary", "no temporary file can be written", "set TMPDIR"),
    (small_shared_memory, "warn", "shared memory", "64.0 MiB at /dev/shm", "docker run --shm-size=8g"),
    (little_memory, "warn", "memory", "1.0 GiB of 2.0 GiB free (cgroup)", "sbatch --mem"),
    (cgroup_too_small, "warn", "editor main memory", "6.0 GiB (cgroup)", "use fewer devices"),
    (weights_over_the_cgroup, "bad", "editor memory", "needs", "a smaller model"),
    (proxy, "warn", "proxy", "http_proxy is proxy.example, also for localhost and 127.0.0.1", "export no_proxy="),
    (proxy_half_bypassed, "warn", "proxy", "also for 127.0.0.1", "export no_proxy=localhost,127.0.0.1,::1"),
    (offline_without_the_model, "bad", "editor.model", "is not on this machine", "HF_HUB_OFFLINE unset"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "level", "what", "says", "mend"), TABLE, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_planted_fault_is_found_with_its_mend(place, plant, level, what, says, mend):
    plant(place)
    found = list(examine(lambda: place.tree))
    fitting = [one for one in found if one.what == what and one.level == level and says in one.detail]
    assert fitting, [
        (one.level, one.what, one.detail) for one in found if one.level != "ok" or one.what == what
    ]
    assert mend in fitting[0].mend
    assert fitting[0].mend
    assert "secret" not in str(found)
    assert all(one.mend for one in found if one.level == "bad")


def test_without_a_fault_nothing_is_found(place):
    assert [one for one in examine(lambda: place.tree) if one.level != "ok"] == []


def test_a_proxy_that_leaves_this_machine_alone_is_well(place):
    place.patch.setenv("https_proxy", "http://proxy.example:3128")
    place.patch.setenv("no_proxy", "127.0.0.1, localhost")
    assert [one.level for one in examine(lambda: place.tree) if one.what == "proxy"] == ["ok"]


def test_without_flock_and_told_to_go_on(place):
    no_flock(place)
    place.tree["lock"] = False
    found = [one for one in examine(lambda: place.tree) if one.what == "output"]
    assert [one.level for one in found] == ["warn", "ok"]
    assert "only one start is at work" in found[0].mend


def test_locks_of_one_machine(place):
    mount = Mount(place.folder, "lustre", frozenset({"localflock"}))
    place.patch.setattr(doctor, "mount_of", lambda _path: mount)
    found = [one for one in examine(lambda: place.tree) if one.what == "output"]
    assert [one.level for one in found] == ["warn", "ok"]
    assert "locks are not seen by other machines (mounted localflock)" in found[0].detail


def test_looking_leaves_nothing_behind(place):
    before = sorted(place.folder.rglob("*"))
    list(examine(lambda: place.tree))
    assert sorted(place.folder.rglob("*")) == before


def test_what_the_doctor_calls_bad_a_run_refuses(place, tmp_path):
    """No lock, no run: the doctor and the run agree."""
    from edit_eval.core.errors import RunError
    from edit_eval.driver.store import RunStore

    no_flock(place)
    with pytest.raises(RunError, match="this file system has no flock"), RunStore(tmp_path / "run"):
        pass


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount here")
def test_a_real_tmpfs_that_is_full(tmp_path):
    """With a real, full file system for temporary files: `edit-eval doctor` says so and leaves no traceback."""
    program = (
        f"mount -t tmpfs -o size=64k none {tmp_path} && dd if=/dev/zero of={tmp_path}/all bs=1k 2>/dev/null; "
        f"TMPDIR={tmp_path} {sys.executable} -m edit_eval doctor"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(doctor.__file__).parents[2])},
        cwd=tmp_path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert "Traceback" not in done.stderr
    # The next folder that Python tries is as good, unless it is full too.
    assert "temporary" in done.stdout
