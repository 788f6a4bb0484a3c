"""How time and memory grow with the size of a run: 1,000, 10,000 and 100,000 samples, one edit and one verdict each.

    python perf/scale.py [--sizes 1000 10000 100000] [--ledger 1000000] [--shared 1]

Everything is made in a temporary folder and removed afterwards: a folder benchmark with a JSONL table and tiny PNG files
(`--shared`: how many samples have each image), and a run of it whose hosts do nothing (`hollow.py`), so that its files are
the product's own. Every line is measured in a process of its own, which is what its memory is the peak of:

    first start      the whole run, from 0 to 2n outcomes: the driver's own CPU time, hosts and their files left out
    an edit,         of that, microseconds for each outcome, with ledger, display, telemetry, links and queues; over the
    a verdict        last half of them, when everything is as long as it gets
    appending        to ledgers that hold n lines each: microseconds a line
    resume           `edit-eval run CONFIG` again, the whole command, which finds nothing to do; before it was given once
                     for what is only done once
    ... its plan     of that, from the start of the process to where it is known that there is nothing to do
    ... not settled  the same where the last start did not find everything done: every verdict's key is made
    plan to judge    the same without a single verdict: from the start of the process to where the first host would start
    report, json,    `edit-eval report RUN`, the same as JSON, and `edit-eval export RUN --canonical`
    export
    reading          a ledger of n edits, and one of `--ledger` lines; beside it the same loop with the standard
                     library's json as the named baseline

Wall and CPU seconds are both printed; on a machine that does other work the CPU seconds are the ones to look at. The ratio
is that of a size to the one before it, the exponent that of a power law through all sizes (1: linear; less: part of the
time is the same for any size). Exits with 1 if something that takes 0.2 s or more grows faster than linearly (an exponent
above 1.15 between the last two sizes), or if from 100,000 samples on a resume or a plan takes more than 5 s of CPU or 1 GiB, or a ledger of
1,000,000 lines more than 5 s.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

MOST_EXPONENT = 1.15
WORTH_S = 0.2
MOST_S, MOST_MIB = 5.0, 1024.0
PROMISED_SAMPLES, PROMISED_LINES = 100_000, 1_000_000
DEVICES = [f"cpu:{index}" for index in range(8)]
OBJECTS = ("the red chair", "an old tree", "two cats", "the sky at dusk", "a man with a hat", "every window")
CATEGORIES = ("recolour", "remove", "add", "style")
LONG_AGO = 1_600_000_000


@dataclass(frozen=True)
class Measured:
    """What one thing took at one size."""

    wall_s: float
    cpu_s: float
    mib: float


# What is measured: each runs in a process of its own


def make(folder: Path, samples: int, shared: int) -> None:
    """Write a benchmark, a model that holds nothing, and the config of a run."""
    from hollow import tiny_png

    data, model = folder / "data", folder / "model"
    with contextlib.ExitStack() as stack:
        data.mkdir(parents=True)
        table = stack.enter_context((data / "samples.jsonl").open("w"))
        for index in range(samples):
            number = index // shared
            image = f"{number // 1000:03}/{number:06}.png"
            if index % shared == 0:
                (data / image).parent.mkdir(exist_ok=True)
                (data / image).write_bytes(tiny_png(image))
                os.utime(data / image, (LONG_AGO, LONG_AGO))  # else its hash is not remembered
            what = OBJECTS[index % len(OBJECTS)]
            line = {
                "id": f"s{index:06}",
                "image": image,
                "instruction": f"Make {what} look {index} years older, and keep everything else as it is.",
                "tags": {"category": CATEGORIES[index % len(CATEGORIES)], "language": "en"},
            }
            table.write(json.dumps(line) + "\n")
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "qwen3_vl", "vision_config": {}}')
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # holds no tensors
    config = {
        "benchmark": {"type": "folder", "path": str(data)},
        "editor": {"type": "scripted", "devices": DEVICES},
        "judge": {"type": "qwen3_vl", "model": str(model), "rubric": "general-v1", "devices": DEVICES},
        "output": str(folder / "run"),
        "preflight": "off",  # the judge is hollow
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML


def first_start(folder: Path) -> dict[str, float]:
    """Run everything with hosts that do nothing; return seconds and what an outcome took."""
    from hollow import HollowBackend

    from edit_eval.cli.garbage import uncollected
    from edit_eval.driver.config import load_config
    from edit_eval.driver.events import EditFailed, EditFinished, Event, VerdictGiven
    from edit_eval.driver.job import prepare
    from edit_eval.driver.pipeline import run_job
    from edit_eval.driver.rubrics import load_rubric
    from edit_eval.views.terminal import open_display

    outcomes: dict[type, list[float]] = {EditFinished: [], VerdictGiven: []}
    spent = [0.0]
    backend = HollowBackend(load_rubric("general-v1"))
    with Path(os.devnull).open("w") as nowhere, open_display("plain", nowhere) as display:

        def emit(event: Event) -> None:
            display(event)
            if isinstance(event, EditFinished | VerdictGiven):
                before, spent[0] = spent[0], time.process_time() - backend.seconds
                outcomes[type(event)].append(spent[0] - before)
            elif isinstance(event, EditFailed):
                raise RuntimeError(event.reason)  # noqa: TRY004 - what failed is the run, not a type

        began = time.perf_counter()
        with uncollected():
            job = prepare(load_config(folder / "config.yaml"))
        run_job(job, emit, backend=backend, tick=display.tick)
    edits, verdicts = outcomes.values()
    if not len(edits) == len(verdicts) == len(job.wanted):
        raise RuntimeError(f"{len(edits)} edits and {len(verdicts)} verdicts of {len(job.wanted)} samples")
    return {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - backend.seconds,
        "edit_us": 1e6 * _mean_of_last_half(edits),
        "verdict_us": 1e6 * _mean_of_last_half(verdicts),
    }


class _Planned(Exception):
    """The plan is known, and work would begin."""


def planning(folder: Path, began: str) -> dict[str, float]:
    """Plan a start as `edit-eval run` does, and go no further; `began`: by the clock, when this process was started."""
    import edit_eval.cli.commands  # noqa: F401 - whatever the command imports
    from edit_eval.cli.garbage import uncollected
    from edit_eval.driver.config import load_config
    from edit_eval.driver.events import Event, RunStarted
    from edit_eval.driver.job import prepare
    from edit_eval.driver.pipeline import run_job

    def emit(event: Event) -> None:
        if isinstance(event, RunStarted):
            raise _Planned

    with uncollected(), contextlib.suppress(_Planned):
        run_job(prepare(load_config(folder / "config.yaml")), emit)
    return {"wall_s": time.time() - float(began), "cpu_s": time.process_time()}


def _mean_of_last_half(values: Sequence[float]) -> float:
    last = values[len(values) // 2 :]
    return math.fsum(last) / len(last)


def append(folder: Path, lines: int = 2000) -> dict[str, float]:
    """Append to the ledgers of a finished run what they hold already; return microseconds a line."""
    from edit_eval.driver.store import RunStore

    with RunStore(folder / "run") as store:
        pairs = [
            (ledger, [ledger.records[key] for key, _ in zip(ledger.records, range(lines), strict=False)])
            for ledger in (store.edits, store.verdicts)
        ]
        began, cpu = time.perf_counter(), time.process_time()
        for ledger, records in pairs:
            for record in records:
                ledger.append(record)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = sum(len(records) for _, records in pairs)
    return {"wall_s": wall, "cpu_s": cpu, "each_us": 1e6 * cpu / count}


def read(path: Path, how: str) -> dict[str, float]:
    """Read a ledger: as the driver does, or with the standard library's json."""
    from edit_eval.driver.ledger import read_ledger, tells_of_edit

    began, cpu = time.perf_counter(), time.process_time()
    if how == "ours":
        found = len(read_ledger(path, tells_of_edit))
    else:
        found = len(read_by_the_standard_library(path))
    return {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu, "found": found}


def read_by_the_standard_library(path: Path) -> dict[str, int]:
    """Return where the last line of every key begins: the least that a reader of a ledger does."""
    begins: dict[str, int] = {}
    begin = 0
    with path.open("rb") as file:
        for line in file:
            begins[json.loads(line)["key"]] = begin
            begin += len(line)
    return begins


def lengthen(ledger: Path, longer: Path, lines: int) -> None:
    """Write a ledger of so many lines: those of another one, with ever new keys."""
    import orjson

    from edit_eval.core.identity import digest

    with ledger.open("rb") as source, longer.open("wb") as target:
        records = [orjson.loads(line) for line, _ in zip(source, range(1000), strict=False)]
        for number in range(lines):
            record = {**records[number % len(records)], "key": digest(number)}
            target.write(orjson.dumps(record) + b"\n")


def child(what: str, arguments: Sequence[str]) -> None:
    """Do one of the above and print what it took as JSON."""
    folder = Path(arguments[0])
    if what == "make":
        make(folder, int(arguments[1]), int(arguments[2]))
        said: dict[str, float] = {}
    elif what == "lengthen":
        lengthen(folder / "run" / "edits.jsonl", folder / "long.jsonl", int(arguments[1]))
        said = {}
    elif what == "read":
        said = read(folder, arguments[1])
    elif what == "planning":
        said = planning(folder, arguments[1])
    else:
        doing: dict[str, Callable[[Path], dict[str, float]]] = {"first_start": first_start, "append": append}
        said = doing[what](folder)
    said["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(said))


# The processes


def start(folder: Path, *command: str) -> tuple[Measured, str]:
    """Run a command to its end; return what it took, from its start on, and what it printed."""
    env = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONDONTWRITEBYTECODE": "",  # as after an installation: no module is compiled at every start
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stdout=out, cwd=folder, env=env)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
        out.seek(0)
        return Measured(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), out.read(2000)


def part(folder: Path, what: str, *arguments: object) -> dict[str, float]:
    """Run one of this file's own parts."""
    _, said = start(folder, __file__, "--child", what, *map(str, arguments))
    found: dict[str, float] = json.loads(said)
    return found


def measured(said: dict[str, float]) -> Measured:
    """Return what a part said of itself."""
    return Measured(said["wall_s"], said["cpu_s"], said["mib"])


def resumed(folder: Path) -> Measured:
    """Give the same command again, once for what is only done once, and then measured."""
    command = ("-m", "edit_eval", "run", str(folder / "config.yaml"), "--display", "plain")
    for _ in range(2):
        found, said = start(folder, *command)
        if not said.startswith("Nothing to do"):
            raise RuntimeError(f"there was something to do: {said[:200]}")
    return found


def planned(folder: Path) -> Measured:
    """Plan a start, and go no further."""
    return measured(part(folder, "planning", folder, time.time()))


Lines = Iterator[tuple[str, "Measured | float"]]


def at_size(folder: Path, samples: int, shared: int) -> Lines:
    """Yield everything that is measured at one size: seconds and memory, or microseconds."""
    folder.mkdir()
    part(folder, "make", folder, samples, shared)
    said = part(folder, "first_start", folder)
    yield "first start", measured(said)
    yield "... an edit, us", said["edit_us"]
    yield "... a verdict, us", said["verdict_us"]
    yield "resume", resumed(folder)
    yield "... its plan", planned(folder)
    (folder / "run" / ".settled").unlink()
    yield "... not settled", planned(folder)
    verdicts = folder / "run" / "verdicts.jsonl"
    verdicts.rename(folder / "verdicts.jsonl")
    yield "plan to judge", planned(folder)
    (folder / "verdicts.jsonl").replace(verdicts)
    run = str(folder / "run")
    yield "report", start(folder, "-m", "edit_eval", "report", run)[0]
    yield "report --format json", start(folder, "-m", "edit_eval", "report", run, "--format", "json")[0]
    yield "export --canonical", start(folder, "-m", "edit_eval", "export", run, "--canonical")[0]
    yield from reading(folder, folder / "run" / "edits.jsonl", samples)
    yield "appending a line, us", part(folder, "append", folder)["each_us"]


def reading(folder: Path, ledger: Path, lines: int) -> Lines:
    """Yield what reading a ledger takes, and the baseline."""
    for name, how in (("reading a ledger", "ours"), ("... json.loads (baseline)", "baseline")):
        said = part(folder, "read", ledger, how)
        if said["found"] != lines:
            raise RuntimeError(f"{said['found']} records in {lines} lines")
        yield name, measured(said)


# What is made of it


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Return b of the power law a * size ** b that is nearest to the values (least squares of the logarithms)."""
    points = [(math.log(size), math.log(max(value, 1e-9))) for size, value in zip(sizes, values, strict=True)]
    mean_x, mean_y = (math.fsum(one[axis] for one in points) / len(points) for axis in (0, 1))
    return math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / math.fsum(
        (x - mean_x) ** 2 for x, _ in points
    )


def row(name: str, sizes: Sequence[int], values: Sequence[Measured | float]) -> str:
    """Return one line of the table."""
    cells, times = [], []
    for value in values:
        if isinstance(value, Measured):
            cells.append(f"{value.wall_s:7.2f} {value.cpu_s:7.2f} {value.mib:6.0f}")
            times.append(value.cpu_s)
        else:
            cells.append(f"{value:15.1f}       ")
            times.append(value)
    ratios = [after / before for before, after in itertools.pairwise(times) if before > 0]
    growth = " ".join(f"{ratio:5.1f}" for ratio in ratios)
    return f"{name:<26}" + "  ".join(cells) + (f"  {growth}  {exponent(sizes, times):5.2f}" if ratios else "")


def broken(sizes: Sequence[int], found: dict[str, list[Any]]) -> Iterator[str]:
    """Yield every promise that is not kept."""
    for name, values in found.items():
        if len(sizes) > 1 and isinstance(values[-1], Measured) and values[-1].cpu_s >= WORTH_S:
            growth = exponent(sizes[-2:], [one.cpu_s for one in values[-2:]])
            if growth > MOST_EXPONENT:
                yield f"{name} grows with size ** {growth:.2f}"
    for name in ("resume", "... its plan", "... not settled", "plan to judge"):
        took = found[name][-1]
        if sizes[-1] >= PROMISED_SAMPLES and (took.cpu_s > MOST_S or took.mib > MOST_MIB):
            yield f"{name}: {sizes[-1]:,} samples take {took.cpu_s:.1f} s and {took.mib:.0f} MiB"


def main() -> int:
    """Print the tables; exit 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--ledger", type=int, default=PROMISED_LINES)
    parser.add_argument("--shared", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    if arguments.child:
        child(arguments.child, rest)
        return 0
    sizes = sorted(arguments.sizes)
    with tempfile.TemporaryDirectory(prefix="edit-eval-scale-") as name:
        found: dict[str, list[Any]] = {}
        for size in sizes:
            for what, value in at_size(Path(name) / str(size), size, arguments.shared):
                found.setdefault(what, []).append(value)
        print(" " * 26 + "  ".join(f"{size:>22,}" for size in sizes) + "  ratio and exponent of CPU s")
        print(" " * 26 + "  ".join(f"{'wall s':>7} {'CPU s':>7} {'MiB':>6}" for _ in sizes))
        for what, values in found.items():
            print(row(what, sizes, values))
        problems = list(broken(sizes, found))
        folder = Path(name) / str(sizes[-1])
        part(folder, "lengthen", folder, arguments.ledger)
        ours, baseline = (value for _, value in reading(folder, folder / "long.jsonl", arguments.ledger))
        print(
            f"\na ledger of {arguments.ledger:,} lines ({(folder / 'long.jsonl').stat().st_size / 1e6:.0f} MB): "
            f"{ours.cpu_s:.2f} s of CPU ({ours.wall_s:.2f} s), {ours.mib:.0f} MiB; with json.loads {baseline.cpu_s:.2f} s "
            f"({baseline.wall_s:.2f} s): {baseline.cpu_s / ours.cpu_s:.1f} times as long"
        )
        if arguments.ledger >= PROMISED_LINES and ours.cpu_s > MOST_S:
            problems.append(f"reading {arguments.ledger:,} lines takes {ours.cpu_s:.1f} s")
    print("\n".join(f"BROKEN: {problem}" for problem in problems) or "no worse than linear, and as promised")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
