"""An editor and a judge that tell all they know: they print their environment, and put it into errors and replies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from edit_eval.core.types import Verdict
from edit_eval.editors import Editor
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


@dataclass(frozen=True)
class Params:
    fail: str = ""


def everything() -> str:
    return " ".join(f"{name}={value}" for name, value in os.environ.items())


class LeakyEditor(Editor):
    Params = Params

    def __init__(self, params, context):
        super().__init__(params, context)
        print(everything(), flush=True)
        for name, value in os.environ.items():  # in pieces, as a slow writer would
            for part in (name, "=", value[: len(value) // 2], value[len(value) // 2 :], "\n"):
                os.write(2, os.fsencode(part))
                if "PLANTED" in value:
                    time.sleep(0.01)
        subprocess.run([sys.executable, "-c", "import os; print(dict(os.environ))"], check=True)
        if params.fail == "load":
            raise RuntimeError(f"cannot log in: {everything()}")

    def edit(self, request, step):
        if request.instruction == "raise":
            raise ValueError(f"401 for {everything()}")
        if request.instruction == "crash":
            print(everything(), flush=True)
            os._exit(9)
        return request.images[0].transpose(0)


class LeakyJudge(Judge):
    Params = Params
    default_rubric = "reference-v1"

    def judge(self, requests):
        return [self._judge(request) for request in requests]

    def _judge(self, request):
        text = everything()
        print(text, file=sys.stderr)
        if request.sample.instruction == "judge-raises":
            raise ValueError(text)
        if request.sample.instruction == "unscored":
            return Verdict(unscored="error", reply=f"401: {text}")
        return verdict_from_scores(request.rubric, {"similarity": 5.0}, {"similarity": text}, text)
