"""run.json: what can be relied on when it was read, and what is said when it cannot be."""

from __future__ import annotations

import json

import pytest

from edit_eval.core.errors import RunError
from edit_eval.driver.plan import Judging
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.runinfo import DamagedInfo, needed, read_info

RUBRIC = json.loads(json.dumps(load_rubric("general-v1").to_json()))
JUDGING = json.loads(
    json.dumps(Judging({"name": "j"}, {"": load_rubric("general-v1")}, ("reference",)).to_json())
)


def written(folder, info, *, ledger: bool = True):
    (folder / "run.json").write_text(info if isinstance(info, str) else json.dumps(info))
    if ledger:
        (folder / "edits.jsonl").touch()
    return folder


@pytest.mark.parametrize(
    "info",
    [
        {"format": 1},
        {"format": 1, "name": "\ud800", "unknown": [{}]},
        {"format": 1, "judge": None, "judging": None, "protocol": None, "identity": {"judge": None}},
        {
            "format": 1,
            "judging": JUDGING,
            "min_coverage": 1,
            "starts": [{"hosts": {"edit CPU 0": {"load_s": 1}}}],
        },
    ],
)
def test_what_is_there_and_right_is_returned(tmp_path, info):
    assert read_info(written(tmp_path, info)) == info


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"name": 3}, "name"),
        ({"config": []}, "config"),
        ({"config": {"editor": {"params": 3}}}, "config.editor.params"),
        ({"identity": None}, "identity"),
        ({"identity": {"editor": "x"}}, "identity.editor"),
        ({"min_coverage": "0.9"}, "min_coverage"),
        ({"starts": {}}, "starts"),
        ({"starts": [{"hosts": {"edit CPU 0": {"accelerator": []}}}]}, "starts.0.hosts"),
        ({"judging": {"identity": {}, "rubric": {}}}, "judging"),
        ({"judging": {**JUDGING, "reads": [1]}}, "judging"),
        ({"judging": {**JUDGING, "rubric": {**RUBRIC, "overall": "nothing"}}}, "judging.*unknown dimension"),
        ({"judging": {**JUDGING, "rubric": {**RUBRIC, "dimensions": None}}}, "judging.*dimensions"),
        ({"judging": {**JUDGING, "rubric": {**RUBRIC, "low": "0"}}}, "judging.*range"),
        ({"judging": {**JUDGING, "rubric": {**RUBRIC, "calls": [3]}}}, "judging.*calls"),
    ],
)
def test_what_is_damaged_is_named_with_the_command_that_writes_it_anew(tmp_path, change, where):
    with pytest.raises(
        DamagedInfo, match=rf"damaged: {where}.*'edit-eval run CONFIG --output .*' writes it anew"
    ):
        read_info(written(tmp_path, {"format": 1, **change}))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"format": "1"}', '{"format": true}', "\0\0"])
def test_without_a_ledger_beside_it_may_be_anybodys(tmp_path, text):
    with pytest.raises(RunError, match="is no run directory") as caught:
        read_info(written(tmp_path, text, ledger=False))
    assert not isinstance(caught.value, DamagedInfo)
    with pytest.raises(DamagedInfo):
        read_info(written(tmp_path, text))


def test_a_newer_one_is_not_damaged(tmp_path):
    with pytest.raises(RunError, match="newer edit-eval") as caught:
        read_info(written(tmp_path, {"format": 2, "name": 3}))
    assert not isinstance(caught.value, DamagedInfo)


def test_what_is_needed_and_missing_is_named(tmp_path):
    info = {"identity": {"editor": {"name": "e"}, "judge": None}}
    assert needed(info, "identity.editor", tmp_path) == {"name": "e"}
    for key in ("identity.judge", "config", "editor", "size_policy.editor"):
        with pytest.raises(DamagedInfo, match=f"lacks '{key}'; 'edit-eval run CONFIG"):
            needed(info, key, tmp_path)
    with pytest.raises(DamagedInfo, match=f"'edit-eval run {tmp_path}' writes it anew"):
        needed({"config": {}}, "editor", tmp_path)
