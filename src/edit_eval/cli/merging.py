"""`edit-eval merge`: wires shards, the run that they become, and what is said of it together, and nothing more."""

from __future__ import annotations

import argparse
from pathlib import Path

from edit_eval.cli.output import nearest, say, show
from edit_eval.cli.performing import exit_code, write_page
from edit_eval.core.errors import ConfigError
from edit_eval.driver.gather import merge as gather
from edit_eval.driver.shards import FOLDER
from edit_eval.serve.shown import read_shown
from edit_eval.views.closing import closing_block
from edit_eval.views.numbers import numbers_of
from edit_eval.views.report import missing_block
from edit_eval.views.usage import usage_block

__all__ = ["merge"]


def merge(arguments: argparse.Namespace) -> int:
    """`edit-eval merge SHARD... [--output RUN]`."""
    paths = [Path(one) for one in arguments.shards]
    output = Path(arguments.output) if arguments.output else _home(paths)
    done = gather(paths, output, partial=arguments.partial)
    for line in (*done.missing, *done.notes):
        say(line)
    show(
        f"Merged {done.shards} of {done.of} shards into {nearest(output)}: {done.edits} edits, {done.verdicts} verdicts"
    )
    shown = read_shown(output)
    page, no_page = write_page(shown)
    numbers = numbers_of(shown.summary, shown.rows, shown.usage)
    blocks = [
        closing_block(shown.summary),
        missing_block(numbers.first_missing, numbers.missing),
        usage_block(shown.usage) if shown.usage else None,
        f"Report: {nearest(page)}" if page else None,
    ]
    show("\n" + "\n\n".join(filter(None, blocks)))
    if no_page:
        raise no_page
    return exit_code(shown.summary)


def _home(paths: list[Path]) -> Path:
    """Return the run in whose directory these shards lie. Raises `ConfigError` where they do not, or one is not there."""
    if absent := [one for one in paths if not one.exists()]:
        raise ConfigError(
            f"{nearest(absent[0])} does not exist; name shards, or the folder {FOLDER} of a run"
        )
    folders = {(one if one.name == FOLDER else one.parent) for one in (path.absolute() for path in paths)}
    if len(folders) == 1 and (folder := folders.pop()).name == FOLDER:
        return folder.parent
    raise ConfigError("name the run that the shards become: --output RUN")
