"""Which samples of two runs are the same ones, and what becomes of the others. Pure.

Samples are joined by their id. An id alone is not enough: a sample with another instruction or other source bytes is
another sample, however it is called. Repeats of a sample are averaged here, so that nobody counts them as samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edit_eval.core.types import Sample
from edit_eval.driver.comparison import Lost
from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.rows import Row
from edit_eval.driver.status import status_of

__all__ = ["Joined", "SampleOfRun", "differs", "join", "samples_of"]

_BESIDE = {"reference": "reference image", "target": "exact target", "judged": "judged image"}


@dataclass(frozen=True)
class SampleOfRun:
    """One sample of one run, its repeats together.

    Attributes:
        sample: the sample.
        sources: hash of each source image.
        beside: hashes of its other images, by what they are.
        rows: of its repeats that are scored.
        overall: mean overall score of these; None if none is.
        status: `scored`, or the label of the first repeat's status (`unscored (refused)`).
        partly: whether some repeats have a score and others, which should have one, have none.
    """

    sample: Sample
    sources: tuple[str, ...]
    beside: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    overall: float | None
    status: str
    partly: bool

    def mean(self, dimension: str) -> float | None:
        """Return the mean score of one dimension over the repeats that have it; None if none has."""
        found = [
            row.verdict.scores[dimension]
            for row in self.rows
            if row.verdict and dimension in row.verdict.scores
        ]
        return math.fsum(found) / len(found) if found else None


def samples_of(wanted: Iterable[WantedEdit], rows: Sequence[Row]) -> dict[str, SampleOfRun]:
    """Return a run's samples by id, in the benchmark's order.

    Args:
        wanted: what the run is about, in any order.
        rows: all of its rows, in the benchmark's order.
    """
    grouped: dict[str, list[tuple[WantedEdit, Row]]] = {}
    for one, row in zip(sorted(wanted, key=lambda one: one.index), rows, strict=True):
        grouped.setdefault(one.sample.id, []).append((one, row))
    return {name: _sample(group) for name, group in grouped.items()}


def _sample(group: Sequence[tuple[WantedEdit, Row]]) -> SampleOfRun:
    first = group[0][0]
    rows = [row for _, row in group]
    scored = [(row, row.verdict.overall) for row in rows if row.verdict and row.verdict.overall is not None]
    values = [value for _, value in scored]
    return SampleOfRun(
        sample=first.sample,
        sources=first.source_sha256,
        beside=first.beside_sha256,
        rows=tuple(row for row, _ in scored),
        overall=math.fsum(values) / len(values) if values else None,
        status="scored" if values else status_of(rows[0]).label,
        partly=0 < len(values) < sum(row.applicable for row in rows),
    )


def differs(one: SampleOfRun, other: SampleOfRun) -> tuple[str, ...]:
    """Return in what two samples of one id are different samples; empty if they are the same.

    The instruction that the editor is given may differ (rewritten prompts are part of how a run edits), and so may tags
    and cluster: the first run's count.
    """
    checks = [
        ("instruction", one.sample.instruction == other.sample.instruction),
        ("source image", one.sources == other.sources),
        ("notes", dict(one.sample.notes) == dict(other.sample.notes)),
        ("rubric", one.sample.rubric == other.sample.rubric),
    ]
    for name, what in _BESIDE.items():
        known = name in one.beside and name in other.beside
        checks.append((what, not known or tuple(one.beside[name]) == tuple(other.beside[name])))
    return tuple(what for what, same in checks if not same)


@dataclass(frozen=True)
class Joined:
    """Two runs joined.

    Attributes:
        ids: of the samples that both scored, in the base's order.
        same: of the samples that both are about, scored or not, likewise.
        lost: the others.
    """

    ids: tuple[str, ...]
    same: tuple[str, ...]
    lost: Lost


def join(base: Mapping[str, SampleOfRun], other: Mapping[str, SampleOfRun]) -> Joined:
    """Return which samples two runs can be compared by, and what becomes of the others."""
    both = [name for name in base if name in other]
    changed = {name: found for name in both if (found := differs(base[name], other[name]))}
    same = [name for name in both if name not in changed]
    ids = [name for name in same if base[name].overall is not None and other[name].overall is not None]
    lost = Lost(
        only_base=tuple(name for name in base if name not in other),
        only_other=tuple(name for name in other if name not in base),
        changed=changed,
        without_base={name: base[name].status for name in same if base[name].overall is None},
        without_other={name: other[name].status for name in same if other[name].overall is None},
        partly=sum(1 for name in ids if base[name].partly or other[name].partly),
    )
    return Joined(tuple(ids), tuple(same), lost)
