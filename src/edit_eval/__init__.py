"""edit-eval: edit a benchmark's images on every device, judge every edit on every device, report scores with error bars.

This file is imported inside model processes too, so it imports nothing but what it needs lazily.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from edit_eval.driver.records import LoadedRun

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(run: str | Path) -> LoadedRun:
    """Return what a run directory holds: iterate over its rows, ask for its `summary`, or make a frame (`to_frame`).

    Args:
        run: its path.

    Raises:
        edit_eval.core.errors.RunError: there is no run, or it is damaged; one line says how to mend it.
    """
    from edit_eval.driver.records import load as load_run

    return load_run(run)
