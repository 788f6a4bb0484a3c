"""Headlines: how a benchmark makes one number of many verdicts, with its interval and its bounds. Pure.

A headline is declared as data, so that a run directory can hold it and be reported years later without the benchmark's
code. The unit is the sample, the cluster is the source image. Undefined things are None, never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edit_eval.core.expression import evaluate
from edit_eval.core.stats import t_quantile
from edit_eval.core.types import Rubric

__all__ = ["Headline", "HeadlineEstimate", "Scored", "estimate", "sample_value"]


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
    linearisation (Cochran 1977, Sampling Techniques, sections 6.3 and 5.3) summed within clusters:
    u_i = (a_i - w_i R_g) / (G sum_g w), SE^2 = C/(C-1) sum_c (sum_{i in c} u_i)^2 with C clusters, and Student's t with
    C-1 degrees of freedom. With one group and weights of 1 this is `stats.mean_interval`.

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
    clusters: dict[Hashable, list[float]] = {}
    for part in parts.values():
        for cluster, influence in part.influences(len(parts)):
            clusters.setdefault(cluster, []).append(influence)
    error = _error(clusters) if whole is not None else None
    half = t_quantile((1 + level) / 2, len(clusters) - 1) * error if error is not None else None
    missing = any(part.missing or part.mean is None for part in parts.values())
    return HeadlineEstimate(
        headline=headline,
        n=sum(len(part.known) for part in parts.values()),
        wanted=len(among),
        clusters=len(clusters),
        mean=whole,
        standard_error=error,
        low=None if whole is None or half is None else max(headline.low, whole - half),
        high=None if whole is None or half is None else min(headline.high, whole + half),
        bounds=_bounds(headline, list(parts.values())) if missing and parts else None,
        by_group=means if headline.group else {},
        why_partial=(*reasons, *_why(headline, parts, odd)),
    )


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

    def influences(self, groups: int) -> list[tuple[Hashable, float]]:
        mean = self.mean
        if mean is None:
            return []
        return [
            (cluster, (total - weight * mean) / (groups * self.weight))
            for cluster, total, weight in self.known
        ]

    def bound(self, value: float) -> float:
        weight = self.weight + math.fsum(self.missing)
        return (self.total + value * math.fsum(self.missing)) / weight if weight else value


def _error(clusters: Mapping[Hashable, Sequence[float]]) -> float | None:
    count = len(clusters)
    if count < 2:
        return None
    square = math.fsum(math.fsum(part) ** 2 for part in clusters.values())
    return math.sqrt(count / (count - 1) * square)


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
