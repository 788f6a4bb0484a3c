"""What several tests of the driver share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ours


@pytest.fixture
def nothing_survives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Assert that no process of a test is left after it."""
    mark = f"mark-{tmp_path.name}-{os.getpid()}"
    monkeypatch.setenv("EDIT_EVAL_TEST", mark)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    assert ours(mark) == []
