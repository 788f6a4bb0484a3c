"""Whether several raters give the same things the same scores: Krippendorff's alpha and the intraclass correlations."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from edit_eval.core.stats.agreement.coefficient import Coefficient, clusters_of, coefficient

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["IntraclassCorrelation", "icc", "krippendorff_alpha"]

Scale = Literal["nominal", "ordinal", "interval"]
Form = Literal["1-1", "2-1", "3-1", "1-k", "2-k", "3-k"]


def krippendorff_alpha(
    ratings: ArrayLike,
    scale: Scale = "interval",
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 0,
    level: float = 0.95,
    seed: int = 0,
) -> Coefficient:
    """Return Krippendorff's alpha: 1 - observed / expected disagreement; 1 is agreement, 0 is chance, below is worse.

    Krippendorff 2019, Content Analysis (4th edition), chapter 12. Units with fewer than two ratings say nothing and are
    left out. With n ratings left, m_u of unit u, and the squared distance d of two values,

        observed = (1 / n) * sum_u (sum of d over the ordered pairs in u) / (m_u - 1)
        expected = (sum of d over all ordered pairs) / (n * (n - 1))

    where d is 1 for unlike values (nominal), the squared difference (interval), or the square of how many ratings lie
    between, those at either end counting half (ordinal), which is the squared difference of mean ranks. Undefined where
    all ratings are the same: there is no disagreement that could be expected.

    Args:
        ratings: raters x units; NaN where a rater gave none.
        scale: what differences mean.
        clusters: of each unit, for the interval; None makes each its own.
        resamples: of the cluster bootstrap over units that gives the interval (`resampling.bootstrap`); 0 for none.
        level: confidence, between 0 and 1.
        seed: of the bootstrap.

    Returns:
        `n` and `clusters` count the units with at least two ratings.

    Raises:
        ValueError: not two-dimensional, an infinite rating, or an unknown scale.
    """
    import numpy as np

    values = _matrix(ratings)
    if scale not in get_args(Scale):
        raise ValueError(f"unknown scale {scale!r}; one of {', '.join(get_args(Scale))}")
    groups = clusters_of(clusters, values.shape[1])
    kept = np.count_nonzero(~np.isnan(values), axis=0) > 1
    values = values[:, kept]
    groups = [group for group, stays in zip(groups, kept, strict=True) if stays]
    disagreement = _unlike if scale == "nominal" else _squares if scale == "interval" else _rank_squares

    def statistic(drawn: NDArray[np.intp]) -> float | None:
        return _alpha(values[:, drawn], disagreement)

    return coefficient(statistic, groups, resamples=resamples, level=level, seed=seed)


def _matrix(ratings: ArrayLike) -> NDArray[np.float64]:
    import numpy as np

    values = np.asarray(ratings, dtype=float)
    if values.ndim != 2:
        raise ValueError("ratings must be raters x units")
    if np.isinf(values).any():
        raise ValueError("ratings must be finite, or NaN where there is none")
    return values


Disagreement: TypeAlias = (
    "Callable[[NDArray[np.float64], NDArray[np.intp]], tuple[NDArray[np.float64], float]]"
)
"""Of ratings and the unit of each, rising: sums of squared distances over the ordered pairs, of each unit and of all."""


def _alpha(values: NDArray[np.float64], disagreement: Disagreement) -> float | None:
    import numpy as np

    units, raters = np.nonzero(~np.isnan(values.T))
    n = len(units)
    if not n:
        return None
    found = values[raters, units]
    if found.min() == found.max():
        return None
    counts = np.bincount(units)
    within, total = disagreement(found, units)
    return float(1 - (n - 1) * (within / (counts - 1)).sum() / total)


def _squares(values: NDArray[np.float64], units: NDArray[np.intp]) -> tuple[NDArray[np.float64], float]:
    import numpy as np

    values = _unit_range(values)
    counts = np.bincount(units)
    means = np.bincount(units, weights=values) / counts
    within = np.asarray(2 * counts * np.bincount(units, weights=(values - means[units]) ** 2), dtype=float)
    return within, 2 * len(values) * float(((values - values.mean()) ** 2).sum())


def _unit_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values moved to 0 to 1, so that no square is too large or too small for a float; not all may be the same."""
    import numpy as np

    _, exponent = np.frexp(np.abs(values).max())
    values = np.ldexp(values, -exponent)
    moved: NDArray[np.float64] = (values - values.min()) / np.ptp(values)
    return moved


def _rank_squares(values: NDArray[np.float64], units: NDArray[np.intp]) -> tuple[NDArray[np.float64], float]:
    import numpy as np

    _, levels, counts = np.unique(values, return_inverse=True, return_counts=True)
    return _squares((np.cumsum(counts) - counts / 2)[levels], units)


def _unlike(values: NDArray[np.float64], units: NDArray[np.intp]) -> tuple[NDArray[np.float64], float]:
    import numpy as np

    _, levels, counts = np.unique(values, return_inverse=True, return_counts=True)
    cells, repeated = np.unique(units * len(counts) + levels, return_counts=True)
    alike = np.bincount(cells // len(counts), weights=repeated**2)
    within: NDArray[np.float64] = np.bincount(units).astype(float) ** 2 - alike
    return within, float(len(values) ** 2 - (counts**2).sum())


@dataclass(frozen=True)
class IntraclassCorrelation:
    """How much of the variance of ratings is between the things that are rated.

    Attributes:
        n: things that every rater rated.
        left_out: things that some rater did not rate.
        raters: how many.
        value: at most 1, and below 0 where things differ less than a single thing's ratings; None under two raters or
            things, or where nothing varies.
        low, high: the interval; None with the value, or where raters agree to the last bit.
    """

    n: int
    left_out: int
    raters: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


def icc(ratings: ArrayLike, form: Form = "2-1", *, level: float = 0.95) -> IntraclassCorrelation:
    """Return an intraclass correlation with the interval that the F distribution gives.

    Shrout and Fleiss 1979, Intraclass Correlations: Uses in Assessing Rater Reliability, name the forms: 1 if each thing
    has raters of its own, 2 if the raters are a sample and their means matter (absolute agreement), 3 if these raters are
    the only ones and their means do not (consistency); then 1 for a single rating, k for the mean of all raters. Values
    and intervals are those of McGraw and Wong 1996, Forming Inferences About Some Intraclass Correlation Coefficients,
    tables 4 and 7. The intervals assume normal effects and independent things; they know no clusters.

    Args:
        ratings: raters x things; NaN where a rater gave none. Things that lack a rating are left out.
        form: which.
        level: confidence, between 0 and 1.

    Raises:
        ValueError: not two-dimensional, an infinite rating, or an unknown form.
    """
    import numpy as np

    values = _matrix(ratings)
    if form not in get_args(Form):
        raise ValueError(f"unknown form {form!r}; one of {', '.join(get_args(Form))}")
    complete = ~np.isnan(values).any(axis=0)
    values = values[:, complete]
    raters, n = values.shape
    nothing = IntraclassCorrelation(n, int((~complete).sum()), raters)
    if n < 2 or raters < 2 or values.min() == values.max():
        return nothing
    squares = _mean_squares(_unit_range(values))
    found = [_icc(squares, form[0]), *_interval(squares, form[0], (1 + level) / 2)]
    if form[-1] == "k":
        found = [_of_the_mean(one, raters) for one in found]
    value, low, high = found
    if value is None or low is None or high is None:
        low = high = None
    return replace(nothing, value=value, low=low, high=high)


@dataclass(frozen=True)
class _MeanSquares:
    """Of a table of n things and k raters: between things, between raters, of what is left, and within things."""

    n: int
    k: int
    things: float
    raters: float
    rest: float
    within: float


def _mean_squares(values: NDArray[np.float64]) -> _MeanSquares:
    """Return the mean squares of ratings, raters x things, that range from 0 to 1; rounding is no variance."""
    k, n = values.shape
    things = values.mean(axis=0)
    raters = values.mean(axis=1, keepdims=True)
    sums = [
        k * float(((things - values.mean()) ** 2).sum()),
        n * float(((raters - values.mean()) ** 2).sum()),
        float(((values - things - raters + values.mean()) ** 2).sum()),
        float(((values - things) ** 2).sum()),
    ]
    between, of_raters, rest, within = (one if one > 1e-24 * n * k else 0.0 for one in sums)
    return _MeanSquares(
        n, k, between / (n - 1), of_raters / (k - 1), rest / ((n - 1) * (k - 1)), within / (n * (k - 1))
    )


def _icc(one: _MeanSquares, model: str) -> float | None:
    """Return the correlation of single ratings; McGraw and Wong, table 4."""
    error = one.within if model == "1" else one.rest
    shift = one.k / one.n * (one.raters - one.rest) if model == "2" else 0.0
    whole = one.things + (one.k - 1) * error + shift
    return (one.things - error) / whole if whole > 0 else None


def _interval(one: _MeanSquares, model: str, probability: float) -> tuple[float | None, float | None]:
    """Return the interval of the correlation of single ratings; McGraw and Wong, table 7.

    Args:
        one: the mean squares.
        model: 1, 2 or 3.
        probability: of the upper limit.
    """
    from scipy.special import fdtri

    n, k = one.n, one.k
    error = one.within if model == "1" else one.rest
    if error == 0:
        return None, None
    degrees: float = n * (k - 1) if model == "1" else (n - 1) * (k - 1)
    if model == "2":
        degrees = _degrees(one)
        if not degrees > 0:
            return None, None
    below, above = float(fdtri(n - 1, degrees, probability)), float(fdtri(degrees, n - 1, probability))
    if model == "2":
        others = k * one.raters + (k * n - k - n) * one.rest
        low = n * (one.things - below * one.rest), below * others + n * one.things
        high = n * (above * one.things - one.rest), others + n * above * one.things
    else:
        low = one.things - below * error, one.things + (k - 1) * below * error
        high = above * one.things - error, above * one.things + (k - 1) * error
    return _ratio(*low), _ratio(*high)


def _degrees(one: _MeanSquares) -> float:
    """Return the degrees of freedom of the error that absolute agreement has (Satterthwaite's); 0 if there are none."""
    value = _icc(one, "2")
    if value is None or value >= 1:
        return 0.0
    a = one.k * value / (one.n * (1 - value)) * one.raters
    b = (1 + one.k * value * (one.n - 1) / (one.n * (1 - value))) * one.rest
    parts = a**2 / (one.k - 1) + b**2 / ((one.n - 1) * (one.k - 1))
    return (a + b) ** 2 / parts if parts > 0 else 0.0


def _ratio(over: float, under: float) -> float | None:
    return over / under if under > 0 and math.isfinite(over) and math.isfinite(under) else None


def _of_the_mean(single: float | None, raters: int) -> float | None:
    """Return the reliability of the mean of all raters (Spearman 1910 and Brown 1910); None where it is unbounded."""
    if single is None or 1 + (raters - 1) * single < 1e-12:
        return None
    return raters * single / (1 + (raters - 1) * single)
