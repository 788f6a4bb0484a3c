"""An editor that returns what the sample's instruction names, and a judge that opens everything and scores by size."""

from __future__ import annotations

from edit_eval.core.types import EditRequest, JudgeRequest, StepCallback, Verdict
from edit_eval.editors import Editor
from edit_eval.judges import Judge
from edit_eval.judges.contract import verdict_from_scores


def paint(what: str, source):
    """Return what `what` names, made of `source`: an image, an array, or something that is neither."""
    import numpy as np
    from PIL import Image

    floats = np.asarray(source, dtype=np.float32) / 255
    if what == "good":
        return source.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if what == "good-array":
        return floats[:, ::-1]
    if what == "same":
        return source
    if what == "black":
        return Image.new("RGB", source.size)
    if what == "noisy-grey":
        return Image.fromarray((127 + np.indices((source.height, source.width)).sum(0) % 3).astype(np.uint8))
    if what in ("nan", "inf", "-inf"):
        floats = floats[:, ::-1].copy()
        floats[0, 0, 0] = float(what)
        return floats
    if what == "all-nan":
        return np.full_like(floats, np.nan)
    if what == "half":
        return paint("good", source).resize((source.width // 2, source.height // 2))
    if what == "same-half":
        return source.resize((source.width // 2, source.height // 2))
    if what == "closed":
        image = source.copy()
        image.close()
        return image
    return {
        "none": None,
        "list": [source],
        "path": "edited.png",
        "0x0": Image.new("RGB", (0, 0)),
        "0x5": Image.new("RGB", (0, 5)),
        "no-colours": floats[:, :, 0],
        "too-bright": floats * 255 + 2,
        "integers": (floats * 255).astype(np.int32),
        "empty-array": floats[:0],
    }[what]


class Painter(Editor):
    """Returns what the instruction names."""

    def edit(self, request: EditRequest, step: StepCallback):
        step(1, 1)
        return paint(request.instruction.strip(), request.images[0])


class Gauge(Judge):
    """Scores 5; opens the target where there is one, as a judge that compares does."""

    label = "Gauge"
    default_rubric = "reference-v1"
    reads = ("reference", "target")

    @property
    def window(self) -> int:
        return int(self.context.options["batch_size"])

    def judge(self, requests: list[JudgeRequest]) -> list[Verdict]:
        from edit_eval.worker.images import open_rgb

        for request in requests:
            if request.sample.target:
                open_rgb(request.sample.target)
        return [
            verdict_from_scores(request.rubric, {"similarity": 5.0}, {"similarity": "measured"}, "measured")
            for request in requests
        ]
