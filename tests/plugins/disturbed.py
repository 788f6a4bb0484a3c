"""The scripted editor and the reference judge, struck by a fault where and as often as the environment says.

What is wanted of the run, and so its results, are those of an undisturbed one: nothing of a fault is in the config.
`EDIT_EVAL_FAULT` holds a list of strikes: `{"at": PLACE, "what": FAULT, "times": N, "after": N, "one_device": BOOL}`.

`at` is `load`, `edit`, `image` (within the image's temporary file), `line` (between the image and its line), `load judge`
or `judge`; `what` is what `faulty.misbehave` knows, or `wait` (until killed). A strike lets `after` chances pass, then
hits `times` chances (1 by default), whichever host meets them, or with `one_device` only hosts of the device that met
it first. Chances are counted by files in `EDIT_EVAL_FAULT_COUNTS`; `struck.*` there hold the pids of those it hit.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from faulty import misbehave

from edit_eval.core.types import EditRequest, HostContext, JudgeRequest, Rubric, StepCallback, Verdict
from edit_eval.editors.scripted import Scripted
from edit_eval.judges.reference import Reference
from edit_eval.worker import roles


def strike(place: str) -> None:
    """Do what is asked at this place, if it is its turn."""
    counts = Path(os.environ.get("EDIT_EVAL_FAULT_COUNTS", ""))
    for number, one in enumerate(json.loads(os.environ.get("EDIT_EVAL_FAULT", "[]"))):
        if one["at"] != place or (one.get("one_device") and not _is_mine(counts / f"device.{number}")):
            continue
        turn, after = _turn(counts, number), one.get("after", 0)
        if after <= turn < after + one.get("times", 1):
            (counts / f"struck.{number}.{turn}").write_text(str(os.getpid()))
            if one["what"] == "wait":
                time.sleep(3600)
            misbehave(one["what"], "/nonexistent")


def _is_mine(claim: Path) -> bool:
    """Whether this host's keeper, and so its device, claimed a strike before any other."""
    try:
        with claim.open("x") as file:
            file.write(str(os.getppid()))
    except FileExistsError:
        return claim.read_text() == str(os.getppid())
    return True


def _turn(counts: Path, number: int) -> int:
    """Return how many chances came before this one; each is counted once among all processes."""
    turn = 0
    while True:
        try:
            (counts / f"{number}.{turn}").touch(exist_ok=False)
        except FileExistsError:
            turn += 1
        else:
            return turn


class DisturbedEditor(Scripted):
    """Scripted, but for the strikes."""

    def __init__(self, params: object, context: HostContext) -> None:
        super().__init__(params, context)
        _strike_while_writing()
        strike("load")

    def edit(self, request: EditRequest, step: StepCallback):
        strike("edit")
        return super().edit(request, step)


class DisturbedJudge(Reference):
    """The reference judge, but for the strikes."""

    def __init__(self, params: object, context: HostContext, rubric: Rubric) -> None:
        super().__init__(params, context, rubric)
        strike("load judge")

    def judge(self, requests: list[JudgeRequest]) -> list[Verdict]:
        strike("judge")
        return super().judge(requests)


def _strike_while_writing() -> None:
    """Have `image` met when an edit's temporary file is full, `line` when it has its name and nobody was told."""
    sync, thumbnail = os.fsync, roles.save_thumbnail

    def before_it_has_its_name(file: int) -> None:
        strike("image")
        sync(file)

    def before_its_line(image: object, path: str) -> bool:
        strike("line")
        return thumbnail(image, path)

    os.fsync = before_it_has_its_name
    roles.save_thumbnail = before_its_line
