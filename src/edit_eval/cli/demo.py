"""`edit-eval demo`: a careful and a sloppy editor on drawn scenes, and which of them is better."""

from __future__ import annotations

import argparse
import importlib.resources
from pathlib import Path

import yaml

from edit_eval.cli.comparing import compare
from edit_eval.cli.configs import checked_config
from edit_eval.cli.output import show
from edit_eval.cli.performing import perform

__all__ = ["demo"]

_EDITORS = {"careful": 0.1, "sloppy": 0.4}
"""What each is called, and the share of its edits that are wrong."""


def demo(arguments: argparse.Namespace) -> int:
    """`edit-eval demo`: two runs and their comparison, in a folder of their own unless one is named."""
    text = importlib.resources.files("edit_eval.cli").joinpath("demo.yaml").read_text(encoding="utf-8")
    folder = Path(arguments.output) if arguments.output else _free(Path("runs") / "demo")
    spoken = arguments.display != "json"
    codes = []
    for name, error_rate in _EDITORS.items():
        base = yaml.safe_load(text)
        base["editor"]["params"]["error_rate"] = error_rate
        own = argparse.Namespace(**{**vars(arguments), "output": str(folder / name)})
        if spoken:
            show(f"{name.capitalize()} editor\n")
        codes.append(perform(own, checked_config(own, base), ("edit", "judge")))
        if spoken:
            show("")
    if arguments.dry_run or not spoken:
        return max(codes)
    runs = [str(folder / name) for name in _EDITORS]
    asked = argparse.Namespace(runs=runs, output=str(folder / "compare"), any_protocol=False, format="text")
    return max(*codes, compare(asked))


def _free(path: Path) -> Path:
    number = 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
