"""Small files of repositories on GitHub that benchmarks read: official prompts, lists of samples.

Each is known by its path at a commit and, where the commit is pinned, by its hash, so that a mirror can serve it as well.
They are brought by plain HTTPS from the address of raw files, kept by repository and revision, and never run.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval import __version__
from edit_eval.benchmarks import GitHubFiles
from edit_eval.core.errors import ModelError
from edit_eval.driver.hashes import cache_folder
from edit_eval.driver.hubcache import Record, faults_of_record, read_record, write_record
from edit_eval.driver.huberrors import Asked, HubError, disk_error, from_status, told
from edit_eval.driver.hubs import Watch, persist

__all__ = ["ENDPOINT", "GitHub", "github_folder", "missing_files"]

ENDPOINT = "GITHUB_RAW_ENDPOINT"
"""Environment variable with another address of raw files, as of a mirror."""

_HOME = "https://raw.githubusercontent.com"
_MOST_BYTES = 16 << 20
_TIMEOUT_S = 60.0


def github_folder(hub_cache: str | None, files: GitHubFiles) -> Path:
    """Return where a repository's files are kept, whether or not they are there.

    Args:
        hub_cache: the config's; None: the user's own cache (`XDG_CACHE_HOME`), beside the hub's.
        files: of which repository, at which revision.
    """
    base = Path(hub_cache).expanduser() if hub_cache else cache_folder() / "edit-eval"
    return base.absolute() / "github" / files.repository.replace("/", "--") / files.revision


def missing_files(folder: Path, files: GitHubFiles) -> list[str]:
    """Return what is wrong with what `fetch` brought to `folder`; nothing if all of it is there."""
    record = read_record(folder)
    if record is None:
        return [f"{folder} is not there"]
    lacking = [f"{path} is missing" for path in files.files if path not in record.files]
    return [*lacking, *faults_of_record(folder, record)]


@dataclass(frozen=True)
class _Fetched:
    path: str
    data: bytes
    sha256: str


class GitHub:
    """GitHub's address of raw files, or a mirror's.

    Args:
        watch: paused between attempts; may stop a fetch.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._endpoint = (os.environ.get(ENDPOINT) or _HOME).rstrip("/")
        if not self._endpoint.startswith(("http://", "https://")):
            raise ModelError(f"{ENDPOINT} is {self._endpoint!r}; write it with https:// before the name")

    def bring(self, where: str, files: GitHubFiles, folder: Path) -> int:
        """Bring files to `folder`, whole and verified, and return how many bytes came.

        What is there already is not asked for, but for a branch, which may have moved.

        Raises:
            HubError: they cannot be had, or are others than declared; one line. What is there stays.
            ModelError: they cannot be written.
            Stopped: the watch was stopped.
        """
        if files.pinned and not missing_files(folder, files):
            return 0
        fetched = [self._fetch(where, files, path) for path in files.files]
        try:
            for one in fetched:
                _write(folder / one.path, one.data)
            facts = {one.path: {"size": len(one.data), "sha256": one.sha256} for one in fetched}
            earlier = read_record(folder)
            write_record(folder, Record({**(earlier.files if earlier else {}), **facts}))
        except OSError as error:
            raise disk_error(where, folder, error) from error
        return sum(len(one.data) for one in fetched)

    def _fetch(self, where: str, files: GitHubFiles, path: str) -> _Fetched:
        page = f"https://github.com/{files.repository}"
        asked = Asked(where, files.repository, self._endpoint, ENDPOINT, page=page, file=path)
        url = f"{self._endpoint}/{files.repository}/{files.revision}/{path}"
        data = persist(lambda: told(asked, lambda: _answer(asked, url, files.revision)), self._watch)
        sha256 = hashlib.sha256(data).hexdigest()
        if files.files[path] not in ("", sha256):
            raise HubError(
                f"{where}: {path} of {files.repository} came from {asked.shown} with another hash than it has at "
                f"{files.revision[:12]}; it was not kept: try again, or correct {ENDPOINT}"
            )
        return _Fetched(path, data, sha256)


def _answer(asked: Asked, url: str, revision: str) -> bytes:
    """Return what a URL gives. Raises `HubError`, and whatever the HTTP client raises."""
    from huggingface_hub.utils import get_session

    from edit_eval.driver.huggingface import bytes_of, stream

    options: dict[str, Any] = {
        "headers": {"User-Agent": f"edit-eval/{__version__}"},
        "timeout": _TIMEOUT_S,
    }
    with stream(get_session(), url, options) as answer:
        if answer.status_code == 404:
            raise HubError(
                f"{asked.where}: {asked.shown} has no {asked.file} of {asked.repository} at {revision[:12]}; look for it at "
                f"{asked.page}, and give your copy in the config"
            )
        if answer.status_code != 200:
            raise from_status(asked, answer.status_code, answer.headers)
        data = b""
        for chunk in bytes_of(answer):
            data += chunk
            if len(data) > _MOST_BYTES:
                raise HubError(
                    f"{asked.where}: {asked.file} at {asked.shown} is no such file: it does not end"
                )
    return data


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
