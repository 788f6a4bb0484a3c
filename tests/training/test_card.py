"""The page about the editor `tiny` says what the logs say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from training.card import card, figure, read_logs

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
        "scores": [{"step": 2000 * n, "seconds": 400.0 * n, "all": 0.8 * n} for n in range(1, 11)],
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


def test_the_page_is_what_the_logs_say() -> None:
    logs = read_logs(ROOT / "training" / "logs")
    assert (ROOT / "docs" / "tiny-editor.md").read_text(encoding="utf-8") == card(logs)
    drawn = (ROOT / "docs" / "images" / "tiny-loss.svg").read_text(encoding="utf-8")
    assert drawn == figure(logs["tiny"])


def test_the_log_is_of_the_weights_that_are_shipped() -> None:
    folder = ROOT / "src" / "edit_eval" / "editors" / "tiny_weights"
    about = json.loads((folder / "tiny.json").read_text(encoding="utf-8"))
    log = read_logs(ROOT / "training" / "logs")["tiny"]
    assert about["sampling"] == log["chosen"]
    assert about["training"]["seed"] == log["plan"]["seed"]
    assert about["training"]["steps"] - log["steps"][-1]["step"] in range(log["plan"]["noted"])


def test_scores_stand_beside_those_of_other_editors(log: dict[str, Any]) -> None:
    page = card({"tiny": log})
    assert "| all | 7.50 | 8.00 | 7.50 | 2.50 | 6.50 | 0.00 | 0.01 |" in page
    assert "| add | 9.00 | 9.25 | 8.75 | 3.00 | 8.00 | 0.00 | 0.00 |" in page
    assert "| text | 6.00 | 6.25 | 5.75 | 2.00 | 5.00 | 0.00 | 0.01 |" in page


def test_what_it_does_badly_is_said(log: dict[str, Any]) -> None:
    assert "**It does badly (below 6.5 of 10):** text (6.00)." in card({"tiny": log})
    log["test"]["20 steps"]["text"] = 6.5
    assert "No kind of edit is below 6.5 of 10." in card({"tiny": log})


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
    lines = [line.attrib["points"].split() for line in picture.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in lines] == [134, 10]
    for points, left in zip(lines, (60, 490), strict=True):
        for x, y in (map(float, point.split(",")) for point in points):
            assert left <= x <= left + 330
            assert 40 <= y <= 240
    assert len(figure(log)) < 10_000


def test_without_the_log_of_what_is_shipped_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no tiny\.json"):
        read_logs(tmp_path)
