"""The judge that a file names: what `edit-eval score RUN --judge FILE` asks beside the run's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edit_eval.core.errors import ConfigError
from edit_eval.driver.config import read_tree
from edit_eval.driver.runinfo import read_info

__all__ = ["read_judge"]

_SECTIONS = {"benchmark", "editor", "diffusion_model", "judge", "reward_model"}


def read_judge(path: str) -> dict[str, Any]:
    """Return the judge's section, normalised, of a file that is a config or that section alone, or of a run directory.

    Raises:
        ConfigError: there is no such file, or no judge in it.
        RunError: the run cannot be read.
    """
    run = Path(path)
    tree = read_info(run).get("config") or {} if (run / "run.json").is_file() else read_tree(path)
    alone = "type" in tree and not _SECTIONS & tree.keys()
    section = read_tree(None, base={"judge": tree} if alone else tree).get("judge")
    if not isinstance(section, dict):
        raise ConfigError(
            f"--judge: {path} names no judge; it needs the key judge, or the keys of that section alone"
        )
    return section
