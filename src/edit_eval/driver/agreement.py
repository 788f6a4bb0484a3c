"""How judges of one run agree, from its rows. The unit is the sample: repeats that both scored are averaged first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edit_eval.core.stats.agreement import Bridge, Noise, bridge, noise
from edit_eval.core.types import Rubric
from edit_eval.driver.plan import Judging
from edit_eval.driver.rows import Row

__all__ = [
    "Comparison",
    "JudgeNoise",
    "bridge_between",
    "comparison_of",
    "dimension_labels",
    "noise_between",
]


@dataclass(frozen=True)
class JudgeNoise:
    """How much a judge differs from itself, over the edits that it was asked about twice.

    Attributes:
        wanted: edits that were to be judged twice.
        unscored: of their second verdicts, how many have no score, by kind.
        overall: of the overall score.
        dimensions: of each dimension.
    """

    wanted: int
    unscored: Mapping[str, int]
    overall: Noise
    dimensions: Mapping[str, Noise]


@dataclass(frozen=True)
class Comparison:
    """How this run's edits fared against another run's.

    The win rate, a tie counting half, is the headline of the judge that compared.

    Attributes:
        against: the other run's directory.
        wins, ties, losses: edits of this run, of those that were compared.
        disagreed: share of them in which the answers to the two orders name different images, or one of them none, which
            makes a tie; None if none was compared.
        decided: answers that name one of the images; of each edit there are two answers.
        first_preferred: share of these that name the image shown first: 0.5 for a judge that does not mind the order; None
            without any.
    """

    against: str
    wins: int
    ties: int
    losses: int
    disagreed: float | None
    decided: int
    first_preferred: float | None


def comparison_of(rows: Sequence[Row], judging: Judging) -> Comparison | None:
    """Return how the edits fared, from verdicts that have scores; None if this judge does not compare."""
    if judging.against is None:
        return None
    results: Counter[int] = Counter()
    disagreed = firsts = decided = 0
    for row in rows:
        if row.verdict is None or row.verdict.overall is None:
            continue
        results[(row.verdict.overall > 0.5) - (row.verdict.overall < 0.5)] += 1
        answers = _answers(judging.rubric_of(row.sample), row.verdict.scores)
        disagreed += len({preferred for preferred, _ in answers}) > 1
        firsts += sum(first for preferred, first in answers if preferred)
        decided += sum(1 for preferred, _ in answers if preferred)
    count = sum(results.values())
    return Comparison(
        against=judging.against.run,
        wins=results[1],
        ties=results[0],
        losses=results[-1],
        disagreed=disagreed / count if count else None,
        decided=decided,
        first_preferred=firsts / decided if decided else None,
    )


def _answers(rubric: Rubric, scores: Mapping[str, float]) -> list[tuple[int, bool]]:
    """Return of each question which edit is better (1 this run's, -1 the other's, 0 neither), and whether the first shown."""
    found = []
    for call in rubric.calls:
        said = scores[call.dimensions[0]]  # 0 first, 1 neither, 2 second (Rubric.compares)
        own_first = call.images.index("edited") < call.images.index("reference")
        better = (said < 1) - (said > 1)
        found.append((better if own_first else -better, better > 0))
    return found


def noise_between(first: Sequence[Row], again: Sequence[Row], judging: Judging) -> JudgeNoise:
    """Return how two verdicts of one judge on the same edits differ; an edit counts where both have scores.

    Args:
        first: with the verdicts that count.
        again: the same edits in the same order, with the second verdicts.
        judging: who judged.
    """
    labels = dimension_labels(judging)
    overall: list[tuple[float, float]] = []
    dimensions: dict[str, list[tuple[float, float]]] = {label: [] for label in labels.values()}
    for one, other in zip(first, again, strict=True):
        if one.verdict is None or other.verdict is None:
            continue
        a, b = one.verdict, other.verdict
        if a.overall is None or b.overall is None:
            continue
        overall.append((a.overall, b.overall))
        for part in judging.rubric_of(one.sample).dimensions:
            if part.name in a.scores and part.name in b.scores:
                pair = a.scores[part.name], b.scores[part.name]
                dimensions[labels[part.name, part.low, part.high]].append(pair)
    unscored = Counter(row.verdict.unscored for row in again if row.verdict and row.verdict.unscored)
    return JudgeNoise(
        wanted=sum(1 for row in again if row.applicable),
        unscored=dict(sorted(unscored.items())),
        overall=_noise(overall),
        dimensions={label: _noise(pairs) for label, pairs in dimensions.items()},
    )


def _noise(pairs: Sequence[tuple[float, float]]) -> Noise:
    return noise([first for first, _ in pairs], [second for _, second in pairs])


def dimension_labels(judging: Judging) -> dict[tuple[str, float, float], str]:
    """Return what each dimension of the rubrics is called: its name, with the scale where one name has several."""
    found = {
        (one.name, one.low, one.high): one.name
        for rubric in judging.rubrics.values()
        for one in rubric.dimensions
    }
    scales = Counter(found.values())
    return {
        (name, low, high): name if scales[name] == 1 else f"{name} ({low:g} to {high:g})"
        for name, low, high in found
    }


def bridge_between(
    first: Sequence[Row], second: Sequence[Row], first_judging: Judging, second_judging: Judging
) -> Bridge:
    """Return how two judges relate over the edits that both scored; what one could not score is left out.

    Args:
        first: every edit, with the first judge's verdicts.
        second: the same edits in the same order, with the second judge's.
        first_judging: gives the first judge's scale for each sample.
        second_judging: likewise, of the second.
    """
    common: dict[str, list[tuple[float, float]]] = {}
    clusters: dict[str, str] = {}
    same_scale = True
    for one, other in zip(first, second, strict=True):
        if one.verdict is None or other.verdict is None:
            continue
        a, b = one.verdict.overall, other.verdict.overall
        if a is None or b is None:
            continue
        common.setdefault(one.sample.id, []).append((a, b))
        clusters[one.sample.id] = one.sample.cluster
        rubrics = first_judging.rubric_of(one.sample), second_judging.rubric_of(one.sample)
        same_scale = same_scale and (rubrics[0].low, rubrics[0].high) == (rubrics[1].low, rubrics[1].high)
    means = [[_mean([pair[side] for pair in pairs]) for pairs in common.values()] for side in (0, 1)]
    return bridge(means[0], means[1], [clusters[sample] for sample in common], same_scale=same_scale)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
