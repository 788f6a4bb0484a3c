"""Faults of what edits and verdicts are made from: a benchmark's files that become others while a run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from faults.suite import Fault, Trial, finished, refused, undisturbed


def _picture(number: int) -> bytes:
    """Return an image file: 32 x 24 pixels without compression, so that all have one size."""
    buffer = BytesIO()
    Image.new("RGB", (32, 24), (number * 23 % 256, 90, number * 57 % 256)).save(buffer, "BMP")
    return buffer.getvalue()


def _benchmark(folder: Path) -> Path:
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.bmp").write_bytes(_picture(number))
        (folder / f"{number}-target.bmp").write_bytes(_picture(number + 100))
    samples = [
        {"id": str(number), "image": f"{number}.bmp", "target": f"{number}-target.bmp", "instruction": "tint"}
        for number in range(8)
    ]
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


def _put_another(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(_picture(211))
    other.replace(path)


def _rewrite(path: Path) -> None:
    """In place, size and mtime as before."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(_picture(212))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


INPUTS: tuple[tuple[bool, str, Callable[[Path], None]], ...] = (
    (False, "{}.bmp", _put_another),
    (True, "{}.bmp", _rewrite),
    (False, "{}-target.bmp", _rewrite),
    (True, "{}.bmp", Path.unlink),
    (False, "{}.bmp", _rewrite),
    (True, "{}-target.bmp", _put_another),
    (False, "{}.bmp", Path.unlink),
    (True, "{}.bmp", _put_another),
)
"""Whether before the sample's turn (or while it is in hand), which file, and what becomes of it."""


def _inputs_altered(stage: str) -> Callable[[Trial], None]:
    """Return an `inject` in which a file that edits and verdicts are made from is another one from some moment on."""
    ledger, load = ("edits", "load") if stage == "edit" else ("verdicts", "load judge")

    def inject(trial: Trial) -> None:
        early, name, alter = INPUTS[trial.number]
        trial.tree["benchmark"] = {"type": "folder", "path": str(_benchmark(trial.folder / "data"))}
        go = trial.folder / "go on"
        if early:
            trial.strike(load, f"until:{go}", times=2)
        else:
            trial.strike(stage, f"until:{go}", after=int(trial.spread() * 7))
        driver = trial.start()
        trial.wait_until_struck()
        if stage == "judge":
            trial.wait_for(lambda: trial.lines() == 8, "not all were edited")
        sample = str(int(trial.spread("sample") * 8)) if early else _in_hand(trial, ledger)
        path = trial.folder / "data" / name.format(sample)
        alter(path)
        go.touch()
        assert trial.end(driver) == 3, trial.text()
        assert trial.lines(ledger) == 7
        if not path.exists():
            refused(trial, trial.run(), str(path), "is missing")
            path.write_bytes(_picture(213))
        finished(trial)
        trial.reference = undisturbed(trial)

    return inject


def _in_hand(trial: Trial, ledger: str) -> str:
    """Wait until all samples but one are done; return the one that a struck host works on."""
    trial.wait_for(lambda: trial.lines(ledger) == 7, "not all others were done")
    done = {
        json.loads(line)["sample"] for line in (trial.output / f"{ledger}.jsonl").read_bytes().splitlines()
    }
    [sample] = {str(number) for number in range(8)} - done
    return sample


FAULTS = (
    *(
        Fault(
            "files",
            f"a source or target altered while {doing}",
            _inputs_altered(stage),
            short=1,
            long=len(INPUTS),
            says=f"is not {done}: .* while the run went on; give the same command again",
            config={"judge.batch_size": 1},
        )
        for stage, doing, done in (("edit", "editing", "edited"), ("judge", "judging", "judged"))
    ),
)
