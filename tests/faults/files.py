"""Faults of a run's own files: deleted, altered, damaged, carried elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from small_disk import Disks, carry_out

from faults.suite import Fault, Trial, finished, kill, nothing_to_do, refused

SLOW = {"editor.params.seconds": 0.15, "judge.params": {"seconds": 0.15}}

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
    finished(trial)
    for number, (key, image) in enumerate(_images(trial)):
        if number % 3 == trial.number % 3 and image.exists():
            ALTERATIONS[(number + trial.number) % len(ALTERATIONS)](image)
            trial.redone.add(key)
    trial.redone |= {key for key, image in _images(trial) if not image.exists()}
    finished(trial)
    nothing_to_do(trial)


def _altered_unseen(trial: Trial) -> None:
    """Same size, same time: only `--verify` looks at the bytes of what is judged already."""
    finished(trial)
    key, image = _images(trial)[int(trial.spread() * 8)]
    _flip(image, keep_time=True)
    nothing_to_do(trial)
    trial.redone.add(key)
    finished(trial, "--verify")


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
        refused(trial, trial.run(), str(image.name), "remove it")
        image.rmdir()
    trial.redone.add(key)
    finished(trial)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_folder_in_its_place(trial: Trial) -> None:
    finished(trial)
    key, image = _images(trial)[int(trial.spread() * 8)]
    _as_folder(image)
    (image / "mine.txt").write_text("mine")
    refused(trial, trial.run(), f"{image} is a folder where an image belongs; remove it")
    shutil.rmtree(image)
    trial.redone.add(key)
    finished(trial)


def _links_and_thumbnails_removed(trial: Trial) -> None:
    """For people only: made again by the next start, though it has nothing else to do."""
    finished(trial)
    links, thumbs = sorted(trial.output.glob("by-id/*/*")), sorted(trial.output.glob("thumbs/*/*"))
    for path in (*links[trial.number % 2 :: 2], *thumbs[:: 1 + trial.number % 3]):
        path.unlink()
    if trial.number % 2:
        shutil.rmtree(trial.output / "by-id")
    nothing_to_do(trial)
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
        finished(trial)
        path = trial.output / name
        data = _damage_of(name, trial)(path.read_bytes())
        path.unlink() if data is None else path.write_bytes(data)
        finished(trial)
        nothing_to_do(trial)

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
        finished(trial)
        nothing_to_do(trial)


def _moved(trial: Trial) -> None:
    there = trial.folder / "deep" / "moved"
    there.parent.mkdir()
    trial.output = trial.output.rename(there)
    finished(trial)
    trial.output = trial.output.rename(trial.folder / "again")
    nothing_to_do(trial)


def _behind_a_link(trial: Trial) -> None:
    link = trial.folder / "link"
    link.symlink_to(trial.output)
    trial.output = link
    finished(trial)
    trial.output = trial.folder / "run"
    nothing_to_do(trial)


def _on_another_disk(trial: Trial) -> None:
    place = trial.folder / "disk"
    place.mkdir()
    with Disks() as disks:
        first = carry_out(trial.output, disks.small(place, 4096) / "run")
        shutil.rmtree(trial.output)
        trial.output = first
        finished(trial)
        other = trial.folder / "elsewhere"
        other.mkdir()
        disks.show(place, other)
        trial.output = disks.seen(other) / "run"
        nothing_to_do(trial)
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
    nothing_to_do(trial)


AGAIN = "the image is not the recorded one"

FAULTS = (
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
    *(Fault("files", f"{name} torn, damaged, deleted", _damaged(name), short=0, long=14) for name in FILES),
    Fault("files", "carried elsewhere", _carried, short=2, long=12, config=SLOW),
    Fault("files", "two runs side by side", _side_by_side, long=3),
)
