"""A judge that gives the scores that a sample's tags name, so that a test can compute everything by hand.

The tag named by the parameter `tag` holds the score of every dimension (`7`), or one of each (`7/8`); several, with commas,
are those of the first, second ... time that this edit is judged with that tag (counted in a file beside the source).
A kind of unscored verdict may stand instead of a score. Each verdict takes `seconds`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from edit_eval.core.types import JudgeRequest, UnscoredKind, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


@dataclass(frozen=True)
class Params:
    tag: str = "a"
    style: str = ""  # makes it another judge that says the same
    seconds: float = field(default=0.0, metadata={"identity": False})


class Tagged(Judge):
    Params = Params
    label = "Tagged"

    @property
    def window(self) -> int:
        return int(self.context.options["batch_size"])

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [self._one(request) for request in requests]

    def _one(self, request: JudgeRequest) -> Verdict:
        time.sleep(self.params.seconds)
        said = request.sample.tags[self.params.tag].split(",")
        word = said[min(self._times(request), len(said)) - 1]
        if word in get_args(UnscoredKind):
            return Verdict(unscored=word, reply=word)
        dimensions = [one.name for one in request.rubric.dimensions]
        numbers = [float(number) for number in word.split("/")]
        scores = dict(zip(dimensions, numbers * (len(dimensions) if len(numbers) == 1 else 1), strict=True))
        return verdict_from_scores(request.rubric, scores, {}, f"said {word}")

    def _times(self, request: JudgeRequest) -> int:
        """Return how often this edit was judged with this tag, this time included."""
        count = Path(
            request.sample.images[0] + f".{self.params.tag}{self.params.style}-{request.sample.id}.count"
        )
        with count.open("a") as file:
            file.write("x")
        return len(count.read_text())
