"""Where the spread of scores comes from: samples, seeds, or the judge."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Variance", "split"]


@dataclass(frozen=True)
class Variance:
    """Variances of scores by their source; what the scores cannot tell apart is known as a sum alone.

    Attributes:
        readings: scores.
        edits: pairs of sample and seed.
        samples: how many.
        sample: variance between samples; None unless some sample has several seeds.
        seed: variance between the seeds of a sample; None unless some sample has several, and some edit several judgements.
        judge: variance between the judgements of an edit; None unless some edit has several.
        sample_and_seed: sum of the first two; None unless some edit has several judgements.
        seed_and_judge: sum of the last two; None unless some sample has several seeds.
        standard_error: of the mean over samples of the mean over their edits, by this model; None where neither several seeds nor
            several judgements show the variances, and with one sample.
        doubled: what that would be with twice the `samples`, the `seeds` of each sample or the `judgements` of each edit; None where
            the scores do not tell. Twice the samples or the seeds are twice the edits.
    """

    readings: int
    edits: int
    samples: int
    sample: float | None = None
    seed: float | None = None
    judge: float | None = None
    sample_and_seed: float | None = None
    seed_and_judge: float | None = None
    standard_error: float | None = None
    doubled: Mapping[str, float | None] | None = None


def split(
    values: Sequence[float], samples: Sequence[Hashable], seeds: Sequence[Hashable] | None = None
) -> Variance:
    """Return how much of the spread of scores is due to samples, to seeds within samples, and to judgements within edits.

    Scores of the same sample and seed are judgements of one edit. The model is nested: score = mean + sample + seed + judgement, each
    with a variance of its own. The estimators are those of the analysis of variance with unequal numbers (Searle, Casella and
    McCulloch 1992, Variance Components, chapter 5: Henderson's method 1): the sums of squares between samples, between a sample's edits
    and within edits are set equal to their expectations. An estimate below 0 counts as 0.

    Args:
        values: finite scores.
        samples: of each score.
        seeds: of each score, compared within a sample; None: each sample has one.

    Raises:
        ValueError: lengths that differ, or a score that is not finite.
    """
    kinds = [None] * len(values) if seeds is None else list(seeds)
    if not len(values) == len(samples) == len(kinds):
        raise ValueError(f"{len(values)} scores, {len(samples)} samples and {len(kinds)} seeds")
    if not all(map(math.isfinite, values)):
        raise ValueError("scores must be finite")
    nested: dict[Hashable, dict[Hashable, list[float]]] = {}
    for value, sample, seed in zip(values, samples, kinds, strict=True):
        nested.setdefault(sample, {}).setdefault(seed, []).append(value)
    return _split([list(edits.values()) for edits in nested.values()])


def _split(tree: Sequence[Sequence[Sequence[float]]]) -> Variance:
    """Return the variances of judgements within edits within samples."""
    edits = sum(map(len, tree))
    readings = sum(len(edit) for one in tree for edit in one)
    sizes = [(sum(map(len, one)), sum(len(edit) ** 2 for edit in one)) for one in tree]
    between_samples, between_edits, within = _sums_of_squares(tree)
    several_seeds, several_judgements = edits > len(tree), readings > edits
    unknown = Variance(readings, edits, len(tree))
    if not several_seeds and not several_judgements:
        return unknown
    judge = within / (readings - edits) if several_judgements else 0.0
    seed = 0.0
    if several_seeds:
        times = readings - math.fsum(squares / n for n, squares in sizes)
        seed = max(0.0, (between_edits - judge * (edits - len(tree))) / times)
    sample = None
    if len(tree) > 1:
        times = readings - sum(n**2 for n, _ in sizes) / readings
        of_seed = math.fsum(squares / n - squares / readings for n, squares in sizes)
        rest = judge * (len(tree) - 1) + seed * of_seed
        sample = max(0.0, (between_samples - rest) / times)
    # With one judgement an edit, `seed` is of both; with one seed a sample, `sample` is.
    shares = (
        sample,
        seed * _mean([1 / len(one) for one in tree]),
        judge * _mean([math.fsum(1 / len(edit) for edit in one) / len(one) ** 2 for one in tree]),
    )
    return Variance(
        readings,
        edits,
        len(tree),
        sample=sample if several_seeds else None,
        seed=seed if several_seeds and several_judgements else None,
        judge=judge if several_judgements else None,
        sample_and_seed=sample + seed if several_judgements and sample is not None else None,
        seed_and_judge=seed + judge if several_seeds else None,
        standard_error=_error(shares, len(tree)),
        doubled={
            "samples": _error(shares, 2 * len(tree)),
            "seeds": _error(shares, len(tree), seeds=2) if several_seeds else None,
            "judgements": _error(shares, len(tree), judgements=2) if several_judgements else None,
        },
    )


def _sums_of_squares(tree: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float, float]:
    """Return those between samples, between a sample's edits, and within edits."""
    mean = _mean([value for one in tree for edit in one for value in edit])
    samples, edits, within = [], [], []
    for one in tree:
        readings = [value for edit in one for value in edit]
        own = _mean(readings)
        samples.append(len(readings) * (own - mean) ** 2)
        for edit in one:
            edits.append(len(edit) * (_mean(edit) - own) ** 2)
            middle = _mean(edit)
            within += [(value - middle) ** 2 for value in edit]
    return math.fsum(samples), math.fsum(edits), math.fsum(within)


def _error(
    shares: tuple[float | None, float, float], samples: int, seeds: int = 1, judgements: int = 1
) -> float | None:
    """Return the standard error of a mean, of the variance of a sample's mean by source, with so many times as many of each."""
    sample, seed, judge = shares
    if sample is None:
        return None
    return math.sqrt((sample + seed / seeds + judge / (seeds * judgements)) / samples)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
