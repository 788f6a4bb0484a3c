"""Which engine a judge's hosts take: alike on every device, by the work left, and as the run has begun."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest
from harness import config_tree, make_benchmark

from edit_eval.core.types import Sample
from edit_eval.driver.choices import compile_options, engine_options
from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.store import RunReader
from edit_eval.judges.asking import AskingJudge, AskingParams
from edit_eval.judges.vision import chosen_engine

ONE_QUESTION = load_rubric("general-v1")
THREE = AskingJudge.adapted(AskingParams(mode="expected"), load_rubric("general-5-v1"))


def wanted(count: int) -> list[WantedEdit]:
    return [WantedEdit(n, Sample(f"s{n}", "go", ("a.png",)), 0, 0, f"k{n}", ("0",)) for n in range(count)]


def options(rubric=ONE_QUESTION, count=10, devices=2, starts=()):
    return engine_options(Judging({}, {"": rubric}, ()), wanted(count), devices, starts)


def start(**hosts):
    return {"at": "", "hosts": {f"judge {name}": facts for name, facts in hosts.items()}}


def test_questions_are_counted_for_each_device_and_rounded_up():
    assert options(count=11) == {"questions": 6}
    assert options(THREE, 11) == {"questions": 17}
    assert options(count=0) == {"questions": 0}


def test_a_run_goes_on_with_the_engine_that_its_last_judge_had():
    first, second = start(a={"engine": "vllm"}), start(a={"engine": "transformers"}, b={})
    assert options(starts=[first])["engine"] == "vllm"
    assert options(starts=[first, second, None, {"at": "", "hosts": None}])["engine"] == "transformers"
    compiled = start(a={"engine": "transformers", "compile": "on"})
    assert options(starts=[compiled, second])["compile"] == "on"
    assert "engine" not in options(starts=[start(a={"torch": "2"}), {"hosts": {"edit a": {"engine": "x"}}}])


def test_edits_are_counted_for_each_device_and_compiling_is_as_before():
    assert compile_options(11, 2, ()) == {"edits": 6}
    assert compile_options(0, 2, ()) == {"edits": 0}
    first = {"hosts": {"edit a": {"compile": "on"}, "judge a": {"compile": "off"}}}
    second = {"hosts": {"edit a": {"compile": "off"}, "edit b": {}}}
    assert compile_options(1, 1, [first, None, {"hosts": None}]) == {"edits": 1, "compile": "on"}
    assert compile_options(1, 1, [first, second]) == {"edits": 1, "compile": "off"}


@pytest.mark.parametrize(
    ("wanted_engine", "device", "given", "has_vllm", "taken"),
    [
        ("auto", "cuda:0", {"questions": 250}, True, "vllm"),
        ("auto", "cuda:0", {"questions": 249}, True, "transformers"),
        ("auto", "cuda:0", {"questions": 900}, False, "transformers"),
        ("auto", "cpu", {"questions": 900}, True, "transformers"),
        ("auto", "cuda:0", {}, True, "transformers"),
        ("auto", "cuda:0", {"questions": 5, "engine": "vllm"}, True, "vllm"),
        ("auto", "cuda:0", {"questions": 900, "engine": "transformers"}, True, "transformers"),
        ("transformers", "cuda:0", {"questions": 900, "engine": "vllm"}, True, "transformers"),
        ("vllm", "cpu", {}, False, "vllm"),  # which then says that it is not there
    ],
)
def test_the_engine_that_suits(monkeypatch, wanted_engine, device, given, has_vllm, taken):
    spec = SimpleNamespace() if has_vllm else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "vllm" else None)
    assert chosen_engine(wanted_engine, device, given) == taken


def test_hosts_are_told_how_much_is_left(tmp_path):
    """From the pipeline to the judge's options, and what the host says of itself into run.json."""
    tree = config_tree(tmp_path, make_benchmark(tmp_path, ["go"] * 5), judge__type="telling:Telling")
    job = prepare(check_config(tree))
    run_job(job, lambda _: None)

    hosts = RunReader(job.output).info["starts"][-1]["hosts"]
    told = [facts for name, facts in hosts.items() if name.startswith("judge ")]
    assert told
    assert all(facts["told"] == -(-5 // len(job.judge.stage.spec.devices)) for facts in told)
