"""Shards: a run divided among machines that need not know of each other.

Shard i of n has the samples whose cluster's hash falls to it, so that samples that share a source, which statistics take
together, are always in one shard. A sample's seed and keys are those of the undivided run: who edits it, and among how many,
changes nothing. `driver.merge` puts the shards together again. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edit_eval.driver.plan import WantedEdit

__all__ = ["FOLDER", "MOST", "Shard"]

FOLDER = "shards"
"""Where a run's shards lie, in its directory, unless they are put elsewhere."""

MOST = 100_000
"""Shards of one run."""

_WRITTEN = re.compile(r"([0-9]{1,6})\s*/\s*([0-9]{1,6})")
_FOLDER_NAME = re.compile(r"([0-9]{1,6})-of-([0-9]{1,6})")


@dataclass(frozen=True, order=True)
class Shard:
    """One of `count` parts of a run, counted from 0 as ranks, array tasks and the shards of data sets are.

    Attributes:
        index: 0..count - 1.
        count: 1 or more.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0/4`. Raises `ValueError`, which says what is wrong."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise ValueError("is no shard; write 0/4 for the first of four, 3/4 for the last")
        index, count = map(int, found.groups())
        if not 1 <= count <= MOST:
            raise ValueError(f"a run has 1 to {MOST} shards")
        if index >= count:
            raise ValueError(
                f"there is no such shard; they are counted from 0, so the last of {count} is {count - 1}/{count}"
            )
        return cls(index, count)

    @classmethod
    def of_folder(cls, path: Path) -> Self | None:
        """Return which shard a directory is by its name and place, below that of a run; None if it is none by these."""
        whole = path.absolute()
        found = _FOLDER_NAME.fullmatch(whole.name) if whole.parent.name == FOLDER else None
        try:
            return cls.parse("/".join(found.groups())) if found else None
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder_name(self) -> str:
        """How its folder is called."""
        return f"{self.index}-of-{self.count}"

    def folder(self, output: Path) -> Path:
        """Return its run directory below that of the whole run."""
        return output / FOLDER / self.folder_name

    def has(self, cluster: str) -> bool:
        """Whether the samples of a cluster are its."""
        return self.index_among(self.count, cluster) == self.index

    @staticmethod
    def index_among(count: int, cluster: str) -> int:
        """Return which of so many shards has the samples of a cluster."""
        found = hashlib.sha256(f"shard {cluster}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(found[:8]) % count

    def share(self, wanted: Iterable[WantedEdit]) -> list[WantedEdit]:
        """Return which of a whole run's edits are its; each keeps its place in the whole."""
        return [one for one in wanted if self.has(one.sample.cluster)]
