"""Trains the weights that are shipped, from nothing, in one command: the trainings that they come from, one after the other.

    python -m training.recipe --output weights [--smoke]

The last one's files are in the output folder, those of the ones before in folders of their names inside it. Takes as long
as all of them together; `--smoke` does each on a small network, on a CPU, to see that it works.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RECIPE", "Part", "commands"]


@dataclass(frozen=True)
class Part:
    """One training.

    Attributes:
        name: of its folder, and of its log in `training/logs`; empty: the last one.
        learns: options of `training.train` that decide what is learnt.
        takes: options that decide how much time and memory it takes; left out with `--smoke`.
    """

    name: str
    learns: Mapping[str, float]
    takes: Mapping[str, float]


RECIPE = (
    Part("without-failed", {"own": 0.5, "hard": 2}, {"minutes": 19, "batch": 256}),
    Part("", {"own": 0, "hard": 2, "failed": 0.15}, {"minutes": 7, "batch": 512, "capacity": 400_000}),
)


def commands(output: Path, *, smoke: bool = False) -> list[list[str]]:
    """Return the arguments of `training.train` of each training."""
    found: list[list[str]] = []
    start: list[str] = []
    for part in RECIPE:
        folder = output / part.name
        given = {**({} if smoke else part.takes), **part.learns}
        options = [word for name, value in given.items() for word in (f"--{name}", f"{value:g}")]
        found.append(["--output", str(folder), *start, *(["--smoke"] if smoke else []), *options])
        start = ["--start", str(folder)]
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Train; end as the first training does that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m training.recipe", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for weights, graphs and logs")
    parser.add_argument("--smoke", action="store_true", help="small networks, on a CPU")
    given = parser.parse_args(words)
    for arguments in commands(given.output, smoke=given.smoke):
        done = subprocess.run([sys.executable, "-m", "training.train", *arguments], check=False)
        if done.returncode:
            raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
