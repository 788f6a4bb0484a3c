"""Which Python runs a stage, and that a host there sees its own environment and not the driver's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import PIL
import pytest
from harness import Ran, config_tree, make_benchmark

from edit_eval.core.errors import ConfigError, EditEvalError
from edit_eval.driver.events import EditFailed, EditFinished
from edit_eval.driver.interpreters import resolve_interpreter
from edit_eval.driver.summary import summarize


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Return an empty home directory; no conda outside it is found."""
    for name in ("CONDA_EXE", "MAMBA_ROOT_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def conda_environment(prefix: Path) -> Path:
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").symlink_to(sys.executable)
    return prefix


def refused(python: str | None = None, conda: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve_interpreter("judge", python, conda)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Finding one


def test_nothing_said_is_the_drivers_own():
    found = resolve_interpreter("judge", None, None)
    assert (found.python, found.env) == (sys.executable, {})


def test_a_path_is_taken_as_it_is_and_links_are_not_followed(tmp_path, monkeypatch):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    link = tmp_path / "env" / "bin" / "python"
    link.symlink_to(sys.executable)  # resolving it would leave the environment
    monkeypatch.chdir(tmp_path)
    for given in (str(link), "env/bin/python", "env", str(tmp_path / "env")):
        assert resolve_interpreter("judge", given, None).python == str(link)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_interpreter("judge", "~/env", None).python == str(link)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: None, "judge.python: no interpreter at"),
        (lambda path: path.mkdir(), "judge.python: no interpreter at"),
        (lambda path: path.write_text("not executable"), "judge.python: no interpreter at"),
        (lambda path: script(path, "exit 1"), "does not run as a Python interpreter"),
        (lambda path: script(path, "true"), "does not run as a Python interpreter"),
        (lambda path: script(path, "echo hello"), "does not run as a Python interpreter"),
        (lambda path: script(path, "kill -9 $$"), "does not run as a Python interpreter"),
        (lambda path: script(path, "echo 3 9"), "is Python 3.9; 3.10 or newer is needed"),
        (lambda path: script(path, "echo 2 7"), "is Python 2.7; 3.10 or newer is needed"),
    ],
)
def test_what_is_no_interpreter(tmp_path, make, says):
    make(tmp_path / "python")
    assert says in refused(str(tmp_path / "python"))


def test_a_binary_that_is_no_program(tmp_path):
    (tmp_path / "python").write_bytes(b"\x7fELF garbage")
    (tmp_path / "python").chmod(0o755)
    assert "does not run as a Python interpreter" in refused(str(tmp_path / "python"))


def test_python_3_10_is_enough(tmp_path):
    path = script(tmp_path / "python", "echo 3 10")
    assert resolve_interpreter("editor", str(path), None).python == str(path)


def test_python_or_conda_not_both():
    assert "judge: give either python or conda, not both" in refused("a", "b")


def test_a_conda_environment_by_name_and_by_path(home, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/the/drivers/own")
    prefix = conda_environment(home / "miniconda3" / "envs" / "qwen3_vl")
    for given in ("qwen3_vl", str(prefix), "~/miniconda3/envs/qwen3_vl"):
        found = resolve_interpreter("judge", None, given)
        assert found.python == str(prefix / "bin" / "python")
        assert found.env["CONDA_PREFIX"] == str(prefix)
        assert found.env["PATH"].split(os.pathsep)[0] == str(prefix / "bin")
        assert found.env["VIRTUAL_ENV"] is None  # removed: it is the driver's


def test_conda_environments_elsewhere_are_found(home, monkeypatch, tmp_path):
    recorded = conda_environment(tmp_path / "big-disk" / "envs" / "judge")
    (home / ".conda").mkdir()
    (home / ".conda" / "environments.txt").write_text(f"{recorded}\n\n/gone/away\n")
    root = tmp_path / "conda"
    conda_environment(root / "envs" / "other")
    monkeypatch.setenv("CONDA_EXE", str(root / "bin" / "conda"))
    assert resolve_interpreter("judge", None, "judge").python == str(recorded / "bin" / "python")
    assert resolve_interpreter("judge", None, "other").python == str(root / "envs/other/bin/python")


def test_a_conda_environment_that_is_not_there(home):
    assert "judge.conda: no conda environment is called 'qwen'" in refused(conda="qwen")
    conda_environment(home / "miniforge3" / "envs" / "qwen3_vl")
    assert "(did you mean 'qwen3_vl'?)" in refused(conda="qwen3-vl")
    assert "there are qwen3_vl" in refused(conda="zzz")
    assert "no conda environment at /none" in refused(conda="/none")
    (home / "miniforge3" / "envs" / "broken" / "conda-meta").mkdir(parents=True)
    assert "no conda environment is called 'broken'" in refused(conda="broken")


# Running in one


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """Return a virtual environment with Pillow, a library of its own, and another PyYAML than the driver's."""
    root = tmp_path_factory.mktemp("environment") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    [site] = root.glob("lib/python*/site-packages")
    installed = Path(PIL.__file__).parent
    for name in ("PIL", "pillow.libs"):
        if (installed.parent / name).exists():
            (site / name).symlink_to(installed.parent / name)
    (site / "only_here.py").write_text("ANSWER = 42\n")
    (site / "yaml.py").write_text("__version__ = 'of the stage'\n")
    return root


PLUGIN = """
import importlib.metadata, importlib.util, json, os, sys
from edit_eval.editors import Editor

class Nosy(Editor):
    def __init__(self, params, context):
        super().__init__(params, context)
        import only_here, yaml
        assert only_here.ANSWER == 42
        assert yaml.__version__ == "of the stage"

    def edit(self, request, step):
        dists = sorted({one.metadata["Name"] for one in importlib.metadata.distributions()})
        assert "edit-eval" not in dists, dists
        assert dists == [], dists
        for name in ("pydantic", "orjson", "scipy", "numpy", "torch", "pytest", "harness", "faulty", "neighbour"):
            assert importlib.util.find_spec(name) is None, name
        found = {
            "prefix": sys.prefix,
            "path": sys.path,
            "edit_eval": sys.modules["edit_eval"].__file__,
            "cwd": os.getcwd(),
            "links": sorted(os.listdir(os.environ["PYTHONPATH"])),
            "env": {name: os.environ.get(name) for name in
                    ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS", "MINE",
                     "VLLM_USE_FLASHINFER_MOE_FP16", "VLLM_USE_FLASHINFER_SAMPLER", "HF_HUB_OFFLINE")},
            "heavy": [name for name in ("torch", "pydantic", "yaml", "socketserver") if name in sys.modules],
        }
        print("what the host sees:", json.dumps(found))
        return request.images[0]
"""


@pytest.fixture
def nosy(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "nosy_plugin.py").write_text(textwrap.dedent(PLUGIN))
    (folder / "neighbour.py").touch()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("nosy_plugin", None)


def test_a_host_sees_its_own_environment_and_not_the_drivers(tmp_path, environment, nosy, monkeypatch):
    # What is set in the user's shell must not leak the driver's packages into the stage either.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    tree = config_tree(
        tmp_path,
        make_benchmark(tmp_path / "data", ["ok"] * 3),
        editor__type="nosy_plugin:Nosy",
        editor__python=str(environment / "bin" / "python"),
        editor__env={"MINE": "yes"},
        editor__devices=["cpu:0"],
    )
    ran = Ran(tree)
    assert [event.reason for event in ran.of(EditFailed)] == []
    assert len(ran.of(EditFinished)) == 3
    assert summarize(ran.run).coverage == 1.0  # the judge ran in the driver's Python

    log = (tmp_path / "run" / "logs" / "edit-cpu-0.log").read_text()
    found = json.loads(log.split("what the host sees:", 1)[1].splitlines()[0])
    assert found["prefix"] == str(environment)
    assert set(found["links"]) - {"__pycache__"} == {"edit_eval", "nosy_plugin.py"}
    assert found["edit_eval"].startswith(found["cwd"])
    assert found["env"] == {
        "CUDA_VISIBLE_DEVICES": "",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "MINE": "yes",
        "VLLM_USE_FLASHINFER_MOE_FP16": "0",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "HF_HUB_OFFLINE": "1",
    }
    assert found["heavy"] == ["yaml"]  # only what the plugin itself imported
    facts = ran.run.info["starts"][0]["hosts"]["edit CPU 0"]
    assert facts["executable"] == str(environment / "bin" / "python")
    assert not Path(found["cwd"]).exists()  # the links are gone with the keeper


def test_an_environment_without_what_a_stage_needs_fails_with_the_reason(tmp_path, nosy, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    tree = config_tree(
        tmp_path,
        make_benchmark(tmp_path / "data", ["ok"]),
        editor__type="nosy_plugin:Nosy",
        editor__python=str(tmp_path / "bare"),
    )
    with pytest.raises(EditEvalError, match="has no Pillow"):
        Ran(tree)
