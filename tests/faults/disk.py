"""Faults of the disk: full, out of inodes, read-only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from small_disk import Disks, carry_out, fill, make_room

from faults.suite import Fault, Trial, finished, refused

FULL = r"No space left on device.*; make room there and give the same command again"
READ_ONLY = r"Read-only file system; make it writable, or set another output"
SLOW = {"editor.params.seconds": 0.15, "judge.params": {"seconds": 0.15}}
IN_TURN = {**SLOW, "stages": "sequential"}
Work = Callable[[Trial, Disks, Path], None]


def _on_small_disk(work: Work, kib: int = 4096, inodes: int = 0) -> Callable[[Trial], None]:
    """Return an `inject` whose run lies on a small disk; afterwards it is carried off."""

    def inject(trial: Trial) -> None:
        place = trial.folder / "disk"
        place.mkdir()
        with Disks() as disks:
            trial.output = disks.small(place, kib, inodes) / "run"
            work(trial, disks, place)
            trial.output = carry_out(trial.output, trial.folder / "run")

    return inject


# Full, out of inodes, read-only

LEAVE_KIB = (0, 96, 192, 208, *(kib for kib in range(4, 224, 4) if kib not in (96, 192, 208)))
"""In this order inputs, samples, run.json, ledgers, images, thumbnails, telemetry, page are the first to find no room."""


def _full_but_for_some_kib(trial: Trial, disks: Disks, place: Path) -> None:
    fill(disks.seen(place), LEAVE_KIB[trial.number])
    refused(trial, trial.run(), "cannot write", "make room")
    make_room(disks.seen(place))
    finished(trial)


def _full_after_some(ledger: str) -> Work:
    def work(trial: Trial, disks: Disks, place: Path) -> None:
        driver = trial.start()
        trial.wait_for(lambda: trial.lines(ledger) > int(trial.spread() * 5), "nothing was done")
        fill(disks.seen(place))
        refused(trial, trial.end(driver), "cannot write", "make room", "what was finished is kept")
        kept = trial.lines(ledger)
        make_room(disks.seen(place))
        assert kept > 0
        finished(trial)

    return work


def _full_for(name: str, *, costs: bool) -> Callable[[Trial], None]:
    """Return an `inject` in which one folder or file of the run lies on a full disk; `costs`: and the run ends by it."""

    def inject(trial: Trial) -> None:
        disk, place = trial.folder / "disk", trial.folder / "run" / name
        disk.mkdir()
        what = disk / name
        with Disks() as disks:
            small = disks.small(disk, 1024)
            trial.output = disks.seen(trial.folder / "run")
            place.parent.mkdir(exist_ok=True)
            if "." in name:
                place.touch()
                (small / name).touch()
            else:
                place.mkdir()
                (small / name).mkdir()
            disks.show(what, place)
            fill(small)
            code = trial.run()
            if costs:
                refused(trial, code, "cannot write", name, "make room")
            else:
                assert code == 0, trial.text()
            make_room(small)
            finished(trial)
            trial.output = carry_out(trial.output, trial.folder / "whole")

    return inject


INODES = (60, 12, *range(14, 60, 4))


def _out_of_inodes(trial: Trial) -> None:
    place = trial.folder / "disk"
    place.mkdir()
    with Disks() as disks:
        disk = disks.small(place, 4096, INODES[trial.number])
        trial.output = disk / "run"
        refused(trial, trial.run(), "it has room, but holds as many files as it can", "make room")
        disks.remount(place, "nr_inodes=1000")
        finished(trial)
        trial.output = carry_out(trial.output, trial.folder / "run")


def _read_only_before(trial: Trial, disks: Disks, place: Path) -> None:
    if trial.number % 2:
        trial.output.mkdir()
    disks.remount(place, "ro")
    refused(trial, trial.run(), "cannot write the run directory", "Read-only file system")
    disks.remount(place, "rw")
    finished(trial)
    disks.remount(place, "ro")
    refused(trial, trial.run(), "cannot write the run directory", "Read-only file system")
    disks.remount(place, "rw")


def _read_only_while_it_runs(trial: Trial, disks: Disks, place: Path) -> None:
    driver = trial.start()
    trial.wait_for(lambda: trial.lines() > int(trial.spread() * 4), "nothing was edited")
    disks.make_read_only(place / "run" / "images")
    refused(trial, trial.end(driver), "cannot write", "Read-only file system", "make it writable")
    disks.unmount(place / "run" / "images")
    finished(trial)


FAULTS = (
    Fault(
        "disk",
        "full, but for 0 to 220 KiB",
        _on_small_disk(_full_but_for_some_kib),
        short=2,
        long=len(LEAVE_KIB),
        says=FULL,
    ),
    Fault("disk", "full while editing", _on_small_disk(_full_after_some("edits")), says=FULL, config=SLOW),
    Fault(
        "disk", "full while judging", _on_small_disk(_full_after_some("verdicts")), says=FULL, config=IN_TURN
    ),
    *(
        Fault("disk", f"full where {name} lies", _full_for(name, costs=True), long=3, says=FULL)
        for name in ("images", "edits.jsonl", "verdicts.jsonl", "report")
    ),
    *(
        Fault("disk", f"full where {name} lies", _full_for(name, costs=False), long=3, says=says)
        for name, says in (
            ("thumbs", "no thumbnails: cannot write .*: No space left on device"),
            ("telemetry.jsonl", "no telemetry: cannot write .*: No space left on device"),
            ("logs", ""),
        )
    ),
    Fault("disk", "out of inodes", _out_of_inodes, long=len(INODES), says=FULL),
    Fault(
        "disk",
        "read-only from the start",
        _on_small_disk(_read_only_before),
        long=2,
        says=READ_ONLY,
    ),
    Fault(
        "disk",
        "read-only while it runs",
        _on_small_disk(_read_only_while_it_runs),
        says=READ_ONLY,
        config=SLOW,
    ),
)
