"""The scripts and configs in the project's root: they parse, explain themselves, and do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from edit_eval.driver.config import load_config

ROOT = Path(__file__).parents[2]
SCRIPTS = ("setup_qwen3_vl_env.sh", "QUICK_TEST_PROGRESS.sh", "QUICK_TEST_MULTI_GPU_SCORING.sh", ".ci/run")
CONFIGS = ("config_full_multi_gpu.yaml", "config_multi_gpu_subprocess.yaml")
SETUP = ROOT / "setup_qwen3_vl_env.sh"


def run(
    *command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_reads_it(name):
    path = ROOT / name
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


def shell_scripts() -> list[str]:
    """Return every file of the project that bash runs."""
    folders = (ROOT.glob("*"), (ROOT / ".ci").glob("*"), (ROOT / "examples").rglob("*"))
    files = (path for folder in folders for path in folder if path.is_file())
    return sorted(
        str(path.relative_to(ROOT))
        for path in files
        if path.read_bytes()[:20].startswith(b"#!/") and b"bash" in path.read_bytes()[:40]
    )


def test_scripts_are_found():
    assert {*SCRIPTS, "examples/slurm/shards.sbatch"} < set(shell_scripts())


@pytest.mark.parametrize("name", shell_scripts())
@pytest.mark.parametrize(
    "checker", [["bash", "-n"], [Path(sys.executable).with_name("shellcheck")]], ids=["bash", "shellcheck"]
)
def test_nothing_in_it_is_wrong(name, checker):
    checked = run(*checker, ROOT / name)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


# The two configs


@pytest.mark.parametrize("name", CONFIGS)
def test_without_gpus_one_line_says_what_to_do(name):
    done = run(sys.executable, "main.py", "--config", name, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "cuda:5 asked for, but there is no GPU here" in done.stderr
    assert "run it on a machine with GPUs, or set editor.devices=[cpu:0" in done.stderr


def test_configs_say_what_they_are_called_for():
    full = load_config(ROOT / CONFIGS[0]).config
    single = load_config(ROOT / CONFIGS[1]).config
    for config in (full, single):
        assert config.editor.type == "qwen_image_edit"
        assert config.editor.devices == [0, 1, 2, 3, 4, 5]
        assert config.editor.params["num_inference_steps"] == 30
        assert config.judge is not None
        assert config.judge.type == "qwen3_vl"
    assert full.judge.devices == [0, 1, 2, 3, 4, 5]
    assert full.judge.batch_size == 2
    assert single.judge.devices == "auto"
    assert single.judge.batch_size == 4


@pytest.mark.parametrize("name", CONFIGS)
def test_lines_to_uncomment_are_good_config(name, tmp_path):
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = re.findall(r"^    # (?:python|conda): .*$", text, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        path = tmp_path / "config.yaml"
        path.write_text(text.replace(line, line.replace("# ", "", 1)), encoding="utf-8")
        load_config(path)


# The judge's environment


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which only a Python and the system's own tools are found: no nvidia-smi, no conda."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "cat", "sed", "head", "sort", "grep"):
        (tools / name).symlink_to(shutil.which(name) or name)
    (tools / "python3").symlink_to(sys.executable)
    return {"PATH": str(tools), "TORCH_INDEX_URL": "", "PYTHON": sys.executable, "CONDA_EXE": ""}


def with_driver(bare: Mapping[str, str], cuda: str) -> Mapping[str, str]:
    """Put an nvidia-smi there that reports this CUDA version."""
    path = Path(bare["PATH"]) / "nvidia-smi"
    path.write_text(
        f"#!/bin/bash\necho '| NVIDIA-SMI 600.1   Driver Version: 600.1   CUDA Version: {cuda}  |'\n"
    )
    path.chmod(0o755)
    return bare


def planned(bare: Mapping[str, str], *arguments: str) -> str:
    done = run(SETUP, "--dry-run", *arguments, env=bare)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_setup_explains_itself():
    done = run(SETUP, "--help")
    assert done.returncode == 0
    for word in ("--conda", "--dry-run", "TORCH_INDEX_URL", "torch 2.", "transformers=="):
        assert word in done.stdout


def test_setup_refuses_what_it_does_not_know(bare):
    assert run(SETUP, "--cnoda", env=bare).returncode == 2
    assert run(SETUP, "one", "two", env=bare).returncode == 2


def test_setup_without_gpu(bare, tmp_path):
    text = planned(bare, str(tmp_path / "env"))
    assert "No GPU found." in text
    assert re.search(r"--index-url https://download\.pytorch\.org/whl/cpu torch==[\d.]+\+cpu ", text)
    assert text.splitlines()[-1] == f"  python: {tmp_path / 'env' / 'bin' / 'python'}"
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(("cuda", "build"), [("12.6", "cu126"), ("12.8", "cu128"), ("12.9", "cu129")])
def test_setup_with_an_older_driver(bare, tmp_path, cuda, build):
    text = planned(with_driver(bare, cuda), str(tmp_path / "env"))
    assert f"--index-url https://download.pytorch.org/whl/{build} " in text
    assert f"+{build} " in text


@pytest.mark.parametrize("cuda", ["13.0", "13.4", "14.1"])
def test_setup_with_a_new_driver(bare, tmp_path, cuda):
    text = planned(with_driver(bare, cuda), str(tmp_path / "env"))
    assert "--index-url" not in text


def test_setup_with_a_driver_that_is_too_old(bare, tmp_path):
    done = run(SETUP, "--dry-run", tmp_path / "env", env=with_driver(bare, "12.2"))
    assert done.returncode == 1
    assert "update the driver" in done.stderr


def test_setup_with_an_index_of_ones_own(bare, tmp_path):
    text = planned({**bare, "TORCH_INDEX_URL": "https://wheels.example/simple"}, str(tmp_path / "env"))
    assert "--index-url https://wheels.example/simple torch==" in text
    text = planned({**bare, "TORCH_INDEX_URL": "pypi"}, str(tmp_path / "env"))
    assert "--index-url" not in text


def test_setup_with_conda(bare):
    done = run(SETUP, "--conda", env=bare)
    assert done.returncode == 1
    assert "no conda" in done.stderr
    text = planned(bare, "--conda")
    assert "conda create --yes --name qwen3_vl python=3." in text
    assert text.splitlines()[-1] == "  conda: <prefix of qwen3_vl>"


@pytest.mark.parametrize("tool", ["conda", "mamba", "micromamba", "CONDA_EXE", "MAMBA_EXE"])
@pytest.mark.parametrize("name", ["judge", "./envs/judge"])
def test_setup_with_each_conda_tool(bare, tmp_path, tool, name):
    """With a tool that pretends: the environment is made once, filled by its own pip, and named as conda: PREFIX."""
    for program in ("mkdir", "cp", "touch"):
        (Path(bare["PATH"]) / program).symlink_to(shutil.which(program) or program)
    log, prefix = tmp_path / "log", tmp_path / "prefix"
    python = tmp_path / "fake-python"
    python.write_text(
        f"""#!/bin/bash
echo "python $@" >> {log}
case "$*" in
  "-c "*) echo {prefix}/bin/python ;;
  "-m pip install --quiet --dry-run"*) exit 1 ;;
  "-m pip install "*) touch {tmp_path}/installed ;;
  "- "*) [ -e {tmp_path}/installed ] ;;
esac
"""
    )
    python.chmod(0o755)
    there = tmp_path / "bin" if tool.isupper() else Path(bare["PATH"])
    there.mkdir(exist_ok=True)
    program = there / ("mamba" if tool.isupper() else tool)
    program.write_text(
        f"""#!/bin/bash
echo "tool $@" >> {log}
case "$1" in
  create) mkdir -p {prefix}/bin && cp {python} {prefix}/bin/python ;;
  run) shift 4; {prefix}/bin/python "$@" ;;
esac
"""
    )
    program.chmod(0o755)
    env = {**bare, "MAMBA_EXE": "", tool: str(program)}
    first = run(SETUP, "--conda", name, env=env)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == f"  conda: {prefix}"
    flag = "--prefix" if "/" in name else "--name"
    channel = " --channel conda-forge" if tool == "micromamba" else ""
    assert f"tool create --yes {flag} {name}{channel} python=3." in log.read_text()
    log.unlink()
    second = run(SETUP, "--conda", name, env=env)
    assert "Everything is installed already." in second.stdout
    assert "create" not in log.read_text()
    assert "pip install" not in log.read_text()


def test_setup_is_not_led_astray_by_the_shell(bare, tmp_path):
    """Settings that would put packages elsewhere do not reach pip; those of a mirror do."""
    for program in ("mkdir", "cp", "env"):
        (Path(bare["PATH"]) / program).symlink_to(shutil.which(program) or program)
    seen = tmp_path / "seen"
    python = tmp_path / "fake-python"
    python.write_text(
        f"""#!/bin/bash
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install torch"*) env > {seen} ;;
  "- "*) exit 1 ;;
esac
"""
    )
    python.chmod(0o755)
    astray = {
        "PIP_USER": "1",
        "PIP_TARGET": "/x",
        "PYTHONPATH": "/y",
        "PYTHONHOME": "/z",
        "PIP_REQUIRE_VIRTUALENV": "1",
    }
    mirror = {"PIP_INDEX_URL": "https://mirror.example/simple", "HOME": "/proc", "TORCH_INDEX_URL": "pypi"}
    run(SETUP, tmp_path / "env", env={**bare, "PYTHON": str(python), **astray, **mirror})
    lines = seen.read_text().splitlines()
    assert {"PIP_USER=0", "PIP_INDEX_URL=https://mirror.example/simple"} <= {*lines}
    assert not [line for line in lines if line.startswith(("PIP_TARGET", "PYTHONPATH", "PYTHONHOME"))]


def test_setup_goes_on_where_it_was_cut_short(bare, tmp_path):
    """An environment without pip (no ensurepip at the time, say) is completed, not taken for a whole one."""
    for program in ("mkdir", "cp", "touch"):
        (Path(bare["PATH"]) / program).symlink_to(shutil.which(program) or program)
    python = tmp_path / "fake-python"
    python.write_text(
        f"""#!/bin/bash
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch {tmp_path}/pip ;;
  "-m pip --version") [ -e {tmp_path}/pip ] ;;
esac
"""
    )
    python.chmod(0o755)
    (tmp_path / "env" / "bin").mkdir(parents=True)
    shutil.copy(python, tmp_path / "env" / "bin" / "python")
    done = run(SETUP, tmp_path / "env", env={**bare, "PYTHON": str(python)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pip").exists()


def test_setup_makes_the_environment_once(bare, tmp_path):
    """With a Python that pretends to install, the second time nothing is installed."""
    log = tmp_path / "log"
    fake = tmp_path / "fake-python"
    fake.write_text(
        f"""#!/bin/bash
echo "$@" >> {log}
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install --quiet --dry-run"*) exit 1 ;;
  "-m pip install "*) touch {tmp_path}/installed ;;
  "- "*) [ -e {tmp_path}/installed ] ;;
esac
"""
    )
    fake.chmod(0o755)
    for name in ("mkdir", "cp", "touch"):
        (Path(bare["PATH"]) / name).symlink_to(shutil.which(name) or name)
    env = {**bare, "PYTHON": str(fake)}
    first = run(SETUP, tmp_path / "env", env=env)
    assert first.returncode == 0, first.stderr
    assert "-m pip install torch==" in log.read_text(), "without PyTorch's index, pip's own"
    assert (tmp_path / "env" / ".gitignore").read_text() == "*\n"
    log.unlink()
    second = run(SETUP, tmp_path / "env", env=env)
    assert second.returncode == 0, second.stderr
    assert "Everything is installed already." in second.stdout
    assert "pip install" not in log.read_text()
    assert second.stdout.splitlines()[-1] == f"  python: {tmp_path / 'env' / 'bin' / 'python'}"


def test_setup_pins_what_the_tests_run_with():
    """The judge's environment and the extra `test-models` hold the same versions."""
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    tested = dict(one.split("==") for one in extras["test-models"])
    text = SETUP.read_text(encoding="utf-8")
    assert f"TORCH={tested['torch']} TORCHVISION={tested['torchvision']}\n" in text
    for name in ("transformers", "accelerate"):
        assert f"{name}=={tested[name]}" in text


# The quick tests


@pytest.fixture
def elsewhere(bare: dict[str, str], tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return a copy of a quick test's surroundings and an environment whose Python seems to have no torch."""
    place = tmp_path / "project"
    (place / ".venv" / "bin").mkdir(parents=True)
    for name in ("QUICK_TEST_PROGRESS.sh", "QUICK_TEST_MULTI_GPU_SCORING.sh"):
        shutil.copy(ROOT / name, place)
    for name in ("rm", "mkdir"):
        (Path(bare["PATH"]) / name).symlink_to(shutil.which(name) or name)
    command = place / ".venv" / "bin" / "edit-eval"
    command.write_text(f'#!/bin/bash\nexec {sys.executable} -m edit_eval "$@"\n')
    command.chmod(0o755)
    (place / ".venv" / "bin" / "python").symlink_to(shutil.which("false") or "/bin/false")
    return place, bare


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("QUICK_TEST_PROGRESS.sh", "[SYNC] Editing images: 100%"),
        ("QUICK_TEST_MULTI_GPU_SCORING.sh", "[Reference Scoring] Completed!"),
    ],
)
def test_quick_test_without_gpu_and_torch(elsewhere, tmp_path, name, said):
    place, env = elsewhere
    done = run(place / name, cwd=tmp_path, env={**env, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr + done.stdout
    assert said in done.stdout
    assert "[CPU 1]" in done.stdout
    assert "so no real model was run" in done.stdout
    assert list(place.glob("runs/*/*/run/report/index.html"))


@pytest.mark.parametrize("name", ["QUICK_TEST_PROGRESS.sh", "QUICK_TEST_MULTI_GPU_SCORING.sh"])
def test_quick_test_before_installation(elsewhere, name):
    place, env = elsewhere
    shutil.rmtree(place / ".venv")
    done = run(place / name, env=env)
    assert done.returncode == 2
    assert "make demo" in done.stderr


@pytest.mark.parametrize("name", ["QUICK_TEST_PROGRESS.sh", "QUICK_TEST_MULTI_GPU_SCORING.sh"])
@pytest.mark.parametrize("model", ["", "models/mine"])
def test_quick_test_writes_good_configs_for_gpus(elsewhere, tmp_path, name, model):
    """With GPUs (pretended), what the script asks edit-eval for is a valid config on all of them."""
    place, env = elsewhere
    smi = Path(env["PATH"]) / "nvidia-smi"
    smi.write_text("#!/bin/bash\necho 'GPU 0: one'\necho 'GPU 1: two'\n")
    smi.chmod(0o755)
    command = place / ".venv" / "bin" / "edit-eval"
    command.write_text(f'#!/bin/bash\necho "$1 $2" >> {tmp_path}/asked\n')
    settings = {
        "HOME": str(tmp_path),
        "HF_HOME": "",
        "HF_HUB_CACHE": "",
        "XDG_CACHE_HOME": "",
        "MODEL": model,
    }
    done = run(
        place / name, env={**env, **settings, "EDITOR_PYTHON": "envs/e/bin/python", "JUDGE_PYTHON": "envs/j"}
    )
    assert done.returncode == 0, done.stderr
    asked = [line.split()[1] for line in (tmp_path / "asked").read_text().splitlines()]
    assert len(asked) == 1
    config = load_config(place / asked[0]).config
    scored = name == "QUICK_TEST_MULTI_GPU_SCORING.sh"
    stage = config.judge if scored else config.editor
    assert stage is not None
    assert stage.devices == "all"
    assert stage.model == (model or None)
    if model:
        assert stage.python == ("envs/j" if scored else "envs/e/bin/python")
    assert yaml.safe_load((place / asked[0]).read_text())["benchmark"]["type"] == "scenes"
