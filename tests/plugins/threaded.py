"""A judge that several threads ask at once, and that misbehaves in one of them; the sample's tag `judge` says how.

`crash`, `raise`, `exit` (SystemExit, in a thread), `give-up` (no request would fare better), `once:WHAT`. All other
samples take `seconds` and score by their number.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edit_eval.core.errors import UserError
from edit_eval.core.types import JudgeRequest, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


@dataclass(frozen=True)
class Params:
    threads: int = 8
    window: int = 8
    seconds: float = 0.1
    report: bool = False


class ThreadedJudge(Judge):
    Params = Params
    default_rubric = "reference-v1"

    def __init__(self, params, context, rubrics):
        super().__init__(params, context, rubrics)
        self.lock = threading.Lock()
        self.at_once = 0

    @property
    def threads(self) -> int:
        return self.params.threads

    @property
    def window(self) -> int:
        return self.params.window

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        (request,) = requests
        with self.lock:
            self.at_once += 1
            most = self.at_once
        try:
            return [self._one(request, most)]
        finally:
            with self.lock:
                self.at_once -= 1

    def _one(self, request: JudgeRequest, most: int) -> Verdict:
        what = request.sample.tags.get("judge", "")
        for step in range(5):
            time.sleep(self.params.seconds / 5)
            if self.params.report:
                self.progress(step + 1, 100 + int(request.sample.id[1:]))  # `steps` says whose it is
        if what.startswith("once:"):
            marker = Path(request.sample.images[0] + ".once")
            what = "" if marker.exists() else what.removeprefix("once:")
            marker.touch()
        if what == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "raise":
            raise ValueError("asked to raise")
        elif what == "exit":
            raise SystemExit(7)
        elif what == "give-up":
            raise UserError("the key in MY_KEY is not taken")
        verdict = verdict_from_scores(
            request.rubric, {"similarity": float(request.sample.id[1:]) % 10}, {}, ""
        )
        return Verdict(verdict.scores, verdict.overall, reply=str(most))
