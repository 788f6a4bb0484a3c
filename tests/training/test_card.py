"""The page about the editor `tiny` says what the logs say."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from training.card import _apart, card, figure, read_logs, shipped_sampling
from training.measure import WAYS, measured, weights_hash
from training.plan import asked_for

from edit_eval.editors.tiny import TinyParams

SVG = "{http://www.w3.org/2000/svg}"
ROOT = Path(__file__).parents[2]


def means(kinds: dict[str, float]) -> dict[str, float]:
    found = {"all": sum(kinds.values()) / len(kinds), "en": 8.0, "zh": 7.5}
    for kind, score in kinds.items():
        found |= {kind: score, f"{kind} en": score + 0.25, f"{kind} zh": score - 0.25}
    return found


@pytest.fixture
def log() -> dict[str, Any]:
    setting = {"steps": 20, "guidance": 1.5, "guided_until": 0.5, "shift": 1.0}
    return {
        "plan": {"minutes": 11.0, "seed": 0, "batch": 256, "draws": 2, "rate": 0.0016, "warm_up": 400, "shape": {},
                 "validation": 200, "weighted": True, "workers": 14},
        "machine": {"device": "A GPU", "cores": 16, "torch": "2.14.1"},
        "parameters": 3_752_228,
        "steps": [{"step": 50 * n, "seconds": 10.0 * n, "loss": 2.0 / n, "pairs_drawn": 1000 * n} for n in range(1, 401)],
        "scores": [{"step": 2000 * n, "seconds": 400.0 * n, "all": 0.8 * n, "add": 0.9 * n, "text": 0.7 * n} for n in range(1, 11)],
        "settings": [{**setting, "score": 8.1}, {**setting, "steps": 2, "score": 3.0}, {**setting, "score": 8.1}],
        "chosen": setting,
        "test": {
            "scenes": 500,
            "20 steps": means({"add": 9.0, "text": 6.0}),
            "2 steps": means({"add": 3.0, "text": 2.0}),
            "no guidance": means({"add": 8.0, "text": 5.0}),
            "baselines": {"identity": means({"add": 0.0, "text": 0.0}), "random": means({"add": 0.0, "text": 0.01})},
        },
    }  # fmt: skip


def test_the_page_says_what_the_network_learnt_from(log: dict[str, Any]) -> None:
    plain = card({"tiny": log})
    assert "own estimate" not in plain
    assert "counts as failed" not in plain
    log["plan"] |= {"own": 0.5, "failed": 0.15}
    told = card({"tiny": log})
    assert "for half of them x_t leads to the network's own estimate" in told
    assert "For 15 % of the noises the edit counts as failed" in told
    assert "--seed 0 --batch 256 --own 0.5 --failed 0.15" in told


def test_the_page_is_what_the_logs_say() -> None:
    logs = read_logs(ROOT / "training" / "logs")
    known = json.loads((ROOT / "training" / "measured.json").read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "tiny-editor.md").read_text(encoding="utf-8") == card(
        logs, known, shipped_sampling()
    )
    drawn = (ROOT / "docs" / "images" / "tiny-loss.svg").read_text(encoding="utf-8")
    assert drawn == figure(logs["tiny"])


def test_the_command_of_the_page_is_the_training_that_was_run() -> None:
    log = read_logs(ROOT / "training" / "logs")["tiny"]
    said = {line for line in card({"tiny": log}).splitlines() if line.startswith("python -m training.train ")}
    [command] = said - {line for line in said if "--smoke" in line}
    for words in (command.split()[3:], ["--output", "weights"]):
        plan = asdict(asked_for([*words, "--device", "cpu"])[0])
        assert {**plan, "workers": 0} == {**log["plan"], "workers": 0}, words


def test_the_log_is_of_the_weights_that_are_shipped() -> None:
    folder = ROOT / "src" / "edit_eval" / "editors" / "tiny_weights"
    about = json.loads((folder / "tiny.json").read_text(encoding="utf-8"))
    known = json.loads((ROOT / "training" / "measured.json").read_text(encoding="utf-8"))
    assert known["weights"] == weights_hash()
    log = read_logs(ROOT / "training" / "logs")["tiny"]
    assert about["sampling"].items() <= asdict(TinyParams()).items(), "they are the editor's defaults"
    assert any(about["sampling"].items() <= one.items() for one in log["settings"])
    assert about["training"]["seed"] == log["plan"]["seed"]
    assert about["training"]["steps"] - log["steps"][-1]["step"] in range(log["plan"]["noted"])


def test_a_measurement_is_a_table(log: dict[str, Any]) -> None:
    one = {"mean": 5.2, "base": 6.68, "difference": -1.4776, "low": -1.6, "high": -1.3685, "p": 0.0001,
           "better": 52, "same": 0, "worse": 448}  # fmt: skip
    ways = {"2 steps": one, "no guidance": {**one, "p": 0.002}}
    page = card({"tiny": log}, {"scenes": 500, "ways": ways})
    assert "The defaults score 6.68." in page
    assert "| 2 steps | 5.20 | -1.478 | -1.600 to -1.369 | < 0.001 | 52 / 0 / 448 |" in page
    assert "| no guidance | 5.20 | -1.478 | -1.600 to -1.369 | 0.002 | 52 / 0 / 448 |" in page
    assert "Through edit-eval itself" not in card({"tiny": log})


@pytest.mark.long
def test_ways_to_sample_are_measured(tmp_path: Path) -> None:
    found = measured(tmp_path, 2, 2)
    assert list(found["ways"]) == list(WAYS)
    assert {one["better"] + one["same"] + one["worse"] for one in found["ways"].values()} == {2}
    json.dumps(found, allow_nan=False)


def test_scores_stand_beside_those_of_other_editors(log: dict[str, Any]) -> None:
    page = card({"tiny": log})
    assert "| all | 7.50 | 8.00 | 7.50 | 2.50 | 6.50 | 0.00 | 0.01 |" in page
    assert "| add | 9.00 | 9.25 | 8.75 | 3.00 | 8.00 | 0.00 | 0.00 |" in page
    assert "| text | 6.00 | 6.25 | 5.75 | 2.00 | 5.00 | 0.00 | 0.01 |" in page


def test_what_it_does_badly_is_said(log: dict[str, Any]) -> None:
    ours = log["test"]["20 steps"]
    assert "**It does not: 7.50 over all, and it does badly: text 6.00.**" in card({"tiny": log})
    ours |= {"text": 7.0, "text en": 7.0, "text zh": 7.0}
    assert "**It does not: 7.50 over all.**" in card({"tiny": log})
    ours |= {"all": 8.5, "zh": 8.5}
    assert "in both languages. It does." in card({"tiny": log})
    ours["add zh"] = 6.4
    assert "it does badly: add 9.00.**" in card({"tiny": log}), "in one language"
    assert "More steps" not in card({"tiny": log})
    log["test"]["2 steps"]["text"] = 7.5
    assert "More steps do not make these better: text 7.00; with 2 steps text 7.50." in card({"tiny": log})


def test_what_steps_and_guidance_are_worth_is_said(log: dict[str, Any]) -> None:
    page = card({"tiny": log})
    assert "by number of steps: 2: 3.00 (`shift` 1); 20: 8.10 (`shift` 1)." in page
    assert "Guidance is worth 1.00 on the test scenes (7.50 against 6.50 without)" in page


def test_guidance_that_is_worth_nothing_is_said_to_be(log: dict[str, Any]) -> None:
    assert "next to nothing" not in card({"tiny": log})
    log["test"]["no guidance"] = log["test"]["20 steps"]
    assert (
        "Guidance is worth 0.00 on the test scenes (7.50 against 7.50 without): **next to nothing**."
        in card({"tiny": log})
    )


def test_every_way_to_sample_is_there_once_and_the_best_in_bold(log: dict[str, Any]) -> None:
    rows = [line for line in card({"tiny": log}).splitlines() if line.startswith(("| 20 |", "| 2 |"))]
    assert rows == ["| 20 | 1.5 | 0.5 | 1 | **8.10** |", "| 2 | 1.5 | 0.5 | 1 | 3.00 |"]


def test_other_trainings_are_named_by_what_is_different(log: dict[str, Any]) -> None:
    assert "## Ablations" not in card({"tiny": log})
    other = copy.deepcopy(log)
    other["plan"] |= {"weighted": False, "shape": {"gated": 0}, "workers": 6, "minutes": 5.0}
    rows = [
        line
        for line in card({"tiny": log, "other": other}).splitlines()
        if line.endswith("| 7.50 | 2.50 | 6.50 |")
    ]
    assert rows == [
        "| as shipped | 11 | 20,000 | 7.50 | 2.50 | 6.50 |",
        "| `weighted` false, `gated` 0 | 5 | 20,000 | 7.50 | 2.50 | 6.50 |",
    ]


def test_the_figure_stays_within_its_axes(log: dict[str, Any]) -> None:
    picture = ET.fromstring(figure(log))
    lines = [line.attrib["points"].split() for line in picture.iter(f"{SVG}polyline")]
    assert [len(points) for points in lines] == [134, 10, 10, 10]
    for points, left in zip(lines, (60, 470, 470, 470), strict=True):
        for x, y in (map(float, point.split(",")) for point in points):
            assert left <= x <= left + 330
            assert 40 <= y <= 260
    names = {
        text.text: float(text.attrib["y"]) for text in picture.iter(f"{SVG}text") if "class" in text.attrib
    }
    assert names["add"] < names["all"] < names["text"]
    assert len(figure(log)) < 10_000


def test_names_in_the_figure_do_not_cover_one_another() -> None:
    assert _apart({"b": 102.0, "a": 100.0, "c": 200.0}) == {"a": 94.5, "b": 107.5, "c": 200.0}
    assert _apart({"a": 100.0, "b": 101.0, "c": 110.0}) == {"a": 90.7, "b": 103.7, "c": 116.7}
    assert _apart({}) == {}


def test_without_the_log_of_what_is_shipped_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no tiny\.json"):
        read_logs(tmp_path)
