"""docs/compatibility.md is what the tests wrote, covers what is promised, and names the versions that are pinned."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from compatibility import PAGE, SETS, parse, render
from harness import PYTHONS

from edit_eval.editors.qwen_image_edit import QwenImageEdit
from edit_eval.judges.qwen3_vl import Qwen3VL

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def test_the_page_is_what_was_written():
    text = PAGE.read_text(encoding="utf-8")
    assert render(*parse(text)) == text


def test_every_python_that_is_promised_was_tested():
    pythons, _, _, _ = parse(PAGE.read_text(encoding="utf-8"))
    assert tuple(re.match(r"\d+\.\d+", row.python)[0] for row in pythons) == PYTHONS
    assert all(row.result.startswith("passed") for row in pythons)


def test_every_set_was_tested():
    _, sets, _, _ = parse(PAGE.read_text(encoding="utf-8"))
    assert [row.name for row in sets] == [*SETS]
    pinned = dict(one.split("==") for one in EXTRAS["test-models"])
    for row in sets:
        expected = SETS[row.name] or pinned
        assert (row.diffusers, row.transformers) == (expected["diffusers"], expected["transformers"])
        assert row.torch.partition("+")[0] == pinned["torch"]
        assert re.fullmatch(r"\d+ passed(, \d+ skipped)?", row.result)


def test_the_oldest_set_is_the_oldest_that_is_asked_for():
    least = dict(one.split(">=") for one in EXTRAS["diffusers"] if ">=" in one)
    oldest = SETS["oldest"]
    assert oldest["diffusers"] == least["diffusers"]
    assert oldest["transformers"].startswith(f"{least['transformers']}.")
    for needs in (QwenImageEdit.needs, Qwen3VL.needs):
        for library, _, version in (one.partition(">=") for one in needs):
            assert not version or version == least[library]
