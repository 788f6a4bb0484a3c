"""`edit-eval demo`: a small diffusion editor on drawn scenes, with 20 steps and with 2, and which of them is better."""

from __future__ import annotations

import argparse
import importlib.resources
import importlib.util
from pathlib import Path

import yaml

from edit_eval.cli.comparing import compare
from edit_eval.cli.configs import checked_config
from edit_eval.cli.output import show
from edit_eval.cli.performing import perform
from edit_eval.core.errors import UserError
from edit_eval.driver.config import Config
from edit_eval.driver.shards import FOLDER

__all__ = ["demo"]

_RUNS = {"20-steps": 20, "2-steps": 2}
"""What each is called, and the denoising steps of its edits."""


def demo(arguments: argparse.Namespace) -> int:
    """`edit-eval demo`: two runs and their comparison, in a folder of their own unless one is named.

    Shards are of the same two runs, and compared once they are merged.
    """
    text = importlib.resources.files("edit_eval.cli").joinpath("demo.yaml").read_text(encoding="utf-8")
    folder = Path(arguments.output) if arguments.output else _free(Path("runs") / "demo", arguments.shard)
    spoken = arguments.display != "json"
    codes = []
    for name, steps in _RUNS.items():
        base = yaml.safe_load(text)
        base["editor"]["params"] = {"steps": steps}
        own = argparse.Namespace(**{**vars(arguments), "output": str(folder / name)})
        checked = checked_config(own, base)
        _refuse_without_onnxruntime(checked.config)
        if spoken:
            show(f"Editor {checked.config.editor.type} with {steps} steps\n")
        codes.append(perform(own, checked, ("edit", "judge")))
        if spoken:
            show("")
    if arguments.dry_run or not spoken:
        return max(codes)
    runs = [str(folder / name) for name in _RUNS]
    if arguments.shard:
        show("Once all shards are done:")
        for run in runs:
            show(f"  edit-eval merge {run}/{FOLDER}")
        show(f"  edit-eval compare {' '.join(runs)}")
        return max(codes)
    asked = argparse.Namespace(runs=runs, output=str(folder / "compare"), any_protocol=False, format="text")
    return max(*codes, compare(asked))


def _refuse_without_onnxruntime(config: Config) -> None:
    """Raise `UserError` where the editor would run in this Python and cannot; of any other a run says it by itself."""
    editor = config.editor
    here = config.backend.type == "local" and not (editor.python or editor.conda)
    if here and editor.type == "tiny" and importlib.util.find_spec("onnxruntime") is None:
        raise UserError(
            "the demo's editor needs onnxruntime: pip install 'edit-eval[tiny]', or use make demo"
        )


def _free(path: Path, shard: str | None = None) -> Path:
    """Return a folder that is not there yet; for a shard also one with shards of a demo that is not whole yet."""
    number = 1
    candidate = path
    while candidate.exists() and not (shard and _has_shards_only(candidate)):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _has_shards_only(folder: Path) -> bool:
    runs = [folder / name for name in _RUNS]
    return any((run / FOLDER).is_dir() for run in runs) and not any(
        (run / "run.json").exists() for run in runs
    )
