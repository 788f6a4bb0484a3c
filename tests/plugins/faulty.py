"""An editor and a judge that misbehave on request; the sample's instruction says how.

`crash`, `segfault`, `exit`, `raise`, `hang` (in Python), `hang-c` (in C, with the interpreter lock held), `oom`,
`once:WHAT` (the first time only, by a marker file beside the source image), `fork` (leaves a grandchild in a session of
its own), `sleep:SECONDS`, `until:PATH` (there is such a file),
`full` (a disk that its libraries write to), `alter:PATH` (makes another file of it, as somebody else might).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edit_eval.core.errors import ModelError
from edit_eval.core.types import EditRequest, HostContext, JudgeRequest, Rubric, StepCallback, Verdict
from edit_eval.editors import Editor
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


@dataclass(frozen=True)
class Params:
    load: str = ""


ODD = {
    "off-scale": Verdict({"similarity": 99.0}, 99.0),
    "no-scores": Verdict({}, 5.0),
    "other-overall": Verdict({"similarity": 1.0}, 9.0),
    "true": Verdict({"similarity": True}, 1.0),
    "unknown-dimension": Verdict({"similarity": 1.0, "beauty": 1.0}, 1.0),
}
"""Verdicts that the rubric does not allow."""


def misbehave(what: str, beside: str) -> None:
    if what.startswith("once:"):
        marker = Path(beside + ".once")
        if marker.exists():
            return
        marker.touch()
        what = what.removeprefix("once:")
    if what == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "segfault":
        ctypes.string_at(0)
    elif what == "exit":
        os._exit(0)
    elif what == "raise":
        raise ValueError("asked to raise")
    elif what == "oom":
        raise MemoryError("CUDA out of memory, so to speak")
    elif what == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/scratch/compiled.so")
    elif what == "cuda":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    elif what.startswith("refuse-after-first:"):
        marker = Path(what.removeprefix("refuse-after-first:"))
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            raise ModelError("this device is not well") from None
    elif what == "hang":
        time.sleep(3600)
    elif what == "hang-c":
        ctypes.PyDLL(None).sleep(3600)
    elif what == "fork":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            time.sleep(3600)
    elif what.startswith("alter:"):
        with Path(what.removeprefix("alter:")).open("ab") as file:
            file.write(b"more")
    elif what.startswith("until:"):
        while not Path(what.removeprefix("until:")).exists():
            time.sleep(0.01)
    elif what.startswith("sleep:"):
        time.sleep(float(what.removeprefix("sleep:")))


class FaultyEditor(Editor):
    Params = Params

    def __init__(self, params: Params, context: HostContext) -> None:
        super().__init__(params, context)
        misbehave(params.load, "/nonexistent")

    def edit(self, request: EditRequest, step: StepCallback):
        for what in request.instruction.split("+"):
            misbehave(what, request.sample.images[0])
        step(1, 1)
        return request.images[0].transpose(0)


class FaultyJudge(Judge):
    Params = Params
    label = "Faulty"
    default_rubric = "reference-v1"

    def __init__(self, params: Params, context: HostContext, rubrics: Sequence[Rubric]) -> None:
        super().__init__(params, context, rubrics)
        misbehave(params.load, "/nonexistent")

    @property
    def window(self) -> int:
        return int(self.context.options["batch_size"])

    def judge(self, requests: list[JudgeRequest]) -> list[Verdict]:
        verdicts = []
        for request in requests:
            for what in request.sample.tags.get("judge", "").split("+"):
                misbehave(what, request.sample.images[0] + ".judge")
            score = 5.0 + len(request.sample.id) % 5
            odd = ODD.get(request.sample.tags.get("judge", ""))
            if odd:
                verdicts.append(odd)
                continue
            verdicts.append(
                verdict_from_scores(
                    request.rubric, {"similarity": score}, {"similarity": "measured"}, "measured"
                )
            )
        return verdicts
