"""A judge whose model is remote, in so far as a preflight sees it: the model's name says what it finds when tried out."""

from __future__ import annotations

import os
import sys

from edit_eval.core.errors import UserError
from edit_eval.core.types import Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


class RemoteJudge(Judge):
    remote_model = True
    default_rubric = "reference-v1"

    def try_out(self, request):
        what = self.context.model
        if what == "refuses":
            raise UserError("judge.model: the shop is closed; come back on Monday")
        if what == "raises":
            raise ValueError(f"cannot think with {os.environ.get('REMOTE_API_KEY')}")
        if what == "junk":
            return [("fine", "all is well", "")]
        if what == "prints":
            print("[1, 2]")
            sys.stderr.write("hello\n")
        if what == "exits":
            os._exit(3)
        assert {image.size for image in (*request.sources, request.edited)} == {(256, 256)}
        assert request.sources[0].tobytes() != request.edited.tobytes()
        return [("ok", "all is well", ""), ("warn", "it may rain", "take an umbrella")]

    def judge(self, requests):
        return [self._one(request) for request in requests]

    def _one(self, request) -> Verdict:
        return verdict_from_scores(request.rubric, {"similarity": 5.0}, {}, "seen")
