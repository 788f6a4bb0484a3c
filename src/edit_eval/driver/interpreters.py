"""Which Python runs a stage: the driver's own, a path, or a conda environment by name.

Finds and checks interpreters; starts no model.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from edit_eval.core.errors import ConfigError, did_you_mean

__all__ = ["Interpreter", "resolve_interpreter"]

_OLDEST = (3, 10)


@dataclass(frozen=True)
class Interpreter:
    """A Python executable and the variables that its environment needs (None: remove)."""

    python: str
    env: dict[str, str | None] = field(default_factory=dict)


def resolve_interpreter(where: str, python: str | None, conda: str | None) -> Interpreter:
    """Return the interpreter of a stage.

    Args:
        where: `editor` or `judge`, for messages.
        python: path of an executable, or of the root of a virtual environment.
        conda: name or path of a conda environment.

    Raises:
        ConfigError: it is not there, does not run, or is older than Python 3.10.
    """
    if python and conda:
        raise ConfigError(f"{where}: give either python or conda, not both")
    if conda:
        prefix = _conda_prefix(where, conda)
        path = prefix / "bin" / "python"
        env: dict[str, str | None] = {
            "CONDA_PREFIX": str(prefix),
            "CONDA_DEFAULT_ENV": conda,
            "PATH": os.pathsep.join([str(prefix / "bin"), os.environ.get("PATH", "")]),
            "VIRTUAL_ENV": None,
            "PYTHONHOME": None,
        }
        return _checked(where, path, env)
    if python:
        path = Path(python).expanduser()
        if path.is_dir():
            path = path / "bin" / "python"
        return _checked(where, path, {"PYTHONHOME": None})
    return Interpreter(sys.executable)


def _checked(where: str, path: Path, env: dict[str, str | None]) -> Interpreter:
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would leave the virtual environment
    if not absolute.is_file() or not os.access(absolute, os.X_OK):
        raise ConfigError(
            f"{where}.python: no interpreter at {path}; give the path of a Python executable "
            "(./setup_qwen3_vl_env.sh makes one for the judge)"
        )
    try:
        answer = subprocess.run(
            [str(absolute), "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout.split()
        version = (int(answer[0]), int(answer[1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise ConfigError(f"{where}.python: {path} does not run as a Python interpreter") from error
    if version < _OLDEST:
        raise ConfigError(
            f"{where}.python: {path} is Python {version[0]}.{version[1]}; 3.10 or newer is needed"
        )
    return Interpreter(str(absolute), env)


def _conda_prefix(where: str, name: str) -> Path:
    if os.sep in name:
        prefix = Path(name).expanduser().absolute()
        if (prefix / "conda-meta").is_dir():
            return prefix
        raise ConfigError(f"{where}.conda: no conda environment at {name}")
    known = _conda_environments()
    if name not in known:
        hint = did_you_mean(name, list(known)) or (f"; there are {', '.join(sorted(known))}" if known else "")
        raise ConfigError(f"{where}.conda: no conda environment is called {name!r}{hint}")
    return known[name]


def _conda_environments() -> dict[str, Path]:
    """Return every environment that conda would list: those under its roots and those it has recorded."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    roots = [
        home / name
        for name in ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda")
    ]
    roots += [Path("/opt/conda"), Path("/opt/miniconda3"), Path("/opt/anaconda3")]
    if executable := os.environ.get("CONDA_EXE"):
        roots.insert(0, Path(executable).parent.parent)
    if root := os.environ.get("MAMBA_ROOT_PREFIX"):
        roots.insert(0, Path(root))
    found: dict[str, Path] = {}
    recorded = home / ".conda" / "environments.txt"
    if recorded.is_file():
        for line in recorded.read_text(encoding="utf-8").splitlines():
            if line.strip():
                found[Path(line.strip()).name] = Path(line.strip())
    for folder in roots:
        envs = folder / "envs"
        if envs.is_dir():
            found.update({entry.name: entry for entry in envs.iterdir() if (entry / "conda-meta").is_dir()})
        if (folder / "conda-meta").is_dir():
            found.setdefault("base", folder)
    return {name: prefix for name, prefix in found.items() if (prefix / "bin" / "python").exists()}
