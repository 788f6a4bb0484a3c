"""What a host is given with a task: plain JSON, images as paths, and the hashes that what is made of them counts for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.store import image_path, thumbnail_path

__all__ = ["edit_payload", "verdict_payload"]


def edit_payload(one: WantedEdit, root: Path) -> dict[str, Any]:
    """Return what `worker.roles.EditRole` takes; `root` is the run directory."""
    return {
        "sample": one.sample.to_json(),
        "inputs": one.inputs,
        "seed": one.seed,
        "repeat": one.repeat,
        "image": f"{root}/{image_path(one.key)}",
        "thumbnail": f"{root}/{thumbnail_path(one.key)}",
        "source_thumbnail": f"{root}/{thumbnail_path(one.source_sha256[0])}",
    }


def verdict_payload(
    one: WantedEdit, root: Path, judging: Judging, edited_sha256: str, repeat: int = 0
) -> dict[str, Any]:
    """Return what `worker.roles.JudgeRole` takes, for the edit whose image had that hash when it was recorded.

    `repeat` is 1 where it is judged a second time.
    """
    return {
        "sample": judging.shown(one).to_json(),
        "inputs": judging.inputs(one),
        "edited": f"{root}/{image_path(one.key)}",
        "edited_sha256": edited_sha256,
        "rubric": judging.name_of(one.sample),
        "prompts": [
            {"call": prompt.call, "text": prompt.text, "images": list(prompt.images)}
            for prompt in judging.prompts(one.sample)
        ],
        "seed": judging.seed(one, repeat),
    }
