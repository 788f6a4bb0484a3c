"""How long the report of a large run takes, and how much memory: pages, thumbnails beside them, numbers.

    python perf/report.py [--samples 10000]

A run with thumbnails is made by hosts that do nothing (`hollow.py`, as in `scale.py`), of a tenth of the samples and of all
of them. Then, each in a process of its own, which is what its memory is the peak of:

    report           everything that `edit-eval report RUN` does, the first time: reads the run, links the thumbnails into
                     the page's folder, writes all pages
    again            the same once more: the thumbnails are there
    bare cards       the named baseline: the template of the cards alone, filled with cards that are ready, by jinja2 and
                     nothing else, for as many samples as the pages hold

Wall and CPU seconds are both printed; on a machine that does other work the CPU seconds are the ones to look at. The ratio
is that to the bare cards, the growth that of the time from a tenth to all. Exits with 1 if the report of 10,000 samples or
more takes more than 60 s of CPU or 1 GiB, or if the page is another the second time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

MOST_S, MOST_MIB = 60.0, 1024.0
PROMISED_SAMPLES = 10_000
SHARED = 10
"""Samples that have one image each."""
WHAT = ("report", "again", "bare cards")


def report(run_dir: Path) -> dict[str, object]:
    """Build the report as the command does; return a digest of its pages."""
    from edit_eval.serve.shown import read_shown

    page = read_shown(run_dir).write_page()
    pages = sorted(page.parent.glob("*.html"))
    digest = hashlib.sha256(b"".join(one.read_bytes() for one in pages)).hexdigest()
    return {"digest": digest, "pages": len(pages), "mib": sum(one.stat().st_size for one in pages) / 2**20}


def bare_cards(run_dir: Path) -> dict[str, object]:
    """Fill the cards' template with cards that are ready: one of them as many times as the pages have cards."""
    from edit_eval.driver.store import RunReader
    from edit_eval.driver.summary import read_rows
    from edit_eval.views.cards import cards
    from edit_eval.views.links import links_between
    from edit_eval.views.page import MOST_CARDS
    from edit_eval.views.templating import template

    rows = read_rows(RunReader(run_dir))
    count = len(rows) + (MOST_CARDS if len(rows) > MOST_CARDS else 0)
    [card] = cards(rows[:1], (0.0, 10.0), links_between(run_dir / "report", run_dir), {}, repeats=False)
    begin, cpu = time.perf_counter(), time.process_time()
    size = sum(map(len, template("cards.html").generate(rows=[card] * count)))
    return {
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - cpu,
        "mib": size / 2**20,
        "pages": 0,
    }


def child(what: str, run_dir: Path) -> None:
    """Do one thing and print what it took as JSON."""
    begin = time.perf_counter()
    found = bare_cards(run_dir) if what == "bare cards" else report(run_dir)
    took = {
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps({**took, **found}))


def measured(folder: Path, samples: int) -> dict[str, Mapping[str, float]]:
    """Make a run of so many samples and measure everything on it."""
    make = f"import scale, pathlib; p = pathlib.Path({str(folder)!r}); scale.make(p, {samples}, {SHARED}); scale.first_start(p)"
    subprocess.run([sys.executable, "-c", make], cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    found = {}
    for what in WHAT:
        command = [sys.executable, __file__, "--child", what, "--run", str(folder / "run")]
        found[what] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=PROMISED_SAMPLES)
    parser.add_argument("--child", choices=WHAT, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.run)
        return 0
    sizes = (max(1, arguments.samples // 10), arguments.samples)
    with tempfile.TemporaryDirectory() as scratch:
        small, large = (measured(Path(scratch) / str(size), size) for size in sizes)
    print(f"{'':12}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'pages':>7}{'MiB':>8}")
    for size, found in zip(sizes, (small, large), strict=True):
        print(f"{size:,} samples")
        for what, one in found.items():
            print(
                f"  {what:10}{one['seconds']:9.2f}{one['cpu']:9.2f}{one['peak_mib']:10.0f}{one['pages']:7.0f}{one['mib']:8.1f}"
            )
    whole, bare = large["report"], large["bare cards"]
    print(f"the report takes {whole['cpu'] / bare['cpu']:.1f} times the CPU of the bare cards", end="; ")
    print(f"ten times the samples take {whole['cpu'] / small['report']['cpu']:.1f} times as long")
    bad = []
    if large["report"]["digest"] != large["again"]["digest"]:
        bad.append("the second report is another than the first")
    if arguments.samples >= PROMISED_SAMPLES:
        bad += [f"{what} takes more than {MOST_S:g} s" for what in WHAT[:2] if large[what]["cpu"] > MOST_S]
        bad += [
            f"{what} takes more than {MOST_MIB:g} MiB"
            for what in WHAT[:2]
            if large[what]["peak_mib"] > MOST_MIB
        ]
    print("; ".join(bad) or "as promised")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
