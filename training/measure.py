"""Measures the shipped weights through edit-eval itself: other ways to sample, each compared with the defaults.

    python -m training.measure training/measured.json --runs runs/measured

Edits 500 scenes of the benchmark's default seed in each way, on CPU devices, and compares as `edit-eval compare` does:
about a quarter of an hour on two cores. Runs that are there already are only looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edit_eval.core.errors import EditEvalError
from edit_eval.driver.compare import compare_runs
from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.store import RunReader
from edit_eval.editors import tiny

__all__ = ["WAYS", "measured", "weights_hash"]

WAYS: Mapping[str, Mapping[str, Any]] = {
    "2 steps": {"steps": 2},
    "2 steps, shift 1": {"steps": 2, "shift": 1.0},
    "4 steps, shift 1": {"steps": 4, "shift": 1.0},
    "no guidance": {"guidance": 1.0},
    "1 step, no guidance": {"steps": 1, "guidance": 1.0},
    "instruction not looked at": {"guidance": 0.0, "guided_until": 1.0},
}


def measured(folder: Path, scenes: int, devices: int) -> dict[str, Any]:
    """Return mean scores and differences from the defaults; makes runs in `folder`."""
    base = _run(folder / "default", scenes, devices, {})
    ways = {}
    for name, params in WAYS.items():
        other = _run(folder / name.replace(", ", "-").replace(" ", "-"), scenes, devices, params)
        [pair] = compare_runs([base, other]).pairs
        found = pair.overall
        numbers = {"mean": found.other, "difference": found.difference, "low": found.low, "high": found.high}
        ways[name] = {one: None if value is None else round(value, 4) for one, value in numbers.items()}
        ways[name] |= {
            "p": found.p,
            "better": found.wins,
            "same": found.ties,
            "worse": found.losses,
            "base": found.base,
        }
    return {"weights": weights_hash(), "scenes": scenes, "ways": ways}


def weights_hash() -> str:
    """Return the sha256 of the shipped weights."""
    path = Path(tiny.__file__).parent / "tiny_weights" / "tiny.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(output: Path, scenes: int, devices: int, params: Mapping[str, Any]) -> RunReader:
    cpus = [f"cpu:{slot}" for slot in range(devices)]
    config = {
        "benchmark": {"type": "scenes", "params": {"n": scenes, "size": 96, "language": "both"}},
        "editor": {"type": "tiny", "devices": cpus, "params": dict(params)},
        "judge": {"type": "reference", "devices": cpus},
        "output": str(output),
    }
    job = prepare(check_config(config))
    run_job(job, lambda _event: None)
    print(f"{output.name}: done", flush=True)
    return RunReader(job.output)


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--devices", type=int, default=2, help="CPU devices")
    given = parser.parse_args()
    try:
        found = measured(given.runs, given.scenes, given.devices)
    except EditEvalError as error:
        raise SystemExit(f"python -m training.measure: {error}") from None
    given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
