"""What a benchmark reads from a hub: which of it is wanted, and where it lies in the cache. Asks no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.benchmarks import HubData
from edit_eval.core.errors import DataError, ModelError
from edit_eval.driver.config import Checked
from edit_eval.driver.hubcache import hub_name, open_cache
from edit_eval.driver.models import refuse_half

__all__ = ["FoundData", "find_data", "wanted_data"]


@dataclass(frozen=True)
class FoundData:
    """Where a benchmark's data is.

    Attributes:
        path: what `benchmark.path` stands for; None if nothing does.
        params: the benchmark's, with the folders that come from a hub filled in.
        commits: config key -> repository and commit of what came from a hub.
    """

    path: Path | None
    params: Any
    commits: Mapping[str, Mapping[str, str]]


def wanted_data(checked: Checked) -> Iterator[tuple[str, HubData]]:
    """Yield (config key, what is read from a hub), but for what the user gives as a folder."""
    params = checked.params["benchmark"]
    for data in checked.benchmark.cls.hub_data(params):
        given = getattr(params, data.into) if data.into else checked.config.benchmark.path
        if not given:
            yield f"benchmark.params.{data.into}" if data.into else "benchmark.path", data


def find_data(checked: Checked) -> FoundData:
    """Return where the benchmark's data is: where the config says, else in the hub's cache.

    Raises:
        DataError: it is not here, or only a part of it; one line.
    """
    given = checked.config.benchmark.path
    path = Path(given).expanduser().absolute() if given else None
    params, commits = checked.params["benchmark"], {}
    for where, data in wanted_data(checked):
        try:
            name = hub_name(where, data.repository)
            snapshot = open_cache("huggingface", checked.config.hub_cache).find(where, name, data.kind)
            refuse_half(where, name.text, snapshot)
        except ModelError as error:
            raise DataError(str(error)) from error
        commits[where] = {"repository": name.repository, "commit": str(snapshot.commit)}
        if data.into:
            params = dataclasses.replace(params, **{data.into: str(snapshot.path)})
        else:
            path = snapshot.path
    return FoundData(path, params, commits)
