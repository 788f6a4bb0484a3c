"""What the fault suite shares: the undisturbed runs, and the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.reporting import TABLE
from faults.suite import Fault, Reference, Trial, outcome_of, results_key
from faults.table import Table


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
