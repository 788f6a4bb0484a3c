"""An editor and a judge whose model is a file: what they say depends on its bytes, and is slow to load if asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faulty import misbehave
from PIL import Image

from edit_eval.core.types import EditRequest, HostContext, JudgeRequest, Rubric, StepCallback, Verdict
from edit_eval.editors import Editor
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores

MODEL_FILE = "model_index.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Params:
    """`begun`: a file made as soon as loading begins; `load`: what it then does, as `faulty.misbehave` knows it."""

    begun: str = field(default="", metadata={"identity": False})
    load: str = field(default="", metadata={"identity": False})


def weights(params: Params, context: HostContext) -> bytes:
    """Return what the model holds, after what is asked for."""
    if params.begun:
        Path(params.begun).touch()
    misbehave(params.load, "/nonexistent")
    return (Path(context.model) / WEIGHTS).read_bytes()


class WeightyEditor(Editor):
    Params = Params
    model_file = MODEL_FILE

    def __init__(self, params: Params, context: HostContext) -> None:
        super().__init__(params, context)
        self._shade = sum(weights(params, context)) % 256

    def edit(self, request: EditRequest, step: StepCallback):
        step(1, 1)
        return Image.new("RGB", request.images[0].size, (self._shade,) * 3)


class WeightyJudge(Judge):
    Params = Params
    model_file = MODEL_FILE
    label = "Weighty"
    default_rubric = "reference-v1"

    def __init__(self, params: Params, context: HostContext, rubrics: Sequence[Rubric]) -> None:
        super().__init__(params, context, rubrics)
        self._score = float(sum(weights(params, context)) % 10)

    def judge(self, requests: list[JudgeRequest]) -> list[Verdict]:
        return [
            verdict_from_scores(request.rubric, {"similarity": self._score}, {"similarity": "so"}, "so")
            for request in requests
        ]
