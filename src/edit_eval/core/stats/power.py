"""What differences a benchmark can show."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edit_eval.core.stats.intervals import t_quantile

__all__ = ["Power", "power"]


@dataclass(frozen=True)
class Power:
    """What differences a comparison can show.

    Attributes:
        smallest: difference that is found with probability `power`; None where the standard error is unknown.
        n: samples.
        clusters: groups of dependent samples.
        standard_error: of the difference; None if unknown.
        level: confidence of the interval that must leave out 0.
        power: probability of finding it.
    """

    smallest: float | None
    n: int
    clusters: int
    standard_error: float | None
    level: float
    power: float

    def needed(self, difference: float) -> int | None:
        """Return how many samples like these would show a difference with the same probability.

        The standard error falls with the square root of the number of clusters, which stay as large as they are.

        Returns:
            None where the standard error is unknown.

        Raises:
            ValueError: a difference that is 0 or not finite.
        """
        if not math.isfinite(difference) or difference == 0:
            raise ValueError("the difference must be a number other than 0")
        if self.standard_error is None:
            return None
        one = self.standard_error * math.sqrt(self.clusters)  # the standard error if there were one cluster
        quotient = (one / abs(difference)) ** 2

        def shows(clusters: int) -> bool:
            return _quantiles(self.level, self.power, clusters - 1) ** 2 * quotient <= clusters

        enough = 2
        while not shows(enough):
            enough *= 2
        least = enough // 2 if enough > 2 else 1  # one cluster shows nothing
        while enough - least > 1:
            middle = (enough + least) // 2
            least, enough = (least, middle) if shows(middle) else (middle, enough)
        return math.ceil(enough * self.n / self.clusters)


def power(
    standard_error: float | None,
    clusters: int,
    *,
    n: int | None = None,
    degrees: float | None = None,
    level: float = 0.95,
    power: float = 0.8,
) -> Power:
    """Return the smallest difference that a comparison with this standard error can show.

    That is (t_{(1+level)/2} + t_{power}) standard errors, with quantiles of Student's t (Bloom 1995, Minimum Detectable Effects;
    the formula of textbooks, as Cohen 1988, has the normal distribution's).

    Args:
        standard_error: of the mean paired difference, as `compare` observed it.
        clusters: groups of dependent samples.
        n: samples; as many as clusters unless given.
        degrees: of freedom of the standard error; clusters - 1 unless given.
        level: confidence of the interval that must leave out 0, between 0 and 1.
        power: probability of finding the difference, between 0.5 and 1.

    Raises:
        ValueError: numbers out of their range.
    """
    if not 0 < level < 1 or not 0.5 <= power < 1:
        raise ValueError("level must be between 0 and 1, power from 0.5 to below 1")
    if standard_error is not None and not 0 <= standard_error < math.inf:
        raise ValueError("a standard error must be a number from 0")
    samples = clusters if n is None else n
    if not 0 <= clusters <= samples:
        raise ValueError(f"{samples} samples but {clusters} clusters")
    if standard_error is None or clusters < 2:
        return Power(None, samples, clusters, None, level, power)
    times = _quantiles(level, power, clusters - 1 if degrees is None else degrees)
    return Power(times * standard_error, samples, clusters, standard_error, level, power)


def _quantiles(level: float, power: float, degrees: float) -> float:
    return t_quantile((1 + level) / 2, degrees) + t_quantile(power, degrees)
