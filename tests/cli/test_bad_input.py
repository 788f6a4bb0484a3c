"""Bad input through the command line: one clear line on stderr, exit code 2, at once, and nothing left behind."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from harness import cli, make_benchmark

CONFIG = """\
benchmark: {type: folder, path: data/samples.jsonl}
editor: {type: scripted, devices: [cpu:0]}
judge: {type: reference, devices: [cpu:0]}
output: run
"""


@pytest.fixture
def here(tmp_path) -> Path:
    """Return a folder with a good config `c.yaml`, its benchmark, and one sample `s0000` ... `s0002` per image."""
    make_benchmark(tmp_path / "data", ["make it red", "make it blue", "remove it"])
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def refused(here: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Run the command, check that it is refused as it should be, and return what it says."""
    before = _files(here)
    began = _children_s()
    done = cli(*arguments, cwd=here, env={"HF_HUB_CACHE": str(here / "hub"), **(env or {})}, anew=True)
    seconds = _children_s() - began
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("\n")
    [line] = done.stderr.splitlines()
    assert line.startswith("edit-eval: ")
    assert seconds < 3
    assert _files(here) == before
    return line.removeprefix("edit-eval: ")


def _files(here: Path) -> list[Path]:
    return sorted(path for path in here.iterdir() if path.name != "cache")


def _children_s() -> float:
    """Return the CPU time of the commands so far: that does not depend on who else is at work here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def change(here: Path, old: str, new: str) -> None:
    text = (here / "c.yaml").read_text()
    assert old in text
    (here / "c.yaml").write_text(text.replace(old, new))


def test_the_good_config_is_good(here):
    done = cli("run", "c.yaml", "--display", "none", cwd=here)
    assert done.returncode in (0, 3), done.stderr
    assert done.stderr == ""


# The config


def test_no_such_config(here):
    assert refused(here, "run", "d.yaml") == "no config at d.yaml (did you mean 'c.yaml'?)"
    assert "no config at none/c.yaml" in refused(here, "run", "--config", "none/c.yaml")


@pytest.mark.parametrize("arguments", [["run"], ["edit"], ["score"]])
def test_no_config_at_all(here, arguments):
    assert "name one config" in refused(here, *arguments)


def test_a_config_named_twice(here):
    assert "named twice" in refused(here, "run", "c.yaml", "--config", "c.yaml")


def test_a_config_that_is_a_folder(here):
    assert "data is a folder without run.json; name a config file or a run directory" in refused(
        here, "run", "data"
    )


def test_a_config_that_is_an_image(here):
    assert "cannot read the config" in refused(here, "run", "data/0000.png")


def test_a_config_that_is_broken(here):
    change(here, "{type: folder,", "{type: folder")
    assert "c.yaml: line 1 is not YAML" in refused(here, "run", "c.yaml")


def test_a_config_that_is_a_list(here):
    (here / "c.yaml").write_text("- benchmark\n- editor\n")
    assert "is no config: expected keys such as benchmark" in refused(here, "run", "c.yaml")


def test_unknown_keys_are_all_named(here):
    change(here, "output: run", "ouput: run\nsed: 3")
    line = refused(here, "run", "c.yaml")
    assert "ouput: unknown key (did you mean 'output'?)" in line
    assert "sed: unknown key (did you mean 'seed'?)" in line


def test_unknown_type(here):
    assert "(did you mean 'scripted'?)" in refused(here, "run", "c.yaml", "--set", "editor.type=scriptd")


def test_a_value_of_the_wrong_type(here):
    assert "judge.batch_size: input should be a valid integer" in refused(
        here, "run", "c.yaml", "--set", "judge.batch_size=x"
    )


def test_an_override_that_is_none(here):
    assert refused(here, "run", "c.yaml", "--set", "seed") == "--set seed: write it as a.b=value"


def test_a_plugin_that_does_not_import(here):
    line = refused(here, "run", "c.yaml", "--set", "editor.type=no_such_plugin:Editor")
    assert (
        "'no_such_plugin:Editor' (no_such_plugin:Editor) does not import: No module named 'no_such_plugin'"
        in line
    )


# Devices


@pytest.mark.parametrize(
    ("device", "hint"),
    [
        ("gpu:0", "did you mean 'cuda:0'?"),
        ("cpu0", "did you mean 'cpu:0'?"),
        ("mps", "write cuda:0, cpu:0 or all"),
    ],
)
def test_unknown_device(here, device, hint):
    line = refused(here, "run", "c.yaml", "--devices", device)
    assert f"editor.devices: unknown device '{device}'" in line
    assert hint in line


def test_more_gpus_than_there_are(here):
    line = refused(here, "run", "c.yaml", "--devices", "cuda:0,cuda:1", env={"CUDA_VISIBLE_DEVICES": ""})
    assert "cuda:0, cuda:1 asked for, but there is no GPU here (CUDA_VISIBLE_DEVICES='')" in line
    assert "set editor.devices=[cpu:0,cpu:1]" in line or "set editor.devices=[cpu:0]" in line


def test_all_gpus_of_none(here):
    assert "there is no GPU here" in refused(
        here, "run", "c.yaml", "--devices", "all", env={"CUDA_VISIBLE_DEVICES": ""}
    )


def test_the_users_own_config_on_a_machine_without_gpus(here):
    (here / "c.yaml").write_text(
        "benchmark: {type: folder, path: data/samples.jsonl}\n"
        "diffusion_model: {type: multi_gpu_qwen_image_edit, params: {device_ids: [0, 1, 2, 3, 4, 5]}}\n"
        "reward_model: {type: qwen3_vl_subprocess, params: {device: auto, batch_size: 4}}\n"
    )
    line = refused(here, "run", "--config", "c.yaml", env={"CUDA_VISIBLE_DEVICES": ""})
    assert (
        "editor.devices: cuda:0, cuda:1, cuda:2, cuda:3, cuda:4, cuda:5 asked for, but there is no GPU here"
        in line
    )


def test_one_device_twice(here):
    assert "CPU 0 is named twice" in refused(here, "run", "c.yaml", "--devices", "cpu:0,cpu")


def test_no_device(here):
    assert "unknown device ''" in refused(here, "run", "c.yaml", "--devices", ",")


# Samples


def test_a_missing_image(here):
    for number in (0, 1):
        (here / "data" / f"{number:04}.png").unlink()
    line = refused(here, "run", "c.yaml")
    assert line == f"the image {here}/data/0000.png of sample 's0000' is missing, and 1 more are missing"


def test_an_empty_benchmark(here):
    (here / "data" / "samples.jsonl").write_text("")
    assert refused(here, "run", "c.yaml") == "the benchmark data/samples.jsonl has no samples"


def test_two_samples_of_one_id(here):
    table = here / "data" / "samples.jsonl"
    table.write_text(table.read_text().replace('"s0002"', '"s0000"'))
    assert refused(here, "run", "c.yaml") == "two samples have the id 's0000'; give every sample its own id"


def test_no_benchmark_there(here):
    line = refused(here, "run", "c.yaml", "--set", "benchmark.path=daten")
    assert line == "benchmark.path: there is nothing at daten"


def test_a_benchmark_with_a_broken_line(here):
    with (here / "data" / "samples.jsonl").open("a") as file:
        file.write("{broken\n")
    line = refused(here, "run", "c.yaml")
    assert "samples.jsonl" in line
    assert "4" in line


# Models


def test_a_folder_without_a_model(here):
    line = refused(
        here, "run", "c.yaml", "--set", "editor.type=qwen_image_edit", "--set", "editor.model=data"
    )
    assert line == "editor.model: data holds no model: model_index.json is missing"


def test_no_such_model_folder(here):
    line = refused(
        here, "run", "c.yaml", "--set", "editor.type=qwen_image_edit", "--set", "editor.model=./none"
    )
    assert line == "editor.model: no model folder at ./none; give a folder or a hub id such as owner/name"


def test_a_model_that_is_not_in_the_cache(here):
    line = refused(
        here,
        "run",
        "c.yaml",
        "--set",
        "judge.type=qwen3_vl",
        "--set",
        "judge.model=Qwen/Qwen3-VL-8B-Instruct",
    )
    assert "judge.model: Qwen/Qwen3-VL-8B-Instruct is not on this machine" in line
    assert "edit-eval fetch CONFIG" in line


def test_a_model_that_nobody_named(here):
    line = refused(here, "run", "c.yaml", "--set", "editor.type=qwen_image_edit")
    assert "editor.model: is missing; give a local folder or a hub id" in line


def test_an_interpreter_that_is_not_there(here):
    line = refused(here, "run", "c.yaml", "--set", "judge.python=envs/qwen3_vl/bin/python")
    assert "judge.python: no interpreter at envs/qwen3_vl/bin/python" in line


def test_an_unknown_rubric(here):
    assert "(did you mean 'general-v1'?)" in refused(here, "run", "c.yaml", "--set", "judge.rubric=genral-v1")


# Outputs


@pytest.mark.parametrize("output", ["c.yaml", "c.yaml/below", "data/0000.png/deep/below", "/proc/none/run"])
def test_an_output_that_cannot_be_written(here, output):
    line = refused(here, "run", "c.yaml", "--output", output)
    assert f"{output}:" in line
    assert line.startswith("cannot write the run directory")
    assert line.endswith("set another output")


@pytest.mark.parametrize("output", ["c.yaml", "c.yaml/below", "/proc/none/run"])
def test_a_benchmark_that_makes_its_images_says_the_same(here, output):
    change(here, "{type: folder, path: data/samples.jsonl}", "{type: scenes, params: {n: 2, size: 128}}")
    line = refused(here, "run", "c.yaml", "--output", output)
    assert line.startswith("cannot write the run directory")
    assert line.endswith("set another output")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "LONG"],
        ["run", "c.yaml", "--output", "LONG"],
        ["run", "c.yaml", "--set", "benchmark.path=LONG"],
        ["run", "c.yaml", "--set", "judge.python=LONG"],
        ["run", "c.yaml", "--set", "judge.rubric=LONG/x"],
        ["score", "c.yaml", "--edits", "LONG"],
        ["report", "LONG"],
    ],
)
def test_a_path_that_is_too_long(here, arguments):
    line = refused(here, *[one.replace("LONG", "x" * 300) for one in arguments])
    assert "too long" in line


def test_an_output_of_a_newer_edit_eval(here):
    cli("run", "c.yaml", "--display", "none", cwd=here)
    (here / "run" / "edits.jsonl").write_text('{"v": 99, "key": "x"}\n')
    assert "was written by a newer edit-eval" in refused(here, "run", "c.yaml")


# Other commands


def test_a_folder_of_edits_that_is_not_there(here):
    assert f"the folder of edits {here}/none does not exist" in refused(
        here, "score", "c.yaml", "--edits", "none"
    )
    assert "is a file" in refused(here, "score", "c.yaml", "--edits", "c.yaml")


def test_scoring_what_was_never_edited(here):
    line = refused(here, "score", "c.yaml")
    assert "run holds no edits yet; make them with 'edit-eval edit'" in line


@pytest.mark.parametrize("command", [["report"], ["export", "--canonical"]])
def test_commands_on_what_is_no_run(here, command):
    name, *options = command
    assert "is no run directory (no run.json in it; it does not exist)" in refused(
        here, name, "none", *options
    )
    assert "data is no run directory (no run.json in it)" in refused(here, name, "data", *options)
    (here / "data" / "run.json").write_text(json.dumps({"name": "another program's"}))
    assert "data is no run directory" in refused(here, name, "data", *options)
    (here / "data" / "run.json").write_text("{broken")
    assert "data/run.json cannot be read" in refused(here, name, "data", *options)


def test_no_folder_of_runs(here):
    assert "no folder of runs at runs" in refused(here, "ls", "runs")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rum", "c.yaml"], "no such choice: 'rum' (did you mean 'run'?)"),
        (["zzz"], "no such choice: 'zzz'; there are run, edit, score"),
        ([], "COMMAND"),
        (["run", "c.yaml", "--dislay", "none"], "--dislay"),
        (["run", "c.yaml", "--display", "colour"], "no such choice: 'colour'"),
        (["run", "c.yaml", "--set"], "expected one argument"),
        (["export", "run"], "--canonical"),
        (["ls", "editor"], "(did you mean 'editors'?)"),
    ],
)
def test_wrong_usage(here, arguments, says):
    line = refused(here, *arguments)
    assert says in line
    assert "--help" in line


def test_an_output_that_holds_other_files(here):
    line = refused(here, "run", "c.yaml", "--output", "data")
    assert "holds other files ('0000.png' ...) and is no run; set another output" in line


def test_an_output_with_a_null_byte(here):
    change(here, "output: run", 'output: "a\\0b"')
    assert "null byte" in refused(here, "run", "c.yaml")
