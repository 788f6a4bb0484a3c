"""A judge that answers every question in the form that it asks for, with scores that a test can foretell.

A score is the top of its scale, less one for every `!` in the sample's instruction (not below the bottom). An instruction
with `garble` gets a reply that cannot be read, one with `refuse` a refusal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from edit_eval.core.types import Call, Dimension, JudgeRequest, Rubric, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import combine, parse_reply


def score_of(dimension: Dimension, instruction: str) -> int:
    return max(int(dimension.low), int(dimension.high) - instruction.count("!"))


def reply(rubric: Rubric, call: Call, instruction: str) -> str:
    if "garble" in instruction:
        return "It is a fine edit, I would say 9 out of 10."
    if "refuse" in instruction:
        return "I'm sorry, but I can't help with that."
    scores = {name: score_of(rubric.dimension(name), instruction) for name in call.dimensions}
    keys = dict(zip(call.dimensions, call.keys or call.dimensions, strict=True))
    if call.reply == "object":
        return json.dumps({name: {"reason": "seen", "score": score} for name, score in scores.items()})
    if call.reply == "fields":
        return json.dumps({"reason": "seen", **{keys[name]: score for name, score in scores.items()}})
    if call.reply == "list":
        return json.dumps({"score": list(scores.values()), "reasoning": "seen"})
    if call.reply == "lines":
        return "Brief reasoning: seen.\n" + "\n".join(
            f"{keys[name]}: {score}" for name, score in scores.items()
        )
    return f"I looked.\n**Final Score:** **{', '.join(map(str, scores.values()))}**"


class Replying(Judge):
    label = "Replying"

    @property
    def window(self) -> int:
        return int(self.context.options["batch_size"])

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [self._one(request) for request in requests]

    def _one(self, request: JudgeRequest) -> Verdict:
        assert all(request.images_of(prompt) for prompt in request.prompts)
        rubric = request.rubric
        texts = [reply(rubric, call, request.sample.instruction) for call in rubric.calls]
        read = [parse_reply(text, rubric, call) for text, call in zip(texts, rubric.calls, strict=True)]
        return combine(rubric, read, texts)
