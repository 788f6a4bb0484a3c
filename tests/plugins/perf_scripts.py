"""How the tests run the scripts of perf/: as anyone would, with temporary files where it is seen whether any is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import edit_eval

_OF_LIBRARIES = {".ses"}
"""What imported libraries leave in the temporary folder: onnxruntime a file of its own."""

PERF = Path(__file__).resolve().parents[2] / "perf"


def run_script(
    name: str, folder: Path, *arguments: str, timeout_s: float = 280, ends_with: Collection[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run `perf/NAME` in `folder`; it ends with one of these codes and leaves no temporary file behind."""
    temporary = folder / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, str(PERF / name), *arguments],
        cwd=folder,
        env={
            **os.environ,
            "TMPDIR": str(temporary),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled"),
            "PYTHONPATH": str(Path(edit_eval.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode in ends_with, done.stdout + done.stderr
    assert {one.name for one in temporary.iterdir()} <= _OF_LIBRARIES
    shutil.rmtree(temporary)
    return done
