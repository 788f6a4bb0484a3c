"""Benchmarks: where samples come from and how they are scored. One module each; here is what they have in common.

To add one, subclass `Benchmark` in a module of its own and name it in `driver.registry` (or in an entry point of the
group `edit_eval.benchmarks`). Benchmarks are loaded in the driver: they may read files, but import no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from edit_eval.core.headlines import Headline
from edit_eval.core.types import Rubric, Sample
from edit_eval.editors import NoParams

__all__ = ["Benchmark", "Facts", "GitHubFiles", "HubData", "Protocol"]


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is scored.

    Attributes:
        rubrics: by the name in `Sample.rubric`; `""` is for samples that name none.
        headlines: the benchmark's own numbers, the most important first. Empty: the mean over samples is all there is.
        deviations: in what this already differs from the official protocol, whatever judge it meets
            (`own-prompts`, `subset-intersection`); short names without spaces.
        official_judges: models by which the official numbers are made, as a config names them.
    """

    rubrics: Mapping[str, Rubric]
    headlines: tuple[Headline, ...] = ()
    deviations: tuple[str, ...] = ()
    official_judges: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What `edit-eval ls benchmarks` and the documentation say of a public benchmark.

    Attributes:
        samples: how many, in words (`606 en, 606 cn`).
        languages: of the instructions.
        calls: questions to the judge a sample, in words.
        scale: of a single score, in words.
        aggregation: how the headline is made, in words.
        licence: of the data.
        data: where the data comes from.
        prompts: where the official prompts come from.
    """

    samples: str
    languages: str
    calls: str
    scale: str
    aggregation: str
    licence: str
    data: str
    prompts: str


@dataclass(frozen=True)
class HubData:
    """Files of a hub that a benchmark reads: its data, or prompts.

    `edit-eval fetch` brings them; at run time the driver finds them in the cache, without a network.

    Attributes:
        repository: `owner/name`, or `owner/name@revision` (pin a commit where numbers depend on the data).
        files: patterns of the paths that are needed; `*` also matches `/`.
        kind: of the repository.
        into: the parameter that gets the local folder; empty: `benchmark.path`. Either way the user may name a
            folder instead, and then nothing is fetched.
        archives: patterns of those files that are archives (zip, or tar with any compression). `edit-eval fetch` unpacks
            each where it lies, and the folder that the benchmark gets holds what was in them and all other files.
        without_path: whether it is read only where the user gives no `benchmark.path` either.
    """

    repository: str
    files: tuple[str, ...] = ("*",)
    kind: Literal["dataset", "model"] = "dataset"
    into: str = ""
    archives: tuple[str, ...] = ()
    without_path: bool = False


@dataclass(frozen=True)
class GitHubFiles:
    """Small files of a repository on GitHub: official prompts, or a list of samples.

    Attributes:
        repository: `owner/name`.
        revision: a whole commit id; a branch where none is known.
        files: path -> sha256 of its bytes at that commit; empty where it is not known.
        into: as in `HubData`.
    """

    repository: str
    revision: str
    files: Mapping[str, str]
    into: str = ""

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which always has the same files."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


class Benchmark:
    """A source of samples and the protocol that scores them.

    Class attributes:
        Params: a frozen standard-library dataclass; its fields are the config's `benchmark.params`.
        name: first part of the protocol id.
        version: second part; raise it whenever the same data gives other samples.
        needs_path: whether the config must give `benchmark.path`.
        default_rubric: the rubric used where neither config nor judge names one.
        stratum: tag over which `limit` spreads the samples that it keeps; empty: it keeps the first ones.
        layout: where the benchmark's own tools look for an edit, below a model's folder and without extension, with
            `{id}` and tags as in `precomputed`; empty: it has no such layout.
        layout_suffix: extension that they expect.
        facts: of a public benchmark; None for others.
        prompt_files: the official prompts, which `edit-eval fetch` brings where the user gives none; the user then puts
            their folder into the config as `benchmark.params.prompts`. None: there are none, or they are in `hub_data`.
    """

    Params: ClassVar[type[Any]] = NoParams
    name: ClassVar[str]
    version: ClassVar[int] = 1
    needs_path: ClassVar[bool] = True
    default_rubric: ClassVar[str] = "general-v1"
    stratum: ClassVar[str] = ""
    layout: ClassVar[str] = ""
    layout_suffix: ClassVar[str] = ".png"
    facts: ClassVar[Facts | None] = None
    prompt_files: ClassVar[GitHubFiles | None] = None

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
    def hub_data(cls, params: Any) -> Sequence[HubData | GitHubFiles]:
        """Return which files of a hub the benchmark reads with these parameters, where the user names no folder."""
        del params
        return ()

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

    @classmethod
    def protocol(cls, params: Any, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return how the samples are scored.

        Args:
            params: an instance of `Params`.
            rubric: gives a built-in rubric by name.

        Raises:
            DataError: official prompts cannot be read.
        """
        del params
        return Protocol({"": rubric(cls.default_rubric)})
