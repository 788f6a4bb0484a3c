"""What happens during a run, as typed values. The driver emits them; views show them; nobody answers.

`at` is seconds since the run started. `index` is the 0-based position of a sample (with its repeat) in the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edit_eval.core.types import EditFailureKind, Verdict

__all__ = [
    "DeviceState",
    "DeviceStateName",
    "DevicesJoined",
    "EditFailed",
    "EditFinished",
    "Emit",
    "Event",
    "Note",
    "RunStarted",
    "StageFinished",
    "StageName",
    "StageStarted",
    "StepProgress",
    "Unloaded",
    "VerdictGiven",
]

StageName = Literal["edit", "judge"]
DeviceStateName = Literal[
    "starting", "loading", "ready", "waiting", "stopping", "restarting", "retired", "off"
]


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    at: float


@dataclass(frozen=True)
class RunStarted(Event):
    """Work is about to begin.

    Attributes:
        output: the run directory.
        editor: the editor as people know it (type and model).
        judge: label of the judge (`Qwen3-VL`), or None if nothing is judged.
        samples: samples times repeats.
        devices: labels of the devices of each stage (`GPU 0`, `CPU 1`, `GPU 0+1`).
        batch_size: of the judge.
    """

    output: str
    editor: str
    judge: str | None
    samples: int
    devices: Mapping[StageName, tuple[str, ...]]
    batch_size: int


@dataclass(frozen=True)
class DevicesJoined(Event):
    """Devices of a cluster that came while the run goes on, by label, for each stage that they serve."""

    devices: Mapping[StageName, tuple[str, ...]]


@dataclass(frozen=True)
class StageStarted(Event):
    """A stage has work; `total` outcomes are wanted, `done` of them were on disk already."""

    stage: StageName
    total: int
    done: int


@dataclass(frozen=True)
class StageFinished(Event):
    """A stage has no work left; `seconds` since its first host was started."""

    stage: StageName
    seconds: float


@dataclass(frozen=True)
class DeviceState(Event):
    """A device changed state; `detail` says why where that is not plain (`restarting`, `retired`)."""

    device: str
    stage: StageName | None
    state: DeviceStateName
    detail: str = ""


@dataclass(frozen=True)
class StepProgress(Event):
    """Step `step` of `steps` of one edit is done, or, of a batch being judged, token `step` of at most `steps`."""

    device: str
    index: int
    sample_id: str
    step: int
    steps: int
    stage: StageName = "edit"


@dataclass(frozen=True)
class EditFinished(Event):
    """An edit is on disk.

    Attributes:
        seconds: of the editor's own time.
        steps: as it reported them (0: it reported none).
        flags: what is remarkable about its pixels (`worker.flags`).
    """

    device: str
    index: int
    sample_id: str
    seconds: float
    steps: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class EditFailed(Event):
    """A sample has no edit, and will not be tried again in this run."""

    index: int
    sample_id: str
    kind: EditFailureKind
    reason: str


@dataclass(frozen=True)
class VerdictGiven(Event):
    """A verdict is in the ledger: scored or unscored.

    Attributes:
        again: the judge was asked a second time about this edit, to see how sure it is; it counts for nothing else.
    """

    device: str
    index: int
    sample_id: str
    verdict: Verdict
    again: bool = False


@dataclass(frozen=True)
class Unloaded(Event):
    """Hosts of one stage ended and their memory is free; `seconds` from the order to the last one's end."""

    stage: StageName
    devices: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Note(Event):
    """Something a person should know; one line."""

    level: Literal["info", "warning"]
    text: str


Emit = Callable[[Event], None]
