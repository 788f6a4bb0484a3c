"""One cluster of three nodes for all tests that need one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_cluster import RayCluster


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the nodes a and b see, and c does not."""
    return tmp_path_factory.mktemp("apart")


@pytest.fixture(scope="session")
def cluster(apart: Path) -> Iterator[RayCluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("this interpreter has no ray (extra: test)")
    if os.geteuid() != 0:
        pytest.skip("only root can have a node see another disk")
    with RayCluster("a", "b", "c", apart=apart) as found:
        yield found
