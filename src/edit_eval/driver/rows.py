"""One row per sample and repeat of a run, as far as it got, with one judge's verdict on it.

Reads a run directory's ledgers through `driver.store`; computes no number.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edit_eval.core.types import Sample, Verdict
from edit_eval.driver.against import looked_up
from edit_eval.driver.judges import main_judge
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.store import RunReader, image_path, thumbnail_path

__all__ = ["Row", "read_rows", "rows_of"]


@dataclass(frozen=True)
class Row:
    """One sample and repeat, as far as it got.

    Attributes:
        index: 0-based position in the benchmark (times repeats).
        sample: the sample.
        repeat: 0-based.
        edit_key: 64 hex digits.
        edited: True, False (failed), or None (not done yet).
        edit_failure: kind and message where `edited` is False.
        edit: the ledger's record of the edit: `sha256`, `width`, `height`, `seconds`, `device`, `first_frames` (numbers
            of the sources of which the first frame or page was used) ...
        image: path of the edit, relative to the run directory; None if there is none.
        thumbnail: likewise, of its thumbnail; None if it was not written.
        source_thumbnail: likewise, of the first source image's thumbnail; None if it was not written.
        verdict_key: 64 hex digits; None before the edit exists.
        verdict: None if not judged yet.
        applicable: False where the judge compares with another run that has no edit of this sample.
        rival: paths of the other run's edit and of its thumbnail (None if it was not written), absolute; None if nothing is
            compared.
        flags: of the edit (`worker.flags`); empty also where none were looked for.
    """

    index: int
    sample: Sample
    repeat: int
    edit_key: str
    edited: bool | None
    edit_failure: tuple[str, str] | None
    edit: Mapping[str, Any]
    image: str | None
    thumbnail: str | None
    source_thumbnail: str | None
    verdict_key: str | None
    verdict: Verdict | None
    flags: tuple[str, ...] = ()
    applicable: bool = True
    rival: tuple[str, str | None] | None = None


def read_rows(run: RunReader, *, thumbnails: bool = True) -> list[Row]:
    """Return one row per sample and repeat, in the benchmark's order.

    Of several verdicts on one edit, the row has that of the run's own judge and rubric, on the present image.

    Args:
        run: what to read.
        thumbnails: whether to look which there are; only pages show them.
    """
    own = main_judge(run.info)
    judging = looked_up(own.judging, run.path) if own else None
    root = str(run.path) if thumbnails else None
    return [_row(run, one, judging, root) for one in _in_order(run)]


def rows_of(
    run: RunReader,
    rows: Sequence[Row],
    judging: Judging,
    *,
    repeat: int = 0,
    among: Container[str] | None = None,
) -> list[Row]:
    """Return the same rows with other verdicts: of another judge, or (`repeat` 1) those that a judge gave again.

    Args:
        run: the run.
        rows: all of its rows, from `read_rows`.
        judging: who judged.
        repeat: which time.
        among: edit keys; other rows are left out. None: all stay.
    """
    judging = looked_up(judging, run.path)
    return [
        replace(row, verdict_key=key, verdict=_verdict(run, key), applicable=judging.applies(one), rival=None)
        for row, one in zip(rows, _in_order(run), strict=True)
        if among is None or one.key in among
        for key in [_key(judging, one, row.edit.get("sha256"), repeat)]
    ]


def _key(judging: Judging | None, one: WantedEdit, edited_sha256: str | None, repeat: int = 0) -> str | None:
    """Return the key of a verdict; None where there is no edit, or nothing to compare it with."""
    if judging is None or edited_sha256 is None or not judging.applies(one):
        return None
    return judging.key(one, edited_sha256, repeat=repeat)


def _rival(judging: Judging | None, one: WantedEdit, root: str | None) -> tuple[str, str | None] | None:
    rival = judging.rival(one) if judging else None
    if rival is None:
        return None
    there = root is not None and os.path.exists(rival.thumbnail)  # noqa: PTH110 - fast
    return rival.image, rival.thumbnail if there else None


def _in_order(run: RunReader) -> list[WantedEdit]:
    return sorted(run.wanted, key=lambda one: one.index)


def _verdict(run: RunReader, key: str | None) -> Verdict | None:
    judged = run.verdicts.get(key) if key else None
    return Verdict.from_json(judged["verdict"]) if judged else None


def _row(run: RunReader, one: WantedEdit, judging: Judging | None, root: str | None) -> Row:
    record = run.edits.get(one.key)
    edited = None if record is None else record["status"] == "edited"
    key = _key(judging, one, record["image"]["sha256"] if record and edited else None)
    return Row(
        index=one.index,
        sample=one.sample,
        repeat=one.repeat,
        edit_key=one.key,
        edited=edited,
        edit_failure=(record["kind"], record["reason"]) if record and not edited else None,
        edit=_edit_facts(record) if record and edited else {},
        image=image_path(one.key) if edited else None,
        thumbnail=_existing(root, thumbnail_path(one.key)) if edited else None,
        source_thumbnail=_existing(root, thumbnail_path(one.source_sha256[0])),
        verdict_key=key,
        verdict=_verdict(run, key),
        flags=_flags(record) if record and edited else (),
        applicable=judging is None or judging.applies(one),
        rival=_rival(judging, one, root),
    )


def _flags(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the flags of an edit; a record made before there were flags has none."""
    found = record.get("flags")
    return tuple(flag for flag in found if isinstance(flag, str)) if isinstance(found, list) else ()


def _existing(root: str | None, path: str) -> str | None:
    return path if root and os.path.exists(f"{root}/{path}") else None  # noqa: PTH110 - fast


def _edit_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("seconds", "steps", "device", "attempts", "source_size", "flags", "first_frames")
    return {**record["image"], **{name: record[name] for name in kept if name in record}}
