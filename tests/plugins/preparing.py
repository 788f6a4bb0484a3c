"""A judge that can be prepared, and says whether it was; `how` makes preparing go wrong.

`crash`: it is killed by a signal; `raise`: an exception; `exit`: SystemExit; `hang`: it never ends; `chatter`: it is done.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from edit_eval.core.types import JudgeRequest, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


@dataclass(frozen=True)
class Params:
    how: str = field(default="", metadata={"identity": False})
    folder: str = field(default="", metadata={"identity": False})


class PreparedJudge(Judge):
    Params = Params
    default_rubric = "reference-v1"
    prepares: ClassVar[bool] = True
    prepared: ClassVar[int] = 0

    @classmethod
    def prepare(cls, params, context):
        cls.prepared = os.getpid()
        if params.folder:
            (Path(params.folder) / str(os.getpid())).touch()
        if params.how == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif params.how == "raise":
            raise ImportError("no such library")
        elif params.how == "exit":
            raise SystemExit(9)
        elif params.how == "hang":
            time.sleep(600)

    def facts(self) -> dict[str, Any]:
        return {"was_prepared": type(self).prepared == os.getpid()}

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [verdict_from_scores(one.rubric, {"similarity": 5.0}, {}, "") for one in requests]
