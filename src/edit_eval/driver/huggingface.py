"""Hugging Face's hub (or a mirror of it): listings through its own library, files resumed, verified, then shown at once.

The library finds token, address and redirects. Its own download starts a file anew when a process was ended, and does
not look at hashes; so the bytes are taken here, into the same cache: `blobs/<hash>.incomplete` grows until it is
whole, becomes `blobs/<hash>` if its hash is right, and only when every blob is there do the links of a snapshot
appear, its main file last. An older snapshot and its ref stay as they are until then.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edit_eval import __version__
from edit_eval.core.errors import ModelError
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubcache import (
    HubCache,
    HubName,
    Record,
    RepoKind,
    is_commit,
    read_record,
    write_record,
    write_whole,
)
from edit_eval.driver.huberrors import Asked, HubError, disk_error, from_status, told
from edit_eval.driver.hubs import Listing, RemoteFile, Stopped, Watch, facts_of, listed, persist
from edit_eval.driver.locking import locked
from edit_eval.worker.proxies import bypass_proxies, proxy_for

__all__ = ["HuggingFace", "bytes_of", "settle_environment", "stream"]

_AT_ONCE = 4
_CHUNK_BYTES = 1 << 14
_ASK_TIMEOUT_S = 30.0
_ENDPOINTS = ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "GITHUB_RAW_ENDPOINT")
_HOME_HOSTS = ("huggingface.co", "hf.co")
_LONG_BYTES = 1 << 30
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


def settle_environment(environ: MutableMapping[str, str]) -> None:
    """Set what the hub's library reads when it is imported: no telemetry, no bars of its own, no proxy before near hosts.

    A mirror that is loopback, private, or a name without a dot is asked directly; any other may be behind a proxy.
    """
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        environ[name] = "1"
    given = [environ.get(name, "") for name in _ENDPOINTS]
    endpoints = [one if "//" in one else f"http://{one}" for one in given if one]
    near = [one for one in endpoints if proxy_for(one, {"all_proxy": "http://any:1"}) is None]
    environ.update(bypass_proxies(environ, near))


class HuggingFace:
    """Hugging Face's hub, and its cache on this machine.

    Args:
        cache: where files go.
        hashes: remembers the hashes of files that were verified.
    """

    def __init__(self, cache: HubCache, hashes: FileHashes) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import get_token

        self._cache = cache
        self._hashes = hashes
        self._endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        if not self._endpoint.startswith(("http://", "https://")):
            raise ModelError(f"HF_ENDPOINT is {self._endpoint!r}; write it with https:// before the name")
        self._token = get_token()
        if self._token and not (self._token.isascii() and self._token.isprintable()):
            raise ModelError("HF_TOKEN (or the token file) holds characters that no token has; set it again")
        self._api = HfApi(endpoint=self._endpoint, library_name="edit-eval", library_version=__version__)

    # What there is

    def listing(self, where: str, name: HubName, kind: RepoKind, watch: Watch) -> Listing:
        """Return a repository's files at the commit that its revision stands for now."""
        asked = self._asked(where, name, kind)

        def ask() -> Any:
            return self._api.repo_info(
                name.repository,
                revision=name.revision,
                repo_type=kind,
                files_metadata=True,
                timeout=_ASK_TIMEOUT_S,
            )

        info = persist(lambda: told(asked, ask), watch)
        if not is_commit(str(info.sha)):
            raise HubError(f"{where}: {asked.shown} does not say which commit it has; is HF_ENDPOINT a hub?")
        files = [_remote_file(one) for one in info.siblings or ()]
        revision = name.revision or self._cache.default_revision
        return listed(where, Listing(name, kind, revision, info.sha, {one.path: one for one in files}))

    def near(self, name: HubName, kind: RepoKind) -> Sequence[str]:
        """Return what else the owner of a repository has."""
        owner = name.repository.partition("/")[0]
        search = self._api.list_models if kind == "model" else self._api.list_datasets
        try:
            return told(
                self._asked("", name, kind), lambda: [one.id for one in search(author=owner, limit=200)]
            )
        except HubError:
            return []  # only a hint is lost

    def _asked(self, where: str, name: HubName, kind: RepoKind, file: str = "") -> Asked:
        return Asked(
            where,
            name.repository,
            self._endpoint,
            page=f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name.repository}",
            has_token=bool(self._token),
            revision=name.revision or "",
            file=file,
        )

    # Blobs

    def bytes_here(self, listing: Listing, file: RemoteFile) -> int:
        """Return how many bytes of a file are here: all of it, or what an earlier fetch left."""
        place = self.place(listing, file)
        for path in (place, self._growing(self._blob(listing, file))):
            with contextlib.suppress(OSError):
                return min(path.stat().st_size, file.size)
        return 0

    def place(self, listing: Listing, file: RemoteFile) -> Path:
        """Return where a file is, or will be: its blob, or (where there are no links) its place in the snapshot."""
        blob, path = self._blob(listing, file), self._snapshot(listing) / file.path
        return path if path.is_file() and not path.is_symlink() and not blob.exists() else blob

    def bring(self, where: str, listing: Listing, files: Sequence[RemoteFile], watch: Watch) -> None:
        """Fetch files as verified blobs, four at a time, the largest first."""
        for file in files:
            if file.hash is None:
                raise HubError(
                    f"{where}: the hub does not say the hash of {file.path}; use another HF_ENDPOINT"
                )
        self._announce(files, listing, watch)
        ordered = sorted({file.hash: file for file in files}.values(), key=lambda one: -one.size)
        with ThreadPoolExecutor(_AT_ONCE, "fetch") as pool:
            tasks = [pool.submit(self._bring_one, where, listing, file, watch) for file in ordered]
            try:
                done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            finally:  # an interrupt too ends the threads
                if not all(task.done() and task.exception() is None for task in tasks):
                    watch.stop.set()
                    for task in tasks:
                        task.cancel()
        errors = [error for task in done if (error := task.exception())]
        for error in sorted(errors, key=lambda one: isinstance(one, Stopped)):
            raise error

    def _announce(self, files: Sequence[RemoteFile], listing: Listing, watch: Watch) -> None:
        here = [path for one in files if (path := self.place(listing, one)).is_file()]
        if (count := self._hashes.unknown_bytes(here)) >= _LONG_BYTES:
            watch.say(
                f"verifying {count / 2**30:.1f} GiB of {listing.name.repository} that are here, this once"
            )

    def _blob(self, listing: Listing, file: RemoteFile) -> Path:
        return self._cache.repository(listing.name.repository, listing.kind) / "blobs" / str(file.hash)

    def _snapshot(self, listing: Listing) -> Path:
        folder = self._cache.repository(listing.name.repository, listing.kind)
        return folder / "snapshots" / str(listing.commit)

    @staticmethod
    def _growing(blob: Path) -> Path:
        return blob.with_name(f"{blob.name}.incomplete")

    def _bring_one(self, where: str, listing: Listing, file: RemoteFile, watch: Watch) -> None:
        blob = self._blob(listing, file)
        watch.check()
        try:
            if self._is_right(self.place(listing, file), file):
                return  # without a lock: a cache that cannot be written may hold all there is to fetch
            blob.parent.mkdir(parents=True, exist_ok=True)
            lock = self._cache.folder / ".locks" / blob.parent.parent.name / f"{blob.name}.lock"
            with locked(
                lock,
                watch,
                f"another process fetches {file.path} of {listing.name.repository}; waiting for it",
            ):
                here = self.place(listing, file)
                if self._is_right(here, file):
                    return
                if here.exists():
                    watch.say(f"{file.path} of {listing.name.repository} was damaged; fetching it again")
                    _throw_away(here, file, watch)
                self._grow(where, listing, file, watch)
                self._growing(blob).replace(blob)
        except OSError as error:
            raise disk_error(where, blob.parent, error) from error

    def _grow(self, where: str, listing: Listing, file: RemoteFile, watch: Watch) -> None:
        """Make the growing file whole and verified; what an earlier fetch left is gone on with, or thrown away."""
        path = self._growing(self._blob(listing, file))
        resumed = path.exists() and path.stat().st_size > 0
        while True:
            persist(
                lambda: self._attempt(where, listing, file, path, watch),
                watch,
                got=lambda: path.stat().st_size if path.exists() else 0,
            )
            if self._is_right(path, file):
                return
            _throw_away(path, file, watch)
            if not resumed:
                raise HubError(
                    f"{where}: {file.path} of {listing.name.repository} came with another hash than the hub says; it was "
                    "deleted: try again, or another HF_ENDPOINT"
                )
            watch.say(f"what was here of {file.path} does not fit; fetching it from the beginning")
            resumed = False

    def _attempt(self, where: str, listing: Listing, file: RemoteFile, path: Path, watch: Watch) -> None:
        """Append bytes to the growing file until it is as large as it should be; return early if the answer ends."""
        have = path.stat().st_size if path.exists() else 0
        if have > file.size:
            _throw_away(path, file, watch)
            have = 0
        if have == file.size and path.exists():
            return
        asked = self._asked(where, replace(listing.name, revision=listing.commit), listing.kind, file.path)
        with self._opened(asked, listing, file, have) as (start, chunks), path.open("ab") as out:
            if start not in (0, have):
                _throw_away(path, file, watch)
                raise HubError(f"{where}: {asked.shown} answers with another part than asked", again=True)
            if start != have:
                watch.advance(-have)
                out.truncate(0)
                have = 0
            try:
                for chunk in _told_each(asked, chunks):
                    watch.check()
                    if have + len(chunk) > file.size:
                        raise HubError(
                            f"{where}: {file.path} of {asked.repository} is longer than the hub says; try another HF_ENDPOINT"
                        )
                    out.write(chunk)
                    have += len(chunk)
                    watch.advance(len(chunk))
            finally:
                out.flush()
            if have == file.size:
                os.fsync(out.fileno())
        if have < file.size:
            raise HubError(f"{where}: the connection to {asked.shown} ended early; try again", again=True)

    @contextlib.contextmanager
    def _opened(
        self, asked: Asked, listing: Listing, file: RemoteFile, offset: int
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Yield the position at which the answer begins, and its bytes."""
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session

        url = hf_hub_url(
            listing.name.repository,
            file.path,
            repo_type=listing.kind,
            revision=listing.commit,
            endpoint=self._endpoint,
        )
        meta = told(asked, lambda: get_hf_file_metadata(url, timeout=_ASK_TIMEOUT_S))
        if meta.size is not None and meta.size != file.size:
            raise HubError(
                f"{asked.where}: {file.path} of {asked.repository} has {meta.size:,} bytes at {asked.shown} instead of "
                f"{file.size:,}; try another HF_ENDPOINT"
            )
        headers = build_hf_headers(library_name="edit-eval", library_version=__version__)
        headers["Accept-Encoding"] = "identity"
        if not _may_have_token(url, meta.location):
            headers.pop("authorization", None)
        if offset:
            headers["Range"] = f"bytes={offset}-"
        options: dict[str, Any] = {"headers": headers, "timeout": float(constants.HF_HUB_DOWNLOAD_TIMEOUT)}
        with contextlib.ExitStack() as open_answers:

            def ask() -> Any:
                return open_answers.enter_context(stream(get_session(), meta.location, options))

            answer = told(asked, ask)
            if answer.status_code == 416:
                _throw_away(self._growing(self._blob(listing, file)), file, Watch())
                raise HubError(f"{asked.where}: {file.path} cannot be gone on with", again=True)
            if answer.status_code not in (200, 206):
                raise from_status(asked, answer.status_code, answer.headers)
            yield _start(answer, offset), bytes_of(answer)

    def _is_right(self, path: Path, file: RemoteFile) -> bool:
        """Whether a file is there with the size and the hash that the hub says."""
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        if file.sha256:
            return self._sha256(path) == file.sha256
        return _git_sha1(path) == file.sha1

    def _sha256(self, path: Path) -> str:
        if path.name.endswith(".incomplete"):
            with path.open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()
        # Blobs do not change: what was verified once is remembered.
        return self._hashes.sha256(path)

    # Snapshots

    def settle(self, where: str, listing: Listing, files: Sequence[RemoteFile]) -> Path:
        """Link a snapshot to its blobs, in the order of `files`; then the record and the ref say that it is there."""
        folder = self._cache.repository(listing.name.repository, listing.kind)
        snapshot = self._snapshot(listing)
        left = Counter(file.hash for file in files)
        try:
            for file in files:
                left[file.hash] -= 1
                _link(self._blob(listing, file), snapshot / file.path, again=left[file.hash] > 0)
            earlier = read_record(snapshot)
            record = Record({**(earlier.files if earlier else {}), **facts_of(files)})
            if record != earlier:
                write_record(snapshot, record)
            reference = folder / "refs" / listing.revision
            known = reference.read_text(encoding="utf-8").strip() if reference.is_file() else None
            if listing.commit not in (listing.revision, known):
                write_whole(reference, str(listing.commit))
        except OSError as error:
            raise disk_error(where, folder, error) from error
        return snapshot


def _remote_file(sibling: Any) -> RemoteFile:
    lfs = sibling.lfs
    sha256 = getattr(lfs, "sha256", None) or (lfs.get("sha256") if isinstance(lfs, dict) else None)
    return RemoteFile(sibling.rfilename, sibling.size or 0, sha256, None if sha256 else sibling.blob_id)


def _told_each(asked: Asked, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks; what goes wrong while they are read becomes a `HubError`."""
    while (chunk := told(asked, lambda: next(chunks, None))) is not None:
        yield chunk


def stream(session: Any, url: str, options: dict[str, Any]) -> Any:
    """Open an answer without reading it, by httpx (hub 1 and later) or by requests (before)."""
    if callable(getattr(session, "stream", None)):
        return session.stream("GET", url, follow_redirects=True, **options)
    return session.get(url, stream=True, **options)


def bytes_of(answer: Any) -> Iterator[bytes]:
    """Return the bytes of an answer that `stream` opened, as they come."""
    if hasattr(answer, "iter_bytes"):
        return iter(answer.iter_bytes())
    return iter(answer.iter_content(_CHUNK_BYTES))


def _start(answer: Any, offset: int) -> int:
    """Return the position at which an answer begins; a server may answer with the whole file."""
    if answer.status_code != 206:
        return 0
    first = str(answer.headers.get("Content-Range", "")).removeprefix("bytes ").partition("-")[0].strip()
    return int(first) if first.isdigit() else offset


def _may_have_token(url: str, location: str) -> bool:
    """Whether the token may go with a request: to the hub asked, and to Hugging Face itself behind a mirror."""
    asked, then = urlsplit(url), urlsplit(location)
    same = (asked.scheme, asked.netloc) == (then.scheme, then.netloc)
    return same or (then.scheme == "https" and then.hostname in _HOME_HOSTS)


def _throw_away(path: Path, file: RemoteFile, watch: Watch) -> None:
    watch.advance(-min(path.stat().st_size, file.size))
    path.unlink()


def _git_sha1(path: Path) -> str:
    """Return the id that git gives to a file's bytes."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def _link(blob: Path, path: Path, *, again: bool) -> None:
    """Make `path` lead to `blob`; where there are no links, move it there (`again`: copy it). Raises `OSError`."""
    target = os.path.relpath(blob, path.parent)
    if path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115 - compared as text
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.symlink_to(target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if again and blob.exists():
            shutil.copyfile(blob, temporary)
            temporary.replace(path)
        elif blob.exists():
            blob.replace(path)
        return
    temporary.replace(path)
