"""The run directory: one folder with everything about one evaluation, and the lock that keeps others out.

run.json       config, identity, protocol, provenance of every start
samples.jsonl  the samples as they were, with the keys of their edits
edits.jsonl    ledger of edits
verdicts.jsonl ledger of verdicts
images/ab/…    edits by key; thumbs/ab/… thumbnails; by-id/<tag>/<id>.png links for people
inputs/        images that a benchmark made itself
telemetry.jsonl what every device did and drew (driver.telemetry)
logs/ report/
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from edit_eval.core.errors import RunError, RunFailed
from edit_eval.core.identity import file_sha256
from edit_eval.core.types import Sample
from edit_eval.driver.ledger import (
    Ledger,
    json_bytes,
    json_value,
    read_ledger,
    tells_of_edit,
    tells_of_verdict,
)
from edit_eval.driver.plan import WantedEdit

__all__ = [
    "RunReader",
    "RunStore",
    "cannot_write",
    "image_is_intact",
    "image_path",
    "link_names",
    "lock_holder",
    "refuse_foreign",
    "thumbnail_path",
]

_RUN_FORMAT = 1


def image_path(key: str) -> str:
    """Return where the edit of `key` lies, relative to the run."""
    return f"images/{key[:2]}/{key}.png"


def thumbnail_path(key: str) -> str:
    """Return where the thumbnail of an edit (by key) or of a source (by its bytes' hash) lies."""
    return f"thumbs/{key[:2]}/{key}.webp"


def image_is_intact(root: Path, key: str, record: Mapping[str, Any], *, verify: bool = False) -> bool:
    """Whether an edit's image is the recorded one: by size and time, or by its bytes where these differ.

    Args:
        root: run directory.
        key: of the edit.
        record: what the ledger says of it.
        verify: compare the bytes in any case.
    """
    image = record["image"]
    path = root / image_path(key)
    try:
        stat = path.stat()
    except OSError:
        return False
    if stat.st_size != image["bytes"]:
        return False
    if stat.st_mtime_ns == image["mtime_ns"] and not verify:
        return True
    return file_sha256(path) == str(image["sha256"])


def cannot_write(path: Path, error: OSError) -> RunError:
    """Return what is said of a run directory that cannot be written."""
    return RunError(f"cannot write the run directory {path}: {error.strerror}; set another output")


class RunReader:
    """A run directory for reading; takes no lock, so a run that is going on can be looked at.

    Raises:
        RunError: the directory holds no run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info = _read_info(path)
        self.edits = read_ledger(path / "edits.jsonl", tells_of_edit)
        self.verdicts = read_ledger(path / "verdicts.jsonl", tells_of_verdict)
        self.wanted = _read_wanted(path / "samples.jsonl")


def _read_info(path: Path) -> dict[str, Any]:
    if not (path / "run.json").is_file():
        hint = "" if path.exists() else "; it does not exist"
        raise RunError(f"{path} is no run directory (no run.json in it{hint})")
    try:
        info = json_value((path / "run.json").read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}/run.json cannot be read: {error}") from error
    if not isinstance(info, dict) or not isinstance(info.get("format"), int):
        raise RunError(f"{path} is no run directory (its run.json is not of edit-eval)")
    if info["format"] > _RUN_FORMAT:
        raise RunError(f"{path} was written by a newer edit-eval; use that one")
    return info


def _read_wanted(path: Path) -> list[WantedEdit]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [
        WantedEdit(
            index=entry["index"],
            sample=Sample.from_json(entry["sample"]),
            repeat=entry["repeat"],
            seed=entry["seed"],
            key=entry["key"],
            source_sha256=tuple(entry["source_sha256"]),
            beside_sha256={name: tuple(shas) for name, shas in entry["beside_sha256"].items()},
        )
        for entry in map(json_value, lines)
    ]


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
        "samples.jsonl",
        "telemetry.jsonl",
        "thumbs",
        "verdicts.jsonl",
    ]
)


def refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds files of something else: a run would spread among them. Raises `RunError`."""
    try:
        foreign = sorted(
            one.name for one in path.iterdir() if one.name not in _OURS and not one.name.startswith(".")
        )
    except OSError:
        return  # not there yet, or not a folder: said where it is made
    if foreign and not (path / "run.json").exists():
        raise RunError(f"{path} holds other files ({foreign[0]!r} ...) and is no run; set another output")


def lock_holder(path: Path) -> str | None:
    """Return who holds the run now (`process 12 on host`), or None. Takes the lock, shared, for a moment only."""
    try:
        file = os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _lock_text(file)
    except OSError:
        return None
    finally:
        os.close(file)
    return None


def _lock_text(file: int) -> str:
    return os.pread(file, 1000, 0).decode("utf-8", "replace").strip() or "an unknown process"


class RunStore:
    """A run directory open for writing, by one process at a time.

    Raises:
        RunError: it cannot be written, is held by another process, or holds something else than a run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file: int | None = None
        refuse_foreign(path)
        try:
            for folder in ("images", "thumbs", "logs", "report"):
                (path / folder).mkdir(parents=True, exist_ok=True)
            self._lock()
            self.edits = Ledger(path / "edits.jsonl", tells_of_edit)
            self.verdicts = Ledger(path / "verdicts.jsonl", tells_of_verdict)
        except OSError as error:
            self._unlock()
            raise cannot_write(path, error) from error
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
                closing.callback(self.verdicts.close)
                closing.callback(self.edits.close)
        except RunFailed:
            if error is None:  # else that one says why the run ended
                raise

    def info(self) -> dict[str, Any]:
        """Return what run.json says; empty for a new run."""
        return _read_info(self.path) if (self.path / "run.json").is_file() else {}

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Replace run.json, whole or not at all; what it says already is not written again."""
        text = json_bytes({"format": _RUN_FORMAT, **info}, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        self._write("run.json", text)

    def write_wanted(self, wanted: Iterable[WantedEdit]) -> None:
        """Replace samples.jsonl, what this run is about; what it says already is not written again."""
        lines = [
            json_bytes(
                {
                    "index": one.index,
                    "key": one.key,
                    "repeat": one.repeat,
                    "seed": one.seed,
                    "source_sha256": one.source_sha256,
                    "beside_sha256": one.beside_sha256,
                    "sample": one.sample.to_json(),
                }
            )
            for one in wanted
        ]
        self._write("samples.jsonl", b"".join(line + b"\n" for line in lines))

    def link_by_id(self, wanted: WantedEdit, name: str | None = None) -> None:
        """Make the link by which a person finds this edit; `name` (from `link_names`) where ids may collide.

        Raises `OSError`.
        """
        link = self.path / "by-id" / f"{name or _link_name(wanted)}.png"
        target = Path("..", "..", image_path(wanted.key))
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and link.readlink() == target:
            return
        temporary = link.with_name(f".{link.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)

    def sync(self) -> None:
        """Bring the ledgers to the disk, at most once a second."""
        self.edits.sync()
        self.verdicts.sync()

    def _write(self, name: str, data: bytes) -> None:
        temporary = self.path / f".{name}.{os.getpid()}.tmp"
        try:
            if (self.path / name).is_file() and (self.path / name).read_bytes() == data:
                return
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(f"cannot write {self.path / name}: {error.strerror}") from error

    def _lock(self) -> None:
        """Hold the run; the lock file is never deleted, and a dead holder's lock is free at once."""
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _lock_text(file)
            os.close(file)
            raise RunError(f"{self.path} is in use by {holder}; wait for it, or set another output") from None
        except OSError as error:
            os.close(file)
            raise RunError(
                f"{self.path}: this file system has no flock ({error.strerror}); set another output"
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


def _file_name(text: str) -> str:
    """Return `text` as a file name: nothing that separates, hides, controls or is too long."""
    clean = "".join(
        "_" if char in '/\\:*?"<>|' or unicodedata.category(char).startswith("C") else char for char in text
    )
    clean = re.sub(r"^\.+", "_", clean.strip()) or "_"
    while len(clean.encode("utf-8", "replace")) > 180:
        clean = clean[:-1]
    return clean
