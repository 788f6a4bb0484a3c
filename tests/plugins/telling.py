"""A judge that says what its host was told, as facts of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edit_eval.core.types import JudgeRequest, Verdict
from edit_eval.judges import Judge


class Telling(Judge):
    label = "Telling"

    def facts(self) -> dict[str, Any]:
        return {"told": self.context.options["questions"]}

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [Verdict(unscored="refused") for _ in requests]
