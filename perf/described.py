"""The parts of the described design, measured on one device: what `pipeline.py` compares with.

    python perf/described.py [--models full|tiny|scripted] [--steps 5] [--edits 3] [--size 1024] [--tokens 128] [--device cuda:0]

The described design edits with a plain diffusers loop (nothing compiled, decoding, saving and encoding in line), frees an
editor by `.to("cpu")`, one after another, and judges with transformers, the slow loop over experts (`eager`), in batches
of four. Editor and judge are loaded in processes of their own, each alone on the device; the clock is stopped only after
the device has finished. Prints one line of JSON: seconds of `load`, `step`, `around` (an edit less its steps), `unload`
(`.to("cpu")` and emptying the cache), `judge_start`, `verdict`, and how many of each were measured.
"""

from __future__ import annotations

import argparse
import copy
import io
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

_PARTS = ("editor", "judge")


def editor(arguments: argparse.Namespace) -> dict[str, Any]:
    """Load an editor, edit in a plain loop, move it to the host's memory."""
    began = time.monotonic()
    loaded = _load_editor(arguments)
    _wait(arguments)
    ready = time.monotonic()
    steps, edits = [], []
    for number in range(arguments.edits + 1):  # the first one is not measured
        begun = time.monotonic()
        ends: list[float] = []
        image = _edit(loaded, number, arguments, ends)
        image.save(io.BytesIO(), "PNG")
        if number:
            edits.append(time.monotonic() - begun)
            steps += [b - a for a, b in itertools.pairwise(ends)]
    begun = time.monotonic()
    pipeline = getattr(loaded, "pipeline", None)
    if pipeline is not None:
        pipeline.to("cpu")
        if arguments.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()
        _wait(arguments)
    ended = time.monotonic()
    step = statistics.median(steps)
    return {
        "load": ready - began,
        "step": step,
        "around": statistics.median(edits) - arguments.steps * step,
        "edits": len(edits),
        "steps": arguments.steps,
        "unload": ended - begun,
        "marks": [(ready, "load"), (begun, "edit"), (ended, "other")],
    }


def _load_editor(arguments: argparse.Namespace) -> Any:
    from edit_eval.core.types import HostContext

    context = HostContext((arguments.device,), str(arguments.folder / "editor"))
    if arguments.models == "scripted":
        from edit_eval.editors.scripted import Scripted, ScriptedParams

        seconds = 0.15 * arguments.steps + 0.05
        return Scripted(ScriptedParams(seconds=seconds, steps=arguments.steps), HostContext())
    from random_weights import FullSizeEditor, tiny_checkpoint

    from edit_eval.editors.qwen_image_edit import QwenImageEdit, QwenImageEditParams

    model = str(tiny_checkpoint("qwen-image-edit-plus", arguments.folder))
    kind = FullSizeEditor if arguments.models == "full" else QwenImageEdit
    given = QwenImageEditParams(
        num_inference_steps=arguments.steps,
        height=arguments.size,
        width=arguments.size,
        **json.loads(arguments.plain),
    )
    return kind(kind.resolve(given, model), HostContext(context.devices, model))


def _edit(loaded: Any, number: int, arguments: argparse.Namespace, ends: list[float]) -> Any:
    """Return one edit; `ends` receives when the device had finished each step."""
    from PIL import Image

    from edit_eval.core.types import EditRequest, Sample

    def step(_step: int, _steps: int) -> None:
        _wait(arguments)
        ends.append(time.monotonic())

    source = Image.linear_gradient("L").resize((arguments.size, arguments.size)).convert("RGB")
    sample = Sample(f"s{number}", "Put a red apple on the table.", ("source.png",))
    return loaded.edit(EditRequest(sample, sample.instruction, (source,), number, 0), step)


def judge(arguments: argparse.Namespace) -> dict[str, Any]:
    """Load a judge with the slow loop over experts, and judge in batches of four."""
    from judge import requests, rubric

    from edit_eval.core.types import HostContext

    began = time.monotonic()
    if arguments.models == "scripted":
        batch, count, seconds = 4, 8, 0.08
        for _ in range(count):
            time.sleep(seconds)
        ended = time.monotonic()
        marks = [(began, "load"), (ended, "judge")]
        return {"judge_start": 0.0, "verdict": (ended - began) / count, "verdicts": count, "marks": marks}
    from random_weights import FullSizeJudge, judge_folder

    from edit_eval.judges.qwen3_vl import Qwen3VL
    from edit_eval.judges.vision import VisionParams

    tiny = {"dtype": "float32", "min_pixels": 4096, "max_pixels": 16384} if arguments.models == "tiny" else {}
    params = VisionParams(
        engine="transformers",
        max_new_tokens=arguments.tokens,
        retries=0,
        constrained="off",
        experts_implementation="eager",
        compile="off",
        **tiny,
    )
    batch = 4
    model = str(judge_folder(arguments.folder, full=False))
    kind = FullSizeJudge if arguments.models == "full" else Qwen3VL
    context = HostContext((arguments.device,), model, options={"batch_size": batch})
    loaded = kind(params, context, [rubric(3)])
    _wait(arguments)
    ready = time.monotonic()
    every = requests(
        Qwen3VL.adapted(params, rubric(3)), batch * (1 + arguments.batches), arguments.size, seed=9
    )
    quick = copy.copy(loaded)
    quick.params = replace(params, max_new_tokens=2)
    quick.judge(every[:batch])  # not measured: what is done once
    begun = time.monotonic()
    count = 0
    for first in range(batch, len(every), batch):
        count += len(loaded.judge(every[first : first + batch]))
    ended = time.monotonic()
    return {
        "judge_start": ready - began,
        "verdict": (ended - begun) / count,
        "verdicts": count,
        "marks": [(ready, "load"), (ended, "judge")],
    }


def _wait(arguments: argparse.Namespace) -> None:
    """Wait until the device has done all that it was given."""
    if arguments.device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def measured(
    models: str,
    *,
    steps: int,
    edits: int,
    size: int,
    tokens: int,
    batches: int,
    device: str,
    plain: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what both parts say, each measured in a process of its own. Raises `RuntimeError` with what one printed."""
    found: dict[str, Any] = {}
    lane: list[tuple[float, float, str]] = []
    began = time.monotonic()  # one clock for all processes of a machine
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as folder:
        for part in _PARTS:
            command = [sys.executable, __file__, "--part", part, "--folder", folder, "--models", models]
            for name, value in (
                ("steps", steps),
                ("edits", edits),
                ("size", size),
                ("tokens", tokens),
                ("batches", batches),
                ("device", device),
                ("plain", json.dumps(plain or {})),
            ):
                command += [f"--{name}", str(value)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
            if not said:
                raise RuntimeError(f"{part}: {done.stdout[-1500:]}\n{done.stderr[-3000:]}")
            one = json.loads(said[-1].removeprefix("MEASURED "))
            for moment, doing in one.pop("marks"):
                lane.append((lane[-1][1] if lane else 0.0, moment - began, doing))
            found |= one
    return {**found, "lane": lane}


def main() -> int:
    """Measure both parts, or the one that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", choices=("full", "tiny", "scripted"), default="full")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--edits", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--plain", default="{}", help="JSON: editor parameters that keep it plain")
    parser.add_argument("--part", choices=_PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part = editor(arguments) if arguments.part == "editor" else judge(arguments)
        print("\nMEASURED " + json.dumps(part))
        return 0
    names = ("steps", "edits", "size", "tokens", "batches", "device")
    one = {name: getattr(arguments, name) for name in names}
    print(json.dumps(measured(arguments.models, **one, plain=json.loads(arguments.plain))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
