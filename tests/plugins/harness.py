"""Small runs for tests: real processes, misbehaving plugins, events collected."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from ready import Ready

from edit_eval.driver.config import check_config
from edit_eval.driver.events import Event
from edit_eval.driver.job import prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import read_rows
from edit_eval.views.export import canonical_lines

PLUGINS = Path(__file__).parent
PYTHONPATH = os.pathsep.join([str(PLUGINS), *filter(None, [os.environ.get("PYTHONPATH")])])


def make_benchmark(folder: Path, instructions: Sequence[str], tags: Sequence[Mapping[str, str]] = ()) -> Path:
    """Write one small image per instruction and the JSONL file that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, instruction in enumerate(instructions):
        Image.new("RGB", (32, 24), (index * 7 % 256, 90, 200 - index % 100)).save(folder / f"{index:04}.png")
        tag = tags[index] if tags else {}
        lines.append(
            {"id": f"s{index:04}", "image": f"{index:04}.png", "instruction": instruction, "tags": dict(tag)}
        )
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def config_tree(tmp_path: Path, benchmark: Path, **changes: Any) -> dict[str, Any]:
    """Return a config with the faulty editor and judge on two CPU devices."""
    tree: dict[str, Any] = {
        "benchmark": {"type": "folder", "path": str(benchmark)},
        "editor": {"type": "faulty:FaultyEditor", "devices": ["cpu:0", "cpu:1"]},
        "judge": {"type": "faulty:FaultyJudge", "devices": ["cpu:0", "cpu:1"], "batch_size": 2},
        "output": str(tmp_path / "run"),
    }
    for key, value in changes.items():
        section = tree
        *path, last = key.split("__")
        for name in path:
            section = section[name]
        section[last] = value
    return tree


class Ran:
    """What one start of a run did."""

    def __init__(self, tree: Mapping[str, Any], **options: Any) -> None:
        self.events: list[Event] = []
        job = prepare(check_config(tree), stages=options.get("stages", ("edit", "judge")))
        self.worked = run_job(job, self.events.append, **options)
        self.run = RunReader(job.output)
        self.rows = read_rows(self.run)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def canonical(self) -> list[str]:
        return list(canonical_lines(self.rows))


def cli(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    anew: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `edit-eval` in a process of its own, with the test plugins importable.

    Its imports are done before, once for many commands (see `ready`), but where they would not be the same or with `anew`.
    """
    whole = {**os.environ, "PYTHONPATH": PYTHONPATH, "XDG_CACHE_HOME": str(cwd / "cache"), **(env or {})}
    if not anew and _ready().serves(whole):
        return _ready().run(arguments, cwd, whole, timeout)
    return subprocess.run(
        [sys.executable, "-m", "edit_eval", *arguments],
        cwd=cwd,
        env=whole,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@functools.cache
def _ready() -> Ready:
    made = Ready()
    atexit.register(made.close)
    return made


PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""What a host may run on."""


def other_python(version: str) -> str | None:
    """Return a Python of that version that runs, from `PATH`, pyenv or uv; None if there is none."""
    made = [
        *(Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"),
        *(Path.home() / ".local" / "share" / "uv" / "python").glob(
            f"cpython-{version}.*/bin/python{version}"
        ),
    ]
    for path in [shutil.which(f"python{version}"), *map(str, sorted(made))]:
        if path and subprocess.run([path, "-ISc", "pass"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def ours(mark: str) -> list[int]:
    """Return the pids of all processes whose command line or environment names `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if mark.encode() in text and state != "Z":
            found.append(int(entry.name))
    return found
