"""`edit-eval ls`: what there is to choose from, and the runs of a folder."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from edit_eval.cli import EXIT_OK
from edit_eval.cli.output import one_line, show
from edit_eval.core.errors import ConfigError, RunError
from edit_eval.driver import registry
from edit_eval.driver.rubrics import builtin_rubrics
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import summarize
from edit_eval.views.benchmarks import fact_lines
from edit_eval.views.text import clean, wrapped

__all__ = ["ls"]

_INDENT = "      "
_NAME_COLUMNS = 21
_LEAST_COLUMNS = 72
"""No line is broken before: an address is not cut."""

_MOST_COLUMNS = 120
"""No line is longer, however wide the terminal: it would be hard to read."""


def ls(arguments: argparse.Namespace) -> int:
    """`edit-eval ls [WHAT]`."""
    if arguments.what == "runs":
        return _ls_runs(Path(arguments.runs))
    kinds: dict[str, registry.Kind] = {"benchmarks": "benchmark", "editors": "editor", "judges": "judge"}
    for title, kind in kinds.items():
        if arguments.what in (None, title):
            _ls_kind(title, kind)
    if arguments.what in (None, "rubrics"):
        show("rubrics\n  " + "\n  ".join(builtin_rubrics()))
    return EXIT_OK


def _ls_kind(title: str, kind: registry.Kind) -> None:
    columns = min(max(shutil.get_terminal_size().columns, _LEAST_COLUMNS), _MOST_COLUMNS)
    show(title)
    for name in sorted(registry.names(kind)):
        show(
            f"  {clean(name, 80):<18} ", end=""
        )  # before it is imported: a plugin may take long, or never end
        try:
            found = registry.find(kind, name)
            found.refuse_unusable()
        except ConfigError as error:
            show(f"unusable: {one_line(str(error))}")
            continue
        first, *rest = wrapped(_first_sentence(found.cls), columns - _NAME_COLUMNS)
        lines = [first, *(f"{'':<{_NAME_COLUMNS}}{line}" for line in rest)]
        facts = fact_lines(found.cls, columns - len(_INDENT)) if kind == "benchmark" else []
        show("\n".join([*lines, *(_INDENT + line for line in facts)]))
    for name, why in registry.left_out(kind):
        show(f"  {clean(name, 80):<18} unusable: {one_line(why)}")
    aliases = registry.ALIASES[kind]
    for name, alias in sorted(aliases.items()):
        show(f"  {name:<18} = {alias.type}, model {alias.model}")


def _first_sentence(cls: type) -> str:
    text = clean(str(cls.__doc__ or "").split("\n\n")[0]).replace("`", "")
    return text.split(". ")[0].rstrip(".")


def _ls_runs(folder: Path) -> int:
    if not folder.is_dir():
        raise RunError(f"no folder of runs at {folder}")
    found = (one.parent for pattern in ("*/run.json", "*/*/run.json") for one in folder.glob(pattern))
    for path in sorted(found):
        shown = clean(str(path))
        try:
            summary = summarize(RunReader(path))
        except RunError as error:
            show(f"{shown}  unreadable: {one_line(str(error))}")
            continue
        mean = "-" if summary.headline.mean is None else f"{summary.headline.mean:.3f}"
        counts = f"n {summary.headline.n}/{summary.wanted}"
        show(f"{shown}  {clean(summary.protocol)}  {clean(summary.editor)}  mean {mean}  {counts}")
    return EXIT_OK
