"""What every hub has in common: a repository's files at one commit, and who is told while they are fetched."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from edit_eval.driver.hubcache import HubName, RepoKind
from edit_eval.driver.huberrors import HubError

__all__ = ["Hub", "Listing", "RemoteFile", "Stopped", "Watch", "facts_of", "listed", "persist"]

_ATTEMPTS = 8
_FIRST_ATTEMPTS = 5
"""Of a first question, for which somebody waits: 15 s of pauses instead of two minutes."""

_LONGEST_PAUSE_S = 300.0
"""Longer than this is not waited for; the hub's own figure is then in the message."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository.

    Attributes:
        path: in the repository.
        size: bytes.
        sha256: of its bytes; None where the hub does not say.
        sha1: of git's blob (the word `blob`, its size, a null byte, its bytes); None for large files.
    """

    path: str
    size: int
    sha256: str | None = None
    sha1: str | None = None

    @property
    def hash(self) -> str | None:
        """What a blob is named by."""
        return self.sha256 or self.sha1


@dataclass(frozen=True)
class Listing:
    """A repository at one commit.

    Attributes:
        name: as the config says.
        kind: of the repository.
        revision: that was asked for; the default branch where none was.
        commit: that it stands for; None where the hub does not say.
        files: by path.
    """

    name: HubName
    kind: RepoKind
    revision: str
    commit: str | None
    files: Mapping[str, RemoteFile]


def listed(where: str, listing: Listing) -> Listing:
    """Return a listing as it is if every path and hash in it is one; a mirror may say anything. Raises `HubError`."""
    for file in listing.files.values():
        parts = file.path.split("/")
        whole = (file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)) and (
            file.sha1 is None or re.fullmatch(r"[0-9a-f]{40}", file.sha1)
        )
        if {"", ".", ".."} & {*parts} or "\0" in file.path or not whole or file.size < 0:
            raise HubError(
                f"{where}: the hub lists {file.path!r} of {listing.name.repository}, which is no file of a repository; "
                "use another hub or mirror"
            )
    return listing


def facts_of(files: Iterable[RemoteFile]) -> dict[str, dict[str, int | str]]:
    """Return what is recorded of files: path -> size and hash."""
    return {
        file.path: {
            "size": file.size,
            **({"sha256": file.sha256} if file.sha256 else {}),
            **({"sha1": file.sha1} if file.sha1 else {}),
        }
        for file in files
    }


class Stopped(Exception):
    """The fetch was asked to end; what was fetched stays."""


@dataclass
class Watch:
    """Who is told, and how a fetch is stopped.

    Attributes:
        advance: told the number of bytes that came in (below 0: thrown away); from any thread.
        say: told in words what takes long or went wrong.
        stop: set to end it.
        pause_s: first pause before another attempt; it doubles each time.
    """

    advance: Callable[[int], None] = lambda _count: None
    say: Callable[[str], None] = lambda _text: None
    stop: threading.Event = field(default_factory=threading.Event)
    pause_s: float = 1.0

    def pause(self, seconds: float) -> None:
        """Wait, unless stopped. Raises `Stopped`."""
        if self.stop.wait(seconds):
            raise Stopped

    def check(self) -> None:
        """Raise `Stopped` if asked to stop."""
        if self.stop.is_set():
            raise Stopped


class Hub(Protocol):
    """A hub, and its cache on this machine."""

    def listing(self, where: str, name: HubName, kind: RepoKind, watch: Watch) -> Listing:
        """Return a repository's files. Raises `HubError`."""
        ...

    def near(self, name: HubName, kind: RepoKind) -> Sequence[str]:
        """Return names of repositories that may have been meant; none where that cannot be told."""
        ...

    def bytes_here(self, listing: Listing, file: RemoteFile) -> int:
        """Return how many bytes of a file are here already."""
        ...

    def bring(self, where: str, listing: Listing, files: Sequence[RemoteFile], watch: Watch) -> None:
        """Fetch files, whole and verified; they are not visible to a run yet. Raises `HubError`, `ModelError`."""
        ...

    def place(self, listing: Listing, file: RemoteFile) -> Path:
        """Return where a file lies that was brought."""
        ...

    def settle(self, where: str, listing: Listing, files: Sequence[RemoteFile]) -> Path:
        """Make files that were brought visible to runs, all at once; return their folder. Raises `ModelError`."""
        ...


def persist(ask: Callable[[], _T], watch: Watch, got: Callable[[], int] | None = None) -> _T:
    """Return what `ask` returns, trying again where that may help.

    Args:
        ask: raises `HubError`.
        watch: paused between attempts, at first 1 s, then twice as long each time.
        got: bytes so far; attempts that bring some are not counted. None: a first question, with fewer attempts, and
            only one where a hub cannot be reached at all.

    Raises:
        HubError: after eight attempts in a row that brought nothing (five for a first question), or at once where
            none will help.
    """
    first, attempts = got is None, _FIRST_ATTEMPTS if got is None else _ATTEMPTS
    got = got or (lambda: 0)
    failed, before = 0, got()
    while True:
        watch.check()
        try:
            return ask()
        except HubError as error:
            failed = 1 if got() > before else failed + 1
            before = got()
            wait_s = watch.pause_s * 2 ** (failed - 1) if error.wait_s is None else error.wait_s
            hopeless = not error.again or (first and error.unreachable)
            if hopeless or failed >= attempts or wait_s > _LONGEST_PAUSE_S:
                raise
            if error.wait_s is not None or failed > 1:
                watch.say(f"{str(error).split(';')[0]}; trying again in {wait_s:.0f} s")
        watch.pause(wait_s)
