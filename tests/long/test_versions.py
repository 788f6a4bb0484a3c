"""Hosts in every Python that there is, and the tests of real model classes with the oldest and the newest libraries.

Needs PyPI (as pip is set up here); says that it skips where that cannot be reached.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from compatibility import SETS, PythonRow, SetRow
from harness import PYTHONS, cli, other_python

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]

_PLUS = ("has no QwenImageEditPlusPipeline", "pipeline_qwenimage_edit_plus")
_OPTIONAL = ("No module named 'cache_dit'",)
"""What tests may miss: a pipeline that the oldest diffusers has not, and packages that `make test` does not install."""

CONFIG = """\
benchmark: {{type: scenes, params: {{n: 8, size: 96}}}}
editor: {{type: scripted, devices: [cpu:0], params: {{error_rate: 0.3}}{python}}}
judge: {{type: reference, devices: [cpu:0]{python}}}
"""


def install(python: str, folder: Path, *packages: str, alone: bool = True) -> None:
    """Install packages for a Python into a folder with our own pip; skip the test where they cannot be had."""
    version = subprocess.run(
        [python, "-ISc", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    more = ["--no-deps"] if alone else []
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
    ]
    where = ["--target", str(folder), "--python-version", version, "--only-binary", ":all:"]
    done = subprocess.run([*command, *where, *more, *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        pytest.skip(
            f"no {' '.join(packages)} for Python {version}: {lines[-1] if lines else done.stderr[-200:]}"
        )


def environment(python: str, root: Path) -> Path:
    """Make a virtual environment without pip; return its folder of packages."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(root)], check=True)
    [site] = root.glob("lib/python*/site-packages")
    return site


def said(python: Path, code: str) -> str:
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> str:
    """Return what hosts in the driver's own Python make."""
    return canonical(tmp_path_factory.mktemp("own"), "")


def canonical(folder: Path, python: str) -> str:
    (folder / "c.yaml").write_text(CONFIG.format(python=python and f", python: {python}"))
    done = cli("run", "c.yaml", "--output", "run", "--display", "none", cwd=folder)
    assert done.returncode == 0, done.stderr
    return cli("export", "run", "--canonical", cwd=folder).stdout


@pytest.mark.parametrize("version", PYTHONS)
def test_hosts_in_another_python(tmp_path, version, reference, tested: Callable[[object], None]):
    python = other_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    install(python, environment(python, tmp_path / "env"), "pillow")
    inside = tmp_path / "env" / "bin" / "python"
    assert canonical(tmp_path, str(inside)) == reference
    exact = said(inside, "import platform; print(platform.python_version())")
    pillow = said(inside, "import PIL; print(PIL.__version__)")
    tested(PythonRow(exact, pillow, f"passed; the driver in Python {platform.python_version()}"))


@pytest.mark.models
@pytest.mark.parametrize("name", SETS)
def test_real_model_classes(tmp_path, name, tested: Callable[[object], None]):
    python = Path(sys.executable)
    if SETS[name]:
        site = environment(sys.executable, tmp_path / "env")
        pins = [f"{library}=={version}" for library, version in SETS[name].items()]
        without = [pin for pin in pins if not pin.startswith("httpx")]
        install(sys.executable, site, *without)
        if without != pins:
            install(sys.executable, site, *(pin for pin in pins if pin not in without), alone=False)
        # Everything else, torch above all, is that of our own environment, further back on the path.
        ours = {
            str(Path(one.locate_file("")))
            for one in importlib.metadata.distributions()
            if one.name in ("torch", "pytest", "numpy")
        }
        (site / "zz_ours.pth").write_text("".join(f"{folder}\n" for folder in sorted(ours)))
        python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run(
        [
            *(python, "-m", "pytest", "-m", "models and not long", "-p", "no:cacheprovider"),
            *("-W", "ignore:CUDA is not available:UserWarning"),  # of diffusers 0.36 where there is no GPU
            *(
                "tests/editors",
                "tests/judges",
                "tests/driver/test_environments.py",
                "tests/cli/test_models.py",
            ),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).strip(":"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    skipped = {line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("SKIPPED")}
    old = {why for why in skipped if any(pipeline in why for pipeline in _PLUS)}
    assert all(any(one in why for one in _OPTIONAL) for why in skipped - old), skipped
    assert bool(old) == (name == "oldest")
    counts = re.search(r"(\d+ passed(?:, \d+ skipped)?)", done.stdout)
    assert counts, done.stdout
    have = {
        library: said(python, f"import {library}; print({library}.__version__)")
        for library in ("diffusers", "transformers", "torch")
    }
    assert {**have, **{key: value for key, value in SETS[name].items() if key in have}} == have
    tested(SetRow(name, *have.values(), platform.python_version(), counts[1]))
