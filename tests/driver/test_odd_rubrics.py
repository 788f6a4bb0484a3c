"""Rubric files that are odd in every key: one line that names the file, at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edit_eval.core.errors import ConfigError
from edit_eval.driver.rubrics import load_rubric

GOOD: dict[str, Any] = {
    "name": "mine",
    "dimensions": [{"name": "fit", "scale": [0, 10], "integer": False, "description": "Does it fit?"}],
    "calls": [
        {
            "name": "one",
            "prompt": "{instruction} {output_format}",
            "dimensions": ["fit"],
            "images": ["source"],
        }
    ],
    "overall": "fit",
    "range": [0, 10],
}
PLACES: list[tuple[Any, ...]] = [
    *((key,) for key in GOOD),
    *(("dimensions", 0, key) for key in GOOD["dimensions"][0]),
    ("dimensions", 0), ("dimensions", 0, "scale", 0),
    *(("calls", 0, key) for key in GOOD["calls"][0]),
    ("calls", 0), ("calls", 0, "images", 0), ("calls", 0, "dimensions", 0), ("range", 1),
]  # fmt: skip
VALUES = {
    "null": "null", "true": "true", "no": "no", "negative": "-1", "huge": "1" + "0" * 400, "endless": "9" * 6000,
    "float": "1.5", "nan": ".nan", "inf": ".inf", "empty": "''", "blank": "'  '", "list": "[]", "nested": "[[[1]]]",
    "mapping": "{}", "deep": "{a: {b: 1}}", "long": "x" * 20_000, "null byte": r'"a\0b"', "date": "2024-01-01",
    "octal": "010", "sexagesimal": "12:30", "escape": r'"\e[31m"', "surrogate": r'"\ud800"', "newline": r'"a\nb"',
    "number as key": "{1: 2}", "object": "!!python/object/apply:os.system [ls]", "alias": "*x",
    "power": "9**9**9**9", "parentheses": "(" * 900, "minus": "-" * 900 + "1", "import": "__import__('os')",
    "lambda": "(lambda: 1)()", "chain": "+".join(["1"] * 400),
}  # fmt: skip


def problems_of(path: Path) -> list[str]:
    try:
        load_rubric(str(path))
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_every_wrong_value_is_refused_in_lines_with_the_file(tmp_path, place):
    path = tmp_path / "mine.yaml"
    fine = set()
    for name, value in VALUES.items():
        tree = json.loads(json.dumps(GOOD))
        section = tree
        for part in place[:-1]:
            section = section[part]
        section[place[-1]] = "@@@"
        path.write_text(json.dumps(tree).replace('"@@@"', value))
        problems = problems_of(path)
        assert all("mine.yaml" in problem and "\n" not in problem for problem in problems)
        assert all(len(problem) < 1500 for problem in problems), name
        if not problems:
            fine.add(name)
    if place[-1] == "description":
        assert "long" in fine
    elif place == ("calls",):
        assert fine == {"list"}  # a rubric for judges that measure
    elif place == ("dimensions", 0, "integer"):
        assert fine == {"true", "no"}
    elif place[-1] == "name" and len(place) == 1:
        assert not fine - {"chain"}
    elif place == ("dimensions", 0, "scale", 0):
        assert fine <= {"negative", "float"}
    elif place == ("range", 1):
        assert not fine
    else:
        assert fine <= {"float", "minus"}, fine


def test_many_dimensions_cost_little(tmp_path):
    tree = json.loads(json.dumps(GOOD))
    tree["dimensions"] = [{"name": f"d{n}", "scale": [0, 10]} for n in range(12)]
    tree["calls"][0]["dimensions"] = [f"d{n}" for n in range(12)]
    tree["overall"] = "min(" + ", ".join(f"d{n % 12}" for n in range(150)) + ")"
    (tmp_path / "mine.yaml").write_text(json.dumps(tree))
    assert len(load_rubric(str(tmp_path / "mine.yaml")).dimensions) == 12
    tree["dimensions"] *= 2
    (tmp_path / "mine.yaml").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="at most 12 items"):
        load_rubric(str(tmp_path / "mine.yaml"))
