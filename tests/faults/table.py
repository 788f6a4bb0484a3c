"""The fault table: what the trials of one session came to, as text, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- fault table -->", "<!-- end of fault table -->"
"""Lines of a Markdown file between which the table stands."""

HEADS = ("fault", "injected", "survived", "lost", "doubled")


@dataclass
class Line:
    """What became of one fault: times injected and survived, samples lost and keys done twice."""

    family: str
    name: str
    injected: int = 0
    survived: int = 0
    lost: int = 0
    doubled: int = 0

    def cells(self) -> tuple[str, ...]:
        """Return the cells, as text."""
        counts = (self.injected, self.survived, self.lost, self.doubled)
        return (self.name, *map(str, counts))


class Table:
    """Adds up trials.

    Attributes:
        lines: by family and name.
        notes: by a fault's name, what was measured beside.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self.lines = {(line.family, line.name): line for line in lines}
        self.notes: dict[str, str] = {}

    def add(self, family: str, name: str, injected: int, *, right: bool, lost: int, doubled: int) -> None:
        """Add what one trial came to; one that did not come through has survived nothing."""
        line = self.lines.setdefault((family, name), Line(family, name))
        line.injected += injected
        line.survived += injected if right else 0
        line.lost += lost
        line.doubled += doubled

    def join(self, other: Table) -> None:
        """Add what another table has."""
        for (family, name), line in other.lines.items():
            mine = self.lines.setdefault((family, name), Line(family, name))
            for count in HEADS[1:]:
                setattr(mine, count, getattr(mine, count) + getattr(line, count))
        self.notes |= other.notes

    def in_order(self, order: Sequence[tuple[str, str]]) -> Table:
        """Return the same table with its lines in this order of families and names; others come last."""
        place = {one: number for number, one in enumerate(order)}
        ordered = Table(
            sorted(self.lines.values(), key=lambda line: place.get((line.family, line.name), len(place)))
        )
        ordered.notes = self.notes
        return ordered

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, see `from_json`."""
        return {"lines": [asdict(line) for line in self.lines.values()], "notes": self.notes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Table:
        """Return the table that `to_json` gave; an empty one of no data."""
        table = cls(Line(**line) for line in data.get("lines", ()))
        table.notes = dict(data.get("notes", {}))
        return table

    def text(self) -> str:
        """Return the table for a terminal."""
        rows = [HEADS, *(line.cells() for line in self.lines.values())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
        shown = (
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )
        return "\n".join([*shown, *(f"{name}: {note}" for name, note in self.notes.items())])

    def markdown(self) -> str:
        """Return the table for a page, each family under its name."""
        parts = [f"| {' | '.join(HEADS)} |", "|---|---:|---:|---:|---:|"]
        family = ""
        for line in self.lines.values():
            if line.family != family:
                family = line.family
                parts.append(f"| **{family}** | | | | |")
            parts.append(f"| {' | '.join(line.cells())} |")
        for name, note in self.notes.items():
            parts += ["", f"- {name}: {note}"]
        return "\n".join(parts)

    def write(self, path: Path, order: Sequence[tuple[str, str]]) -> None:
        """Write to `path`: JSON, or a Markdown page in which the table stands between two marks.

        A fault that was not injected now keeps what the page has of it. `order`: family and name of every fault.
        """
        if path.suffix == ".json":
            path.write_text(json.dumps([asdict(line) for line in self.lines.values()], indent=1) + "\n")
            return
        text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
        known = {(line.family, line.name): line for line in lines_in(text)} | self.lines
        notes = notes_in(text) | self.notes
        whole = Table(known[one] for one in order if one in known)
        whole.notes = {name: notes[name] for _, name in order if name in notes}
        table = whole.markdown()
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def notes_in(page: str) -> dict[str, str]:
    """Return what was measured beside, by a fault's name, as a Markdown page shows it."""
    rows = page.partition(BEGIN)[2].partition(END)[0].splitlines()
    noted = (row.removeprefix("- ").partition(": ") for row in rows if row.startswith("- "))
    return {name: note for name, _, note in noted}


def lines_in(page: str) -> list[Line]:
    """Return the lines of the table that a Markdown page shows."""
    found: list[Line] = []
    family = ""
    for row in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        name, *counts = [cell.strip() for cell in row.strip("|").split("|")]
        if name.startswith("**"):
            family = name.strip("*")
        elif counts and all(count.isdigit() for count in counts):
            found.append(Line(family, name, *map(int, counts)))
    return found
