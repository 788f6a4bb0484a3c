"""A run as a table for other programs: one row a sample and repeat, in plain values.

`edit_eval.load(run)` gives it to a notebook, `edit-eval export` writes it to a file. A number that is not there is None (in
a frame: missing), never 0. Columns:

| column | value |
|---|---|
| `index`, `sample`, `repeat` | position in the benchmark (times repeats), from 0; the sample's id; from 0 |
| `instruction`, `edit_instruction` | as the judge reads it, as the editor is given it |
| `cluster` | samples that share it are not independent |
| `tag:NAME` | the sample's tags, a column each |
| `status` | `scored`, `unscored`, `edit-failed`, `not judged`, `not edited` or `not applicable` |
| `kind`, `why` | of a sample without a score: `refused`, `crash` ..., and the words of the judge or editor |
| `overall`, `score:NAME`, `reason:NAME` | the overall score; of each dimension its score and the judge's reason |
| `flags` | of the edit: `blank`, `nan`, `resized`, `no_op`, joined by `;`; empty where it has none |
| `source`, `image`, `thumbnail` | paths, absolute: first source image, edit, its thumbnail |
| `width`, `height` | of the edit, in pixels |
| `seconds`, `device`, `attempts` | of the edit: what it took, where it was made, how many attempts were lost before |
| `judge_seconds`, `judge_device` | of the verdict |
| `seed` | of the sample and repeat |
| `edit_key`, `verdict_key`, `image_sha256` | 64 hex digits each |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edit_eval.core.errors import UserError
from edit_eval.driver.judges import main_judge
from edit_eval.driver.rows import Row, read_rows
from edit_eval.driver.status import status_of
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import Summary, summarize

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Kind", "LoadedRun", "columns_of", "load", "records_of"]

Kind = Literal["text", "whole", "number"]
"""What a column holds: text, whole numbers, or numbers; any of them may be missing."""

_COLUMNS: Mapping[str, Kind] = {
    "index": "whole",
    "sample": "text",
    "repeat": "whole",
    "instruction": "text",
    "edit_instruction": "text",
    "cluster": "text",
    "tag:": "text",
    "status": "text",
    "kind": "text",
    "why": "text",
    "overall": "number",
    "score:": "number",
    "reason:": "text",
    "flags": "text",
    "source": "text",
    "image": "text",
    "thumbnail": "text",
    "width": "whole",
    "height": "whole",
    "seconds": "number",
    "device": "text",
    "attempts": "whole",
    "judge_seconds": "number",
    "judge_device": "text",
    "seed": "whole",
    "edit_key": "text",
    "verdict_key": "text",
    "image_sha256": "text",
}
"""In their order; a name that ends in a colon stands for any number of columns."""


class LoadedRun:
    """A run to go on with: iterate over its rows, or make a frame of them.

    Attributes:
        path: of the run directory.
        summary: the run's numbers.
    """

    def __init__(self, path: Path) -> None:
        self._run = RunReader(path)
        self._rows = read_rows(self._run)
        self.path = path

    @cached_property
    def summary(self) -> Summary:
        """The run's numbers, with their intervals."""
        return summarize(self._run, self._rows)

    @cached_property
    def columns(self) -> Mapping[str, Kind]:
        """What the columns are called and hold, in their order."""
        return columns_of(self._run, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return records_of(self._run, self._rows)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one plain dict a sample and repeat, all with the same keys (this module's table); None where nothing is."""
        return list(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame.

        The types of its columns do not depend on what is missing: `string`, `Int64` and `Float64`, in which a missing value is
        `pandas.NA`.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise UserError(
                "a frame needs pandas: pip install 'edit-eval[frame]'; to_rows() needs nothing"
            ) from error
        rows = self.to_rows()
        types = {"text": "string", "whole": "Int64", "number": "Float64"}
        return pd.DataFrame(
            {
                name: pd.array([row[name] for row in rows], dtype=types[kind])
                for name, kind in self.columns.items()
            }
        )


def load(run: str | Path) -> LoadedRun:
    """Return what a run directory holds, to go on with in Python.

    Args:
        run: its path.

    Raises:
        RunError: there is no run, or it is damaged; one line says how to mend it.
    """
    return LoadedRun(Path(run).expanduser())


def columns_of(run: RunReader, rows: Sequence[Row]) -> dict[str, Kind]:
    """Return the columns of a run's table: those of every run, its tags and the dimensions of its judge."""
    judge = main_judge(run.info)
    rubrics = judge.judging.rubrics.values() if judge else ()
    dimensions = list(dict.fromkeys(one.name for rubric in rubrics for one in rubric.dimensions))
    tags = sorted({tag for row in rows for tag in row.sample.tags})
    several = {"tag:": tags, "score:": dimensions, "reason:": dimensions}
    return {f"{name}{one}": kind for name, kind in _COLUMNS.items() for one in several.get(name, [""])}


def records_of(run: RunReader, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield one plain dict a row, in the benchmark's order, each with all of `columns_of`."""
    empty = dict.fromkeys(columns_of(run, rows))
    seeds = {(one.sample.id, one.repeat): one.seed for one in run.wanted}
    root = run.path.absolute()
    for row in sorted(rows, key=lambda one: one.index):
        yield {
            **empty,
            **_of_sample(row),
            **_of_edit(row, root),
            **_of_verdict(row, run.verdicts.get(row.verdict_key) if row.verdict_key else None),
            "seed": seeds.get((row.sample.id, row.repeat)),
        }


def _of_sample(row: Row) -> dict[str, Any]:
    status = status_of(row)
    return {
        "index": row.index,
        "sample": row.sample.id,
        "repeat": row.repeat,
        "instruction": row.sample.instruction,
        "edit_instruction": row.sample.editor_instruction,
        "cluster": row.sample.cluster,
        **{f"tag:{name}": value for name, value in row.sample.tags.items()},
        "status": status.name,
        "kind": status.kind,
        "why": status.reason or None if status.name != "scored" else None,
        "source": row.sample.images[0],
        "edit_key": row.edit_key,
        "verdict_key": row.verdict_key,
    }


def _of_edit(row: Row, root: Path) -> dict[str, Any]:
    known = ("width", "height", "seconds", "device", "attempts")
    return {
        "flags": ";".join(row.flags) if row.edited else None,
        "image": str(root / row.image) if row.image else None,
        "thumbnail": str(root / row.thumbnail) if row.thumbnail else None,
        **{name: row.edit.get(name) for name in known},
        "image_sha256": row.edit.get("sha256"),
    }


def _of_verdict(row: Row, record: Mapping[str, Any] | None) -> dict[str, Any]:
    if row.verdict is None or record is None:
        return {}
    worked = {"judge_seconds": record.get("seconds"), "judge_device": record.get("device")}
    if row.verdict.overall is None:
        return worked
    return {
        "overall": float(row.verdict.overall),
        **{f"score:{name}": float(score) for name, score in row.verdict.scores.items()},
        **{f"reason:{name}": reason for name, reason in row.verdict.reasons.items()},
        **worked,
    }
