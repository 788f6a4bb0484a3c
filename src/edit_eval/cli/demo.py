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
from edit_eval.driver.shards import FOLDER

__all__ = ["demo"]

_EDITORS = {"careful": 0.1, "sloppy": 0.4}
"""What each is called, and the share of its edits that are wrong."""


def demo(arguments: argparse.Namespace) -> int:
    """`edit-eval demo`: two runs and their comparison, in a folder of their own unless one is named.

    Shards are of the same two runs, and compared once they are merged.
    """
    text = importlib.resources.files("edit_eval.cli").joinpath("demo.yaml").read_text(encoding="utf-8")
    folder = Path(arguments.output) if arguments.output else _free(Path("runs") / "demo", arguments.shard)
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
    if arguments.shard:
        show("Once all shards are done:")
        for run in runs:
            show(f"  edit-eval merge {run}/{FOLDER}")
        show(f"  edit-eval compare {' '.join(runs)}")
        return max(codes)
    asked = argparse.Namespace(runs=runs, output=str(folder / "compare"), any_protocol=False, format="text")
    return max(*codes, compare(asked))


def _free(path: Path, shard: str | None = None) -> Path:
    """Return a folder that is not there yet; for a shard also one with shards of a demo that is not whole yet."""
    number = 1
    candidate = path
    while candidate.exists() and not (shard and _has_shards_only(candidate)):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _has_shards_only(folder: Path) -> bool:
    runs = [folder / name for name in _EDITORS]
    return any((run / FOLDER).is_dir() for run in runs) and not any(
        (run / "run.json").exists() for run in runs
    )
