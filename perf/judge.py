"""Seconds a sample of every way to judge, in one run on one GPU, beside the described design as the named baseline.

    python perf/judge.py [--samples 256] [--size 1024] [--tokens 128] [--only NAME ...] [--tiny] [--json FILE]

Two images of `--size` pixels a side and a question of about 370 tokens, put to Qwen3-VL-30B-A3B with random weights (31.1 B
parameters, bfloat16); random weights write what they like, which costs what readable replies cost, and no verdict is
scored. Each way is measured in a process of its own, through the product's judge, after one unmeasured batch:

    described        transformers, the slow loop over experts (`eager`), batch 4, 16 samples: the baseline
    transformers     the transformers engine as it comes: grouped experts, batch `--batch`, 4 batches
    vllm             the vLLM engine, `--samples` samples at once, as many new tokens, whatever comes
    expected-1       mode expected, one dimension, in either engine (`expected-1-vllm`); expected-3: three dimensions

Prints seconds a sample (start of the engine apart) and how many times faster than `described`. Needs torch and transformers
5 or newer, and vLLM for its lines (left out where it is not there). `--tiny` uses toy models on the CPU, without vLLM, to
try the script itself. The judge is told nothing of other judges: no two lines share a process or a cache.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

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
WAYS: dict[str, Way] = {
    BASELINE: Way("transformers", 16, 4, 3, {"experts_implementation": "eager"}),
    "transformers": Way("transformers", 0, 0, 3, {}),
    "vllm": Way("vllm", 0, 0, 3, {"ignore_eos": True}),
    "expected-1": Way("transformers", 0, 0, 1, EXPECTED),
    "expected-3": Way("transformers", 0, 0, 3, EXPECTED),
    "expected-1-vllm": Way("vllm", 0, 0, 1, EXPECTED),
    "expected-3-vllm": Way("vllm", 0, 0, 3, EXPECTED),
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


def requests(rubric_in_use: Any, count: int, size: int) -> list[Any]:
    """Return so many samples, each with two images of its own."""
    import numpy as np
    from PIL import Image

    from edit_eval.core.types import JudgeRequest, Sample
    from edit_eval.judges.prompts import render_prompts

    noise = np.random.default_rng(0)

    def image() -> Any:
        small = Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        return small.resize((size, size), Image.Resampling.BICUBIC)

    made = []
    for number in range(count):
        sample = Sample(f"s{number}", f"Put {number} apples on the table.", (f"{number}.png",))
        prompts = render_prompts(rubric_in_use, sample)
        made.append(JudgeRequest(sample, rubric_in_use, prompts, (image(),), image(), (), number))
    return made


def measure(name: str, arguments: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Start one engine, judge, and return the seconds of both."""
    from random_weights import FullSizeJudge

    from edit_eval.core.types import HostContext
    from edit_eval.judges.qwen3_vl import Qwen3VL
    from edit_eval.judges.vision import VisionParams

    way = WAYS[name]
    tiny = {"dtype": "float32", "min_pixels": 4096, "max_pixels": 16384} if arguments.tiny else {}
    params = VisionParams(
        engine=way.engine,
        max_new_tokens=arguments.tokens,
        retries=0,
        window=arguments.samples,
        max_model_len=None if arguments.tiny else 8192,
        load_format="dummy" if way.engine == "vllm" else "auto",
        **{**way.params, **tiny},
    )
    batch = way.batch or arguments.batch
    count = way.samples or (arguments.samples if way.engine == "vllm" else 4 * batch)
    device = "cpu" if arguments.tiny else "cuda:0"
    context = HostContext((device,), str(model), options={"batch_size": batch})
    kind = Qwen3VL if arguments.tiny or way.engine == "vllm" else FullSizeJudge
    in_use = Qwen3VL.adapted(params, rubric(way.dimensions))
    began = time.monotonic()
    judge = kind(params, context, [in_use])
    started = time.monotonic() - began
    every = requests(in_use, count + batch, arguments.size)
    judge.judge(every[:batch])
    began = time.monotonic()
    verdicts = []
    for first in range(batch, len(every), judge.window):
        verdicts += judge.judge(every[first : first + judge.window])
    seconds = time.monotonic() - began
    return {
        "way": name,
        "samples": len(verdicts),
        "batch": judge.window,
        "start_s": started,
        "sample_s": seconds / len(verdicts),
        "tokens_in": verdicts[0].facts["tokens_in"],
        "tokens_out": sum(one.facts["tokens_out"] for one in verdicts) / len(verdicts),
        **machine(),
    }


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
        f"{'way':<18}{'samples':>8}{'at once':>9}{'in':>7}{'out':>6}{'start s':>9}{'s a sample':>12}{'ratio':>8}"
    ]
    for one in lines:
        ratio = f"{base / one['sample_s']:.1f}" if base else "-"
        rows.append(
            f"{one['way']:<18}{one['samples']:>8}{one['batch']:>9}{one['tokens_in']:>7}{one['tokens_out']:>6.0f}"
            f"{one['start_s']:>9.1f}{one['sample_s']:>12.4f}{ratio:>8}"
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
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.size, arguments.tokens, arguments.samples = 128, 8, 8
    if arguments.one:
        print("\nMEASURED " + json.dumps(measure(arguments.one, arguments, arguments.model)))
        return 0
    lines = []
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as name:
        from random_weights import judge_folder

        for way in arguments.only:
            if WAYS[way].engine == "vllm" and (arguments.tiny or importlib.util.find_spec("vllm") is None):
                print(
                    f"{way}: left out, vLLM is not here" if not arguments.tiny else f"{way}: left out",
                    flush=True,
                )
                continue
            model = judge_folder(Path(name), full=WAYS[way].engine == "vllm")
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--one", way, "--model", str(model)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            said = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
            if not said:
                print(f"{way}: failed\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}", flush=True)
                continue
            lines.append(json.loads(said[-1].removeprefix("MEASURED ")))
            print(table(lines[-1:]).splitlines()[-1], flush=True)
    print()
    print(table(lines))
    if lines:
        print({name: lines[-1].get(name) for name in ("device", "torch", "transformers", "vllm")})
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n")
    wanted = [way for way in arguments.only if WAYS[way].engine != "vllm" or not arguments.tiny]
    return 0 if len(lines) == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
