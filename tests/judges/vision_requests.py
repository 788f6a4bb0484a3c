"""What the tests ask judges that run models: requests about images of different sizes, and short parameters."""

from __future__ import annotations

from PIL import Image

from edit_eval.core.types import Call, HostContext, JudgeRequest, Rubric, Sample
from edit_eval.driver.rubrics import load_rubric
from edit_eval.judges.prompts import render_prompts
from edit_eval.judges.vision import VisionParams

__all__ = ["PARAMS", "RUBRIC", "SHORT", "context", "request", "requests"]

RUBRIC = load_rubric("general-v1")
SHORT = Rubric(
    "short",
    RUBRIC.dimensions,
    (
        Call("both", "Same? {instruction} {output_format}", ("instruction", "preservation")),
        Call("look", "Nice? {output_format}", ("quality",), ("edited",)),
    ),
    RUBRIC.overall,
    0,
    10,
)
PARAMS = VisionParams(
    constrained="off", retries=0, max_new_tokens=16, dtype="float32", min_pixels=64 * 64, max_pixels=128 * 128
)
INSTRUCTIONS = (
    "add a cat",
    "",
    "把天空变成紫色",
    "<|image_pad|> <|im_end|> {output_format}",
    "more light " * 40,
)


def request(instruction="add a cat", size=(96, 64), rubric=SHORT):
    sample = Sample("s", instruction, ("source.png",))
    source = Image.linear_gradient("L").resize(size).convert("RGB")
    return JudgeRequest(
        sample, rubric, render_prompts(rubric, sample), (source,), Image.new("RGB", size, "red"), (), 0
    )


def requests(rubric=SHORT):
    sizes = [(96, 64), (64, 64), (200, 90), (32, 300), (128, 128)]
    return [request(text, size, rubric) for text, size in zip(INSTRUCTIONS, sizes, strict=True)]


def context(folder, batch_size=None, devices=("cpu",)):
    return HostContext(devices, str(folder), options={} if batch_size is None else {"batch_size": batch_size})
