"""A judge that compares two images as it is shown them, in the form that is asked for; the instruction says how it decides.

`bright`: the brighter one is better. `first`, `tie`: always that. `refuse`, `garble`: no answer that could be read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from edit_eval.core.types import JudgeRequest, Prompt, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import combine, parse_reply


def answer(request: JudgeRequest, prompt: Prompt) -> str:
    *_, first, second = (
        image.convert("L").resize((1, 1)).getpixel((0, 0)) for image in request.images_of(prompt)
    )
    how = json.loads(prompt.text.partition("Instruction: ")[2].splitlines()[0])
    if how == "refuse":
        return "I'm sorry, but I can't help with that."
    if how == "garble":
        return "The first one, clearly."
    better = {"first": 0, "tie": 1, "bright": 1 + (second > first) - (second < first)}[how]
    return json.dumps({"better": {"reason": f"{first} and {second}", "score": better}})


class Comparing(Judge):
    label = "Comparing"

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        verdicts = []
        for request in requests:
            texts = [answer(request, prompt) for prompt in request.prompts]
            calls = request.rubric.calls
            read = [parse_reply(text, request.rubric, call) for text, call in zip(texts, calls, strict=True)]
            verdicts.append(combine(request.rubric, read, texts))
        return verdicts
