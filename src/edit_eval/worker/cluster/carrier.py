"""Files that a keeper's machine does not see, on their way there and back.

A task says by path and hash what it is made from, and by path what it makes (`driver.payloads`). What lies under its
path with that hash is used where it lies; the rest is brought, put under its hash, and the task told so. What a task
makes goes to where it belongs if the run directory is seen there, and else is taken along with the outcome. Nothing is
kept longer than its task. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edit_eval.worker.inputs import Inputs

__all__ = ["OUTPUTS", "Carrier", "files_read", "files_written", "is_seen", "line_of", "with_paths"]

OUTPUTS = ("image", "thumbnail", "source_thumbnail")
"""Keys of a task's payload that say where something is to be written, the one that must be there first."""

_OF_A_SAMPLE = ("images", "references", "target", "judged")


def files_read(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return path and hash of every file that a task is made from."""
    found = [(path, sha256) for path, sha256 in payload["inputs"]]
    if "edited" in payload:
        found.append((payload["edited"], payload["edited_sha256"]))
    return found


def files_written(payload: Mapping[str, Any]) -> list[str]:
    """Return the paths that a task writes."""
    return [payload[name] for name in OUTPUTS if name in payload]


def with_paths(payload: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return a payload in which paths are replaced: `places` says by what. No text that is not a path is touched."""

    def moved(value: Any) -> Any:
        if isinstance(value, str):
            return places.get(value, value)
        return [moved(one) for one in value] if isinstance(value, list) else value

    result = {
        **payload,
        "inputs": [[places.get(path, path), sha256] for path, sha256 in payload["inputs"]],
        "sample": {
            **payload["sample"],
            **{name: moved(payload["sample"][name]) for name in _OF_A_SAMPLE if name in payload["sample"]},
        },
    }
    return {**result, **{name: moved(payload[name]) for name in ("edited", *OUTPUTS) if name in payload}}


def _paths_of_sample(payload: Mapping[str, Any]) -> Iterator[str]:
    for name in _OF_A_SAMPLE:
        value = payload["sample"].get(name)
        yield from [value] if isinstance(value, str) else value or ()


def is_seen(probe: Path, token: str) -> bool:
    """Whether this machine sees the folder of `probe`, in which the driver wrote a token, and may write there too."""
    answer = probe.with_name(f"{probe.name}-{token[:8]}")
    try:
        if probe.read_text(encoding="ascii") != token:
            return False
        answer.touch()
        answer.unlink()
    except (OSError, ValueError):
        return False
    return True


@dataclass
class _Task:
    """What was moved of one task, by the paths that the driver knows: where it lies here.

    Of what is brought, paths with the same bytes share a place.
    """

    brought: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, str]:
        """All of it."""
        return {**self.brought, **self.made}


class Carrier:
    """Beside one keeper.

    Args:
        folder: for what is brought and what is to be taken along.
        seen: whether the run directory is seen here.
    """

    def __init__(self, folder: Path, *, seen: bool) -> None:
        self._folder = folder
        self._seen = seen
        self._inputs = Inputs()
        self._tasks: dict[str, _Task] = {}
        self._users: dict[str, int] = {}  # of a file that was brought
        self._count = 0
        self.log: Path | None = None
        folder.mkdir()

    def start(self, message: dict[str, Any], packages: Mapping[str, str]) -> dict[str, Any]:
        """Return a `start` or `prepare` message in which packages and log lie on this machine."""
        host = dict(message["host"])
        host["links"] = {name: packages.get(name, path) for name, path in host["links"].items()}
        log = None if self._seen else self._folder / Path(host["log"]).name
        if log:
            host["log"] = str(log)
        if message["type"] == "start":  # a prepared host only comes after the one at work
            self.log = log
        return {**message, "host": host}

    def tasks(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[dict[str, Any]]]:
        """Return a `task` message with local paths, the paths that must be brought first, and answers to tasks left out."""
        given, wanted, refused = [], [], []
        for task in message["tasks"]:
            payload = task["payload"]
            moved = self._tasks[task["id"]] = self._placed(payload)
            strange = moved.brought.keys() - {*_paths_of_sample(payload), payload.get("edited")}
            if strange:
                refused.append(_refusal(task["id"], min(strange)))
                self._forget(task["id"])
                continue
            given.append({**task, "payload": with_paths(payload, moved.places)})
            wanted += [path for path, local in moved.brought.items() if not Path(local).exists()]
        return {**message, "tasks": given}, list(dict.fromkeys(wanted)), refused

    def _placed(self, payload: dict[str, Any]) -> _Task:
        """Give every file of a task that is not here a place."""
        task = _Task()
        for path, sha256 in files_read(payload):
            if not self._inputs.holds(path, sha256):
                task.brought[path] = str(self._folder / f"{sha256}{Path(path).suffix}")
        for local in {*task.brought.values()}:
            self._users[local] = self._users.get(local, 0) + 1
        if not self._seen:
            self._count += 1
            for key in OUTPUTS:
                if key in payload:
                    made = self._folder / str(self._count) / f"{key}{Path(payload[key]).suffix}"
                    task.made[payload[key]] = str(made)
        return task

    def bring(self, path: str, data: bytes) -> None:
        """Put what was brought where its tasks look for it. Raises `OSError`."""
        for local in {task.brought[path] for task in self._tasks.values() if path in task.brought}:
            Path(local).write_bytes(data)

    def answered(self, message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return a message about a task as the driver knows it, and the files that go with it, by the driver's paths."""
        kind = message["type"]
        ids = message["ids"] if kind == "recalled" else [message["id"]]
        files: dict[str, bytes] = {}
        for name in ids:
            task = self._tasks.get(name)
            if task is None:
                continue
            if kind == "failed":
                for path, local in task.places.items():
                    message = {**message, "reason": message["reason"].replace(local, path)}
            if kind == "done":
                for path, local in task.made.items():
                    with contextlib.suppress(OSError):  # a thumbnail that could not be made
                        files[path] = Path(local).read_bytes()
            self._forget(name)
        return message, files

    def _forget(self, name: str) -> None:
        """Remove what only this task had use for."""
        task = self._tasks.pop(name)
        for local in {*task.brought.values()}:
            self._users[local] -= 1
            if not self._users[local]:
                del self._users[local]
                Path(local).unlink(missing_ok=True)
        for local in task.made.values():
            shutil.rmtree(Path(local).parent, ignore_errors=True)

    def over(self) -> bytes:
        """Forget all tasks, for their host has ended; return what it said, if only this machine saw that."""
        for name in list(self._tasks):
            self._forget(name)
        if self.log is None:
            return b""
        try:
            said = self.log.read_bytes()
            self.log.unlink()
        except OSError:
            return b""
        return said


def _refusal(name: str, path: str) -> dict[str, Any]:
    reason = (
        f"{path} is not on this node, and its editor looks for it by itself; put it where all nodes see it"
    )
    return {"v": 1, "type": "failed", "id": name, "kind": "unreadable", "reason": reason}


def line_of(message: Mapping[str, Any]) -> bytes:
    """Return a message as it stands on a socket."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
