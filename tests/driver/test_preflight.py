"""The look at a judge before the first edit: what it finds without loading anything, and what becomes of that."""

from __future__ import annotations

import json
import shutil

import pytest
from harness import Ran, config_tree, make_benchmark

from edit_eval.core.errors import ConfigError
from edit_eval.core.types import Call, Dimension, Rubric
from edit_eval.driver.events import Note
from edit_eval.driver.rubrics import builtin_rubrics, load_rubric
from edit_eval.worker.roles import _trial
from edit_eval.worker.tryout import drawings


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def remote(tmp_path, model: str, **more) -> dict:
    table = make_benchmark(tmp_path / "data", ["-"])
    return config_tree(tmp_path, table, judge={"type": "remote:RemoteJudge", "model": model}, **more)


def warnings(ran: Ran) -> list[str]:
    return [note.text for note in ran.of(Note) if note.level == "warning"]


@pytest.mark.parametrize("model", ["well", "prints"])
def test_what_is_well_is_not_said_and_a_doubt_is(tmp_path, model):
    ran = Ran(remote(tmp_path, model))
    assert warnings(ran) == ["judge: it may rain; take an umbrella"]
    assert ran.rows[0].verdict.overall == 5
    assert not (tmp_path / "run" / "logs" / "edit-cpu-0.log").read_text()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("refuses", r"^judge\.model: the shop is closed; come back on Monday \(nothing was edited"),
        ("raises", r"^judge: cannot be tried out: ValueError: cannot think with \*\*\*; correct what"),
        ("junk", r"^judge: cannot be tried out: TypeError: try_out\(\) must return"),
        ("exits", r"^judge: cannot be tried out: exit code 3"),
    ],
)
def test_what_would_not_do_is_one_line_before_any_edit(tmp_path, model, says, monkeypatch):
    monkeypatch.setenv("REMOTE_API_KEY", "PLANTED-and-long")
    tree = remote(tmp_path, model)
    with pytest.raises(ConfigError, match=says) as caught:
        Ran(tree)
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "run" / "edits.jsonl").read_text()
    ran = Ran({**tree, "preflight": "warn"})
    assert len(warnings(ran)) == 1
    assert ran.rows[0].verdict.overall == 5
    assert "PLANTED" not in json.dumps(warnings(ran))
    assert warnings(Ran({**tree, "output": str(tmp_path / "other"), "preflight": "off"})) == []


def test_only_a_stage_that_judges_is_tried_out(tmp_path):
    ran = Ran(remote(tmp_path, "refuses"), stages=("edit",))
    assert ran.rows[0].edited
    with pytest.raises(ConfigError, match="the shop is closed"):
        Ran(remote(tmp_path, "refuses"), stages=("judge",))


@pytest.mark.models
@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("processor_config.json", "preprocessor_config.json or processor_config.json is missing"),
        ("tokenizer.json", "tokenizer.json or tokenizer.model or .* is missing"),
    ],
)
def test_a_local_judge_without_its_processor_is_found_before_any_edit(tmp_path, tiny, lost, says):
    folder = tmp_path / "model"
    shutil.copytree(tiny("qwen3-vl"), folder)
    (folder / lost).unlink()
    judge = {"type": "qwen3_vl", "model": str(folder), "devices": ["cpu:0"]}
    table = make_benchmark(tmp_path / "data", ["-"])
    with pytest.raises(ConfigError, match=f"^judge.model: {folder}: {says}; copy or download it again"):
        Ran(config_tree(tmp_path, table, judge=judge))
    assert not (tmp_path / "run" / "edits.jsonl").read_text()


@pytest.mark.models
def test_a_local_judge_whose_interpreter_lacks_a_library_is_found_before_any_edit(tmp_path, tiny):
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    judge = {"type": "qwen3_vl", "model": str(tiny("qwen3-vl")), "devices": ["cpu:0"]}
    judge["python"] = str(tmp_path / "bare" / "bin" / "python")
    table = make_benchmark(tmp_path / "data", ["-"])
    with pytest.raises(ConfigError, match=r"^judge\.python: .* has no torch, torchvision, PIL, transformers"):
        Ran(config_tree(tmp_path, table, judge=judge))
    assert not (tmp_path / "run" / "edits.jsonl").read_text()


@pytest.mark.parametrize("name", [name for name in builtin_rubrics() if load_rubric(name).calls])
def test_every_rubric_has_a_first_question_about_the_drawings(name):
    request = _trial(load_rubric(name), drawings())
    assert len(request.prompts) == len(load_rubric(name).calls)
    assert all(request.images_of(prompt) for prompt in request.prompts)


def test_a_rubric_with_notes_and_several_sources_has_one_too():
    call = Call(
        "a", "{note:effect} {instruction} {output_format}", ("x",), ("source/3", "edited", "reference/2")
    )
    rubric = Rubric("r", (Dimension("x", 0, 10),), (call,), "x", 0, 10)
    request = _trial(rubric, drawings())
    assert len(request.images_of(request.prompts[0])) == 3
    assert len(request.sources) == 3
