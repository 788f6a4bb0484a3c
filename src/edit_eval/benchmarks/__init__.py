"""Benchmarks: where samples come from. One module per benchmark; this file holds what they have in common.

To add one, subclass `Benchmark` in a module of its own and name it in `driver.registry` (or in an entry point of the
group `edit_eval.benchmarks`). Benchmarks are loaded in the driver: they may read files, but import no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from edit_eval.core.types import Sample
from edit_eval.editors import NoParams

__all__ = ["Benchmark"]


class Benchmark:
    """A source of samples and the name of the protocol that scores them.

    Class attributes:
        Params: a frozen standard-library dataclass; its fields are the config's `benchmark.params`.
        name: first part of the protocol id.
        version: second part; raise it whenever the same data gives other samples.
        needs_path: whether the config must give `benchmark.path`.
        default_rubric: the rubric used where neither config nor judge names one.
    """

    Params: ClassVar[type[Any]] = NoParams
    name: ClassVar[str]
    version: ClassVar[int] = 1
    needs_path: ClassVar[bool] = True
    default_rubric: ClassVar[str] = "general-v1"

    @classmethod
    def places(cls, path: Path | None, params: Any) -> Sequence[Path] | None:
        """Return the folders in which this benchmark's images are expected; None: nothing is expected.

        The driver says at the start how many images lie elsewhere: what they show will be in the run directory.

        Args:
            path: the config's `benchmark.path`, resolved; None if absent.
            params: an instance of `Params`.
        """
        del path, params
        return None

    @classmethod
    def load(cls, path: Path | None, params: Any, workspace: Path) -> Sequence[Sample]:
        """Return the samples, in the benchmark's own order.

        Paths in the samples are absolute. Files need not be opened: the driver checks that images exist, that ids
        are unique and that there is at least one sample.

        Args:
            path: the config's `benchmark.path`, resolved; None if absent.
            params: an instance of `Params`.
            workspace: a folder of the run where a benchmark that makes its own images may put them.

        Raises:
            DataError: the data cannot be read; the message names file, line or column.
        """
        raise NotImplementedError
