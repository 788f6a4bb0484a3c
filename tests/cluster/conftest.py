"""One cluster of three nodes for all tests that need one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from ray_cluster import RayCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("this interpreter has no ray (extra: test)")
    with RayCluster("a", "b", "c") as found:
        yield found
