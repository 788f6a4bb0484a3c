"""samples.jsonl: one line for every edit that a run is about, written whole, read back checked.

Images that lie in the run itself (a benchmark's own, below `inputs/`) are named from there, so that they are found
wherever the run is carried; all others by their absolute paths. Every line says of how many it is one: a file that was
cut off between two lines would pass for a smaller benchmark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.types import Sample
from edit_eval.driver.ledger import json_bytes, json_value
from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.shapes import Each, misfit_of

__all__ = ["wanted_from_lines", "wanted_lines"]

_PATHS = ("images", "references", "judged")
_misfit = misfit_of(
    {
        "!index": int,
        "!key": str,
        "!repeat": int,
        "!seed": int,
        "!source_sha256": [str],
        "!beside_sha256": Each([str]),
        "of": int,
        "!sample": {
            "!id": str,
            "!instruction": str,
            "!images": [str],
            "edit_instruction": (str, None),
            "tags": Each(str),
            "cluster": str,
            "references": [str],
            "target": (str, None),
            "judged": [str],
            "notes": Each(str),
            "rubric": str,
        },
    }
)


def wanted_lines(wanted: Sequence[WantedEdit], root: Path) -> Iterator[bytes]:
    """Yield the lines, each with its end; `root` is the run directory, absolute."""
    inside = f"{root}/"
    for one in wanted:
        sample = one.sample.to_json()
        for name in _PATHS:
            if sample.get(name):
                sample[name] = [path.removeprefix(inside) for path in sample[name]]
        if one.sample.target:
            sample["target"] = one.sample.target.removeprefix(inside)
        record = {
            "index": one.index,
            "of": len(wanted),
            "key": one.key,
            "repeat": one.repeat,
            "seed": one.seed,
            "source_sha256": one.source_sha256,
            "beside_sha256": one.beside_sha256,
            "sample": sample,
        }
        yield json_bytes(record) + b"\n"


def wanted_from_lines(lines: Iterable[bytes], root: Path) -> Iterator[WantedEdit]:
    """Yield what `wanted_lines` wrote, wherever the run lies now. Raises `ValueError`, which says what is wrong."""
    count, of = 0, None
    for count, line in enumerate(lines, 1):
        try:
            entry = json_value(line)
        except ValueError as error:
            raise ValueError(f"line {count} is no JSON") from error
        fault = _misfit(entry)
        if fault or not entry["source_sha256"] or not entry["sample"]["images"]:
            raise ValueError(f"line {count}: {fault or 'no source image'}")
        of = entry.get("of", of)
        yield _wanted(entry, root)
    if of not in (None, count):
        raise ValueError(f"{count} lines of {of}")


def _wanted(entry: dict[str, Any], root: Path) -> WantedEdit:
    sample = dict(entry["sample"])
    for name in _PATHS:
        sample[name] = [_absolute(path, root) for path in sample.get(name, ())]
    if sample.get("target"):
        sample["target"] = _absolute(sample["target"], root)
    return WantedEdit(
        index=entry["index"],
        sample=Sample.from_json(sample),
        repeat=entry["repeat"],
        seed=entry["seed"],
        key=entry["key"],
        source_sha256=tuple(entry["source_sha256"]),
        beside_sha256={name: tuple(shas) for name, shas in entry["beside_sha256"].items()},
    )


def _absolute(path: str, root: Path) -> str:
    return path if path.startswith("/") else f"{root}/{path}"
