"""Runs of edits that are one grey level each, and the config of a judge that compares them."""

from __future__ import annotations

import json
from pathlib import Path

from harness import make_benchmark
from PIL import Image

HOW = ["bright", "bright", "bright", "first", "bright", "bright", "refuse"]
"""How the judge decides of each sample (tests/plugins/comparing.py)."""


def folder_of(path: Path, levels) -> Path:
    path.mkdir(exist_ok=True)
    for number, level in enumerate(levels):
        if level is not None:
            Image.new("RGB", (32, 24), (level,) * 3).save(path / f"s{number:04}.png")
    return path


def tree(root: Path, name: str, levels, **judge):
    samples = root / "data" / "samples.jsonl"
    if not samples.exists():
        make_benchmark(root / "data", HOW[: len(levels)])
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        for number in (0, 4):
            if number < len(lines):
                lines[number]["cluster"] = "x"
        samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    editor = {
        "type": "precomputed",
        "devices": ["cpu:0"],
        "params": {"folder": str(folder_of(root / name, levels))},
    }
    whole = {
        "benchmark": {"type": "folder", "path": str(samples)},
        "editor": editor,
        "output": str(root / "runs" / name),
    }
    return {**whole, "judge": compared(root, **judge)} if judge else whole


def compared(root: Path, **judge):
    return {
        "type": "comparing:Comparing",
        "devices": ["cpu:0"],
        "rubric": "pairwise-v1",
        "against": str(root / "runs" / "other"),
        **judge,
    }
