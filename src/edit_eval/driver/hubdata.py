"""What a benchmark reads from a hub: which of it is wanted, and where it lies in the cache. Asks no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.benchmarks import GitHubFiles, HubData
from edit_eval.core.errors import DataError, ModelError
from edit_eval.driver.config import Checked
from edit_eval.driver.github import github_folder, missing_files
from edit_eval.driver.hubcache import FETCH, hub_name, open_cache
from edit_eval.driver.models import refuse_half
from edit_eval.driver.unpacking import unpacked_folder

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


def wanted_data(checked: Checked) -> Iterator[tuple[str, HubData | GitHubFiles]]:
    """Yield (config key, what is read from a hub), but for what the user gives as a folder."""
    params, path = checked.params["benchmark"], checked.config.benchmark.path
    for data in checked.benchmark.cls.hub_data(params):
        given = getattr(params, data.into) if data.into else path
        if given or (path and isinstance(data, HubData) and data.without_path):
            continue
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
            folder, commits[where] = _found(where, data, checked.config.hub_cache)
        except ModelError as error:
            raise DataError(str(error)) from error
        if data.into:
            params = dataclasses.replace(params, **{data.into: str(folder)})
        else:
            path = folder
    return FoundData(path, params, commits)


def _found(where: str, data: HubData | GitHubFiles, hub_cache: str | None) -> tuple[Path, Mapping[str, str]]:
    """Return the folder in which something lies, and repository and commit of it. Raises `ModelError`."""
    if isinstance(data, GitHubFiles):
        folder = github_folder(hub_cache, data)
        if lacking := missing_files(folder, data):
            raise ModelError(
                f"{where}: {data.repository} of GitHub is not on this machine ({lacking[0]}); {FETCH}"
            )
        return folder, {"repository": f"github.com/{data.repository}", "commit": data.revision}
    name = hub_name(where, data.repository)
    snapshot = open_cache("huggingface", hub_cache).find(where, name, data.kind)
    refuse_half(where, name.text, snapshot)
    folder = snapshot.path
    if data.archives:
        folder = unpacked_folder(snapshot.path, data.files, data.archives)
        if not folder.is_dir():
            raise ModelError(f"{where}: the archives of {name.text} are not unpacked; {FETCH}")
    return folder, {"repository": name.repository, "commit": str(snapshot.commit)}
