"""How judging scales over GPUs, with and without the engine's start, with a cold and a warm compile cache.

    python perf/scaling.py [--samples 1800] [--tokens 128] [--devices cuda:0,cuda:1] [--keep FOLDER] [--tiny] [--json FILE]

Drawn scenes are edited once (scripted, on CPU slots); then `edit-eval score` judges them with Qwen3-VL-30B-A3B in vLLM, with
random weights and as many new tokens as asked for, with `preflight: warn`, in turn: on the first device with an empty
compile cache (a window's worth of edits only), on the first device with the cache filled, on all devices (each time after
waiting until nobody else holds memory of these devices). Every verdict is unscored, for random weights write no JSON.

Prints for each: the whole time, the engine's start (order to ready, the slowest device), the wait from ready to the first
verdict, verdicts a second without the start (each device from ready to its last verdict, summed), and the ratio of that to
one device, which is to be at least 0.95 n. The waits for the first verdicts and for the last replies are in it; they are a
smaller part of many edits than of few. Then what 900 edits would take on 1 to 6 devices by arithmetic from these figures,
labelled so. `--keep FOLDER` keeps edits and compile cache; where an earlier call, or `perf/judge.py` with the same folder
and as many samples as `--window`, has filled the cache, nothing is measured cold. `--tiny` uses a toy model by transformers
on CPU slots, to try the script itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.pipeline import run_job
from edit_eval.driver.store import RunReader

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from entry import need_gpus, script  # noqa: E402
from judge import rubric  # noqa: E402
from random_weights import judge_folder  # noqa: E402

SAMPLES = 1800
HEADLINE_EDITS = 900
MOST_LOSS = 0.05
BELOW_COVERAGE = 3
"""Exit code of `edit-eval` where too few samples have a score."""
MOST_USED = 2 << 30
"""Bytes of a GPU that count as nothing."""


@dataclass(frozen=True)
class Measured:
    """One way of judging: seconds, and verdicts a second without the engines' starts."""

    name: str
    devices: int
    verdicts: int
    total_s: float
    start_s: float
    first_s: float
    rate: float
    engine: str


def config(arguments: argparse.Namespace, folder: Path, devices: list[str], keep: Path) -> dict[str, Any]:
    """Return the config of one way."""
    judge: dict[str, Any] = {
        "type": "qwen3_vl",
        "model": str(judge_folder(keep / "scratch", full=not arguments.tiny)),
        "rubric": str(folder / "perf.yaml"),
        "devices": devices,
        "params": {
            "max_new_tokens": arguments.tokens,
            "retries": 0,
            "engine": "transformers",
            "dtype": "float32",
        },
    }
    if not arguments.tiny:
        judge["params"] = {
            "engine": "vllm",
            "load_format": "dummy",
            "ignore_eos": True,
            "max_new_tokens": arguments.tokens,
            "max_model_len": 8192,
            "retries": 0,
            "window": arguments.window,
        }
    if os.environ.get("PYTHONPATH"):
        judge["env"] = {"PYTHONPATH": os.environ["PYTHONPATH"]}
    slots = [f"cpu:{index}" for index in range(max(1, (os.cpu_count() or 2) // 2))]
    return {
        "benchmark": {"type": "scenes", "params": {"n": arguments.samples, "size": arguments.size}},
        "editor": {"type": "scripted", "devices": slots},
        "judge": judge,
        "scratch": str(keep / "scratch"),
        "preflight": "warn",
        "output": str(keep / f"edited-{arguments.samples}-{arguments.size}"),
    }


def wait_until_free(devices: list[str], most_s: float = 900) -> None:
    """Wait until no other program holds memory of these GPUs; after `most_s` seconds measure anyway and say so."""
    if not devices[0].startswith("cuda"):
        return
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(int(name.partition(":")[2])) for name in devices]
    end = time.monotonic() + most_s
    while any(pynvml.nvmlDeviceGetMemoryInfo(one).used > MOST_USED for one in handles):
        if time.monotonic() > end:
            print(
                f"{', '.join(devices)}: still in use after {most_s:.0f} s; measured all the same", flush=True
            )
            return
        time.sleep(1)


def measure(name: str, tree: dict[str, Any], folder: Path, limit: int) -> Measured:
    """Judge `limit` edits of a copy of the edited run by `edit-eval score`.

    Raises:
        RuntimeError: it ends with anything but unscored verdicts.
    """
    output = folder / f"run-{name.replace(' ', '-').replace(',', '')}"
    shutil.copytree(Path(tree["output"]), output, symlinks=True)
    file = folder / f"{output.name}.yaml"
    file.write_text(json.dumps({**tree, "output": str(output)}))
    command = [
        sys.executable,
        "-m",
        "edit_eval",
        "score",
        str(file),
        "--limit",
        str(limit),
        "--display",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != BELOW_COVERAGE:
        raise RuntimeError(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    ready: dict[str, float] = {}
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    count: dict[str, int] = {}
    total = 0.0
    for event in map(json.loads, done.stdout.splitlines()):
        total = max(total, event.get("at", 0.0))
        if event["event"] == "device_state" and event["stage"] == "judge" and event["state"] == "ready":
            ready.setdefault(event["device"], event["at"])
        elif event["event"] == "verdict_given":
            first.setdefault(event["device"], event["at"])
            last[event["device"]] = event["at"]
            count[event["device"]] = count.get(event["device"], 0) + 1
    hosts = RunReader(output).info["starts"][-1]["hosts"]
    return Measured(
        name,
        len(count),
        sum(count.values()),
        total,
        max(facts["load_s"] for facts in hosts.values()),
        max(first[device] - ready[device] for device in count),
        sum(number / (last[device] - ready[device]) for device, number in count.items()),
        next(iter(hosts.values())).get("engine", "?"),
    )


def main() -> int:
    """Edit once, judge in every way, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--devices", default="cuda:0,cuda:1")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.samples, arguments.size, arguments.tokens, arguments.devices = 64, 64, 4, "cpu:0,cpu:1"
    devices = arguments.devices.split(",")
    need_gpus(devices)
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as name:
        folder = Path(name)
        keep = (arguments.keep or folder / "keep").absolute()
        warm = any((keep / "scratch").glob("*/cache/vllm/torch_compile_cache/*"))
        (folder / "perf.yaml").write_text(json.dumps(as_file(rubric(3))))
        run_job(
            prepare(check_config(config(arguments, folder, devices, keep)), stages=("edit",)),
            lambda _: None,
            stages=("edit",),
        )
        ways = [("one, cold", devices[:1]), ("one, warm", devices[:1]), ("all, warm", devices)]
        for title, several in ways[1 if warm else 0 : 3 if len(devices) > 1 else 2]:
            wait_until_free(several)
            limit = min(arguments.window, arguments.samples) if title == "one, cold" else arguments.samples
            found.append(measure(title, config(arguments, folder, several, keep), folder, limit))
            print(line(found[-1], found), flush=True)
    single = next(one for one in found if one.name == "one, warm")
    print("\n" + arithmetic(found[-1], single))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    ratio = found[-1].rate / single.rate
    return 0 if arguments.tiny or ratio >= (1 - MOST_LOSS) * found[-1].devices else 1


def as_file(made: Any) -> dict[str, Any]:
    """Return a rubric as it stands in a file."""
    data = made.to_json()
    for part in data["dimensions"]:
        part["scale"] = [part.pop("low"), part.pop("high")]
    data["range"] = [data.pop("low"), data.pop("high")]
    return dict(data)


def line(one: Measured, every: list[Measured]) -> str:
    """Return one way in words."""
    base = next((other.rate for other in every if other.name == "one, warm"), None)
    ratio = f", {one.rate / base:.2f} x one" if base and one.devices > 1 else ""
    return (
        f"{one.name:<10} {one.devices} device(s), {one.engine}: {one.verdicts} verdicts in {one.total_s:.1f} s, engine start "
        f"{one.start_s:.1f} s, first verdict {one.first_s:.1f} s later, {one.rate:.2f} verdicts a second from ready on{ratio}"
    )


def arithmetic(several: Measured, single: Measured) -> str:
    """Return what the headline number of edits would take; nothing of it was measured."""
    each, start = several.rate / several.devices, single.start_s
    rows = [
        f"{count} device(s): start {start:.0f} s + {HEADLINE_EDITS} / ({count} x {each:.2f}) = "
        f"{start + HEADLINE_EDITS / (count * each):.0f} s"
        for count in (1, 2, 4, 6)
    ]
    return "\n".join([f"{HEADLINE_EDITS} edits with a warm cache, by arithmetic and not measured:", *rows])


if __name__ == "__main__":
    script(main)
