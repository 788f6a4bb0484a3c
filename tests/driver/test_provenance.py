from __future__ import annotations

import yaml

from edit_eval.driver.provenance import provenance_of

INFO = {
    "created": "2025-01-01T00:00:00+00:00",
    "config": {
        "benchmark": {"type": "gedit", "path": "data"},
        "editor": {"model": "Qwen/Qwen-Image-Edit-2509", "env": {"HF_TOKEN": "***"}},
        "seed": 3,
        "repeats": 2,
        "output": "runs/a b",
    },
    "identity": {
        "editor": {
            "name": "qwen_image_edit",
            "version": 3,
            "model": {"repository": "Qwen/Qwen-Image-Edit-2509", "commit": "d3968ef"},
            "params": {"num_inference_steps": 40},
            "components": {"transformer": {"sha256": "ab" * 32}},
        },
        "judge": {"name": "reference", "version": 1, "model": None, "params": {}},
        "rubric": "cd" * 32,
    },
    "data": {"benchmark": {"repository": "stepfun-ai/GEdit-Bench", "commit": "e1"}},
    "starts": [
        {"at": "t1", "edit_eval": "0.1.0", "hosts": {"edit GPU 0": {"torch": "2.6", "python": "3.12"}}},
        {"at": "t2", "edit_eval": "0.1.0", "hosts": {"edit GPU 1": {"torch": "2.7", "python": "3.12"}}},
    ],
}


def test_models_revisions_hashes_seeds_and_versions_are_said():
    one = provenance_of(INFO)
    assert one.facts["editor"] == "qwen_image_edit, version 3"
    assert one.facts["editor's model"] == "Qwen/Qwen-Image-Edit-2509"
    assert one.facts["editor's revision"] == "d3968ef"
    assert one.facts["editor's transformer"] == f"sha256 {'ab' * 32}"
    assert one.facts["editor's parameters"] == "num_inference_steps 40"
    assert one.facts["rubric hash"] == "cd" * 32
    assert one.facts["data: benchmark"] == "repository stepfun-ai/GEdit-Bench, commit e1"
    assert (one.facts["seed"], one.facts["repeats"]) == ("3", "2")
    assert one.facts["torch"] == "2.6, 2.7 (mixed)"
    assert one.facts["python"] == "3.12"
    assert one.facts["starts"] == "t1, t2"
    assert "judge's model" not in one.facts


def test_the_command_is_quoted_and_the_config_is_read_back_as_it_was():
    one = provenance_of(INFO)
    assert one.command == "edit-eval run 'runs/a b'"
    assert yaml.safe_load(one.config) == INFO["config"]


def test_a_run_that_says_little_has_little():
    one = provenance_of({})
    assert (one.facts, one.command, one.config) == ({}, "", "")
