"""The variables of a stage's environment: conda's activation, and what of our own environment a stage must not see.

`conda activate` sets variables and runs the environment's `activate.d` scripts, which set more (`LD_LIBRARY_PATH`,
`CUDA_HOME`, `PROJ_LIB` ...). The same is done here once, by hand: it needs no conda program, no login shell and no home
directory, is the same for conda, mamba, micromamba and a packed environment, and can name a script that is broken.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edit_eval.core.errors import ConfigError

__all__ = ["activated", "changes", "without_own"]

_SCRIPTS_S = 60.0
"""Seconds for all scripts of one environment together."""

_UNSET = "***unset***"
"""What conda writes for a variable of a package that the user wants not to be set."""

_OF_A_SHELL = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV", "ENV", "BASHOPTS", "SHELLOPTS"})
_OF_A_PYTHON = frozenset(
    {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__"}
)
_OF_THE_USER = frozenset({"HOME", "TMPDIR", "TMP", "TEMP"})
_OF_AN_ENVIRONMENT = ("bin", "etc", "include", "lib", "lib64", "libexec", "nvvm", "share", "ssl", "targets")
"""Folders that make a place part of an environment: what else lies beside them may be the user's work."""

_SOURCE = """
_edit_eval_said=$1; shift
for _edit_eval_script in "$@"; do
  printf '%s' "$_edit_eval_script" >"$_edit_eval_said/script"
  . "$_edit_eval_script" </dev/null >/dev/null 2>"$_edit_eval_said/error"
  _edit_eval_status=$?
  if [ "$_edit_eval_status" -gt 1 ] || { [ "$_edit_eval_status" -eq 1 ] && [ -s "$_edit_eval_said/error" ]; }; then
    printf '%s' "$_edit_eval_status" >"$_edit_eval_said/status"
    exit 0
  fi
done
/usr/bin/env -0 >"$_edit_eval_said/variables"
"""
"""Runs scripts in one shell, one after the other. Scripts often end with a condition that is false: status 1 without
a word is no fault."""


def activated(key: str, prefix: Path, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` as it is once a conda environment is activated.

    Args:
        key: of the config, for messages.
        prefix: the environment's folder.
        name: what people call it.
        environ: before; see `without_own`.

    Raises:
        ConfigError: one of its scripts fails, does not end, or cannot be run.
    """
    env = {
        **environ,
        "PATH": os.pathsep.join([str(prefix / "bin"), environ.get("PATH", os.defpath)]),
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": name,
        "CONDA_SHLVL": "1",
    }
    env.update(_settings(key, prefix))
    scripts = sorted((prefix / "etc" / "conda" / "activate.d").glob("*.sh"))
    found = _sourced(key, scripts, env)
    if isinstance(found, str):
        raise ConfigError(
            f"{key}: {found}; correct that script of {name}, or set {key.replace('.conda', '.python')} to the "
            "environment's bin/python, which runs none"
        )
    return found


def _settings(key: str, prefix: Path) -> Iterator[tuple[str, str]]:
    """Yield the variables of packages (`env_vars.d`), then the user's own (`conda env config vars set`)."""
    files = sorted((prefix / "etc" / "conda" / "env_vars.d").glob("*.json"))
    for file in [*files, prefix / "conda-meta" / "state"]:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except OSError:  # there is none
            continue
        except ValueError as error:
            raise ConfigError(
                f"{key}: {file} is no JSON; correct it, or make the environment anew"
            ) from error
        if file not in files:
            found = found.get("env_vars", {}) if isinstance(found, dict) else {}
        for name, value in found.items() if isinstance(found, dict) else ():
            if _can_be_set(name, str(value)):
                yield name.upper(), str(value)  # in capitals, as conda does


def _can_be_set(name: str, value: str) -> bool:
    """Whether a variable of an environment's settings is one that conda would set."""
    possible = bool(name) and not {"=", "\0"} & {*name} and "\0" not in value
    return possible and name.upper() != "PATH" and value != _UNSET


def _sourced(key: str, scripts: Sequence[Path], env: Mapping[str, str]) -> dict[str, str] | str:
    """Return the variables after a clean, non-interactive shell has run `scripts` with `env`; or how one failed.

    Raises:
        ConfigError: there is no bash, or no place for temporary files.
    """
    if not scripts:
        return dict(env)
    given = {variable: value for variable, value in env.items() if variable not in ("BASH_ENV", "ENV")}
    try:
        with tempfile.TemporaryDirectory(prefix="edit-eval-") as scratch:
            said = Path(scratch)
            command = ["bash", "--noprofile", "--norc", "-c", _SOURCE, "bash", scratch, *map(str, scripts)]
            late = not _run(command, given)
            if (variables := _read(said / "variables")) is None:
                script = os.fsdecode(_read(said / "script") or os.fsencode(scripts[0]))
                return f"{script} {f'did not end within {_SCRIPTS_S:.0f} s' if late else _how(said, script)}"
    except OSError as error:
        raise ConfigError(f"{key}: its activate.d scripts cannot be run: {error}; they need bash") from error
    pairs = (os.fsdecode(entry).partition("=") for entry in variables.split(b"\0") if entry)
    return {
        variable: value
        for variable, _, value in pairs
        if variable not in _OF_A_SHELL and not variable.startswith("_edit_eval_")
    }


def _run(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Run a command in a group of its own, none of which is left; say whether it ended in time. Raises `OSError`."""
    null = subprocess.DEVNULL
    shell = subprocess.Popen(
        command, env=dict(env), stdin=null, stdout=null, stderr=null, start_new_session=True
    )
    try:
        shell.wait(_SCRIPTS_S)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    return True


def _how(said: Path, script: str) -> str:
    """Return how a script failed: by the shell's own complaint of it, else by the last that was said."""
    lines = (_read(said / "error") or b"").decode("utf-8", "replace").strip().splitlines()
    status = (_read(said / "status") or b"").decode()
    how = f"failed with status {status}" if status else "ended the shell"
    line = next((one.removeprefix(f"{script}: ") for one in lines if one.startswith(f"{script}: ")), "")
    line = line or (lines[-1].strip() if lines else "")
    return f"{how}: {line[:200]}" if line else how


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def without_own(key: str, environ: Mapping[str, str], stage: Path) -> dict[str, str]:
    """Return `environ` without what belongs to the environments that the driver runs in, for a stage in another one.

    A conda environment that the shell has activated is deactivated: its `deactivate.d` scripts are run. Then are left
    out: variables that steer a Python (`PYTHONHOME`, `PYTHONPATH`, `VIRTUAL_ENV` ...), `CONDA_*`, and whatever points
    into the driver's own virtual or conda environment: entries of lists such as `PATH` and `LD_LIBRARY_PATH`, other
    variables as a whole.

    Args:
        key: of the config, for messages.
        environ: ours.
        stage: root of the stage's environment; what points there stays.

    Raises:
        ConfigError: scripts cannot be run at all. One that fails changes nothing, as with conda.
    """
    if environ.get("CONDA_PREFIX") == str(stage):
        return {name: value for name, value in environ.items() if name not in _OF_A_PYTHON}
    own = [prefix for prefix in _own_prefixes(environ) if prefix != stage]
    env: dict[str, str] = {}
    for name, value in _deactivated(key, environ).items():
        if name in _OF_A_PYTHON or name.startswith(("CONDA_", "_CE_", "__CONDA_")):
            continue
        if name in _OF_THE_USER or not any(str(prefix) in value for prefix in own):
            env[name] = value
        elif kept := [entry for entry in value.split(os.pathsep) if not _points_into(entry, own)]:
            env[name] = os.pathsep.join(kept)
    return env


def _deactivated(key: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return `environ` after the scripts that undo what activating the shell's conda environment has set."""
    if not (prefix := environ.get("CONDA_PREFIX")):
        return environ
    scripts = sorted((Path(prefix) / "etc" / "conda" / "deactivate.d").glob("*.sh"), reverse=True)
    found = _sourced(key, scripts, environ)
    return environ if isinstance(found, str) else found


def _own_prefixes(environ: Mapping[str, str]) -> list[Path]:
    """Return the roots of the environments that we run in: by our interpreter, and by what the shell has activated."""
    prefixes = [environ.get("VIRTUAL_ENV"), environ.get("CONDA_PREFIX")]
    here = Path(sys.prefix)
    if sys.prefix != sys.base_prefix or (here / "conda-meta").is_dir():
        prefixes.append(sys.prefix)
    found = [Path(one) for one in prefixes if one and one != os.sep]
    return list(dict.fromkeys([*found, *(one.resolve() for one in found)]))


def _points_into(text: str, prefixes: Sequence[Path]) -> bool:
    """Whether a text is one of the roots, or names a folder of theirs, also within options (`-I/env/include`)."""
    for prefix in map(str, prefixes):
        if text == prefix or any(
            f"{prefix}/{folder}{end}" in f"{text}\0"
            for folder in _OF_AN_ENVIRONMENT
            for end in ("/", "\0", " ")
        ):
            return True
    return False


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """Return what turns one environment into another: new values, and None for what is to be removed."""
    found: dict[str, str | None] = {
        name: None for name in before if name not in after and name not in _OF_A_SHELL
    }
    found.update({name: value for name, value in after.items() if before.get(name) != value})
    return found
