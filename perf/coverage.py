"""How often the intervals of `edit_eval.core.stats` hold the true number, and how its tests behave where nothing differs.

    python perf/coverage.py [--repetitions 4000] [--seed 0] [--only WORD] [--json FILE]

Scores are drawn from distributions of known means: whole numbers from 1 to 10 (skewed to the left as those of good editors, to the
right as those of bad ones, heaped at the top), and square roots of products of minima with a heap at 0. Those of a cluster are
correlated through a common normal variable. Every repetition draws a benchmark and asks for an interval.

Prints a table: case, clusters, coverage of the 95 % interval or what was tested. Ends with 1 if a coverage is outside 93 to 97 %, the
p-values of a permutation test are not uniform (Kolmogorov-Smirnov, p under 0.001), or a correction errs in more than 5 % of the
repetitions (and three standard errors of the simulation). Lines that say `not held` are limits of the methods, shown and not asserted;
exact intervals must cover at least 93 %, for they are conservative by construction.

It does not know how real judges score: the distributions are like those of judges on public benchmarks, no more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import kstest

from edit_eval.core.headlines import Headline, Scored, difference, estimate
from edit_eval.core.stats import (
    bootstrap,
    compare,
    mean_interval,
    mean_of_groups,
    proportion_interval,
    proportion_interval_of,
    sign_flip,
)
from edit_eval.core.types import Dimension, Rubric

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator], bool | None]

BETWEEN = (0.93, 0.97)
LEAST_UNIFORM = 0.001
UNIFORM = "p of sign flips is uniform, p of Kolmogorov-Smirnov"
RUBRIC = Rubric("r", (Dimension("a", 0, 10),), (), "a", 0, 10)


# Scores of known mean


@dataclass(frozen=True)
class Scores:
    """Scores as a step function of a uniform number: `steps` of equal probability."""

    steps: Array

    @property
    def mean(self) -> float:
        """The mean of what is drawn."""
        return float(self.steps.mean())

    @property
    def skewness(self) -> float:
        """Third moment about the mean over the cube of the standard deviation."""
        return float(np.mean((self.steps - self.mean) ** 3) / self.steps.std() ** 3)

    def __call__(self, normal: Array) -> Array:
        """Return scores of standard normal numbers, the higher the number the higher the score."""
        places = (ndtr(normal) * len(self.steps)).astype(int)
        return self.steps[np.minimum(places, len(self.steps) - 1)]


def _from_shares(*percent: int) -> Scores:
    """Return scores from 1 on with these shares in per cent."""
    return Scores(np.repeat(np.arange(1.0, len(percent) + 1), percent))


GOOD = _from_shares(5, 3, 4, 5, 7, 9, 15, 22, 20, 10)
BAD = _from_shares(35, 20, 12, 8, 6, 5, 5, 4, 3, 2)
HEAPED = _from_shares(6, 1, 1, 1, 2, 3, 6, 20, 35, 25)
ROOTS = Scores(np.sort(np.sqrt(np.outer([0, 0, 0, 2, 4, 5, 6, 7, 8, 9], [4, 5, 6, 7, 8, 8, 9, 9])).ravel()))


def clustered(generator: np.random.Generator, sizes: Sequence[int], alike: float) -> Array:
    """Return standard normal numbers, `alike` the correlation of two of one cluster."""
    common = np.repeat(generator.normal(size=len(sizes)), sizes)
    return np.sqrt(alike) * common + np.sqrt(1 - alike) * generator.normal(size=len(common))


def names(sizes: Sequence[int]) -> list[int]:
    return [int(one) for one in np.repeat(np.arange(len(sizes)), sizes)]


def unequal(clusters: int) -> list[int]:
    """Return cluster sizes from 1 to 5, as of benchmarks with several instructions for an image."""
    return [(1, 1, 1, 2, 2, 1, 3, 2, 4, 5)[place % 10] for place in range(clusters)]


# Cases


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        name: what is asked.
        clusters: how many there are.
        draw: draws a benchmark and says whether the interval holds the truth; None where there is no interval.
        least, most: allowed share; where `held` is false none is asserted.
        held: whether it must be between them.
    """

    name: str
    clusters: int
    draw: Draw
    least: float = BETWEEN[0]
    most: float = BETWEEN[1]
    held: bool = True


@dataclass(frozen=True)
class Result:
    """What a case gave: `value` is a share, or the p of a test of uniformity."""

    name: str
    clusters: int
    repetitions: int
    value: float
    allowed: str
    held: bool
    ok: bool


def inside(low: float | None, high: float | None, truth: float) -> bool | None:
    """Return whether the interval holds the truth; None where there is no interval."""
    return None if low is None or high is None else low <= truth <= high


def a_mean(scores: Scores, sizes: Sequence[int], alike: float = 0.0, method: str = "t") -> Draw:
    groups = names(sizes)

    def draw(generator: np.random.Generator) -> bool | None:
        values = scores(clustered(generator, sizes, alike)).tolist()
        found = mean_interval(values, groups, method=method, resamples=1_000)  # type: ignore[arg-type]
        return inside(found.low, found.high, scores.mean)

    return draw


def a_pair(first: Scores, second: Scores, sizes: Sequence[int], alike: float, related: float) -> Draw:
    """Two runs whose scores of a sample are correlated, for it is as hard for both."""
    groups = names(sizes)

    def draw(generator: np.random.Generator) -> bool | None:
        hard = clustered(generator, sizes, alike)
        own = [clustered(generator, sizes, alike) for _ in range(2)]
        a, b = (
            scores(np.sqrt(related) * hard + np.sqrt(1 - related) * one).tolist()
            for scores, one in zip((first, second), own, strict=True)
        )
        found = mean_interval([y - x for x, y in zip(a, b, strict=True)], groups)
        return inside(found.low, found.high, second.mean - first.mean)

    return draw


@dataclass(frozen=True)
class Grouped:
    """A benchmark whose headline is the mean of groups' means, each group with scores of its own.

    Attributes:
        sizes: of clusters.
        groups: of each sample.
        scores: by group.
        alike: correlation within clusters.
        crossed: whether the samples of a cluster are of different groups.
    """

    sizes: Sequence[int]
    groups: Sequence[str]
    scores: dict[str, Scores]
    alike: float
    crossed: bool

    @classmethod
    def made(cls, clusters: int, shares: Sequence[int], alike: float, *, crossed: bool) -> Grouped:
        """Return groups of these shares."""
        sizes = unequal(clusters)
        order = [f"g{place}" for place, share in enumerate(shares) for _ in range(share)]
        count = sum(sizes) if crossed else clusters
        mixed = np.random.default_rng(0).permutation(count)
        drawn = [order[place % len(order)] for place in mixed]
        groups = drawn if crossed else [drawn[one] for one in names(sizes)]
        kinds = (GOOD, BAD, ROOTS)
        return cls(
            sizes, groups, {f"g{place}": kinds[place % 3] for place in range(len(shares))}, alike, crossed
        )

    @property
    def truth(self) -> float:
        """The mean of the groups' means."""
        return float(np.mean([one.mean for one in self.scores.values()]))

    @property
    def headline(self) -> Headline:
        """The headline that asks for it."""
        return Headline("O", 0, 10, "a", group="group", groups=dict.fromkeys(self.scores, 0))

    def values(self, normal: Array) -> list[float]:
        """Return a score for each number, by its group's distribution."""
        member = np.asarray(self.groups)
        values = np.empty(len(member))
        for name, scores in self.scores.items():
            values[member == name] = scores(normal[member == name])
        return [float(one) for one in values]

    def samples(self, values: Sequence[float]) -> list[Scored]:
        """Return the samples with these scores."""
        clusters = names(self.sizes)
        return [
            Scored(cluster, {"group": group}, RUBRIC, [({"a": value}, value)])
            for cluster, group, value in zip(clusters, self.groups, values, strict=True)
        ]


def a_headline(grouped: Grouped) -> Draw:
    def draw(generator: np.random.Generator) -> bool | None:
        values = grouped.values(clustered(generator, grouped.sizes, grouped.alike))
        found = estimate(grouped.headline, grouped.samples(values))
        return inside(found.low, found.high, grouped.truth)

    return draw


def a_resampled_headline(grouped: Grouped) -> Draw:
    clusters = names(grouped.sizes)

    def draw(generator: np.random.Generator) -> bool | None:
        values = grouped.values(clustered(generator, grouped.sizes, grouped.alike))
        statistic = mean_of_groups(values, grouped.groups)
        found = bootstrap(statistic, clusters, None if grouped.crossed else grouped.groups, resamples=1_000)
        return inside(found.low, found.high, grouped.truth)

    return draw


def a_headline_pair(grouped: Grouped, related: float = 0.6) -> Draw:
    """Two runs with the same means."""

    def draw(generator: np.random.Generator) -> bool | None:
        hard = clustered(generator, grouped.sizes, grouped.alike)
        a, b = (
            grouped.samples(
                grouped.values(
                    np.sqrt(related) * hard
                    + np.sqrt(1 - related) * clustered(generator, grouped.sizes, grouped.alike)
                )
            )
            for _ in range(2)
        )
        found = difference(grouped.headline, a, b)
        return inside(found.low, found.high, 0.0)

    return draw


def a_share(n: int, method: str, share: float | None = None) -> Draw:
    """`share` None: drawn evenly from 0.05 to 0.95 in every repetition."""

    def draw(generator: np.random.Generator) -> bool | None:
        truth = generator.uniform(0.05, 0.95) if share is None else share
        found = proportion_interval(int(generator.binomial(n, truth)), n, method=method)  # type: ignore[arg-type]
        return inside(found.low, found.high, truth)

    return draw


def a_clustered_share(sizes: Sequence[int], alike: float, share: float) -> Draw:
    groups = names(sizes)

    def draw(generator: np.random.Generator) -> bool | None:
        values = ndtr(clustered(generator, sizes, alike)) < share
        found = proportion_interval_of(values.astype(int).tolist(), groups)
        return inside(found.low, found.high, share)

    return draw


def any_found(strata: int, each: int) -> Draw:
    """Whether a correction finds a difference in any stratum where none differs."""

    def draw(generator: np.random.Generator) -> bool | None:
        hard = generator.normal(size=strata * each)
        a, b = (GOOD((hard + generator.normal(size=len(hard))) / np.sqrt(2)).tolist() for _ in range(2))
        found = compare(a, b, strata=[place % strata for place in range(len(hard))])
        return any((one.adjusted_p or 0.0) <= 0.05 for one in found.strata.values())

    return draw


def cases() -> Iterator[Case]:
    """Yield every case with a share."""
    yield from mean_cases()
    yield from pair_cases()
    yield from headline_cases()
    yield from share_cases()
    for strata, name in ((2, "Holm"), (10, "Holm"), (12, "Benjamini-Hochberg")):
        yield Case(f"{name} errs, {strata} tags, no difference", 10, any_found(strata, 10), 0.0, 0.05)


def trusted(scores: Scores, clusters: int) -> bool:
    """Whether Student's t is good enough for so skewed scores: Cochran 1977, Sampling Techniques, section 2.15."""
    return clusters >= 25 * scores.skewness**2


def mean_cases() -> Iterator[Case]:
    """Yield means of scores, some skewed more than Student's t holds for, some over clusters."""
    shapes = (("good", GOOD), ("bad", BAD), ("roots of minima", ROOTS), ("heaped at the top", HEAPED))
    for label, scores in shapes:
        for clusters in (20, 40, 100, 400):
            held = trusted(scores, clusters)
            yield Case(f"mean, {label}, t", clusters, a_mean(scores, [1] * clusters), held=held)
            yield Case(
                f"mean, {label}, bootstrap",
                clusters,
                a_mean(scores, [1] * clusters, method="bootstrap"),
                held=held or scores is not HEAPED,
            )
    for label, scores in shapes[:3]:
        for clusters, alike, each in itertools.product((20, 60), (0.3, 0.7), ("4", "1-5")):
            sizes = [4] * clusters if each == "4" else unequal(clusters)
            name = f"mean, {label}, {each} a cluster, correlation {alike}"
            yield Case(f"{name}, t", clusters, a_mean(scores, sizes, alike), held=trusted(scores, clusters))
            yield Case(f"{name}, bootstrap", clusters, a_mean(scores, sizes, alike, "bootstrap"))
    one_big = [1] * 8 + [2] * 4 + [3] * 3 + [5, 5, 8, 12, 20]
    for method in ("t", "bootstrap"):
        draw = a_mean(GOOD, one_big, 0.7, method)
        yield Case(f"mean, good, 1-20 a cluster, correlation 0.7, {method}", 20, draw, held=False)


def pair_cases() -> Iterator[Case]:
    """Yield mean differences of two runs."""
    for label, first, second in (
        ("good and good", GOOD, GOOD),
        ("bad and good", BAD, GOOD),
        ("roots", ROOTS, ROOTS),
    ):
        for clusters in (20, 40, 100):
            yield Case(f"paired, {label}", clusters, a_pair(first, second, [1] * clusters, 0, 0.6))
            yield Case(
                f"paired, {label}, 1-5 a cluster, correlation 0.5",
                clusters,
                a_pair(first, second, unequal(clusters), 0.5, 0.6),
            )


def headline_cases() -> Iterator[Case]:
    """Yield means of groups' means, of one run and of the difference of two."""
    for clusters in (20, 60, 200):
        for crossed in (False, True):
            shares = (1, 2, 3) if clusters == 20 else (1, 1, 2, 2, 3, 5)
            grouped = Grouped.made(clusters, shares, 0.3, crossed=crossed)
            how = f"{len(shares)} groups {'across' if crossed else 'of'} clusters"
            yield Case(f"mean of means, {how}", clusters, a_headline(grouped))
            yield Case(f"mean of means, {how}, bootstrap", clusters, a_resampled_headline(grouped))
            yield Case(f"difference of means of means, {how}", clusters, a_headline_pair(grouped))
    eleven = Grouped.made(40, (1,) * 11, 0.3, crossed=True)
    yield Case("mean of means, 11 groups across clusters", 40, a_headline(eleven))
    yield Case("difference of means of means, 11 groups across clusters", 40, a_headline_pair(eleven))


def share_cases() -> Iterator[Case]:
    """Yield shares of successes; Wilson's interval of few tries holds on the average over shares only."""
    for n in (20, 100, 360):
        yield Case("share, Wilson, mean over shares 0.05-0.95", n, a_share(n, "wilson"))
        yield Case("share, exact, mean over shares 0.05-0.95", n, a_share(n, "exact"), most=1.0)
        for share in (0.1, 0.5, 0.8):
            yield Case(f"share {share}, Wilson", n, a_share(n, "wilson", share), held=n > 20)
            yield Case(f"share {share}, exact", n, a_share(n, "exact", share), 0.94, 1.0)
    for clusters in (20, 60):
        for share in (0.5, 0.8):
            yield Case(
                f"share {share}, Wilson, 4 a cluster, correlation 0.4",
                clusters,
                a_clustered_share([4] * clusters, 0.4, share),
            )
            yield Case(
                f"share {share}, Wilson, 1-5 a cluster, correlation 0.4",
                clusters,
                a_clustered_share(unequal(clusters), 0.4, share),
            )


# Running them


def measured(case: Case, repetitions: int, seed: int) -> Result:
    """Return the share of repetitions in which a case's answer is yes. One without an answer counts as no."""
    generator = np.random.default_rng([seed, *case.name.encode(), case.clusters])
    value = sum(bool(case.draw(generator)) for _ in range(repetitions)) / repetitions
    most = case.most
    if case.least == 0.0:  # a rate of errors: the simulation errs too
        most += 3 * (most * (1 - most) / repetitions) ** 0.5
    ok = not case.held or case.least <= value <= most
    allowed = f"{100 * case.least:.0f}-{100 * case.most:.0f} %" if case.held else "not held"
    return Result(case.name, case.clusters, repetitions, value, allowed, case.held, ok)


def uniform(clusters: int, repetitions: int, seed: int) -> Result:
    """Return whether p of a test is uniform where both runs are alike; up to 14 clusters are tested exactly."""
    generator = np.random.default_rng([seed, clusters])
    sizes = unequal(clusters)
    groups = names(sizes)
    ps = []
    for number in range(repetitions):
        one, other = (clustered(generator, sizes, 0.3) for _ in range(2))
        totals = np.bincount(groups, one - other)
        ps.append(sign_flip(totals.tolist(), resamples=1_999, seed=number).p)
    found = float(kstest(ps, "uniform").pvalue)
    return Result(UNIFORM, clusters, repetitions, found, ">= 0.001", held=True, ok=found >= LEAST_UNIFORM)


def measure(name: str, clusters: int, repetitions: int, seed: int) -> Result:
    """Return the result of the case of this name, in whatever process."""
    if name == UNIFORM:
        return uniform(clusters, repetitions, seed)
    found = next(one for one in cases() if (one.name, one.clusters) == (name, clusters))
    return measured(found, repetitions, seed)


def main() -> int:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.repetitions < 1:
        parser.error("at least one repetition")
    began = time.monotonic()
    asked = [(one.name, one.clusters) for one in cases()] + [(UNIFORM, 12), (UNIFORM, 30)]
    asked = [one for one in asked if arguments.only in one[0]]
    results = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        futures = [pool.submit(measure, *one, arguments.repetitions, arguments.seed) for one in asked]
        for future in futures:
            results.append(future.result())
            show(results[-1])
    bad = [one for one in results if not one.ok]
    print(f"{len(results)} cases, {len(bad)} outside, {time.monotonic() - began:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n")
    return 1 if bad else 0


def show(one: Result) -> None:
    value = f"{one.value:8.3f}" if one.allowed.startswith(">=") else f"{100 * one.value:6.1f} %"
    print(
        f"{one.name:72} {one.clusters:4} {value}  {one.allowed:9} {'' if one.ok else 'OUTSIDE'}", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
