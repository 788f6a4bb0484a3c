"""The scripts that measure judging run anywhere and print what they promise."""

from __future__ import annotations

import re

import pytest
from perf_scripts import run_script

pytestmark = [pytest.mark.models, pytest.mark.long]


def test_every_way_is_measured_beside_the_baseline(tmp_path):
    text = run_script("judge.py", tmp_path, "--tiny", "--only", "described", "expected-3", "vllm").stdout
    assert "left out, for vLLM is not here: vllm" in text
    table = text[text.index("\nway ") :]
    assert re.search(r"^described +16 .* 1\.0$", table, re.MULTILINE)
    assert re.search(r"^expected-3 +32 .* \d+\.\d$", table, re.MULTILINE)


def test_scaling_says_what_is_arithmetic(tmp_path):
    text = run_script("scaling.py", tmp_path, "--tiny").stdout
    assert re.search(r"^all, warm +2 device\(s\), transformers: 64 verdicts in .* x one$", text, re.MULTILINE)
    assert "by arithmetic and not measured" in text
