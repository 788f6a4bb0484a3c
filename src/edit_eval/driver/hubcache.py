"""A hub's cache on this machine: what a hub id means, where its files lie, and whether what `fetch` brought is all there.

Two hubs are known. Hugging Face's cache has `models--owner--name` with blobs, snapshots by commit, and refs;
ModelScope's has `models/owner--name/snapshots/<branch or tag>`, or one plain folder by older releases of its library.
`driver.fetch` also keeps a record of every file it brought. Reads names and sizes; asks no network.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edit_eval.core.errors import ModelError, did_you_mean

__all__ = [
    "FETCH",
    "HubCache",
    "HubKind",
    "HubName",
    "Record",
    "RepoKind",
    "Snapshot",
    "faults_of_record",
    "hub_name",
    "is_commit",
    "open_cache",
    "read_record",
    "unfinished",
    "write_record",
    "write_whole",
]

HubKind = Literal["huggingface", "modelscope"]
RepoKind = Literal["model", "dataset"]

FETCH = "run 'edit-eval fetch CONFIG' on a node with internet"
"""The mend for everything that is not here."""

_NAME = re.compile(
    r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(/(?P<inside>[^@\n]+))?(@(?P<revision>.+))?", re.ASCII
)
_URL = re.compile(r"(https?://[^/]+/|hf://)(models/)?(?P<repository>[^/@]+/[^/@]+)")
_SHORTEST_COMMIT = 7
_DEFAULT_REVISION: Mapping[HubKind, str] = {"huggingface": "main", "modelscope": "master"}


@dataclass(frozen=True)
class HubName:
    """A hub id as a config writes it: `owner/name`, `owner/name/inside`, each with `@revision` or without.

    Attributes:
        text: as written.
        repository: `owner/name`.
        inside: a folder or file in it; empty: all of it.
        revision: branch, tag or commit; None: the hub's default branch.
    """

    text: str
    repository: str
    inside: str = ""
    revision: str | None = None


def hub_name(where: str, text: str) -> HubName:
    """Read a hub id.

    Raises:
        ModelError: it is none; one line.
    """
    match = _NAME.fullmatch(text)
    parts = re.split(r"[/@]", text)
    if match is None or {"", ".", ".."} & {*parts} or "--" in match["repository"]:
        url = _URL.match(text)
        hint = f"; write it as {url['repository']}" if url else ""
        raise ModelError(f"{where}: {text!r} is neither a folder here nor a hub id such as owner/name{hint}")
    return HubName(text, match["repository"], match["inside"] or "", match["revision"])


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit id."""
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision) is not None


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository in a cache.

    Attributes:
        path: its folder.
        commit: None for a plain folder of which only the files are known.
    """

    path: Path
    commit: str | None


@dataclass(frozen=True)
class HubCache:
    """The cache of one hub.

    Attributes:
        hub: whose.
        folder: of all its repositories.
    """

    hub: HubKind
    folder: Path

    @property
    def default_revision(self) -> str:
        """The branch that is meant where none is named."""
        return _DEFAULT_REVISION[self.hub]

    def repository(self, repository: str, kind: RepoKind = "model") -> Path:
        """Return the folder of one repository, whether or not it is there."""
        safe = repository.replace("/", "--")
        return self.folder / (f"{kind}s--{safe}" if self.hub == "huggingface" else f"{kind}s/{safe}")

    def find(self, where: str, name: HubName, kind: RepoKind = "model") -> Snapshot:
        """Return where the commit that a name stands for lies.

        Raises:
            ModelError: it is not here; one line with the nearest name, or the revisions there are.
        """
        folder = self.repository(name.repository, kind)
        commit = self._commit(folder, name.revision)
        if commit and (folder / "snapshots" / commit).is_dir():
            return Snapshot(folder / "snapshots" / commit, commit)
        if self.hub == "modelscope" and (plain := self.plain(name, kind)):
            return Snapshot(plain, None)
        raise ModelError(
            f"{where}: {name.text} is not on this machine ({self._why(folder, name, kind)}); {FETCH}"
        )

    def _commit(self, folder: Path, revision: str | None) -> str | None:
        """Return the commit that a branch, a tag or the beginning of a commit stands for."""
        reference = folder / "refs" / (revision or self.default_revision)
        if reference.is_file():
            return reference.read_text(encoding="utf-8").strip() or None
        if revision is None or is_commit(revision):
            return revision
        if re.fullmatch(r"[0-9a-f]+", revision) and len(revision) >= _SHORTEST_COMMIT:
            near = [one for one in _entries(folder / "snapshots") if one.startswith(revision)]
            return near[0] if len(near) == 1 else None
        return None

    def plain(self, name: HubName, kind: RepoKind) -> Path | None:
        """Return the folder in which ModelScope's own library keeps a repository, by branch or (before 1.38) plain."""
        if kind != "model":
            return None
        folder = self.repository(name.repository, kind)
        owner, _, own = name.repository.partition("/")
        old = Path("models", owner, own.replace(".", "___"))
        places = [folder / "snapshots" / (name.revision or self.default_revision)]
        if name.revision is None:
            places += [self.folder / old, self.folder / "hub" / old]
        return next((one for one in places if any(_entries(one))), None)

    def _why(self, folder: Path, name: HubName, kind: RepoKind) -> str:
        wanted = name.revision or self.default_revision
        named = [one for one in _files_below(folder / "refs") if one != wanted]
        if revisions := [*named, *_entries(folder / "snapshots")]:
            hint = (
                did_you_mean(wanted, revisions)
                or f"; there are {', '.join(one[:12] for one in revisions[:5])}"
            )
            return f"{folder} has no revision {wanted}{hint}"
        looked = f"looked in {self.folder}"
        known = self.repositories(kind)
        same = [one for one in known if one.casefold() == name.repository.casefold()]
        hint = f" (did you mean {same[0]!r}?)" if same else did_you_mean(name.repository, known)
        return f"{looked}{hint}"

    def repositories(self, kind: RepoKind = "model") -> list[str]:
        """Return the ids of all repositories in the cache."""
        if self.hub == "huggingface":
            start = f"{kind}s--"
            names = [one.removeprefix(start) for one in _entries(self.folder) if one.startswith(start)]
        else:
            names = [one for one in _entries(self.folder / f"{kind}s") if "--" in one]
        return [name.replace("--", "/", 1) for name in names]


def open_cache(hub: HubKind = "huggingface", folder: str | None = None) -> HubCache:
    """Return the cache of a hub.

    Args:
        hub: whose.
        folder: the config's `hub_cache`; None: where the hub's own library keeps it (`HF_HUB_CACHE`, `HF_HOME`,
            `XDG_CACHE_HOME`; `MODELSCOPE_CACHE`).
    """
    if folder:
        return HubCache(hub, Path(folder).expanduser().absolute())
    return HubCache(hub, (_huggingface() if hub == "huggingface" else _modelscope()).absolute())


def _huggingface() -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if cache := os.environ.get(name):
            return _expanded(cache)
    home = os.environ.get("HF_HOME") or (os.environ.get("XDG_CACHE_HOME") or "~/.cache") + "/huggingface"
    return _expanded(home) / "hub"


def _modelscope() -> Path:
    return _expanded(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope")


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(one for one in os.listdir(folder) if not one.startswith("."))  # noqa: PTH208
    except OSError:
        return []


def _files_below(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


# What fetch brought ----------------------------------------------------------------------------------------------


def _record_path(snapshot: Path) -> Path:
    """Return where a snapshot's record is: beside Hugging Face's snapshots, or hidden in a plain folder."""
    repository = snapshot.parent.parent
    if snapshot.parent.name == "snapshots" and "s--" in repository.name:
        return repository / "edit-eval" / f"{snapshot.name}.json"
    return snapshot / ".edit-eval-record"


@dataclass(frozen=True)
class Record:
    """What was fetched of a snapshot.

    Attributes:
        files: path -> `{"size": bytes, "sha256" or "sha1": hash}`.
        complete: whether the fetch ended well.
    """

    files: Mapping[str, Mapping[str, Any]]
    complete: bool = True


def read_record(snapshot: Path) -> Record | None:
    """Return a snapshot's record; None: `fetch` did not bring it."""
    try:
        found = json.loads(_record_path(snapshot).read_text(encoding="utf-8"))
        files = {str(name): dict(facts) for name, facts in found["files"].items()}
        return Record(files, bool(found["complete"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(snapshot: Path, record: Record) -> None:
    """Write down what a snapshot has. Raises `OSError`."""
    tree = {"format": 1, "complete": record.complete, "files": record.files}
    write_whole(_record_path(snapshot), json.dumps(tree, indent=1, sort_keys=True) + "\n")


def faults_of_record(snapshot: Path, record: Record) -> Iterator[str]:
    """Yield a line for each thing that a snapshot lacks: a fetch that has not ended, a missing file, another size."""
    if not record.complete:
        yield "its last fetch has not ended"
    for name, facts in record.files.items():
        try:
            size = (snapshot / name).stat().st_size
        except OSError:
            yield f"{name} is missing"
            continue
        if size != facts.get("size"):
            yield f"{name} has {size:,} bytes instead of {facts.get('size'):,}"


def write_whole(path: Path, text: str) -> None:
    """Write a small file whole or not at all. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def unfinished(places: Sequence[Path]) -> list[Path]:
    """Return the files of downloads that have not ended."""
    return [path for place in places if place.is_dir() for path in sorted(place.rglob("*.incomplete"))]
