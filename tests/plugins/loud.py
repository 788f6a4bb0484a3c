"""An editor and a judge that say to everybody whatever the sample's instruction says: in replies, errors and logs.

The tag `how` chooses: `edit`, `raise` (an exception with that text), `crash` (prints it, then dies), `unscored` (the judge
replies with it, and gives no score), `bad-judge` (the judge raises it), `refuse` (as an error's own message that cannot be written).
"""

from __future__ import annotations

import os
import sys

from edit_eval.core.types import Verdict
from edit_eval.editors import Editor
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


class UnwritableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class LoudEditor(Editor):
    def edit(self, request, step):
        text, how = request.instruction, request.sample.tags["how"]
        sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass") + b"\n")
        sys.stdout.flush()
        if how == "raise":
            raise ValueError(text)
        if how == "refuse":
            raise UnwritableError
        if how == "crash":
            os._exit(7)
        step(1, 1)
        return request.images[0].transpose(0)


class LoudJudge(Judge):
    label = "Loud \x1b[31m]8;;x\x07 [red]"
    default_rubric = "reference-v1"

    def judge(self, requests):
        return [self._judge(request) for request in requests]

    def _judge(self, request):
        text, how = request.sample.instruction, request.sample.tags["how"]
        print(text.encode("utf-8", "replace"), file=sys.stderr)
        if how == "bad-judge":
            raise RuntimeError(text)
        if how == "unscored":
            return Verdict(unscored="unparsable", reply=text)
        return verdict_from_scores(request.rubric, {"similarity": 5.0}, {"similarity": text}, text)
