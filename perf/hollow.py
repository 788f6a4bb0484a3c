"""Hosts that do nothing, inside the driver's own process: what is left of a run is what the driver itself does.

The other side of `scale.py`. Every device answers at once: an edit is a tiny PNG file with thumbnails beside it, a
verdict is made of the sample's id. No model, no Pillow after the first edit, no process, no socket.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from edit_eval.core.types import Rubric
from edit_eval.driver.backends import Change, DevicesAsked
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.devices import Device
from edit_eval.judges.contract import verdict_from_scores
from edit_eval.worker.images import png_bytes
from edit_eval.worker.roles import EditRole

REASON = "The object was replaced as it was asked for, and hardly anything else in the picture has changed."


def tiny_png(text: str = "") -> bytes:
    """Return an 8 x 8 image whose bytes are those of no other text."""
    return png_bytes(Image.new("RGB", (8, 8), (10, 200, 30))) + text.encode()


class HollowBackend:
    """Hands out hosts that do nothing.

    Attributes:
        seconds: CPU seconds that the hosts took, files written among them: no part of what the driver does.
    """

    def __init__(self, rubric: Rubric) -> None:
        self.rubric = rubric
        self.seconds = 0.0
        self.png = tiny_png()
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "WEBP")
        self.thumbnail = buffer.getvalue()
        self.outcome: dict[str, Any] = {}

    def devices(self, asked: DevicesAsked) -> list[Device]:
        """Return those that a config names, of this machine."""
        return LocalBackend().devices(asked)

    def changes(self) -> Sequence[Change]:
        """Return nothing: none comes or goes."""
        return ()

    def hopes(self) -> bool:
        """Return that none will come."""
        return False

    def close(self) -> None:
        """Do nothing."""

    def launch(self, device: Device, log_folder: Path) -> _Link:
        """Return a link to a host that does nothing."""
        del device, log_folder
        return _Link(self)

    def edit(self, payload: dict[str, Any], load: dict[str, Any]) -> dict[str, Any]:
        """Write an edit; the first one is made by the real role, so that the others have what it says."""
        if not self.outcome:
            self.outcome = EditRole(load).run([payload], lambda *_: None)[0]
            return self.outcome
        data = self.png + Path(payload["image"]).name.encode()
        _write(payload["image"], data)
        _write(payload["thumbnail"], self.thumbnail)
        _write(payload["source_thumbnail"], self.thumbnail)
        return {
            **self.outcome,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "mtime_ns": os.stat(payload["image"]).st_mtime_ns,  # noqa: PTH116
        }

    def judge(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return a verdict."""
        score = int(hashlib.sha256(payload["sample"]["id"].encode()).hexdigest()[:2], 16) % 11
        names = [one.name for one in self.rubric.dimensions]
        scores, reasons = dict.fromkeys(names, float(score)), dict.fromkeys(names, REASON)
        return verdict_from_scores(self.rubric, scores, reasons, f"{scores}: {REASON}").to_json()


def _write(path: str, data: bytes) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(file, data)
    os.close(file)


class _Channel:
    """Answers what it is sent; readable as long as there is an answer that was not fetched."""

    unsent = closed = False
    broken = None

    def __init__(self, backend: HollowBackend) -> None:
        self._backend = backend
        self._load: dict[str, Any] = {}
        self._answers: list[dict[str, Any]] = []
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._bell

    def flush(self) -> None:
        """There is nothing to flush."""

    def send(self, kind: str, /, **fields: Any) -> None:
        began = time.process_time()
        if kind == "start":
            self._load = fields["load"]
            window = 2 if "EditRole" in self._load["role"] else self._load["options"]["batch_size"]
            self._answer("started", pid=os.getpid())
            self._answer("ready", window=window, load_s=0.1, facts={})
        elif kind == "task":
            self._work(fields["tasks"])
        elif kind == "recall":
            self._answer("recalled", ids=[])
        elif kind in ("stop", "kill"):
            self._answer("exited", code=0, reason=kind, tail="", seconds=0.0, why="")
        self._backend.seconds += time.process_time() - began

    def _work(self, tasks: list[dict[str, Any]]) -> None:
        editing = "EditRole" in self._load["role"]
        self._answer("begun", ids=[task["id"] for task in tasks])
        for task in tasks:
            payload = task["payload"]
            outcome = self._backend.edit(payload, self._load) if editing else self._backend.judge(payload)
            self._answer("done", id=task["id"], outcome=outcome, seconds=0.5)

    def _answer(self, kind: str, **fields: Any) -> None:
        if not self._answers:
            os.eventfd_write(self._bell, 1)
        self._answers.append({"type": kind, **fields})

    def receive(self) -> list[dict[str, Any]]:
        if self._answers:
            os.eventfd_read(self._bell)
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        os.close(self._bell)


class _Link:
    """The driver's end of one host."""

    def __init__(self, backend: HollowBackend) -> None:
        self.channel = _Channel(backend)

    def why_lost(self) -> tuple[str, bool]:
        """Return nothing: it never is."""
        return "", False

    def lost(self) -> None:
        """Nothing is left behind."""

    def wait(self, timeout_s: float) -> bool:
        """Say that it has ended."""
        del timeout_s
        self.channel.close()
        return True
