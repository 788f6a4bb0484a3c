"""What an interpreter says of itself, real ones and ones made by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edit_eval.core.errors import UserError
from edit_eval.driver.environments import older, probe_environment
from edit_eval.driver.interpreters import Interpreter
from edit_eval.worker.probe import look


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """Return a virtual environment with nothing, and a fake torch beside."""
    root = tmp_path_factory.mktemp("bare") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    return root


def site(root: Path) -> Path:
    [found] = root.glob("lib/python*/site-packages")
    return found


def fake_torch(
    root: Path, version: str, text: str, init: str = "raise ImportError('libcudart.so.13')\n"
) -> None:
    folder = site(root) / "torch"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text(init)
    (folder / "version.py").write_text(text)
    info = site(root) / f"torch-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Name: torch\nVersion: {version}\n")


def test_an_environment_without_anything(bare):
    found = probe_environment(Interpreter(str(bare / "bin" / "python")), {}, ["torch", "PIL"])
    assert found.packages == {"torch": None, "PIL": None}
    assert (found.torch_cuda, found.torch) == (None, None)
    assert found.python == sys.version.split()[0]


def test_versions_without_an_import_and_errors_with_one(bare, tmp_path):
    root = tmp_path / "env"
    shutil.copytree(bare, root, symlinks=True)
    fake_torch(root, "2.9.0+cu130", "cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n")
    interpreter = Interpreter(str(root / "bin" / "python"))
    found = probe_environment(interpreter, {}, ["torch"])
    assert found.packages == {"torch": "2.9.0+cu130"}
    assert found.torch_cuda == (13, 0)
    assert found.torch is None
    deep = probe_environment(interpreter, {}, ["torch"], torch=True)
    assert (deep.torch.sees_cuda, deep.torch.error) == (False, "libcudart.so.13")


def test_it_sees_what_a_host_would_see(bare, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    interpreter = Interpreter(str(bare / "bin" / "python"))
    assert probe_environment(interpreter, {}, ["torch"]).packages == {"torch": None}
    given = probe_environment(interpreter, {"PYTHONPATH": str(tmp_path)}, ["torch"])
    assert given.packages == {"torch": "unknown"}


def test_what_gives_no_answer(tmp_path):
    path = tmp_path / "python"
    for text, says in (
        ("echo oh no >&2; exit 3", "oh no"),
        ("exit 3", "exit status 3"),
        ("echo hello", "hello|Expecting"),
    ):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        with pytest.raises(UserError, match=says):
            probe_environment(Interpreter(str(path)), {}, ["torch"])
    with pytest.raises(UserError, match="cannot be looked into"):
        probe_environment(Interpreter(str(tmp_path / "none")), {}, [])


def test_versions_in_order():
    assert older("4.56.2", "4.57")
    assert not older("4.57.0", "4.57")
    assert not older("5.0.0rc1", "4.57")
    assert not older("unknown", "4.57")
    assert older("0.35.0", "0.35.1")
    assert not older("0.35.1+cu126", "0.35.1")
    assert not older("0.36", "0.35.1")


@pytest.mark.models
def test_the_libraries_say_what_they_know_without_being_imported():
    found = probe_environment(
        Interpreter(sys.executable),
        {},
        ["torch", "diffusers", "transformers"],
        pipelines=["QwenImageEditPlusPipeline", "QwenImageEditPipeline", "FluxKontextPipeline", "NoPipeline"],
        model_types=["qwen3_vl_moe", "qwen2_5_vl", "t5", "clip_text_model", "no_model"],
    )
    assert all(found.packages.values())
    lacking = ["QwenImageEditPlusPipeline"] if older(str(found.packages["diffusers"]), "0.36") else []
    assert found.unknown == [*lacking, "NoPipeline", "no_model"]


@pytest.mark.models
def test_a_sound_build_is_measured_and_called_sound():
    found = look({"torch": True})["torch"]
    assert found["conv3d"]["error"] < 0.001
    assert found["conv3d"]["conv_s"] < max(0.1, 20 * found["conv3d"]["linear_s"])
