"""The run directory: one folder with everything about one evaluation, and the lock that keeps others out.

run.json       config, identity, protocol, provenance of every start
samples.jsonl  the samples as they were, with the keys of their edits; in a shard whole.jsonl has those of all shards
edits.jsonl    ledger of edits
verdicts.jsonl ledger of verdicts
images/ab/…    edits by key; thumbs/ab/… thumbnails; by-id/<tag>/<id>.png links for people
inputs/        images that a benchmark made itself
against-….jsonl the edits of another run with which these were compared (driver.against)
telemetry.jsonl what every device did and drew (driver.telemetry)
logs/ report/ shards/
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from stat import S_ISDIR
from types import TracebackType
from typing import Any, Self

import orjson

from edit_eval.core.errors import RunError
from edit_eval.core.identity import file_sha256
from edit_eval.driver.ledger import (
    Ledger,
    found_of_edit,
    json_bytes,
    read_ledger,
    tells_of_edit,
    tells_of_verdict,
)
from edit_eval.driver.mounts import local_locks, mount_of
from edit_eval.driver.plan import WantedEdit, judged_again
from edit_eval.driver.refusals import cannot_read, cannot_write
from edit_eval.driver.runinfo import FORMAT, WHOLE, DamagedInfo, read_info, rebuild_with, shard_of
from edit_eval.driver.settled import ledger_is_as_noted
from edit_eval.driver.wanted import wanted_from_lines, wanted_lines

__all__ = [
    "RunReader",
    "RunStore",
    "flock_fault",
    "image_is_intact",
    "image_path",
    "link_names",
    "lock_holder",
    "read_wanted",
    "refuse_foreign",
    "thumbnail_path",
]


def image_path(key: str) -> str:
    """Return where the edit of `key` lies, relative to the run."""
    return f"images/{key[:2]}/{key}.png"


def thumbnail_path(key: str) -> str:
    """Return where the thumbnail of an edit (by key) or of a source (by its bytes' hash) lies."""
    return f"thumbs/{key[:2]}/{key}.webp"


def image_is_intact(
    root: Path,
    key: str,
    record: Mapping[str, Any],
    *,
    verify: bool = False,
    sha256: Callable[[Path], str] = file_sha256,
) -> bool:
    """Whether an edit's image is the recorded one: by size and time, or by its bytes where these differ.

    Args:
        root: run directory.
        key: of the edit.
        record: what the ledger says of it.
        verify: read and compare the bytes in any case.
        sha256: hashes a file whose time differs, as in a run that was copied; may remember.

    Raises:
        RunError: a folder lies in its place.
    """
    image = record["image"]
    path = f"{root}/{image_path(key)}"
    try:
        found = os.stat(path)  # noqa: PTH116 - called 100,000 times and more
        if S_ISDIR(found.st_mode):
            raise RunError(
                f"{path} is a folder where an image belongs; remove it, and the image is made again"
            )
        if found.st_size != image["bytes"]:
            return False
        if verify:
            return file_sha256(path) == str(image["sha256"])
        return bool(found.st_mtime_ns == image["mtime_ns"] or sha256(Path(path)) == str(image["sha256"]))
    except OSError:  # not there, or not to be read: made again
        return False


class RunReader:
    """A run directory for reading; takes no lock, so a run that is going on can be looked at.

    Raises:
        RunError: the directory holds no run, or one that is damaged; says how to mend it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info = read_info(path)
        self.edits = read_ledger(path / "edits.jsonl", tells_of_edit)
        self.verdicts = read_ledger(path / "verdicts.jsonl", tells_of_verdict)

    @cached_property
    def wanted(self) -> list[WantedEdit]:
        """What the run is about. Raises `RunError` where samples.jsonl is missing or damaged."""
        found = read_wanted(self.path / "samples.jsonl")
        if not found and self.edits:
            raise _damaged_wanted(self.path / "samples.jsonl", "it is empty")
        return found

    @cached_property
    def whole(self) -> list[WantedEdit]:
        """What the run is about that this one is a shard of; of one that is none, the same as `wanted`."""
        return read_wanted(self.path / WHOLE) if shard_of(self.info) else self.wanted

    def judged_twice(self, fraction: float) -> frozenset[str]:
        """Return the keys of the edits that a judge is asked about twice: a share of all, whichever this shard has."""
        return judged_again((one.key for one in self.whole), fraction) if fraction else frozenset()

    def release(self) -> None:
        """Close the ledgers until a record is asked for."""
        self.edits.release()
        self.verdicts.release()


def read_wanted(path: Path, root: Path | None = None) -> list[WantedEdit]:
    """Return what samples.jsonl, or whole.jsonl, of a run says.

    Args:
        path: of the file.
        root: run directory below which the run's own images are looked for; None: the one that the file lies in.

    Raises:
        RunError: it is missing or damaged; one line says how to mend it.
    """
    try:
        return list(wanted_from_lines(path.read_bytes().splitlines(), root or path.parent.absolute()))
    except FileNotFoundError as error:
        raise _damaged_wanted(path, "it is missing") from error
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise _damaged_wanted(path, str(error)) from error


def _damaged_wanted(path: Path, fault: str) -> RunError:
    command = rebuild_with(path.parent, config_is_there=True)
    return RunError(f"{path} cannot be read ({fault}); {command} writes it anew")


_OURS = frozenset(
    [
        "by-id",
        "edits.jsonl",
        "export",
        "images",
        "inputs",
        "lock",
        "logs",
        "report",
        "run.json",
        "run.json.damaged",
        "samples.jsonl",
        "shards",
        "telemetry.jsonl",
        "thumbs",
        "verdicts.jsonl",
        WHOLE,
    ]
)


def refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds files of something else, or a run of a newer edit-eval. Raises `RunError`."""
    try:
        foreign = sorted(
            one.name
            for one in path.iterdir()
            if one.name not in _OURS and not one.name.startswith((".", "against-"))
        )
    except OSError:
        return  # not there yet, or not a folder: said where it is made
    is_data = (path / "samples.jsonl").exists() and not (path / "edits.jsonl").exists()  # of that name, too
    foreign = foreign or (["samples.jsonl"] if is_data else [])
    if foreign and not (path / "run.json").exists():
        raise RunError(f"{path} holds other files ({foreign[0]!r} ...) and is no run; set another output")
    if (path / "run.json").is_file():
        with contextlib.suppress(DamagedInfo):  # to be mended
            read_info(path)


def lock_holder(path: Path) -> str | None:
    """Return who holds the run now (`process 12 on host`), or None. Takes the lock, shared, for a moment only."""
    try:
        file = os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return _lock_text(file)
    except OSError:
        return None
    finally:
        os.close(file)
    return None


def flock_fault(folder: Path) -> str:
    """Return why files in `folder` cannot be locked; empty if they can. Leaves nothing there."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                return error.strerror or str(error)
    except OSError:  # not writable, or full: others say so
        return ""
    return ""


def _lock_text(file: int) -> str:
    return os.pread(file, 1000, 0).decode("utf-8", "replace").strip() or "an unknown process"


class RunStore:
    """A run directory open for writing, by one process at a time.

    `mended` has a line for everything that was found missing or damaged, and what becomes of it.
    `lock`: whether to refuse a file system that cannot lock. `lock_note` says how far the lock goes, if not all the way.

    Raises:
        RunError: it cannot be written, is held by another process, or holds something else than a run.
    """

    def __init__(self, path: Path, *, lock: bool = True) -> None:
        self.path = path
        self.mended: list[str] = []
        self.lock_note = ""
        self._lock_file: int | None = None
        refuse_foreign(path)
        try:
            for folder in ("images", "thumbs", "logs", "report"):
                (path / folder).mkdir(parents=True, exist_ok=True)
            self._lock(required=lock)
            self._mend()
            with contextlib.ExitStack() as opening:
                self.edits = Ledger(path / "edits.jsonl", tells_of_edit, found_of_edit)
                opening.callback(self.edits.close)
                if not ledger_is_as_noted(path):
                    _ = self.verdicts  # of a newer one, nothing is touched
                opening.pop_all()
        except OSError as error:
            self._unlock()
            raise cannot_write(f"the run directory {path}", error, place=path, kept=False) from error
        except RunError:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.ExitStack() as closing:
                closing.callback(self._unlock)
                if "verdicts" in vars(self):
                    closing.callback(self.verdicts.close)
                closing.callback(self.edits.close)
        except RunError:
            if error is None:  # else that one says why the run ended
                raise

    @cached_property
    def verdicts(self) -> Ledger:
        """The ledger of verdicts; one that was read to its end before is not read again until it is asked for."""
        return Ledger(self.path / "verdicts.jsonl", tells_of_verdict)

    def _mend(self) -> None:
        """Put a run.json that is damaged aside, and note what is missing of a run that has begun."""
        if not (self.path / "run.json").is_file():
            if (self.path / "edits.jsonl").is_file():
                self.mended.append(f"{self.path / 'run.json'} is missing: it is written anew")
            return
        try:
            read_info(self.path)
        except DamagedInfo as error:
            (self.path / "run.json").replace(self.path / "run.json.damaged")
            text = "kept as run.json.damaged and written anew; what it said of earlier starts is lost"
            self.mended.append(f"{str(error).partition(';')[0]}: {text}")
        for name, what in (("edits.jsonl", "edits are made"), ("verdicts.jsonl", "verdicts are asked for")):
            if not (self.path / name).exists():
                self.mended.append(f"{self.path / name} is missing: all its {what} again")

    def info(self) -> dict[str, Any]:
        """Return what run.json says; empty for a new run."""
        return read_info(self.path) if (self.path / "run.json").is_file() else {}

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Replace run.json, whole or not at all; what it says already is not written again."""
        text = json_bytes({"format": FORMAT, **info}, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        self._write("run.json", lambda: [text])

    def write_wanted(self, wanted: Sequence[WantedEdit], whole: Sequence[WantedEdit] | None = None) -> None:
        """Replace samples.jsonl, what this run is about; what it says already is not written again.

        `whole`: of a shard, what the run is about that it is a part of.
        """
        root = self.path.absolute()
        if whole is not None:
            self._write(WHOLE, lambda: wanted_lines(whole, root))
        self._write("samples.jsonl", lambda: wanted_lines(wanted, root))

    def write_lines(self, name: str, lines: Callable[[], Iterable[bytes]]) -> None:
        """Replace a file of the run, whole or not at all; what it says already is not written again."""
        self._write(name, lines)

    def link_by_id(self, wanted: WantedEdit, name: str | None = None) -> None:
        """Make the link by which a person finds this edit; `name` (from `link_names`) where ids may collide.

        Raises `OSError`.
        """
        link = f"{self.path}/by-id/{name or _link_name(wanted)}.png"
        target = f"../../{image_path(wanted.key)}"
        try:
            os.symlink(target, link)  # noqa: PTH211 - once for every edit, between two messages
        except FileNotFoundError:
            Path(link).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(target, link)  # noqa: PTH211
        except FileExistsError:
            _replace_link(Path(link), target)

    def sync(self) -> None:
        """Bring the ledgers to the disk, at most once a second."""
        self.edits.sync()
        self.verdicts.sync()

    def _write(self, name: str, pieces: Callable[[], Iterable[bytes]]) -> None:
        """Replace a file by what `pieces` returns, which is asked a second time if that is not there already."""
        temporary = self.path / f".{name}.{os.getpid()}.tmp"
        try:
            if _holds(self.path / name, pieces()):
                return
            with temporary.open("wb") as file:
                file.writelines(pieces())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise cannot_write(self.path / name, error) from error

    def _lock(self, *, required: bool) -> None:
        """Hold the run; the lock file is never deleted, and a dead holder's lock is free at once."""
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if option := local_locks(mount_of(self.path)):
                self.lock_note = f"{self.path}: locks are not seen by other machines (mounted {option})"
        except (BlockingIOError, PermissionError):
            holder = _lock_text(file)
            os.close(file)
            raise RunError(f"{self.path} is in use by {holder}; wait for it, or set another output") from None
        except OSError as error:
            self.lock_note = f"{self.path}: this file system has no flock ({error.strerror})"
            if required:
                os.close(file)
                raise RunError(
                    f"{self.lock_note}, so two starts of this run would not notice each other; set another output, "
                    "or lock=false if you see to it that only one is at work"
                ) from error
        self._lock_file = file
        os.ftruncate(file, 0)
        boot = Path("/proc/sys/kernel/random/boot_id")
        boot_id = boot.read_text().strip() if boot.exists() else "unknown"
        os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()} (boot {boot_id})\n".encode(), 0)

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _replace_link(link: Path, target: str) -> None:
    """Let what lies there lead to `target`. Raises `OSError`."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def _holds(path: Path, pieces: Iterable[bytes]) -> bool:
    """Whether a file is these pieces one after another, and no more; a missing one is not. Raises `OSError`."""
    try:
        with path.open("rb") as file:
            return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
    except FileNotFoundError:
        return False


def link_names(wanted: Iterable[WantedEdit]) -> dict[str, str]:
    """Return for every edit's key the name of its link below by-id/, without suffix, each its own.

    Names that are the same once they fit a file system get 8 hex digits of the key.
    """
    names = {one.key: _link_name(one) for one in wanted}
    used = Counter(name.casefold() for name in names.values())
    return {key: f"{name}-{key[:8]}" if used[name.casefold()] > 1 else name for key, name in names.items()}


def _link_name(wanted: WantedEdit) -> str:
    tag = wanted.sample.tags.get("category") or "all"
    repeat = f"-r{wanted.repeat}" if wanted.repeat else ""
    return f"{_file_name(tag)}/{_file_name(wanted.sample.id)}{repeat}"


_HARMLESS = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_. -]{0,178}[A-Za-z0-9_.-])?")
"""What needs no second look: a run of 100,000 samples has 200,000 names."""
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def _file_name(text: str) -> str:
    """Return `text` as a file name: nothing that separates, hides, controls or is too long."""
    if _HARMLESS.fullmatch(text):
        return text
    clean = "".join(
        "_" if char in '/\\:*?"<>|' or unicodedata.category(char) in _UNSEEN else char for char in text
    )
    clean = re.sub(r"^\.+", "_", clean.strip()) or "_"
    while len(clean.encode("utf-8", "replace")) > 180:
        clean = clean[:-1]
    return clean
