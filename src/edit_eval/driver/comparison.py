"""What a comparison of two or more runs says, as plain values: `driver.compare` makes it, views show it.

The unit is the sample: repeats are averaged before anything is compared. A difference is always the other run minus the
base, over the samples that both scored, so that above 0 means that the other run is better. Undefined things are None,
never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edit_eval.core.stats import FEW
from edit_eval.driver.summary import Estimate, Row, Summary

if TYPE_CHECKING:
    from edit_eval.core.headlines import HeadlineEstimate
    from edit_eval.core.stats import Ranking, Variance

__all__ = [
    "ComparedRun",
    "Difference",
    "Lost",
    "OverallDifference",
    "PairOfRuns",
    "ProvenanceDifference",
    "RunComparison",
    "SampleDifference",
    "TagDifference",
]

Correction = Literal["holm", "benjamini-hochberg"]


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison, with the verdicts of the judge by which it is compared.

    Attributes:
        label: unique among the runs of the comparison; made of the directory's name.
        path: of the run directory, as it was given.
        summary: of the run, by its own judge.
        rows: one a sample and repeat in the benchmark's order, with the verdicts of the judge that compares.
        protocol: id, by that judge.
        judge: as people know it.
        own_judge: whether that judge is the run's own; else `summary` is about another one.
        wanted: samples times repeats that are applicable.
        scored: how many have a score.
        coverage: the share of these, 0..1.
        headline: the mean overall score over all samples of the run that are scored.
        headlines: the benchmark's own numbers, the most important first; empty where it has none.
        bounds: the mean if all that is missing had the lowest, or the highest, score; None if nothing is.
        variance: where the spread of its scores comes from (samples, seeds, judgements); None without repeats and second
            verdicts.
    """

    label: str
    path: Path
    summary: Summary
    rows: Sequence[Row]
    protocol: str
    judge: str
    own_judge: bool
    wanted: int
    scored: int
    coverage: float
    headline: Estimate
    headlines: Sequence[HeadlineEstimate] = ()
    bounds: tuple[float, float] | None = None
    variance: Variance | None = None

    @property
    def partial(self) -> bool:
        """Whether something that is wanted has no score."""
        return self.scored < self.wanted


@dataclass(frozen=True)
class Difference:
    """How two runs differ in one number, over the samples that both scored.

    Attributes:
        name: what it is of: a headline's name, `overall`, a dimension, a tag's value.
        n: samples.
        clusters: groups of dependent samples among them.
        base, other: the number in either run, over these samples.
        difference: other minus base.
        standard_error: clustered; None under two clusters.
        low, high: 95 % interval of the difference; None under two clusters.
        p: of the sign-flip permutation test that there is no difference; None where undefined.
        adjusted_p: the same, corrected for the others of its family; None where there is no family, or no p.
        wins, ties, losses: samples in which the other run has the higher, the same, or the lower value; None of a number
            that is no mean over samples.
        smallest: the smallest true difference that so many samples would show with probability 0.8; None where undefined, and
            of a tag's value.
        why_undefined: why there is no difference, in words; empty where that is plain or there is one.
    """

    name: str
    n: int
    clusters: int
    base: float | None
    other: float | None
    difference: float | None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted_p: float | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    smallest: float | None = None
    why_undefined: str = ""

    @property
    def few(self) -> bool:
        """Whether there are fewer clusters than an interval can be trusted with: 20."""
        return self.clusters < FEW

    @property
    def corrected_p(self) -> float | None:
        """The p to judge by: the corrected one where there is one."""
        return self.p if self.adjusted_p is None else self.adjusted_p

    @property
    def shown(self) -> bool:
        """Whether there is a difference at the 5 % level, by the corrected p."""
        return self.corrected_p is not None and self.corrected_p < 0.05


@dataclass(frozen=True)
class OverallDifference(Difference):
    """The difference of the mean overall score.

    Attributes:
        exact: whether `p` is exact (all patterns of signs were looked at) and not of a sample of them.
        spread: standard deviation of the differences between clusters; None where undefined.
    """

    exact: bool = False
    spread: float | None = None


@dataclass(frozen=True)
class TagDifference(Difference):
    """The difference of the mean overall score over the samples whose tag `tag` has the value `name`."""

    tag: str = ""


@dataclass(frozen=True)
class Lost:
    """What is not compared, and why.

    Attributes:
        only_base, only_other: ids that one run alone is about.
        changed: ids that mean another sample in the other run -> what differs (`instruction`, `source image` ...).
        without_base, without_other: ids in both that have no score in the base, or in the other run -> why
            (`unscored (refused)`, `edit-failed (crash)`, `not judged`, `not edited`, `not applicable`); one may be in both.
        partly: how many samples are compared of which a run scored some repeats only.
    """

    only_base: tuple[str, ...] = ()
    only_other: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without_base: Mapping[str, str] = field(default_factory=dict)
    without_other: Mapping[str, str] = field(default_factory=dict)
    partly: int = 0

    @property
    def count(self) -> int:
        """How many samples are not compared."""
        return (
            len(self.only_base)
            + len(self.only_other)
            + len(self.changed)
            + len(self.without_base.keys() | self.without_other.keys())
        )


@dataclass(frozen=True)
class ProvenanceDifference:
    """One thing in which two runs differ beside their scores; a text is empty where a run has nothing of it."""

    label: str
    base: str
    other: str


@dataclass(frozen=True)
class PairOfRuns:
    """One other run against the base.

    Attributes:
        base, other: places in `RunComparison.runs`.
        same_run: whether both are one directory.
        overall: of the mean overall score.
        headlines: of the benchmark's own numbers, the most important first; the others are corrected among themselves.
        dimensions: of each dimension on its own scale, corrected among themselves.
        tags: of the overall score by tag and value, corrected over all of them together.
        headline_correction, dimension_correction, tag_correction: of these; None where there is nothing to correct.
        lost: what is not compared.
        provenance: in what else the runs differ.
    """

    base: int
    other: int
    same_run: bool
    overall: OverallDifference
    headlines: tuple[Difference, ...]
    dimensions: tuple[Difference, ...]
    tags: tuple[TagDifference, ...]
    headline_correction: Correction | None
    dimension_correction: Correction | None
    tag_correction: Correction | None
    lost: Lost
    provenance: tuple[ProvenanceDifference, ...]

    @property
    def main(self) -> Difference:
        """The benchmark's most important number if it has any, else the mean overall score."""
        return self.headlines[0] if self.headlines else self.overall


@dataclass(frozen=True)
class SampleDifference:
    """One sample in all runs; repeats are averaged.

    Attributes:
        id: of the sample.
        instruction: as the base has it, else the first run that has the sample.
        cluster: likewise.
        tags: likewise.
        overall: the overall score in each run, in their order; None where there is none.
        statuses: how far each run got: `scored`, `unscored (KIND)`, `edit-failed (KIND)`, `not judged`, `not edited`,
            `not applicable`, `not in this run`, or `another sample` (the same id with another instruction or source).
        base: the base's place among the runs.
    """

    id: str
    instruction: str
    cluster: str
    tags: Mapping[str, str]
    overall: tuple[float | None, ...]
    statuses: tuple[str, ...]
    base: int = 0

    def difference(self, run: int) -> float | None:
        """Return that run's score minus the base's; None where one of them has none."""
        own, base = self.overall[run], self.overall[self.base]
        return None if own is None or base is None else own - base


@dataclass(frozen=True)
class RunComparison:
    """Two or more runs compared.

    Attributes:
        runs: in the order in which they were named.
        base: the place of the run that all others are compared with.
        pairs: every other run against the base, in the order of the runs.
        judge: by whose verdicts, as people know it; several with `any_protocol`.
        rubrics: names of the rubrics.
        scale: smallest and largest possible overall score.
        same_judging: whether all runs are judged alike: by one judge and one rubric.
        protocols: the protocol ids if they differ, in the order of the runs; empty if all are the same.
        samples: one a sample that any run is about, in the base's order, those that it lacks at the end.
        ranking: ranks and groups that cannot be told apart, over the samples that all runs scored; None for two runs.
        pairs_correction: how the p of several pairs' overall difference, and of their first headline, are corrected
            (`adjusted_p`); None for one pair.
    """

    runs: tuple[ComparedRun, ...]
    base: int
    pairs: tuple[PairOfRuns, ...]
    judge: str
    rubrics: tuple[str, ...]
    scale: tuple[float, float]
    same_judging: bool
    protocols: tuple[str, ...]
    samples: tuple[SampleDifference, ...]
    ranking: Ranking | None = None
    pairs_correction: Correction | None = None

    @property
    def partial(self) -> bool:
        """Whether a run lacks scores that it wants."""
        return any(run.partial for run in self.runs)

    def drops(self, run: int, count: int | None = None) -> list[SampleDifference]:
        """Return the samples in which a run is worse than the base, the largest drop first, at most `count`."""
        return self._changes(run, -1)[:count]

    def gains(self, run: int, count: int | None = None) -> list[SampleDifference]:
        """Return the samples in which a run is better than the base, the largest gain first, at most `count`."""
        return self._changes(run, 1)[:count]

    def _changes(self, run: int, sign: int) -> list[SampleDifference]:
        known = [(one, one.difference(run)) for one in self.samples]
        found = [(sign * value, one) for one, value in known if value is not None and sign * value > 0]
        return [one for _, one in sorted(found, key=lambda pair: -pair[0])]
