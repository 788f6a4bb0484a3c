"""The fault table: what the trials of one session came to, as text, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
    """Adds up trials, in the order in which faults were first met."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Line] = {}

    def add(self, family: str, name: str, injected: int, *, right: bool, lost: int, doubled: int) -> None:
        """Add what one trial came to; one that did not come through has survived nothing."""
        line = self.lines.setdefault((family, name), Line(family, name))
        line.injected += injected
        line.survived += injected if right else 0
        line.lost += lost
        line.doubled += doubled

    def text(self) -> str:
        """Return the table for a terminal."""
        rows = [HEADS, *(line.cells() for line in self.lines.values())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def markdown(self) -> str:
        """Return the table for a page, each family under its name."""
        parts = ["| fault | injected | survived | lost | doubled |", "|---|---:|---:|---:|---:|"]
        family = ""
        for line in self.lines.values():
            if line.family != family:
                family = line.family
                parts.append(f"| **{family}** | | | | |")
            parts.append(f"| {' | '.join(line.cells())} |")
        return "\n".join(parts)

    def write(self, path: Path) -> None:
        """Write to `path`: JSON, or Markdown (in place of the table that the file has, if it has one)."""
        if path.suffix == ".json":
            path.write_text(json.dumps([asdict(line) for line in self.lines.values()], indent=1) + "\n")
            return
        table = f"{BEGIN}\n{self.markdown()}\n{END}\n"
        before, after = "", ""
        if path.exists():
            text = path.read_text(encoding="utf-8")
            before, found, rest = text.partition(BEGIN + "\n")
            after = rest.partition(END + "\n")[2] if found else ""
        path.write_text(before + table + after, encoding="utf-8")


def names_in(markdown: str) -> list[str]:
    """Return the faults that the table of a page names, in order."""
    inside = markdown.partition(BEGIN)[2].partition(END)[0].splitlines()
    rows = [line.split("|")[1].strip() for line in inside if line.startswith("|")]
    return [name for name in rows[2:] if not name.startswith("**")]


def names_of(faults: Iterable[tuple[str, str]]) -> Sequence[str]:
    """Return the names of rows given as (family, name)."""
    return [name for _, name in faults]
