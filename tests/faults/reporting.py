"""pytest's hooks that print the fault table at the end, also where several processes of pytest-xdist have run the trials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from faults.rows import FAULTS
from faults.table import Table

TABLE = pytest.StashKey[Table]()
_SENT = "faults"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the table of a process of pytest-xdist to the one that prints."""
    sent: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent[_SENT] = session.config.stash[TABLE].to_json()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a process of pytest-xdist has sent; one that crashed has sent nothing, and its test has failed."""
    node.config.stash[TABLE].join(Table.from_json(getattr(node, "workeroutput", {}).get(_SENT, {})))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table; write it where `EDIT_EVAL_FAULT_TABLE` says: into a Markdown page, or to a `.json` file."""
    table = config.stash[TABLE].in_order([(fault.family, fault.name) for fault in FAULTS])
    if not table.lines:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(table.text())
    if path := os.environ.get("EDIT_EVAL_FAULT_TABLE"):
        table.write(Path(path), [(fault.family, fault.name) for fault in FAULTS])
