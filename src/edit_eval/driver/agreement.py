"""How judges of one run agree, from its rows. The unit is the sample: repeats that both scored are averaged first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edit_eval.core.agreement import Bridge, bridge
from edit_eval.driver.plan import Judging
from edit_eval.driver.rows import Row

__all__ = ["bridge_between"]


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
