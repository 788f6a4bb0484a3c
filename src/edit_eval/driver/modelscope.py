"""ModelScope's hub, through its own library: listings, resumed downloads, and then every hash once more.

The library keeps one folder a branch or tag, and changes files in it; a record that says "not complete" stands there
meanwhile, so that no run takes a mixture for a model. What identifies such a model is the hash of its files.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ModelError
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubcache import HubCache, HubName, Record, RepoKind, read_record, write_record
from edit_eval.driver.huberrors import Asked, HubError, disk_error, told
from edit_eval.driver.hubs import Listing, RemoteFile, Watch, facts_of, listed, persist

__all__ = ["ModelScope"]

_LOOK_EVERY_S = 0.5


@contextlib.contextmanager
def _watched(count: Callable[[], int], watch: Watch) -> Iterator[None]:
    """Tell `watch` how a count of bytes changes meanwhile; the library itself tells nobody but its own bars."""
    ended = threading.Event()
    before = count()

    def look() -> None:
        nonlocal before
        last = False
        while not last:
            last = ended.wait(_LOOK_EVERY_S)
            now = count()
            watch.advance(now - before)
            before = now

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class ModelScope:
    """ModelScope's hub, and its cache on this machine.

    Args:
        cache: where files go.
        hashes: remembers the hashes of files that were verified.
    """

    def __init__(self, cache: HubCache, hashes: FileHashes) -> None:
        try:
            from modelscope_hub import HubApi
        except ImportError as error:
            raise ModelError(
                "hub: modelscope needs its library; pip install 'edit-eval[modelscope]', or leave hub out"
            ) from error
        self._cache = cache
        self._hashes = hashes
        self._api: Any = HubApi()

    def listing(self, where: str, name: HubName, kind: RepoKind, watch: Watch) -> Listing:
        """Return a repository's files on a branch or tag."""
        revision = name.revision or self._cache.default_revision
        asked = self._asked(where, name)

        def ask() -> Any:
            return self._api.list_repo_files(name.repository, kind, revision=revision)

        found = persist(lambda: told(asked, ask), watch)
        files = {
            one.path: RemoteFile(one.path, int(one.size), one.sha256 or None)
            for one in found
            if one.type != "tree"
        }
        if not files:
            raise HubError(f"{where}: {name.text} has no files at {asked.shown}")
        return listed(where, Listing(name, kind, revision, None, files))

    def near(self, name: HubName, kind: RepoKind) -> Sequence[str]:
        """Return nothing: this hub has no cheap way to tell."""
        del name, kind
        return []

    def _asked(self, where: str, name: HubName, file: str = "") -> Asked:
        config = self._api._config  # noqa: SLF001 - the library has no public name for its address
        return Asked(
            where,
            name.repository,
            str(config.endpoint),
            variable="MODELSCOPE_ENDPOINT",
            token="MODELSCOPE_API_TOKEN",  # noqa: S106 - the name of a variable
            has_token=bool(config.token),
            revision=name.revision or "",
            file=file,
        )

    def _folder(self, listing: Listing) -> Path:
        """Return where the library has, or would put, this branch."""
        new = self._cache.repository(listing.name.repository, listing.kind) / "snapshots" / listing.revision
        return self._cache.plain(listing.name, listing.kind) or new

    def bytes_here(self, listing: Listing, file: RemoteFile) -> int:
        """Return how many bytes of a file are here: all of it, or what an earlier fetch left."""
        place = self.place(listing, file)
        for path in (place, place.with_name(f"{place.name}.incomplete")):
            if path.is_file():
                return min(path.stat().st_size, file.size)
        return 0

    def place(self, listing: Listing, file: RemoteFile) -> Path:
        """Return where a file is, or will be."""
        return self._folder(listing) / file.path

    def bring(self, where: str, listing: Listing, files: Sequence[RemoteFile], watch: Watch) -> None:
        """Fetch files one after the other (the library cannot be stopped within one), and verify them."""
        folder = self._folder(listing)
        earlier = read_record(folder)
        merged = {**(earlier.files if earlier else {}), **facts_of(files)}
        try:
            if any(not self._is_right(folder / one.path, one) for one in files):
                write_record(folder, Record(merged, complete=False))
            for file in sorted(files, key=lambda one: one.size):
                self._bring_one(where, listing, file, watch)
        except OSError as error:
            raise disk_error(where, folder, error) from error

    def _bring_one(self, where: str, listing: Listing, file: RemoteFile, watch: Watch) -> None:
        path = self.place(listing, file)
        if self._is_right(path, file):
            return
        asked = self._asked(where, listing.name, file.path)

        def ask() -> None:
            watch.check()
            self._api.download_file(
                listing.name.repository,
                listing.kind,
                file.path,
                revision=listing.revision,
                local_dir=str(self._folder(listing)),
                expected_sha256=file.sha256,
                file_size=file.size,
            )

        with _watched(lambda: self.bytes_here(listing, file), watch):
            persist(lambda: told(asked, ask), watch, got=lambda: self.bytes_here(listing, file))
        if not self._is_right(path, file):
            path.unlink(missing_ok=True)
            raise HubError(
                f"{where}: {file.path} of {listing.name.repository} came with another hash than the hub says; it was "
                "deleted: try again"
            )

    def _is_right(self, path: Path, file: RemoteFile) -> bool:
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        return file.sha256 is None or self._hashes.sha256(path) == file.sha256

    def settle(self, where: str, listing: Listing, files: Sequence[RemoteFile]) -> Path:
        """Say that the folder is complete."""
        folder = self._folder(listing)
        earlier = read_record(folder)
        try:
            write_record(folder, Record({**(earlier.files if earlier else {}), **facts_of(files)}))
        except OSError as error:
            raise disk_error(where, folder, error) from error
        return folder
