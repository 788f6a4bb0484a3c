"""What the fault suite shares: the undisturbed runs, and the table that is printed at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.rows import FAULTS
from faults.suite import Fault, Reference, Trial, outcome_of, results_key
from faults.table import Table

TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table; write it where `EDIT_EVAL_FAULT_TABLE` says: into a Markdown page, or to a `.json` file."""
    table = config.stash[TABLE]
    if not table.lines:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(table.text())
    if path := os.environ.get("EDIT_EVAL_FAULT_TABLE"):
        table.write(Path(path), [(fault.family, fault.name) for fault in FAULTS])


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    return request.config.stash[TABLE]


@pytest.fixture
def trial(fault: Fault, number: int, tmp_path: Path) -> Iterator[Trial]:
    trial = Trial(fault, number, tmp_path)
    yield trial
    trial.give_up()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Trial], Reference]:
    """Return the function that gives the results of a trial's config without a fault; each run is made once."""
    known: dict[str, Reference] = {}

    def reference(trial: Trial) -> Reference:
        key = results_key(trial.tree)
        if key not in known:
            quiet = Trial(Fault("", "none", lambda _trial: None), 0, tmp_path_factory.mktemp("undisturbed"))
            quiet.tree = trial.tree
            try:
                assert quiet.run() == 0, quiet.text()
                known[key] = outcome_of(quiet.output)
            finally:
                quiet.give_up()
        return known[key]

    return reference
