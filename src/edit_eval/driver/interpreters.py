"""Which Python runs a stage: the driver's own, a path, or a conda environment by name; and the variables it needs.

Finds and checks interpreters; starts no model. How a conda environment is activated, and what of the driver's own
environment is kept from a stage, is in `driver.activation`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edit_eval.core.errors import ConfigError, did_you_mean
from edit_eval.driver.activation import activated, changes, without_own
from edit_eval.driver.yamlfile import read_yaml

__all__ = ["Interpreter", "resolve_interpreter"]

_OLDEST = (3, 10)
_START_S = 60.0
_ROOTS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", "miniconda", "anaconda")
_VENV_MARK = "pyvenv.cfg"


@dataclass(frozen=True)
class Interpreter:
    """A Python executable and the variables in which its environment differs from ours (None: remove)."""

    python: str
    env: dict[str, str | None] = field(default_factory=dict)


def resolve_interpreter(where: str, python: str | None, conda: str | None) -> Interpreter:
    """Return the interpreter of a stage.

    Args:
        where: `editor` or `judge`, for messages.
        python: path of an executable, or of the root of a virtual environment. It is run as it is, with its folder
            first on `PATH`.
        conda: name or path of a conda environment, which is activated.

    Raises:
        ConfigError: it is not there, cannot be activated, does not run, or is older than Python 3.10.
    """
    if python and conda:
        raise ConfigError(f"{where}: give either python or conda, not both")
    if conda:
        prefix = _conda_prefix(where, conda)
        path = prefix / "bin" / "python"
        name = conda if os.sep not in conda else prefix.name if prefix.parent.name == "envs" else str(prefix)
        key = f"{where}.conda"
        return _checked(key, path, activated(key, prefix, name, without_own(key, os.environ, prefix)))
    if python:
        given = Path(python).expanduser()
        if given.is_dir():
            given = given / "bin" / "python"
        path = Path(os.path.abspath(given))  # noqa: PTH100 - resolve() would leave the virtual environment
        return _checked(f"{where}.python", path, _with_its_tools(f"{where}.python", path), given)
    return Interpreter(sys.executable)


def _with_its_tools(key: str, python: Path) -> dict[str, str]:
    """Return the environment for an interpreter by path: programs installed beside it (`ninja`) are found first."""
    prefix = python.parent.parent
    env = without_own(key, os.environ, prefix)
    if (prefix / _VENV_MARK).is_file():
        env["VIRTUAL_ENV"] = str(prefix)
    if (prefix / _VENV_MARK).is_file() or (prefix / "conda-meta").is_dir():
        env["PATH"] = os.pathsep.join([str(python.parent), env.get("PATH", os.defpath)])
    return env


def _checked(key: str, path: Path, env: Mapping[str, str], shown: Path | None = None) -> Interpreter:
    shown = shown or path
    if not path.is_file() or not os.access(path, os.X_OK):
        mend = (
            "install Python there (conda install python), or name another environment"
            if key.endswith(".conda")
            else "give the path of a Python executable (./setup_qwen3_vl_env.sh makes one for the judge)"
        )
        raise ConfigError(f"{key}: no interpreter at {shown}; {mend}")
    try:
        answer = subprocess.run(
            [str(path), "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=True,
        ).stdout.split()
        version = (int(answer[0]), int(answer[1]))
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{key}: {shown} gave no answer within {_START_S:.0f} s") from error
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise ConfigError(f"{key}: {shown} does not run as a Python interpreter") from error
    if version < _OLDEST:
        raise ConfigError(f"{key}: {shown} is Python {version[0]}.{version[1]}; 3.10 or newer is needed")
    return Interpreter(str(path), changes(os.environ, env))


def _conda_prefix(where: str, name: str) -> Path:
    if os.sep in name:
        prefix = Path(name).expanduser().absolute()
        if (prefix / "conda-meta").is_dir():
            return prefix
        raise ConfigError(f"{where}.conda: no conda environment at {name}")
    known = _conda_environments()
    if name not in known:
        hint = did_you_mean(name, list(known)) or (f"; there are {', '.join(sorted(known))}" if known else "")
        hint = hint or "; give its path, as 'conda env list' shows it"
        raise ConfigError(f"{where}.conda: no conda environment is called {name!r}{hint}")
    return known[name]


def _conda_environments() -> dict[str, Path]:
    """Return every environment that conda would find by name; the first folder that has a name wins, as with conda."""
    found: dict[str, Path] = {}
    for folder in _folders_of_environments():
        for prefix in _entries(folder):
            if _is_environment(prefix):
                found.setdefault(prefix.name, prefix)
    for root in _conda_roots():
        if _is_environment(root):
            found.setdefault("base", root)
    home = _home()
    recorded = home / ".conda" / "environments.txt" if home else None
    try:
        lines = recorded.read_text(encoding="utf-8", errors="replace").splitlines() if recorded else []
    except OSError:
        lines = []
    for prefix in (Path(line.strip()) for line in lines if line.strip()):
        if _is_environment(prefix):
            found.setdefault(prefix.name, prefix)
    return found


def _is_environment(prefix: Path) -> bool:
    return os.path.isdir(prefix / "conda-meta") and os.path.exists(prefix / "bin" / "python")  # noqa: PTH110, PTH112 - these never raise


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # not there, or not ours to look into
        return []


def _folders_of_environments() -> Iterator[Path]:
    """Yield the folders in which conda looks for a name: the user's settings first, then `envs` of every root."""
    for name in ("CONDA_ENVS_DIRS", "CONDA_ENVS_PATH"):
        yield from (Path(one).expanduser() for one in os.environ.get(name, "").split(os.pathsep) if one)
    home = _home()
    roots = _conda_roots()
    for file in [
        *([home / ".condarc", home / ".mambarc"] if home else []),
        *(root / ".condarc" for root in roots),
    ]:
        yield from _envs_dirs(file)
    yield from (root / "envs" for root in roots)
    if home:
        yield home / ".conda" / "envs"


def _envs_dirs(file: Path) -> list[Path]:
    """Return `envs_dirs` of conda's settings."""
    try:
        settings = read_yaml(file, str(file)) if file.is_file() else None
    except (ConfigError, OSError):
        return []
    wanted = settings.get("envs_dirs") if isinstance(settings, dict) else None
    entries = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    return [Path(os.path.expandvars(one)).expanduser() for one in entries if isinstance(one, str)]


def _conda_roots() -> list[Path]:
    """Return where conda, mamba or micromamba may be installed."""
    found: list[Path] = []
    if root := os.environ.get("MAMBA_ROOT_PREFIX"):
        found.append(Path(root))
    programs = filter(None, [os.environ.get("CONDA_EXE"), os.environ.get("MAMBA_EXE")])
    found += [Path(program).parent.parent for program in programs]
    # From an environment in use, ours or the shell's, to the root that it lies under.
    for prefix in filter(None, [os.environ.get("CONDA_PREFIX"), sys.prefix]):
        place = Path(prefix)
        found += [place.parent.parent] if place.parent.name == "envs" else [place]
    if home := _home():
        found += [home / name for name in _ROOTS]
        found.append(home / ".local" / "share" / "mamba")
    found += [Path("/opt") / name for name in ("conda", *_ROOTS)]
    return list(dict.fromkeys(found))


def _home() -> Path | None:
    """Return the home directory; None for a user that has none, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:
        return None
