"""The plan: what is wanted minus what the ledgers hold. Pure functions over values; no file is touched here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edit_eval.core.types import Sample

__all__ = ["EditPlan", "WantedEdit", "plan_edits", "verdict_is_done"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class WantedEdit:
    """One edit that the run is about.

    Attributes:
        index: 0-based position in the run.
        sample: what to edit.
        repeat: 0-based.
        seed: of this sample and repeat.
        key: identity of the edit.
        source_sha256: of each source image's bytes.
    """

    index: int
    sample: Sample
    repeat: int
    seed: int
    key: str
    source_sha256: tuple[str, ...]


@dataclass
class EditPlan:
    """Which edits are to be made, and which outcomes are there already."""

    todo: list[WantedEdit] = field(default_factory=list)
    edited: list[WantedEdit] = field(default_factory=list)
    failed: list[WantedEdit] = field(default_factory=list)


def plan_edits(
    wanted: Iterable[WantedEdit],
    ledger: Mapping[str, Record],
    intact: Callable[[WantedEdit, Record], bool],
    *,
    retry_failed: bool = False,
) -> EditPlan:
    """Sort what is wanted by what the ledger says of it.

    Args:
        wanted: every edit of the run.
        ledger: last record by key.
        intact: whether the image of an `edited` record is still what was recorded.
        retry_failed: whether failed edits are to be tried again.
    """
    plan = EditPlan()
    for one in wanted:
        record = ledger.get(one.key)
        if record is None:
            plan.todo.append(one)
        elif record["status"] == "failed":
            (plan.todo if retry_failed else plan.failed).append(one)
        elif intact(one, record):
            plan.edited.append(one)
        else:
            plan.todo.append(one)
    return plan


def verdict_is_done(record: Record | None, *, retry_failed: bool = False) -> bool:
    """Say whether a verdict's last record stands: scored, or unscored and not to be tried again."""
    if record is None:
        return False
    return record["verdict"]["unscored"] is None or not retry_failed
