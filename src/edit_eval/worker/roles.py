"""What a host does with tasks: `EditRole` turns a payload into an image on disk, `JudgeRole` into a verdict.

The payloads are plain JSON made by the driver; images are read from and written to paths. A role knows its editor or
judge, and nothing of queues, ledgers or other devices.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edit_eval.core.errors import ModelError, UserError
from edit_eval.core.types import EditRequest, HostContext, JudgeRequest, Prompt, Rubric, Sample
from edit_eval.judges.contract import held_to
from edit_eval.judges.prompts import render_prompts
from edit_eval.worker.beforehand import Beforehand
from edit_eval.worker.flags import flags_of
from edit_eval.worker.images import (
    OpenedImage,
    as_shown,
    open_image,
    open_rgb,
    png_bytes,
    save_thumbnail,
    write_png,
)
from edit_eval.worker.inputs import Inputs
from edit_eval.worker.returned import as_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from edit_eval.editors import Editor
    from edit_eval.judges import Judge, Remark

__all__ = ["AlteredImageError", "CannotJudgeError", "CannotWriteError", "EditRole", "JudgeRole", "Role"]

_MOST_READERS = 4
"""Threads that open the images of the next batch of verdicts."""

_FACT_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "vllm", "pillow", "numpy")


class CannotWriteError(Exception):
    """Something cannot be written (disk full, read-only): not the sample's fault, so the run must stop.

    Attributes:
        path: what.
        errno, reason: why; `errno` is 0 where the system gave none.
    """

    def __init__(self, path: str, error: OSError) -> None:
        self.path = str(error.filename or path)
        self.errno = error.errno or 0
        self.reason = error.strerror or str(error)
        super().__init__(f"cannot write {self.path}: {self.reason}")


class CannotJudgeError(Exception):
    """The judge would answer no request, for a reason that the user can mend (a wrong key): the run must stop."""


class AlteredImageError(Exception):
    """An edit's image is no longer what was recorded: nothing is said of the edit, which is to be made again."""


class Role:
    """Base: what `Host` needs.

    `threads` threads each run `batch` tasks at once; `window` tasks are wanted at hand. `beside`: what `begin` leaves of
    a task takes time, and is better done beside the next one.
    """

    threads: int = 1
    batch: int = 1
    window: int = 1
    beside: bool = False

    def __init__(self, load: dict[str, Any]) -> None:
        raise NotImplementedError

    @classmethod
    def prepare(cls, load: dict[str, Any]) -> None:
        """Import what loading will need, and touch no accelerator; called before, or never."""
        _target(load)

    def run(
        self, payloads: Sequence[dict[str, Any]], progress: Callable[[int, int], None]
    ) -> list[dict[str, Any]]:
        """Return one outcome per payload, in order; an exception fails them (the host then tries one by one)."""
        raise NotImplementedError

    def begin(
        self, payloads: Sequence[dict[str, Any]], progress: Callable[[int, int], None]
    ) -> list[Callable[[], dict[str, Any]]]:
        """Do what needs the model, as `run`; return what is left of each task, which may be done beside the next one.

        What is left is called once, in any thread; an exception fails its task alone.
        """
        outcomes = self.run(payloads, progress)
        if len(outcomes) != len(payloads):
            raise RuntimeError(f"{len(outcomes)} outcomes of {len(payloads)} tasks")
        return [partial(dict, outcome) for outcome in outcomes]

    def look_ahead(self, payload: dict[str, Any]) -> None:
        """Take note of what will be asked for next, and return at once; it may never be."""

    def facts(self) -> dict[str, Any]:
        """Return provenance of this host: versions of the libraries it has, name of its accelerator."""
        facts: dict[str, Any] = {}
        for name in _FACT_PACKAGES:
            loaded = getattr(
                sys.modules.get(name), "__version__", None
            )  # says more than metadata: 2.14.1+cu130
            try:
                facts[name] = str(loaded or metadata.version(name))
            except metadata.PackageNotFoundError:
                continue
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            facts["accelerator"] = torch.cuda.get_device_name(0)
            facts["memory_bytes"] = torch.cuda.memory_reserved(0)
        return facts


def _target(load: dict[str, Any]) -> Any:
    module, name = load["target"].split(":")
    return getattr(importlib.import_module(module), name)


def _params(target: Any, values: dict[str, Any]) -> Any:
    """Build `Params` from JSON: lists become tuples where the field's default is one."""
    given = dict(values)
    for one in fields(target.Params):
        if isinstance(given.get(one.name), list) and isinstance(one.default, tuple):
            given[one.name] = tuple(given[one.name])
    return target.Params(**given)


def _context(load: dict[str, Any]) -> HostContext:
    return HostContext(
        devices=tuple(load["devices"]),
        model=load["model"],
        components=load["components"],
        options=load["options"],
        lora=(load["lora"][0], load["lora"][1]) if load.get("lora") else None,
    )


def _require_pillow(stage: str) -> None:
    """Say at once, and not once a sample, that images cannot be opened here. Raises `ModelError`."""
    if importlib.util.find_spec("PIL") is None:
        raise ModelError(
            f"{sys.executable} has no Pillow; pip install pillow into it, or set {stage}.python to another interpreter"
        )


class EditRole(Role):
    """One edit at a time: open the sources, edit, write the PNG whole, then the thumbnails as far as that is possible.

    The sources of the next edit are opened beside this one, and an image is written beside the next edit (`begin`).
    """

    window = 2  # one in work, one at hand
    beside = True

    def __init__(self, load: dict[str, Any]) -> None:
        _require_pillow("editor")
        target = _target(load)
        self.work_with(target(_params(target, load["params"]), _context(load)))

    @classmethod
    def around(cls, editor: Editor) -> EditRole:
        """Return the role of an editor that is loaded already."""
        role = cls.__new__(cls)
        role.work_with(editor)
        return role

    def work_with(self, editor: Editor) -> None:
        """Take up an editor; nothing is at hand for it yet."""
        self._editor = editor
        self._inputs = Inputs()
        self._opened = Beforehand(self._open)

    def facts(self) -> dict[str, Any]:
        """Return the same as every role, and what the editor says of itself."""
        return {**super().facts(), **self._editor.facts()}

    def run(
        self, payloads: Sequence[dict[str, Any]], progress: Callable[[int, int], None]
    ) -> list[dict[str, Any]]:
        """Edit each payload's sample; the outcome is what the ledger records of the image."""
        return [rest() for rest in self.begin(payloads, progress)]

    def begin(
        self, payloads: Sequence[dict[str, Any]], progress: Callable[[int, int], None]
    ) -> list[Callable[[], dict[str, Any]]]:
        """Edit each payload's sample; what is left is to write the image, and to return the outcome."""
        return [self._edit(payload, progress) for payload in payloads]

    def look_ahead(self, payload: dict[str, Any]) -> None:
        """Open the sources of the next task in a thread, while the model works on this one."""
        self._opened.expect(payload)

    def _open(self, payload: dict[str, Any]) -> list[OpenedImage]:
        """Return the sources of a task. Raises `UnreadableImageError`, `ChangedInputError`."""
        self._inputs.check(payload["inputs"])
        with self._inputs.still(payload["inputs"]):
            return [open_image(path) for path in Sample.from_json(payload["sample"]).images]

    def _edit(
        self, payload: dict[str, Any], progress: Callable[[int, int], None]
    ) -> Callable[[], dict[str, Any]]:
        sample = Sample.from_json(payload["sample"])
        steps_done = 0

        def step(number: int, steps: int) -> None:
            nonlocal steps_done
            progress(number, steps)
            steps_done = int(number)

        opened = self._opened.take(payload)
        with self._inputs.still(payload["inputs"]):
            images = tuple(one.image for one in opened)
            request = EditRequest(
                sample, sample.editor_instruction, images, payload["seed"], payload["repeat"]
            )
            started = time.monotonic()
            try:
                returned = self._editor.edit(request, step)
            except FileNotFoundError as error:
                error.missing_edit = True  # type: ignore[attr-defined]
                raise
            seconds = time.monotonic() - started
        edited, nan = as_image(returned)
        facts = {
            "seconds": round(seconds, 4),
            "steps": steps_done,
            "source_size": list(images[0].size),
            "first_frames": [number for number, one in enumerate(opened) if one.several],
        }
        size = _declared_size(self._editor, request)

        def rest() -> dict[str, Any]:
            flags = flags_of(edited, images, size, nan=nan)
            record = _written(edited, payload["image"])
            return {
                **record,
                **facts,
                "flags": flags,
                "no_thumbnail": _no_thumbnail(edited, images[0], payload),
            }

        return rest


def _written(edited: Image, path: str) -> dict[str, Any]:
    """Write an edit's image; return what the ledger records of the file. Raises `CannotWriteError`."""
    data = png_bytes(edited)
    try:
        return write_png(data, edited.size, path)
    except OSError as error:
        raise CannotWriteError(path, error) from error


def _declared_size(editor: Any, request: EditRequest) -> tuple[int, int] | None:
    """Return the size that the edit should have; an editor that declares none returns the source's."""
    declare = getattr(editor, "edit_size", None)
    return request.images[0].size if declare is None else declare(request)


def _no_thumbnail(edited: Image, source: Image, payload: dict[str, Any]) -> str | None:
    """Write the thumbnails; return why one cannot be written. The edit is on the disk by now, and counts without."""
    try:
        save_thumbnail(edited, payload["thumbnail"])
        if not Path(payload["source_thumbnail"]).exists():
            save_thumbnail(source, payload["source_thumbnail"])
    except OSError as error:
        return f"{error.filename or payload['thumbnail']}: {error.strerror or error}"
    return None


class JudgeRole(Role):
    """A batch of verdicts at a time; where the judge bears several threads, one verdict a thread.

    The images of the next batch are opened beside this one.
    """

    def __init__(self, load: dict[str, Any]) -> None:
        _require_pillow("judge")
        target = _target(load)
        self._rubrics = {name: Rubric.from_json(data) for name, data in load["rubrics"].items()}
        self._judge: Judge = target(
            _params(target, load["params"]), _context(load), tuple(self._rubrics.values())
        )
        self._inputs = Inputs()
        self.threads = _count(self._judge.threads, "threads")
        self._requests = Beforehand(self._request, _MOST_READERS, self.window)
        self._progress = threading.local()  # what is told in one thread is not about the task of another
        self._judge.progress = self._report

    @classmethod
    def prepare(cls, load: dict[str, Any]) -> None:
        """Import Pillow, the judge, and what the judge says."""
        _require_pillow("judge")
        target = _target(load)
        target.prepare(_params(target, load["params"]), _context(load))

    @property
    def batch(self) -> int:  # type: ignore[override]
        """As many as the judge wants now; it shrinks when memory runs out. Raises `ValueError` if the judge wants none."""
        return _count(self._judge.window, "window") if self.threads == 1 else 1

    @property
    def window(self) -> int:  # type: ignore[override]
        """A batch in work and one at hand; or what the judge wants under way in all its threads. Raises `ValueError`."""
        return 2 * self.batch if self.threads == 1 else _count(self._judge.window, "window")

    def look_ahead(self, payload: dict[str, Any]) -> None:
        """Open the images of a waiting task; where there are several threads, each opens its own."""
        if self.threads == 1:
            self._requests.expect(payload)

    def facts(self) -> dict[str, Any]:
        """Return the same as every role, and what the judge says of itself."""
        return {**super().facts(), **self._judge.facts()}

    def try_out(self, images: Mapping[str, Image]) -> Sequence[Remark]:
        """Have the judge asked one question about `source` and `edited`, both RGB. Raises `UserError`."""
        rubric = next(iter(self._rubrics.values()))
        return self._judge.try_out(_trial(rubric, images))

    def _report(self, step: int, steps: int) -> None:
        self._progress.report(step, steps)

    def run(
        self, payloads: Sequence[dict[str, Any]], progress: Callable[[int, int], None]
    ) -> list[dict[str, Any]]:
        """Judge all payloads together; each outcome is `Verdict.to_json()`, held against the rubric.

        Raises:
            CannotJudgeError: the judge says that it would answer no request.
        """
        self._progress.report = progress
        with ExitStack() as held:
            requests = [self._requests.take(payload) for payload in payloads]
            for payload in payloads:
                held.enter_context(self._inputs.still(payload["inputs"]))
            try:
                verdicts = self._judge.judge(requests)
            except UserError as error:
                raise CannotJudgeError(str(error)) from error
        if len(verdicts) != len(payloads):
            raise RuntimeError(f"the judge returned {len(verdicts)} verdicts for {len(payloads)} edits")
        return [
            held_to(request.rubric, verdict).to_json()
            for request, verdict in zip(requests, verdicts, strict=True)
        ]

    def _request(self, payload: dict[str, Any]) -> JudgeRequest:
        """Return what a task asks. Raises `AlteredImageError`, `ChangedInputError`, `UnreadableImageError`."""
        with self._inputs.held(payload["inputs"]):
            return _judge_request(payload, self._rubrics[payload["rubric"]])


def _trial(rubric: Rubric, images: Mapping[str, Image]) -> JudgeRequest:
    """Return a request about built-in images, with as many sources and references as the rubric's questions show."""
    shown = [*(role for call in rubric.calls for role in call.images), "source/1", "reference/1"]
    most = {
        name: max(int(role.partition("/")[2] or 1) for role in shown if role.startswith(name))
        for name in ("source", "reference")
    }
    texts = [text for call in rubric.calls for text in (call.prompt, *call.fill.values())]
    notes = {name: "-" for text in texts for name in re.findall(r"\bnote:([^{}]+)", text)}
    sample = Sample("preflight", "Turn the red square yellow.", ("",), notes=notes)
    return JudgeRequest(
        sample=sample,
        rubric=rubric,
        prompts=render_prompts(rubric, sample),
        sources=(images["source"],) * most["source"],
        edited=images["edited"],
        references=(images["source"],) * most["reference"],
        seed=0,
    )


def _count(wanted: Any, what: str) -> int:
    """Return how many a judge, maybe other people's code, wants. Raises `ValueError` for what is no number of them."""
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise ValueError(f"the judge's {what} is {wanted!r}; it must be a whole number of at least 1")
    return wanted


def _judge_request(payload: dict[str, Any], rubric: Rubric) -> JudgeRequest:
    sample = Sample.from_json(payload["sample"])
    try:
        data = Path(payload["edited"]).read_bytes()
    except FileNotFoundError as error:
        raise AlteredImageError(f"{payload['edited']} was removed after it was recorded") from error
    except OSError as error:  # a folder in its place, a bad sector ...
        raise AlteredImageError(f"{payload['edited']} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != payload["edited_sha256"]:
        raise AlteredImageError(f"{payload['edited']} was altered after it was recorded")
    sources = tuple(open_rgb(path) for path in sample.shown_sources)
    size = sources[0].size
    return JudgeRequest(
        sample=sample,
        rubric=rubric,
        prompts=tuple(Prompt(one["call"], one["text"], tuple(one["images"])) for one in payload["prompts"]),
        sources=tuple(as_shown(one, rubric.shown) for one in sources),
        edited=as_shown(open_rgb(io.BytesIO(data)), rubric.shown, source_size=size),
        references=tuple(
            as_shown(open_rgb(path), rubric.shown, source_size=size if rubric.compares else None)
            for path in sample.references
        ),
        seed=payload["seed"],
    )
