"""Seconds a sample of every way to judge, in one run on one GPU, beside the described design as the named baseline.

    python perf/judge.py [--samples 256] [--size 1024] [--tokens 128] [--only NAME ...] [--keep FOLDER] [--tiny] [--json FILE]

Two images of `--size` pixels a side and a question of about 370 tokens, put to Qwen3-VL-30B-A3B with random weights (31.1 B
parameters, bfloat16); random weights write what they like, which costs what readable replies cost, and a verdict is scored
only where a schema holds the reply. Ways that share an engine share its process; each is measured through the product's
judge after an unmeasured batch of 8 new tokens:

    described        transformers, the slow loop over experts (`eager`), batch 4, 16 samples: the baseline
    transformers     the transformers engine with its step not compiled: grouped experts, batch `--batch`, 4 batches
    compiled         the same with a static cache and a compiled decoding step
    vllm             the vLLM engine, `--samples` samples at once, as many new tokens, whatever comes
    vllm-schema      the same, replies held to the rubric's schema, which end when it is filled: scored, whatever the weights
    expected-1       mode expected, one dimension, in either engine (`expected-1-vllm`); expected-3: three dimensions

Prints seconds a sample (apart: the engine's start, and that unmeasured batch, with what is compiled in it) and how many
times faster than `described`. Needs torch and transformers 5 or newer, and vLLM for its lines (left out where it is not
there). Every line has images of its own, so that no cache of images helps a later one. `--keep FOLDER` keeps vLLM's compile
cache; `--tiny` uses toy models on the CPU, without vLLM, to try the script itself.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from entry import need_gpus, script  # noqa: E402

BASELINE = "described"
QUESTION = (
    "You see the source image, then the image that an editing program made of it. Compare them region by region. Scores are "
    'whole numbers from 1 to 5. "instruction" is how completely the instruction was carried out, "preservation" how well '
    'all else was kept, "quality" how free the result is of defects.'
)


@dataclass(frozen=True)
class Way:
    """One way to judge.

    Attributes:
        engine: `transformers` or `vllm`.
        samples: how many are measured; 0: as many as the user says.
        batch: at once, for transformers; 0: as many as the user says.
        dimensions: of the rubric.
        params: of the judge, beside its engine.
    """

    engine: str
    samples: int
    batch: int
    dimensions: int
    params: dict[str, Any]


EXPECTED = {"mode": "expected"}
WARM_UP_TOKENS = 8
STARTED: dict[str, Any] = {}
"""Engine -> the judge that was opened last with it, in this process."""
WAYS: dict[str, Way] = {
    BASELINE: Way("transformers", 16, 4, 3, {"experts_implementation": "eager", "compile": "off"}),
    "transformers": Way("transformers", 0, 0, 3, {"compile": "off"}),
    "compiled": Way("transformers", 0, 0, 3, {"compile": "on"}),
    "expected-1": Way("transformers", 0, 0, 1, EXPECTED),
    "expected-3": Way("transformers", 0, 0, 3, EXPECTED),
    "vllm": Way("vllm", 0, 0, 3, {"ignore_eos": True}),
    "expected-1-vllm": Way("vllm", 0, 0, 1, EXPECTED),
    "expected-3-vllm": Way("vllm", 0, 0, 3, EXPECTED),
    "vllm-schema": Way("vllm", 0, 0, 3, {"constrained": "auto"}),
}


def rubric(dimensions: int) -> Any:
    """Return a rubric of five levels with so many dimensions and one question."""
    from edit_eval.core.types import Call, Dimension, Rubric

    names = ("instruction", "preservation", "quality")[:dimensions]
    prompt = f"{QUESTION}\nInstruction: {{instruction}}\n{{output_format}}"
    return Rubric(
        "perf-v1",
        tuple(Dimension(name, 1, 5, integer=True) for name in names),
        (Call("edit", prompt, names),),
        f"mean({', '.join(names)})",
        1,
        5,
    )


def requests(rubric_in_use: Any, count: int, size: int, seed: int) -> list[Any]:
    """Return so many samples, each with two images of its own."""
    import numpy as np
    from PIL import Image

    from edit_eval.core.types import JudgeRequest, Sample
    from edit_eval.judges.prompts import render_prompts

    noise = np.random.default_rng(seed)

    def image() -> Any:
        small = Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        return small.resize((size, size), Image.Resampling.BICUBIC)

    made = []
    for number in range(count):
        sample = Sample(f"s{number}", f"Put {number} apples on the table.", (f"{number}.png",))
        prompts = render_prompts(rubric_in_use, sample)
        made.append(JudgeRequest(sample, rubric_in_use, prompts, (image(),), image(), (), number))
    return made


def measure(names: Sequence[str], arguments: argparse.Namespace, model: Path) -> None:
    """Judge in each of these ways, which share weights, and print the seconds of each as a line of JSON."""
    from edit_eval.judges.qwen3_vl import Qwen3VL

    for place, name in enumerate(names):
        way = WAYS[name]
        judge, started = opened(way, arguments, model)
        batch = way.batch or arguments.batch
        count = way.samples or (arguments.samples if way.engine == "vllm" else 4 * batch)
        in_use = Qwen3VL.adapted(judge.params, rubric(way.dimensions))
        every = requests(in_use, count + batch, arguments.size, seed=place)
        began = time.monotonic()
        judge.params = replace(judge.params, max_new_tokens=min(WARM_UP_TOKENS, arguments.tokens))
        judge.judge(every[:batch])
        judge.params = params_of(way, arguments)
        first = time.monotonic() - began
        began = time.monotonic()
        verdicts = []
        for start in range(batch, len(every), judge.window):
            verdicts += judge.judge(every[start : start + judge.window])
        seconds = time.monotonic() - began
        found = {
            "way": name,
            "samples": len(verdicts),
            "batch": judge.window,
            "start_s": started,
            "first_s": first,
            "sample_s": seconds / len(verdicts),
            "scored": sum(one.unscored is None for one in verdicts),
            "tokens_in": verdicts[0].facts["tokens_in"],
            "tokens_out": sum(one.facts["tokens_out"] for one in verdicts) / len(verdicts),
            "engine": judge.engine_in_use.facts(),
            **machine(),
        }
        print("\nMEASURED " + json.dumps(found), flush=True)


def opened(way: Way, arguments: argparse.Namespace, model: Path) -> tuple[Any, float]:
    """Return a judge of this way, with the weights or the vLLM engine that are there already, and the seconds it took."""
    from random_weights import FullSizeJudge

    from edit_eval.core.types import HostContext
    from edit_eval.judges.qwen3_vl import Qwen3VL

    batch = way.batch or arguments.batch
    context = HostContext(("cpu" if arguments.tiny else "cuda:0",), str(model), options={"batch_size": batch})
    kind = Qwen3VL if arguments.tiny or way.engine == "vllm" else FullSizeJudge
    began = time.monotonic()
    if way.engine == "vllm" and way.engine in STARTED:
        judge = copy.copy(STARTED[way.engine])
        judge.params = judge.engine_in_use._params = params_of(way, arguments)
    else:
        judge = STARTED[way.engine] = kind(params_of(way, arguments), context, [rubric(3)])
    return judge, time.monotonic() - began


def params_of(way: Way, arguments: argparse.Namespace) -> Any:
    """Return the judge's parameters for one way."""
    from edit_eval.judges.vision import VisionParams

    tiny = {"dtype": "float32", "min_pixels": 4096, "max_pixels": 16384} if arguments.tiny else {}
    usual = {
        "engine": way.engine,
        "max_new_tokens": arguments.tokens,
        "retries": 0,
        "constrained": "off",
        "window": arguments.samples,
        "max_model_len": None if arguments.tiny else 8192,
        "load_format": "dummy" if way.engine == "vllm" else "auto",
    }
    return VisionParams(**{**usual, **way.params, **tiny})


def machine() -> dict[str, str]:
    """Return the versions of what was measured."""
    import torch
    import transformers

    found = {"torch": torch.__version__, "transformers": transformers.__version__}
    if "vllm" in sys.modules:
        found["vllm"] = sys.modules["vllm"].__version__
    found["device"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    return found


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return what was measured, and how many times faster than the baseline each line is."""
    base = next((one["sample_s"] for one in lines if one["way"] == BASELINE), None)
    rows = [
        f"{'way':<18}{'samples':>8}{'at once':>9}{'in':>7}{'out':>6}{'start s':>9}{'first s':>9}{'s a sample':>12}{'ratio':>8}"
    ]
    for one in lines:
        ratio = f"{base / one['sample_s']:.1f}" if base else "-"
        rows.append(
            f"{one['way']:<18}{one['samples']:>8}{one['batch']:>9}{one['tokens_in']:>7}{one['tokens_out']:>6.0f}"
            f"{one['start_s']:>9.1f}{one['first_s']:>9.1f}{one['sample_s']:>12.4f}{ratio:>8}"
        )
    return "\n".join(rows)


def main() -> int:
    """Measure every way asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--these", nargs="+", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.size, arguments.tokens, arguments.samples = 128, 8, 8
    else:
        need_gpus(["cuda:0"])
    if arguments.these:
        measure(arguments.these, arguments, arguments.model)
        return 0
    here = [way for way in arguments.only if WAYS[way].engine != "vllm" or has_vllm(arguments)]
    if len(here) < len(arguments.only):
        print(
            f"left out, for vLLM is not here: {', '.join(way for way in arguments.only if way not in here)}"
        )
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as temporary:
        folder = (arguments.keep or Path(temporary)).absolute()
        for _, ways in itertools.groupby(here, key=lambda way: (way == BASELINE, WAYS[way].engine)):
            lines += measured_apart(list(ways), folder)
    print("\n" + table(lines))
    if lines:
        print({name: lines[-1].get(name) for name in ("device", "torch", "transformers", "vllm")})
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n")
    return 0 if len(lines) == len(here) else 1


def has_vllm(arguments: argparse.Namespace) -> bool:
    """Whether lines of vLLM can be measured."""
    return not arguments.tiny and importlib.util.find_spec("vllm") is not None


def measured_apart(ways: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Measure ways that share an engine in a process of their own; say why where that fails."""
    from random_weights import judge_folder

    from edit_eval.driver.scratch import find_scratch
    from edit_eval.driver.stage import VLLM_KERNELS

    scratch = find_scratch(str(folder / "scratch"))
    scratch.make()
    model = judge_folder(folder / "scratch", full=WAYS[ways[0]].engine == "vllm")
    command = [sys.executable, __file__, *sys.argv[1:], "--these", *ways, "--model", str(model)]
    # What hosts are told: vLLM compiles no kernels for minutes, and libraries have as many threads as cores.
    settings = {
        **scratch.environment(os.environ),
        "OMP_NUM_THREADS": str(os.cpu_count() or 1),
        **VLLM_KERNELS,
        "VLLM_NO_USAGE_STATS": "1",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**settings, **os.environ}
    )
    lines = [
        json.loads(line.removeprefix("MEASURED "))
        for line in done.stdout.splitlines()
        if line.startswith("MEASURED ")
    ]
    if len(lines) < len(ways):
        failed = ", ".join(ways[len(lines) :])
        print(f"{failed}: failed\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}", flush=True)
    if not lines:
        return []
    print("\n".join(table(lines).splitlines()[1:]), flush=True)
    return lines


if __name__ == "__main__":
    script(main)
