"""Headlines: how a benchmark makes one number of many verdicts, with its interval and its bounds. Pure.

A headline is declared as data, so that a run directory can hold it and be reported years later without the benchmark's
code. The unit is the sample, the cluster is the source image. Undefined things are None, never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edit_eval.core.expression import evaluate
from edit_eval.core.stats import (
    FEW,
    LinearError,
    linear_error,
    power,
    proportion_interval_of,
    sign_flip,
    t_quantile,
)
from edit_eval.core.types import Rubric

__all__ = [
    "Headline",
    "HeadlineDifference",
    "HeadlineEstimate",
    "Scored",
    "difference",
    "estimate",
    "sample_value",
]


@dataclass(frozen=True)
class Headline:
    """One published number of a benchmark.

    Attributes:
        name: as the benchmark's authors call it (`G_O`, `accuracy`).
        low, high: the least and the greatest value that it can take.
        value: what a sample contributes: an expression over `overall` and the dimensions; `perfect` is `high` where
            every dimension that applies has the top of its scale, else 0 (undefined where scores are means or expected
            values). With `pool`, an expression over `score`.
        pool: every score of every sample counts as one value (samples with more dimensions weigh more).
        group: tag whose groups are averaged first; the headline is then the unweighted mean of the groups. Empty: the
            mean over samples.
        groups: the benchmark's groups, and how many samples each has in full (0: any number). A headline whose group is missing, or
            that meets another group, is not complete.
        where: tags and their values that a sample must have to count.
        expects: by tag, the values that its samples have and how many have each in full (0: any number). A sample with
            another value is left out, and a headline that lacks one is not complete.
        digits: decimal places in which it is published.
        dimension: this score alone counts, of the samples that are asked for it; `value` is then an expression over
            `score` and the ends of its scale, `low` and `high`.
    """

    name: str
    low: float
    high: float
    value: str = "overall"
    pool: bool = False
    group: str = ""
    groups: Mapping[str, int] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    expects: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    digits: int = 2
    dimension: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Headline:
        """Read what `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True)
class Scored:
    """One wanted sample, as a headline sees it.

    Attributes:
        cluster: samples that share it are not independent.
        tags: of the sample.
        rubric: what it is judged by.
        verdicts: scores by dimension and the overall score, of every repeat that has them; their values are averaged.
    """

    cluster: Hashable
    tags: Mapping[str, str]
    rubric: Rubric
    verdicts: Sequence[tuple[Mapping[str, float], float]] = ()


@dataclass(frozen=True)
class HeadlineEstimate:
    """A headline's value and how well it is known.

    Attributes:
        headline: what was asked for.
        n: samples with scores.
        wanted: samples that it is about, those left out among them.
        clusters: groups of dependent samples, of those with scores.
        mean: None where a group of the benchmark has no score at all.
        standard_error, low, high: None where undefined (under two clusters, or no mean).
        bounds: the value if all that is missing had the worst, or the best, scores: samples without scores, and those that
            a group of known size lacks where samples were left out; None if nothing is missing.
        by_group: value by group; a group without a score is None.
        why_partial: what is missing or odd, in words; empty if the headline is complete.
    """

    headline: Headline
    n: int
    wanted: int
    clusters: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    bounds: tuple[float, float] | None
    by_group: Mapping[str, float | None]
    why_partial: tuple[str, ...]


@dataclass(frozen=True)
class HeadlineDifference:
    """A headline's difference between two runs, b minus a, over the samples that both scored.

    Attributes:
        headline: what was asked for.
        n: samples with scores in both.
        wanted: samples that it is about.
        clusters: groups of dependent samples, of those with scores.
        mean_a, mean_b, difference: None where a group has no sample with scores in both.
        standard_error, low, high: of the difference; None under two clusters, and where that is None.
        p: of a sign-flip test over clusters; likewise.
        exact: whether that test tried every pattern of signs.
        smallest: difference that as many samples show with a probability of 0.8; likewise.
        by_group: difference by group; None where no sample has scores in both.
        lacking: groups without such a sample.
    """

    headline: Headline
    n: int
    wanted: int
    clusters: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    p: float | None
    exact: bool
    smallest: float | None
    by_group: Mapping[str, float | None]
    lacking: tuple[str, ...]

    @property
    def few(self) -> bool:
        """Whether there are fewer clusters than an interval can be trusted with: 20."""
        return self.clusters < FEW


def sample_value(headline: Headline, sample: Scored) -> tuple[float, float] | None:
    """Return what a sample adds to its group, as (sum, weight), the mean over its repeats; None if that is undefined.

    Raises:
        ValueError: the expression names what the sample's rubric does not score.
    """
    if not sample.verdicts or _never_at_the_top(headline, sample):
        return None
    repeats = [_value(headline, sample.rubric, scores, overall) for scores, overall in sample.verdicts]
    weight = float(len(sample.rubric.dimensions)) if headline.pool else 1.0
    return math.fsum(repeats) / len(repeats), weight


def _value(headline: Headline, rubric: Rubric, scores: Mapping[str, float], overall: float) -> float:
    if headline.pool:
        return math.fsum(evaluate(headline.value, {"score": score}) for score in scores.values())
    if headline.dimension:
        one = rubric.dimension(headline.dimension)
        return evaluate(headline.value, {"score": scores[one.name], "low": one.low, "high": one.high})
    if headline.value == "perfect":
        return headline.high * all(scores[one.name] == one.high for one in rubric.dimensions)
    return evaluate(headline.value, {**scores, "overall": overall})


def estimate(headline: Headline, samples: Sequence[Scored], level: float = 0.95) -> HeadlineEstimate:
    """Return a headline's estimate.

    With G groups, w_i the weight of sample i and a_i its weighted sum, the value is mean_g(R_g) where
    R_g = sum(a_i) / sum(w_i) over the group. Its standard error is that of a ratio estimate in strata by
    linearisation (Cochran 1977, Sampling Techniques, sections 6.3 and 5.3): of the residuals a_i - w_i R_g, summed within clusters
    (`stats.linear_error`, which also gives the degrees of freedom of Student's t). With one group and weights of 1 this is
    `stats.mean_interval`. The interval of a share of samples (`perfect`, without groups) is Wilson's over clusters
    (`stats.proportion_interval_of`), unless repeats of a sample disagree.

    Args:
        headline: what is asked for.
        samples: every wanted sample, scored or not; repeats are averaged before.
        level: confidence, between 0 and 1.
    """
    among = [one for one in samples if _counts(headline, one)]
    expected, reasons = _expected(headline, among)
    if any(_never_at_the_top(headline, one) for one in expected):
        reasons.append(
            "means of several readings and expected values are no whole scores, of which the top is counted"
        )
    groups: dict[str, list[Scored]] = {name: [] for name in headline.groups}
    for one in expected:
        groups.setdefault(one.tags.get(headline.group, "") if headline.group else "", []).append(one)
    odd = sorted(set(groups) - set(headline.groups)) if headline.groups else []
    left_out = len(among) - len(expected) + sum(len(groups.pop(name)) for name in odd)
    parts = {
        name: _Part(headline, members, min(left_out, headline.groups.get(name, 0) - len(members)))
        for name, members in sorted(groups.items())
    }
    means = {name: part.mean for name, part in parts.items()}
    known = [value for value in means.values() if value is not None]
    whole = math.fsum(known) / len(known) if known and len(known) == len(parts) else None
    error = _error(parts)
    low, high = _interval(headline, parts, whole, error, level)
    missing = any(part.missing or part.mean is None for part in parts.values())
    return HeadlineEstimate(
        headline=headline,
        n=sum(len(part.known) for part in parts.values()),
        wanted=len(among),
        clusters=error.clusters,
        mean=whole,
        standard_error=None if whole is None else error.standard_error,
        low=low,
        high=high,
        bounds=_bounds(headline, list(parts.values())) if missing and parts else None,
        by_group=means if headline.group else {},
        why_partial=(*reasons, *_why(headline, parts, odd)),
    )


def _interval(
    headline: Headline, parts: Mapping[str, _Part], whole: float | None, error: LinearError, level: float
) -> tuple[float | None, float | None]:
    """Return the ends of the interval, within the headline's range; None where it is undefined."""
    if whole is None or error.standard_error is None or error.degrees is None:
        return None, None
    if headline.value == "perfect" and not headline.dimension and len(parts) == 1:
        [part] = parts.values()
        tops = [value / headline.high for _, value, _ in part.known]
        if all(one in (0, 1) for one in tops):
            share = proportion_interval_of(tops, [cluster for cluster, _, _ in part.known], level)
            if share.low is not None and share.high is not None:
                return headline.high * share.low, headline.high * share.high
    half = t_quantile((1 + level) / 2, error.degrees) * error.standard_error
    return max(headline.low, whole - half), min(headline.high, whole + half)


def difference(
    headline: Headline, a: Sequence[Scored], b: Sequence[Scored], level: float = 0.95, *, seed: int = 0
) -> HeadlineDifference:
    """Return how a headline differs between two runs, b minus a, over the samples that both scored.

    With d_i the difference of the weighted sums of sample i, R_g = sum(d_i) / sum(w_i) over a group, the value is mean_g(R_g); its
    standard error is that of `estimate` with d_i for a_i. The test flips the signs of the d_i of a cluster together
    (`stats.sign_flip`); its totals are sum_i d_i / (G sum_g w).

    Args:
        headline: what is asked for.
        a: every wanted sample, scored or not; repeats are averaged before.
        b: the same samples in the same order.
        level: confidence, between 0 and 1.
        seed: of the test.

    Raises:
        ValueError: other samples in b than in a, or a sample that weighs differently there.
    """
    if len(a) != len(b) or any((x.cluster, x.tags) != (y.cluster, y.tags) for x, y in zip(a, b, strict=True)):
        raise ValueError("the two runs do not have the same samples in the same order")
    expected = {id(one) for one in _expected(headline, [one for one in a if _counts(headline, one)])[0]}
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if id(x) in expected and _counts(headline, y)]
    groups: dict[str, list[_Change]] = {name: [] for name in headline.groups}
    for x, y in pairs:
        name = x.tags.get(headline.group, "") if headline.group else ""
        changes = groups.get(name) if headline.groups else groups.setdefault(name, [])
        change = _change(headline, x, y)
        if changes is not None and change is not None:
            changes.append(change)
    lacking = tuple(name for name, changes in sorted(groups.items()) if not changes)
    weights = {name: math.fsum(one.weight for one in changes) for name, changes in groups.items() if changes}

    def mean_of(value: Callable[[_Change], float]) -> dict[str, float]:
        return {name: math.fsum(map(value, groups[name])) / whole for name, whole in weights.items()}

    changed = mean_of(lambda one: one.b - one.a)
    rows = [
        (one.b - one.a - one.weight * changed[name], one.cluster, one.weight, name)
        for name in weights
        for one in groups[name]
    ]
    error = linear_error(*zip(*rows, strict=True)) if rows else LinearError(0, None, None)
    totals: dict[Hashable, list[float]] = {}
    for name, whole in weights.items():
        for one in groups[name]:
            totals.setdefault(one.cluster, []).append((one.b - one.a) / (len(weights) * whole))
    known = bool(groups) and not lacking
    test = sign_flip([math.fsum(total) for total in totals.values()], seed=seed)
    value = _mean(changed.values()) if known else None
    half = None
    if value is not None and error.standard_error is not None and error.degrees is not None:
        half = t_quantile((1 + level) / 2, error.degrees) * error.standard_error
    return HeadlineDifference(
        headline=headline,
        n=len(rows),
        wanted=len(pairs),
        clusters=error.clusters,
        mean_a=_mean(mean_of(lambda one: one.a).values()) if known else None,
        mean_b=_mean(mean_of(lambda one: one.b).values()) if known else None,
        difference=value,
        standard_error=error.standard_error if known else None,
        low=None if value is None or half is None else max(headline.low - headline.high, value - half),
        high=None if value is None or half is None else min(headline.high - headline.low, value + half),
        p=test.p if known else None,
        exact=known and test.exact,
        smallest=power(
            error.standard_error if known else None,
            error.clusters,
            n=len(rows),
            degrees=error.degrees,
            level=level,
        ).smallest,
        by_group={name: changed.get(name) for name in sorted(groups)} if headline.group else {},
        lacking=lacking,
    )


@dataclass(frozen=True)
class _Change:
    cluster: Hashable
    a: float
    b: float
    weight: float


def _change(headline: Headline, a: Scored, b: Scored) -> _Change | None:
    first, second = sample_value(headline, a), sample_value(headline, b)
    if first is None or second is None:
        return None
    if first[1] != second[1]:
        raise ValueError("a sample has other dimensions in one run than in the other")
    return _Change(a.cluster, first[0], second[0], first[1])


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values)


def _counts(headline: Headline, sample: Scored) -> bool:
    """Whether the headline is about this sample."""
    if headline.dimension and headline.dimension not in {one.name for one in sample.rubric.dimensions}:
        return False
    return all(sample.tags.get(tag) == value for tag, value in headline.where.items())


def _never_at_the_top(headline: Headline, sample: Scored) -> bool:
    """Whether the headline counts tops of scales, which a mean of several readings or an expected value hardly reaches."""
    return headline.value == "perfect" and not headline.dimension and sample.rubric.continuous


def _expected(headline: Headline, among: Sequence[Scored]) -> tuple[Sequence[Scored], list[str]]:
    """Return the samples whose tags have the values that the benchmark knows, and what is odd about the others."""
    reasons = []
    for tag, sizes in headline.expects.items():
        counts = Counter(one.tags.get(tag, "") for one in among)
        if unknown := sorted(set(counts) - set(sizes)):
            reasons.append(f"{tag} unknown to the benchmark, left out: {', '.join(unknown)}")
            among = [one for one in among if one.tags.get(tag, "") in sizes]
        if absent := [value for value in sizes if not counts[value]]:
            reasons.append(f"no sample of {tag}: {', '.join(absent)}")
        short = [(value, size) for value, size in sizes.items() if counts[value] and size]
        if short := [(value, size) for value, size in short if counts[value] != size]:
            said = ", ".join(f"{value} {counts[value]} of {size}" for value, size in short)
            reasons.append(f"other numbers of samples than the benchmark's: {said}")
    return among, reasons


def _typical_weight(headline: Headline, members: Sequence[Scored]) -> float:
    """Return what a sample of a group weighs that nobody has seen: as much as those that are there."""
    if not headline.pool or not members:
        return 1.0
    return math.fsum(len(one.rubric.dimensions) for one in members) / len(members)


class _Part:
    """One group of a headline, and how many samples it lacks that may be among those left out (below 0: none)."""

    def __init__(self, headline: Headline, members: Sequence[Scored], lacking: int) -> None:
        self.known: list[tuple[Hashable, float, float]] = []
        self.missing: list[float] = []  # the weights of those without scores
        self.members = len(members)
        for one in members:
            value = sample_value(headline, one)
            if value is None:
                self.missing.append(float(len(one.rubric.dimensions)) if headline.pool else 1.0)
            else:
                self.known.append((one.cluster, *value))
        self.missing += [_typical_weight(headline, members)] * lacking
        self.unscored = sum(1 for one in members if not one.verdicts)
        self.total = math.fsum(total for _, total, _ in self.known)
        self.weight = math.fsum(weight for _, _, weight in self.known)

    @property
    def mean(self) -> float | None:
        return self.total / self.weight if self.weight else None

    def bound(self, value: float) -> float:
        weight = self.weight + math.fsum(self.missing)
        return (self.total + value * math.fsum(self.missing)) / weight if weight else value


def _error(parts: Mapping[str, _Part]) -> LinearError:
    """Return the standard error of the mean of the groups' means, of those groups that have one."""
    rows = [
        (total - weight * part.mean, cluster, weight, name)
        for name, part in parts.items()
        if part.mean is not None
        for cluster, total, weight in part.known
    ]
    return linear_error(*zip(*rows, strict=True)) if rows else LinearError(0, None, None)


def _bounds(headline: Headline, parts: Sequence[_Part]) -> tuple[float, float]:
    low, high = (
        math.fsum(part.bound(value) for part in parts) / len(parts) for value in (headline.low, headline.high)
    )
    return low, high


def _why(headline: Headline, parts: Mapping[str, _Part], odd: Sequence[str]) -> list[str]:
    reasons = []
    empty = [name for name, part in parts.items() if headline.groups and not part.members]
    if empty:
        reasons.append(
            f"no sample of {headline.group}: {', '.join(empty)}" if headline.group else "no sample"
        )
    if odd:
        reasons.append(f"{headline.group} unknown to the benchmark, left out: {', '.join(odd)}")
    short = [
        f"{name} {part.members} of {headline.groups[name]}".strip()
        for name, part in parts.items()
        if part.members and part.members != (headline.groups.get(name) or part.members)
    ]
    if short:
        reasons.append(f"other numbers of samples than the benchmark's: {', '.join(short)}")
    missing = sum(part.unscored for part in parts.values())
    if missing:
        reasons.append(f"{missing} without scores")
    return reasons
