"""What the doctor found, as lines: level, what, detail, and under it the mend. At most 80 columns, colour on a terminal.

Pure functions of findings; knows terminal columns and nothing of how anything was checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TextIO

from edit_eval.driver.findings import Finding, Level
from edit_eval.views.text import Ink, clean, fit, pad, wrapped

__all__ = ["closing_line", "finding_lines", "show_findings"]

_COLUMNS = 80
_LEVEL_COLUMNS = 5
_WHAT_COLUMNS = 18
_COLOURS: dict[Level, str] = {"ok": "32", "warn": "33", "bad": "1;31"}


def show_findings(findings: Iterable[Finding], stream: TextIO, so: str = "a run would fail") -> list[Finding]:
    """Write each finding the moment it is there, then a line about all of them; return them. `so`: what bad ones mean."""
    ink = Ink.of(stream)
    coloured = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    shown = []
    for finding in findings:
        shown.append(finding)
        first, *rest = map(ink.safe, finding_lines(finding))
        if coloured:
            level = finding.level
            first = f"\x1b[{_COLOURS[level]}m{level}\x1b[0m{first[len(level) :]}"
        print(first, *rest, sep="\n", file=stream, flush=True)
    print(f"\n{closing_line(shown, so)}", file=stream, flush=True)
    return shown


def finding_lines(finding: Finding) -> list[str]:
    """Return one finding as lines of at most 80 columns, the mend below the detail."""
    indent = " " * (_LEVEL_COLUMNS + _WHAT_COLUMNS)
    room = _COLUMNS - len(indent)
    lines = wrapped(clean(finding.detail), room)
    if finding.mend:
        mend = wrapped(clean(finding.mend), room - len("mend: "))
        lines += [("mend: " if index == 0 else "      ") + line for index, line in enumerate(mend)]
    head = pad(finding.level, _LEVEL_COLUMNS) + pad(
        fit(clean(finding.what), _WHAT_COLUMNS - 1), _WHAT_COLUMNS
    )
    return [(head if index == 0 else indent) + line for index, line in enumerate(lines)]


def closing_line(findings: Sequence[Finding], so: str = "a run would fail") -> str:
    """Return the line that says whether a run would fail, or what else bad findings mean."""
    bad = sum(one.level == "bad" for one in findings)
    doubts = sum(one.level == "warn" for one in findings)
    warnings = f", {doubts} warning{'s' if doubts != 1 else ''}" if doubts else ""
    if bad:
        return f"{bad} bad{warnings}: {so}; mend {'it' if bad == 1 else 'them'} first."
    return f"All is well{warnings}."
