"""What loading asks of this machine's memory: how many hosts may load at once, and who reads weights ahead.

Processes that map the same files share one copy of them in the page cache, so one host reads for all. A loader may also
hold all weights once more on their way to its device, so that as many hosts load at once as have room for that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from edit_eval.driver import machine
from edit_eval.driver.models import Model
from edit_eval.driver.weightfiles import WEIGHT_SUFFIXES, weight_files

__all__ = ["PREPARE_S", "LoadGate", "Weights", "loading_text", "weights_of"]

PREPARE_S = 180.0
"""How long before the end of a device's work in one stage the next stage's host is prepared: imports, reading ahead."""

_SHARE = 0.8
"""Of the memory that is available, what loading may count on."""
_PREPARED_BYTES = 2 << 30
"""What a prepared host takes: the libraries that it has imported."""


@dataclass(frozen=True)
class Weights:
    """The weight files that a host loads: paths in the order in which they are read, and their bytes in all."""

    paths: tuple[str, ...] = ()
    size: int = 0


def weights_of(models: Iterable[Model]) -> Weights:
    """Return the weight files of models and of the parts that replace some; what cannot be looked at is left out."""
    found: dict[str, int] = {}
    for model in models:
        for path in _weight_paths(str(model.path)):
            try:
                found[path] = os.stat(path).st_size  # noqa: PTH116 - thousands of them, on slow disks
            except OSError:
                continue
    return Weights(tuple(found), sum(found.values()))


def _weight_paths(root: str) -> Iterable[str]:
    if root.endswith(WEIGHT_SUFFIXES):
        return [root]
    return [
        os.path.join(folder, name)  # noqa: PTH118
        for folder, _, names in sorted(os.walk(root))
        for name in weight_files(names)[1]
    ]


_WORTH_BYTES = 10**9
"""Weights of less are no matter of seconds a GB."""


def loading_text(hosts: Sequence[Mapping[str, Any]]) -> str:
    """Return how fast the hosts of one stage loaded, beside what the disk gave; empty where it does not matter.

    Args:
        hosts: what run.json has of each: `load_s`, `weights_bytes`, `disk_bytes` (that its process had fetched from disks
            while it loaded), `ahead_disk_bytes` and `ahead_disk_s` (of the one that read ahead).
    """
    known = [
        (one["load_s"], one["weights_bytes"])
        for one in hosts
        if _is_number(one.get("load_s")) and _is_number(one.get("weights_bytes"))
    ]
    if not known or max(size for _, size in known) < _WORTH_BYTES:
        return ""
    seconds, size = max(known)
    said = [f"{size / 1e9:.1f} GB in {seconds:.1f} s, {seconds / size * 1e9:.2f} s a GB"]
    if len(known) > 1:
        said[0] += f" (the slowest of {len(known)})"
    read = [one.get("disk_bytes") for one in hosts]
    from_disk = [one for one in read if isinstance(one, int) and not isinstance(one, bool)]
    if len(from_disk) == len(read):
        said.append(f"{sum(from_disk) / 1e9:.1f} GB from disk by all of them")
    ahead = [(one.get("ahead_disk_bytes"), one.get("ahead_disk_s")) for one in hosts]
    rates = [read / took / 1e9 for read, took in ahead if _is_number(read) and _is_number(took) and took > 0]
    if rates:
        said.append(f"which gave {max(rates):.1f} GB a second to the one that read ahead")
    return ", ".join(said)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


class LoadGate:
    """Lets hosts load while there is memory for all that do.

    Args:
        memory: what this machine, or its cgroup, has; None where that cannot be told.
        cores: how many this process may use.
    """

    def __init__(
        self,
        memory: Callable[[], machine.Memory | None] = machine.memory,
        cores: Callable[[], int] = machine.cpu_count,
    ) -> None:
        self._memory = memory
        self._cores = cores
        self._free = 0
        self._read: set[tuple[str, ...]] = set()

    def admits(self, weights: Weights, loading: Sequence[Weights]) -> bool:
        """Whether one more host may load these weights while those of `loading` do. The first one always may, and who has none."""
        if loading and not weights.size:
            return True
        if not loading:
            now = self._memory()
            self._free = now.free if now else 1 << 62
            return True
        return sum(one.size for one in loading) + weights.size <= _SHARE * self._free

    def at_once(self, weights: Weights) -> int:
        """Return how many hosts with these weights load at a time, by the memory that there was before the first did."""
        return max(1, int(_SHARE * self._free // max(1, weights.size)))

    def ahead(self, weights: Weights, beside: int = 0) -> list[str]:
        """Return the files that the next host is to read ahead: all of them once, then none; none where they do not fit.

        Args:
            weights: of the stage.
            beside: bytes that others need meanwhile.
        """
        now = self._memory()
        if weights.paths in self._read or now is None or weights.size > _SHARE * (now.free - beside):
            return []
        self._read.add(weights.paths)
        return list(weights.paths)

    def may_prepare(self, devices: int) -> bool:
        """Whether every device may have a second host that imports: a core and some memory to spare for each."""
        now = self._memory()
        return self._cores() >= 2 * devices and now is not None and now.free >= 2 * devices * _PREPARED_BYTES
