"""What a training is asked for: its plan, and the command line that says it."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

__all__ = ["PROGRAM", "Plan", "asked_for"]

PROGRAM = "python -m training.train"


@dataclass(frozen=True)
class Plan:
    """One training.

    Attributes:
        minutes: from the start of the program to its end, drawing and scoring included.
        most_steps: after which training ends before its time.
        seed: of everything.
        start: folder of weights to go on from; empty: from scratch.
        batch: pairs in a step.
        draws: noises and times for each of them.
        rate: the highest learning rate.
        warm_up: steps until it is reached.
        nulls: share of pairs whose instruction is left out, for guidance.
        failed: share of paths that lead to the source, as where an edit of real data was not carried out, so that
            seed and guidance decide whether an edit comes to nothing; 0: neither steps nor guidance matter much.
            Goes with `own` 0: an own estimate is between both.
        weighted: whether small edits weigh more in the loss.
        muon: whether matrices learn by Muon (Jordan et al. 2024) and only the rest by AdamW.
        own: share of noises for which x_t leads to the network's own estimate; see `training.flow.flow_loss`.
        hard: how much more often a kind of edit is drawn that scores 0 on validation scenes than one that scores 10.
        workers: processes that draw.
        capacity: pairs that are kept.
        first: pairs that are waited for before the first step.
        compiled: whether the network is compiled.
        shape: of the network, where it differs from the usual one.
        validation: scenes of the scores on the way.
        test: scenes of the scores at the end.
        ending: seconds that are kept for the scores at the end, at most a quarter of all.
        every: seconds between scores on the way.
        settings: ways to sample that are compared at the end, at most.
        noted: steps between entries of the log.
    """

    minutes: float = 22.0
    most_steps: int = 1_000_000
    seed: int = 0
    start: str = ""
    batch: int = 512
    draws: int = 1
    rate: float = 2.4e-3
    warm_up: int = 400
    nulls: float = 0.1
    failed: float = 0.15
    weighted: bool = True
    muon: bool = True
    own: float = 0.0
    hard: float = 2.0
    workers: int = max(1, (os.cpu_count() or 2) - 2)
    capacity: int = 1_000_000
    first: int = 6_000
    compiled: bool = True
    shape: dict[str, int] = field(default_factory=dict)
    validation: int = 200
    test: int = 500
    ending: float = 60.0
    every: float = 75.0
    settings: int = 100
    noted: int = 50


_SMOKE: dict[str, Any] = {
    "minutes": 1.0, "batch": 8, "workers": 1, "capacity": 2_000, "first": 50, "compiled": False, "warm_up": 20,
    "shape": {"size": 48, "width": 64, "source_channels": 32, "channels": 32, "condition": 32, "encoder_layers": 2,
              "denoiser_layers": 1},
    "validation": 8, "test": 16, "ending": 0.0, "every": 60.0, "settings": 3, "noted": 10,
}  # fmt: skip


_OPTIONS: dict[str, tuple[type, str]] = {
    "minutes": (float, "from start to end, scores included"),
    "most_steps": (int, "steps after which training ends before its time"),
    "seed": (int, "of everything"),
    "start": (str, "folder of weights to go on from"),
    "batch": (int, "pairs in a step"),
    "draws": (int, "noises and times for each of them"),
    "workers": (int, "processes that draw"),
    "capacity": (int, "pairs that are kept"),
    "warm_up": (int, "steps until the learning rate is highest"),
    "rate": (float, "highest learning rate"),
    "failed": (float, "share of pairs whose edit was not carried out"),
    "own": (float, "share of noises that lead to the network's own estimate"),
    "hard": (float, "how much more often hard kinds of edit are drawn"),
    "every": (float, "seconds between scores on the way"),
    "validation": (int, "scenes of the scores on the way"),
    "test": (int, "scenes of the scores at the end"),
}


def asked_for(words: list[str] | None = None) -> tuple[Plan, Path, torch.device]:
    """Read a command line (by default this program's): the plan, the output folder, the device."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} --output FOLDER [--smoke] [options]",
        description="Train the editor tiny on drawn scenes; ends when its minutes are over.",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for weights, graphs and the log")
    parser.add_argument("--smoke", action="store_true", help="a small network for a minute, on a CPU")
    parser.add_argument("--device", help="cuda or cpu; by default cuda where there is one")
    for name, (kind, told) in _OPTIONS.items():
        usual = getattr(Plan(), name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            help=f"{told} (default {'none' if usual == '' else usual})",
        )
    parser.add_argument(
        "--without", choices=("gate", "weights"), help="leave out the gate, or the loss's weights"
    )
    parser.add_argument("--placed", type=int, help="hidden channels of what is drawn by its place")
    parser.add_argument("--adamw", action="store_true", help="learn everything by AdamW, nothing by Muon")
    parser.add_argument("--velocity", action="store_true", help="draw the velocity instead of the picture")
    parser.add_argument("--no-compile", action="store_true", help="do not compile the network")
    given = parser.parse_args(words)
    if given.placed is not None and given.placed < 0:
        parser.error(f"--placed {given.placed}: give 0 or more")
    plan = Plan(**_SMOKE) if given.smoke else Plan()
    plan = replace(plan, **{name: value for name in _OPTIONS if (value := getattr(given, name)) is not None})
    if problem := _problem(plan) or _no_device(given.device, smoke=given.smoke):
        parser.error(problem)
    if given.no_compile:
        plan = replace(plan, compiled=False)
    if given.adamw:
        plan = replace(plan, muon=False)
    if given.velocity:
        plan = replace(plan, shape={**plan.shape, "direct": 0})
    if given.placed is not None:
        plan = replace(plan, shape={**plan.shape, "placed": given.placed})
    if given.without == "gate":
        plan = replace(plan, shape={**plan.shape, "gated": 0})
    if given.without == "weights":
        plan = replace(plan, weighted=False)
    return plan, given.output, torch.device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))


_COUNTS = ("most_steps", "batch", "draws", "workers", "capacity", "warm_up", "validation", "test")
_ABOVE_ZERO = ("minutes", "rate", "every")
_NOT_BELOW_ZERO = ("seed", "hard")
_SHARES = ("failed", "own")


def _problem(plan: Plan) -> str:
    """Return what is wrong with the first number that cannot be; nothing where all can."""
    ranges = (
        (_COUNTS, lambda value: value >= 1, "give 1 or more"),
        (_ABOVE_ZERO, lambda value: 0 < value < math.inf, "give a number above 0"),
        (_NOT_BELOW_ZERO, lambda value: 0 <= value < math.inf, "give 0 or more"),
        (_SHARES, lambda value: 0 <= value < 1, "give a share of at least 0 and less than 1"),
    )
    for names, holds, remedy in ranges:
        for name in names:
            if not holds(value := getattr(plan, name)):
                return f"--{name.replace('_', '-')} {value:g}: {remedy}"
    return ""


def _no_device(wanted: str | None, *, smoke: bool) -> str:
    """Return why a device cannot be trained on; nothing where it can."""
    there = torch.cuda.is_available()
    if wanted is None:
        if there or smoke:
            return ""
        return "there is no GPU here that torch can use; add --smoke for a small network, or --device cpu for days of it"
    name, _, number = wanted.partition(":")
    if name not in ("cpu", "cuda") or (number and not number.isdecimal()):
        return f"--device {wanted}: give cpu, cuda or cuda:1"
    if name == "cuda" and not (there and int(number or 0) < torch.cuda.device_count()):
        return f"--device {wanted}: there is no such GPU here that torch can use"
    return ""
