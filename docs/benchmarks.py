"""Writes docs/benchmarks.md from what the benchmarks declare."""

from __future__ import annotations

from pathlib import Path

from edit_eval.driver.registry import BENCHMARKS, find
from edit_eval.views.benchmarks import benchmarks_page


def page() -> str:
    """Return the page."""
    return benchmarks_page({name: find("benchmark", name).cls for name in BENCHMARKS})


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
