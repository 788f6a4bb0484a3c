"""A conda environment's variables without conda, and what of the driver's own environment a stage does not see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import PIL
import pytest
from harness import Ran, config_tree, make_benchmark, ours

from edit_eval.core.errors import ConfigError
from edit_eval.driver import activation
from edit_eval.driver.devices import Device
from edit_eval.driver.events import EditFailed, EditFinished
from edit_eval.driver.interpreters import resolve_interpreter
from edit_eval.driver.stage import StageSpec


@pytest.fixture(autouse=True)
def _plain(monkeypatch, tmp_path):
    """No environment is active, and no conda outside `tmp_path` is found."""
    for name in [*os.environ]:
        if name.startswith(("CONDA_", "MAMBA_")) or name in ("VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def environment(prefix: Path, **scripts: str) -> Path:
    """Make what conda would: a prefix with conda-meta, a Python, and activate.d scripts, named by keyword."""
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").symlink_to(sys.executable)
    for name, text in scripts.items():
        write(prefix / "etc" / "conda" / "activate.d" / f"{name}.sh", text)
    return prefix


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def captured(prefix: Path) -> dict[str, str | None]:
    return resolve_interpreter("judge", None, str(prefix)).env


def seen(env: dict[str, str | None]) -> dict[str, str]:
    """Return what a host would have."""
    return {name: value for name, value in {**os.environ, **env}.items() if value is not None}


def refused(prefix: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        captured(prefix)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Activation


def test_scripts_run_in_order_and_what_they_export_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/system/lib")
    monkeypatch.setenv("TO_REMOVE", "1")
    prefix = environment(
        tmp_path / "conda" / "envs" / "judge",
        b_second='export ORDER="$CUDA_HOME, then"; not_exported=1',
        a_first="""
            export LD_LIBRARY_PATH="$CONDA_PREFIX/lib:/opt/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
            export CUDA_HOME=$CONDA_PREFIX PROJ_LIB="$CONDA_PREFIX/share/with space" LINES=$'one\\ntwo'
            unset TO_REMOVE
            echo chatter; echo more chatter >&2
            [ -n "$NO_SUCH_VARIABLE" ] && export NEVER=1
            true
            """,
    )
    write(prefix / "etc" / "conda" / "activate.d" / "c.fish", "set -x FISH 1")
    env = captured(prefix)
    assert env["LD_LIBRARY_PATH"] == f"{prefix}/lib:/opt/cuda/lib64:/system/lib"
    assert env["ORDER"] == f"{prefix}, then"
    assert env["PROJ_LIB"] == f"{prefix}/share/with space"
    assert env["LINES"] == "one\ntwo"
    assert env["TO_REMOVE"] is None
    ours = f"{sys.prefix}/bin"
    rest = [one for one in os.environ["PATH"].split(":") if one != ours]
    assert [one for one in env["PATH"].split(":") if one != ours] == [f"{prefix}/bin", *rest]
    assert (env["CONDA_PREFIX"], env["CONDA_DEFAULT_ENV"]) == (str(prefix), "judge")
    assert not {"NEVER", "FISH", "not_exported", "_", "SHLVL", "PWD"} & {*env}
    assert not [name for name in env if name.startswith("_edit_eval")]


def test_a_condition_that_is_false_at_the_end_is_no_fault(tmp_path):
    prefix = environment(tmp_path / "env", a="export A=1\n[ -n '' ] && export B=1", b="export C=1")
    env = captured(prefix)
    assert (env["A"], env["C"]) == ("1", "1")


def test_settings_of_packages_and_of_the_user(tmp_path, monkeypatch):
    prefix = environment(tmp_path / "env", a='export SEEN="$OF_A_PACKAGE $MINE"')
    write(prefix / "etc" / "conda" / "env_vars.d" / "one.json", '{"of_a_package": "1", "both": "package"}')
    state = {"version": 1, "env_vars": {"MINE": 2, "BOTH": "user", "GONE": "***unset***", "PATH": "/evil"}}
    write(prefix / "conda-meta" / "state", json.dumps(state))
    monkeypatch.setenv("GONE", "still here")
    env = captured(prefix)
    assert (env["SEEN"], env["BOTH"], env["MINE"]) == ("1 2", "user", "2")
    assert "GONE" not in env  # as conda does
    assert "/evil" not in env["PATH"]
    write(prefix / "conda-meta" / "state", '{"env_vars": ')
    assert "conda-meta/state is no JSON" in refused(prefix)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exit 0", "ended the shell"),
        ("exit 7", "ended the shell"),
        ("set -e; false; true", "ended the shell"),
        ("kill -9 $$", "ended the shell"),
        ("return 3", "failed with status 3"),
        ("no-such-program", "no-such-program: command not found"),
        ("echo it is not well >&2; false", "failed with status 1: it is not well"),
        ("if then", "syntax error near unexpected token"),
        ("export A=(", "unexpected EOF"),
        ('echo "never closed', "unexpected EOF"),
    ],
)
def test_a_broken_script_is_named_in_one_line(tmp_path, text, says):
    prefix = environment(tmp_path / "env", a="export A=1", b=text, c="export C=1")
    message = refused(prefix)
    assert message.startswith(f"judge.conda: {prefix}/etc/conda/activate.d/b.sh ")
    assert says in message
    assert "set judge.python to the environment's bin/python" in message


def test_a_script_that_cannot_be_read_is_named(tmp_path):
    prefix = environment(tmp_path / "env")
    script = prefix / "etc" / "conda" / "activate.d" / "gone.sh"
    script.parent.mkdir(parents=True)
    script.symlink_to("/nowhere")
    assert "gone.sh failed with status 1" in refused(prefix)


def test_a_script_that_does_not_end_is_named_and_none_of_it_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(activation, "_SCRIPTS_S", 0.5)
    prefix = environment(tmp_path / "env", slow="sleep 3600 & wait")
    assert "slow.sh did not end within" in refused(prefix)
    until = time.monotonic() + 30
    while left := ours(str(tmp_path)):
        assert time.monotonic() < until, left


def test_what_a_script_leaves_running_holds_nobody_up(tmp_path):
    prefix = environment(tmp_path / "env", a="sleep 3600 &\nexport A=1")
    assert captured(prefix)["A"] == "1"


def test_no_profile_is_read_and_nothing_is_interactive(tmp_path, monkeypatch):
    home = tmp_path / "home"
    for name in (".bashrc", ".profile", ".bash_profile", ".bash_env"):
        write(home / name, "export FROM_A_PROFILE=1")
    monkeypatch.setenv("BASH_ENV", str(home / ".bash_env"))
    prefix = environment(
        tmp_path / "env",
        a="case $- in *i*) export INTERACTIVE=1;; esac; shopt -q login_shell && export LOGIN=1\ntrue",
    )
    assert not {"FROM_A_PROFILE", "INTERACTIVE", "LOGIN"} & {*captured(prefix)}


def test_without_scripts_no_shell_is_needed(tmp_path, monkeypatch):
    prefix = environment(tmp_path / "env")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert captured(prefix)["CONDA_PREFIX"] == str(prefix)
    write(prefix / "etc" / "conda" / "activate.d" / "a.sh", "true")
    assert "they need bash" in refused(prefix)


def test_a_home_that_is_not_writable_or_not_there(tmp_path, monkeypatch):
    prefix = environment(tmp_path / "env", a="export A=1")
    for home in ("/proc", "/nonexistent"):
        monkeypatch.setenv("HOME", home)
        assert captured(prefix)["A"] == "1"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert captured(prefix)["A"] == "1"
    with pytest.raises(ConfigError, match="no conda environment is called 'zzz'"):
        resolve_interpreter("judge", None, "zzz")


# Finding environments by name


def test_names_are_found_where_conda_finds_them(tmp_path, monkeypatch):
    home = tmp_path / "home"
    dirs = tmp_path / "disk" / "my-envs"
    write(home / ".condarc", "envs_dirs: [$DISK/my-envs, ~/more]\n")
    monkeypatch.setenv("DISK", str(tmp_path / "disk"))
    expected = {
        "in-settings": environment(dirs / "in-settings"),
        "in-home": environment(home / "more" / "in-home"),
        "of-micromamba": environment(home / ".local" / "share" / "mamba" / "envs" / "of-micromamba"),
        "beside": environment(tmp_path / "conda" / "envs" / "beside"),
        "listed": environment(tmp_path / "elsewhere" / "listed"),
        "by-variable": environment(tmp_path / "variable" / "by-variable"),
    }
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda" / "envs" / "active"))
    monkeypatch.setenv("CONDA_ENVS_DIRS", str(tmp_path / "variable"))
    write(home / ".conda" / "environments.txt", f"{expected['listed']}\n/gone\n")
    for name, prefix in expected.items():
        assert resolve_interpreter("judge", None, name).python == str(prefix / "bin" / "python")


def test_of_two_with_one_name_the_one_of_the_settings_is_meant(tmp_path):
    first = environment(tmp_path / "first" / "same")
    environment(tmp_path / "home" / "miniconda3" / "envs" / "same")
    write(tmp_path / "home" / ".condarc", f"envs_dirs:\n  - {tmp_path}/first\n")
    assert resolve_interpreter("judge", None, "same").python == str(first / "bin" / "python")
    write(tmp_path / "home" / ".condarc", "envs_dirs: {no: list}\n: broken")
    assert "miniconda3" in resolve_interpreter("judge", None, "same").python


def test_base_is_the_root_itself(tmp_path, monkeypatch):
    root = environment(tmp_path / "home" / "miniforge3")
    found = resolve_interpreter("judge", None, "base")
    assert (found.python, found.env["CONDA_DEFAULT_ENV"]) == (str(root / "bin" / "python"), "base")


def test_an_environment_without_a_python_says_so(tmp_path):
    prefix = environment(tmp_path / "env")
    (prefix / "bin" / "python").unlink()
    assert f"judge.conda: no interpreter at {prefix}/bin/python; install Python there" in refused(prefix)


# What a stage does not see of ours


@pytest.fixture
def active(tmp_path, monkeypatch):
    """A conda environment is active in the driver's shell, with all that its scripts have set."""
    own = environment(tmp_path / "own")
    for name, value in {
        "CONDA_PREFIX": str(own),
        "CONDA_SHLVL": "2",
        "CONDA_PREFIX_1": "/opt/conda",
        "CONDA_BACKUP_CC": "cc",
        "PATH": f"{own}/bin:/opt/conda/condabin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{own}/lib:/system/lib:{own}/lib64/x",
        "PROJ_LIB": f"{own}/share/proj",
        "CUDA_HOME": str(own),
        "CFLAGS": f"-O2 -isystem {own}/include",
        "CC": f"{own}/bin/x86_64-linux-gnu-cc",
        "PYTHONPATH": "/driver/packages",
        "PYTHONHOME": sys.base_prefix,
        "DATA": f"{own}/datasets:{own}-2/lib",
        "HF_HOME": f"{own}/hf",
        "EDITOR": "vi",
    }.items():
        monkeypatch.setenv(name, value)
    return own


def test_what_points_into_our_environment_is_left_out_and_all_else_stays(active, tmp_path, monkeypatch):
    stage = environment(tmp_path / "stage")
    inherited = os.environ["PATH"].removeprefix(f"{active}/bin:").split(":")
    path = ":".join(one for one in inherited if one != f"{sys.prefix}/bin")
    for found in (
        resolve_interpreter("judge", str(stage), None),
        resolve_interpreter("judge", None, str(stage)),
    ):
        env = seen(found.env)
        assert env["LD_LIBRARY_PATH"] == "/system/lib"
        assert env["PATH"] == f"{stage}/bin:{path}"
        gone = {
            "PROJ_LIB",
            "CUDA_HOME",
            "CFLAGS",
            "CC",
            "PYTHONPATH",
            "PYTHONHOME",
            "CONDA_PREFIX_1",
            "CONDA_BACKUP_CC",
        }
        assert not gone & {*env}
        # The user's own folders beside it, what only begins alike, and what has nothing to do with it.
        assert (env["DATA"], env["HF_HOME"], env["EDITOR"]) == (os.environ["DATA"], f"{active}/hf", "vi")


def test_deactivate_scripts_undo_what_the_shells_environment_has_set(active, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", "/opt/cuda-11")
    write(
        active / "etc" / "conda" / "deactivate.d" / "cuda.sh",
        "export CUDA_HOME=/usr/local/cuda; unset EDITOR",
    )
    stage = environment(tmp_path / "stage", a='export BEFORE="$CUDA_HOME"')
    assert captured(stage)["BEFORE"] == "/usr/local/cuda"
    assert captured(stage)["EDITOR"] is None
    assert resolve_interpreter("judge", str(stage), None).env["CUDA_HOME"] == "/usr/local/cuda"
    write(active / "etc" / "conda" / "deactivate.d" / "cuda.sh", "exit 1")  # conda, too, goes on
    assert captured(stage)["BEFORE"] == "/opt/cuda-11"


def test_a_stage_in_the_active_environment_keeps_it(active):
    for given in ({"python": str(active), "conda": None}, {"python": None, "conda": str(active)}):
        env = seen(resolve_interpreter("judge", **given).env)
        assert env["CC"] == f"{active}/bin/x86_64-linux-gnu-cc"
        assert env["CONDA_PREFIX"] == str(active)


def test_an_active_virtual_environment_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/own/venv")
    monkeypatch.setenv("PATH", f"/own/venv/bin:{os.environ['PATH']}")
    stage = tmp_path / "stage"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(stage)], check=True)
    env = seen(resolve_interpreter("judge", str(stage), None).env)
    assert env["VIRTUAL_ENV"] == str(stage)
    assert env["PATH"].split(":")[0] == f"{stage}/bin"
    assert "/own/venv/bin" not in env["PATH"]


def test_a_virtual_environment_that_is_the_home_folder_takes_no_home(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "home"))
    stage = environment(tmp_path / "stage")
    assert seen(captured(stage))["HOME"] == str(tmp_path / "home")


def test_base_keeps_the_environments_below_it(tmp_path, monkeypatch):
    base = environment(tmp_path / "conda")
    stage = environment(base / "envs" / "judge", a='export LIB="$CONDA_PREFIX/lib"')
    monkeypatch.setenv("CONDA_PREFIX", str(base))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{base}/lib:{stage}/lib")
    env = captured(stage)
    assert (env["LD_LIBRARY_PATH"], env["LIB"]) == (f"{stage}/lib", f"{stage}/lib")


def test_what_wins_over_what(tmp_path):
    """The stage's `env` over what we set, what we set over the environment's scripts."""
    prefix = environment(
        tmp_path / "env",
        a="export CUDA_VISIBLE_DEVICES=7 OMP_NUM_THREADS=99 HF_HUB_OFFLINE=0 MINE=script BOTH=script",
    )
    interpreter = resolve_interpreter("judge", None, str(prefix))
    given = {"OMP_NUM_THREADS": "3", "BOTH": "config"}
    spec = StageSpec("judge", [Device("cuda", (0,), ("5",))], interpreter, given, {}, {})
    env = spec.host_spec(spec.devices[0], tmp_path / "log", 1)["env"]
    assert env["CUDA_VISIBLE_DEVICES"] == "5"
    assert (env["OMP_NUM_THREADS"], env["MINE"], env["BOTH"]) == ("3", "script", "config")
    assert env["HF_HUB_OFFLINE"] == "1"


# A stage that runs in one

PLUGIN = """
import importlib.util, json, os, sys
from edit_eval.editors import Editor

class Conda(Editor):
    def edit(self, request, step):
        assert importlib.util.find_spec("pydantic") is None
        import only_here
        names = ("CONDA_PREFIX", "LD_LIBRARY_PATH", "CUDA_HOME", "MINE")
        print("what the host sees:", json.dumps({"prefix": sys.prefix, "library": only_here.WHERE, **{name: os.environ.get(name) for name in names}}))
        return request.images[0]
"""


def test_a_stage_runs_in_a_conda_environment_without_edit_eval_and_without_a_home(tmp_path, monkeypatch):
    prefix = tmp_path / "home" / "miniforge3" / "envs" / "edit"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    (prefix / "conda-meta").mkdir()
    [site] = prefix.glob("lib/python*/site-packages")
    for name in ("PIL", "pillow.libs"):
        if (Path(PIL.__file__).parents[1] / name).exists():
            (site / name).symlink_to(Path(PIL.__file__).parents[1] / name)
    write(site / "only_here.py", "WHERE = 'environment'")
    write(tmp_path / "overlay" / "only_here.py", "WHERE = 'overlay'")
    write(
        prefix / "etc" / "conda" / "activate.d" / "cuda.sh",
        'export LD_LIBRARY_PATH="$CONDA_PREFIX/lib" CUDA_HOME="$CONDA_PREFIX" MINE=script',
    )
    write(tmp_path / "plugin" / "conda_plugin.py", PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{sys.prefix}/lib")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    tree = config_tree(
        tmp_path,
        make_benchmark(tmp_path / "data", ["ok"] * 2),
        editor__type="conda_plugin:Conda",
        editor__conda="edit",
        editor__env={"MINE": "config", "PYTHONPATH": str(tmp_path / "overlay")},
        editor__devices=["cpu:0"],
    )
    try:
        ran = Ran(tree)
    finally:
        sys.modules.pop("conda_plugin", None)
    assert [event.reason for event in ran.of(EditFailed)] == []
    assert len(ran.of(EditFinished)) == 2
    log = (tmp_path / "run" / "logs" / "edit-cpu-0.log").read_text()
    found = json.loads(log.split("what the host sees:", 1)[1].splitlines()[0])
    assert found == {
        "prefix": str(prefix),
        "CONDA_PREFIX": str(prefix),
        "LD_LIBRARY_PATH": f"{prefix}/lib",
        "CUDA_HOME": str(prefix),
        "MINE": "config",
        "library": "overlay",
    }
