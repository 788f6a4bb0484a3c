"""Faults of the disk: full, out of inodes, read-only; files that are deleted, altered, damaged, carried elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from small_disk import Disks, carry_out, fill, make_room

from faults.suite import Fault, Trial, kill

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


def _refused(trial: Trial, code: int, *says: str) -> None:
    """Check that a start ended by the user's environment, in one line that says what to do."""
    line = trial.text().strip().splitlines()[-1]
    assert code == 2, (code, trial.text())
    assert line.startswith("edit-eval: "), trial.text()
    assert all(text in line for text in says), line


def _finished(trial: Trial, *arguments: str) -> None:
    assert trial.run(*arguments) == 0, trial.text()


def _nothing_to_do(trial: Trial) -> None:
    """Check that one more start does nothing and writes no line."""
    before = trial.lines("edits"), trial.lines("verdicts"), trial.text()
    _finished(trial)
    assert "Nothing to do" in trial.text().removeprefix(before[2])
    assert (trial.lines("edits"), trial.lines("verdicts")) == before[:2]


# Full, out of inodes, read-only

LEAVE_KIB = (0, 96, 192, 208, *(kib for kib in range(4, 224, 4) if kib not in (96, 192, 208)))
"""In this order inputs, samples, run.json, ledgers, images, thumbnails, telemetry, page are the first to find no room."""


def _full_but_for_some_kib(trial: Trial, disks: Disks, place: Path) -> None:
    fill(disks.seen(place), LEAVE_KIB[trial.number])
    _refused(trial, trial.run(), "cannot write", "make room")
    make_room(disks.seen(place))
    _finished(trial)


def _full_after_some(ledger: str) -> Work:
    def work(trial: Trial, disks: Disks, place: Path) -> None:
        driver = trial.start()
        trial.wait_for(lambda: trial.lines(ledger) > int(trial.spread() * 5), "nothing was done")
        fill(disks.seen(place))
        _refused(trial, trial.end(driver), "cannot write", "make room", "what was finished is kept")
        kept = trial.lines(ledger)
        make_room(disks.seen(place))
        assert kept > 0
        _finished(trial)

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
            fill(small, 4 * (trial.number % 2))
            code = trial.run()
            if costs:
                _refused(trial, code, "cannot write", name, "make room")
            else:
                assert code == 0, trial.text()
            make_room(small)
            _finished(trial)
            trial.output = carry_out(trial.output, trial.folder / "whole")

    return inject


INODES = (60, 12, *range(14, 60, 4))


def _out_of_inodes(trial: Trial) -> None:
    place = trial.folder / "disk"
    place.mkdir()
    with Disks() as disks:
        disk = disks.small(place, 4096, INODES[trial.number])
        trial.output = disk / "run"
        _refused(trial, trial.run(), "it has room, but holds as many files as it can", "make room")
        disks.remount(place, "nr_inodes=1000")
        _finished(trial)
        trial.output = carry_out(trial.output, trial.folder / "run")


def _read_only_before(trial: Trial, disks: Disks, place: Path) -> None:
    if trial.number % 2:
        trial.output.mkdir()
    disks.remount(place, "ro")
    _refused(trial, trial.run(), "cannot write the run directory", "Read-only file system")
    disks.remount(place, "rw")
    _finished(trial)
    disks.remount(place, "ro")
    _refused(trial, trial.run(), "cannot write the run directory", "Read-only file system")
    disks.remount(place, "rw")


def _read_only_while_it_runs(trial: Trial, disks: Disks, place: Path) -> None:
    driver = trial.start()
    trial.wait_for(lambda: trial.lines() > int(trial.spread() * 4), "nothing was edited")
    disks.make_read_only(place / "run" / "images")
    _refused(trial, trial.end(driver), "cannot write", "Read-only file system", "make it writable")
    disks.unmount(place / "run" / "images")
    _finished(trial)


# Images, thumbnails, links


def _images(trial: Trial) -> list[tuple[str, Path]]:
    """Return every edit's key and image."""
    found = ((json.loads(line)["key"]) for line in (trial.output / "edits.jsonl").read_bytes().splitlines())
    return [(key, trial.output / f"images/{key[:2]}/{key}.png") for key in found]


def _flip(path: Path, *, keep_time: bool) -> None:
    """Change one byte of a file in place, its size and, if asked for, its mtime as before."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (0 if keep_time else 10**9)))


def _linked_elsewhere(path: Path) -> None:
    other = path.with_name("other.png")
    other.write_bytes(b"another file")
    path.unlink()
    path.symlink_to(other)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.png")


ALTERATIONS: tuple[Callable[[Path], None], ...] = (
    Path.unlink,
    lambda path: os.truncate(path, path.stat().st_size // 2),
    lambda path: _flip(path, keep_time=False),
    _linked_elsewhere,
    lambda path: os.truncate(path, 0),
    _dangling,
    lambda path: shutil.rmtree(path.parent),
)


def _altered_between_starts(trial: Trial) -> None:
    _finished(trial)
    for number, (key, image) in enumerate(_images(trial)):
        if number % 3 == trial.number % 3 and image.exists():
            ALTERATIONS[(number + trial.number) % len(ALTERATIONS)](image)
            trial.redone.add(key)
    trial.redone |= {key for key, image in _images(trial) if not image.exists()}
    _finished(trial)
    _nothing_to_do(trial)


def _altered_unseen(trial: Trial) -> None:
    """Same size, same time: only `--verify` looks at the bytes of what is judged already."""
    _finished(trial)
    key, image = _images(trial)[int(trial.spread() * 8)]
    _flip(image, keep_time=True)
    _nothing_to_do(trial)
    trial.redone.add(key)
    _finished(trial, "--verify")


def _altered_before_it_is_judged(trial: Trial) -> None:
    """Nothing is said of an edit whose image is no longer the recorded one; the next start makes it again."""
    trial.strike("load judge", f"until:{trial.folder / 'go on'}", times=2)
    driver = trial.start()
    trial.wait_until_struck()
    trial.wait_for(lambda: trial.lines() == 8, "not all were edited")
    key, image = _images(trial)[int(trial.spread() * 8)]
    (lambda path: _flip(path, keep_time=True), Path.unlink, _as_folder)[trial.number % 3](image)
    (trial.folder / "go on").touch()
    assert trial.end(driver) == 3, trial.text()
    assert trial.lines("verdicts") == 7
    if image.is_dir():
        _refused(trial, trial.run(), str(image.name), "remove it")
        image.rmdir()
    trial.redone.add(key)
    _finished(trial)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_folder_in_its_place(trial: Trial) -> None:
    _finished(trial)
    key, image = _images(trial)[int(trial.spread() * 8)]
    _as_folder(image)
    (image / "mine.txt").write_text("mine")
    _refused(trial, trial.run(), f"{image} is a folder where an image belongs; remove it")
    shutil.rmtree(image)
    trial.redone.add(key)
    _finished(trial)


def _links_and_thumbnails_removed(trial: Trial) -> None:
    """For people only: made again by the next start, though it has nothing else to do."""
    _finished(trial)
    links, thumbs = sorted(trial.output.glob("by-id/*/*")), sorted(trial.output.glob("thumbs/*/*"))
    for path in (*links[trial.number % 2 :: 2], *thumbs[:: 1 + trial.number % 3]):
        path.unlink()
    if trial.number % 2:
        shutil.rmtree(trial.output / "by-id")
    _nothing_to_do(trial)
    assert sorted(trial.output.glob("by-id/*/*")) == links
    assert all(path.readlink().name.endswith(".png") and path.exists() for path in links)
    assert sorted(trial.output.glob("thumbs/*/*")) == thumbs


# Ledgers and what else is read


def _damage_of(name: str, trial: Trial) -> Callable[[bytes], bytes | None]:
    def cut(data: bytes) -> bytes:
        return data[: int(trial.spread("where") * len(data))]

    def with_garbage(data: bytes) -> bytes:
        at = int(trial.spread("where") * len(data))
        return data[:at] + bytes(range(256)) * 3 + data[at:]

    def with_nul(data: bytes) -> bytes:
        at = int(trial.spread("where") * len(data))
        return data[:at] + bytes(len(data[at : at + 512])) + data[at + 512 :]

    damages = (
        cut,
        with_garbage,
        with_nul,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data + bytes(4096),
        lambda _data: b"",
        lambda _data: None,
    )
    return damages[(trial.number + FILES.index(name)) % len(damages)]


FILES = ("edits.jsonl", "verdicts.jsonl", "telemetry.jsonl", "samples.jsonl", "run.json")


def _damaged(name: str) -> Callable[[Trial], None]:
    def inject(trial: Trial) -> None:
        _finished(trial)
        path = trial.output / name
        data = _damage_of(name, trial)(path.read_bytes())
        path.unlink() if data is None else path.write_bytes(data)
        _finished(trial)
        _nothing_to_do(trial)

    return inject


# Carried elsewhere


def _carried(trial: Trial) -> None:
    """Copied without its times, moved, behind a link, on another disk: it is the same run, and scored from there."""
    driver = trial.start()
    trial.wait_for(lambda: trial.lines() > int(trial.spread() * 7), "nothing was edited")
    kill(driver.pid, signal.SIGINT)
    assert trial.end(driver) in (0, 130), trial.text()
    ways = (_copied, _moved, _behind_a_link, _on_another_disk)
    ways[trial.number % len(ways)](trial)


def _copied(trial: Trial) -> None:
    for number in range(2):
        there = trial.folder / f"copy {number}" / "run"
        shutil.copytree(trial.output, there, symlinks=True, copy_function=shutil.copyfile)
        shutil.rmtree(trial.output)
        trial.output = there
        _finished(trial)
        _nothing_to_do(trial)


def _moved(trial: Trial) -> None:
    there = trial.folder / "deep" / "moved"
    there.parent.mkdir()
    trial.output = trial.output.rename(there)
    _finished(trial)
    trial.output = trial.output.rename(trial.folder / "again")
    _nothing_to_do(trial)


def _behind_a_link(trial: Trial) -> None:
    link = trial.folder / "link"
    link.symlink_to(trial.output)
    trial.output = link
    _finished(trial)
    trial.output = trial.folder / "run"
    _nothing_to_do(trial)


def _on_another_disk(trial: Trial) -> None:
    place = trial.folder / "disk"
    place.mkdir()
    with Disks() as disks:
        first = carry_out(trial.output, disks.small(place, 4096) / "run")
        shutil.rmtree(trial.output)
        trial.output = first
        _finished(trial)
        other = trial.folder / "elsewhere"
        other.mkdir()
        disks.show(place, other)
        trial.output = disks.seen(other) / "run"
        _nothing_to_do(trial)
        trial.output = carry_out(trial.output, trial.folder / "run")


def _side_by_side(trial: Trial) -> None:
    """Two runs with one parent at the same time, with one cache and one log of hashes."""
    first, trial.output = trial.output, trial.folder / "other"
    driver = trial.start()
    trial.wait_for((trial.output / "run.json").exists, "it has not begun")
    trial.output = first
    assert trial.run() == 0, trial.text()
    assert driver.wait(120) == 0, trial.text()
    exports = [trial.folder / name / "verdicts.jsonl" for name in ("run", "other")]
    keys = [{json.loads(line)["key"] for line in path.read_bytes().splitlines()} for path in exports]
    assert keys[0] == keys[1]
    _nothing_to_do(trial)


AGAIN = "the image is not the recorded one"

FAULTS = (
    Fault(
        "disk",
        "full, but for 0 to 220 KiB",
        _on_small_disk(_full_but_for_some_kib),
        short=4,
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
    Fault("disk", "out of inodes", _out_of_inodes, short=2, long=len(INODES), says=FULL),
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
    Fault("files", "images deleted, cut, altered, linked", _altered_between_starts, 2, 21, redo=AGAIN),
    Fault("files", "an image altered, size and time kept", _altered_unseen, redo=AGAIN),
    Fault(
        "files",
        "an image altered before it is judged",
        _altered_before_it_is_judged,
        long=6,
        says=r"is not judged: .*; the next run edits it anew",
        redo=AGAIN,
        config={"stages": "sequential"},
    ),
    Fault("files", "a folder in place of an image", _a_folder_in_its_place, long=2, redo=AGAIN),
    Fault("files", "links and thumbnails removed", _links_and_thumbnails_removed, long=6),
    *(Fault("files", f"{name} torn, damaged, deleted", _damaged(name), short=2, long=14) for name in FILES),
    Fault("files", "carried elsewhere", _carried, short=4, long=12, config=SLOW),
    Fault("files", "two runs side by side", _side_by_side, long=3),
)
