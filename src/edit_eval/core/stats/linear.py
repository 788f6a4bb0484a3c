"""The standard error of a mean, and of a mean of groups' means, over clusters of unequal sizes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edit_eval.core.stats.labels import numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LinearError", "linear_error"]


@dataclass(frozen=True)
class LinearError:
    """How well a mean of groups' means is known.

    Attributes:
        clusters: groups of dependent values.
        standard_error: None where no group has values of two clusters.
        degrees: of freedom of the standard error, of Student's t; None where that is.
    """

    clusters: int
    standard_error: float | None
    degrees: float | None


def linear_error(
    residuals: Sequence[float],
    clusters: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> LinearError:
    """Return the standard error of sum_k R_k / K, R_k being the sum of the values of group k over the sum of its weights.

    The estimator is CR2 of Bell and McCaffrey 2002 (Bias Reduction in Standard Errors for Linear Regression with Multi-Stage
    Samples), for the regression on the groups: with W_k the weight of group k, f_ck the share of it that lies in cluster c and
    S_ck the sum of the residuals there,

        SE^2 = sum_c U_c^2,    U_c = sum_k S_ck / (K W_k sqrt(1 - f_ck)).

    With one group and clusters of equal weight that is the usual C/(C-1) sum_c S_c^2 / W^2. The degrees of freedom are
    Satterthwaite's, 2 E(SE^2)^2 / Var(SE^2), under the model of Imbens and Kolesar 2016 (Robust Standard Errors in Small Samples): equal variances, and one correlation between values of a cluster, estimated from the residuals and held to 0..1.
    They are C - 1 with one group and clusters of equal weight, and fewer the more unequal the clusters are.

    A group all of which is in one cluster shows no spread of its own: it is taken to have that of the model, which the other groups
    estimate (SE^2 is raised by the ratio of the model's variance with and without it).

    Args:
        residuals: of each value, value - weight * R_k.
        clusters: of each value.
        weights: of each value, positive; None: 1.
        groups: of each value; None: all are of one.
    """
    import numpy as np

    cluster, count = numbered(clusters)
    if count < 2:
        return LinearError(count, None, None)
    left = np.asarray(residuals, dtype=float)
    weight = np.ones(len(left)) if weights is None else np.asarray(weights, dtype=float)
    group, kinds = (0, 1) if groups is None else numbered(groups)
    cell = cluster * kinds + group

    def by_cell(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(cell, values, count * kinds).astype(float)
        return sums.reshape(count, kinds)

    mass = by_cell(weight)
    whole = mass.sum(axis=0)
    shows = (mass > 0).sum(axis=0) > 1  # groups of two clusters and more
    if not shows.any():
        return LinearError(count, None, None)
    share = np.where(shows, mass / whole, 0.0)
    factors = np.where(shows, 1 / (kinds * whole * np.sqrt(1 - share)), 0.0)
    square = float((np.square((factors * by_cell(left)).sum(axis=1))).sum())
    alike = _correlation(left, weight, by_cell(left).sum(axis=1), mass.sum(axis=1))
    model = _Model(mass, by_cell(weight**2), alike)
    expected, degrees = model.satterthwaite(factors, share)
    if not shows.all():
        square *= model.variance(1 / (kinds * whole)) / expected
    return LinearError(count, square**0.5, degrees)


def _correlation(
    left: NDArray[np.float64],
    weight: NDArray[np.float64],
    sums: NDArray[np.float64],
    masses: NDArray[np.float64],
) -> float:
    """Return the correlation of values within clusters: mean product of pairs over mean square; 0 where there are no pairs."""
    squares, own = float(left @ left), float(weight @ weight)
    pairs = float(masses @ masses) - own
    if pairs <= 1e-9 * own or squares == 0:
        return 0.0
    return min(1.0, max(0.0, (float(sums @ sums) - squares) / pairs * own / squares))


class _Model:
    """Values of variance weight squared, those of one cluster correlated alike; all up to one factor.

    Args:
        mass: sum of weights by cluster and group.
        own: sum of squared weights, likewise.
        alike: the correlation, 0..1.
    """

    def __init__(self, mass: NDArray[np.float64], own: NDArray[np.float64], alike: float) -> None:
        import numpy as np

        self.mass, self.own, self.alike = mass, own, alike
        # Covariances of the sums over groups.
        self.total = (1 - alike) * np.diag(own.sum(axis=0)) + alike * mass.T @ mass

    def variance(self, factors: NDArray[np.float64]) -> float:
        """Return the variance of the sum of the groups' sums times these factors."""
        return float(factors @ self.total @ factors)

    def satterthwaite(self, factors: NDArray[np.float64], share: NDArray[np.float64]) -> tuple[float, float]:
        """Return the expectation of sum_c U_c^2 and its degrees of freedom.

        The covariances of the U_c are those of T_ck - f_ck sum_d T_dk, T_ck being the sum in cluster c and group k, times the
        factors: a diagonal matrix D plus one of low rank, L M L', so that no matrix of clusters by clusters is made.
        """
        import numpy as np

        own = (1 - self.alike) * factors * self.own
        with_sums = own + self.alike * (factors * self.mass).sum(axis=1, keepdims=True) * self.mass
        diagonal = (factors * with_sums).sum(axis=1)
        left = np.hstack([with_sums, factors * share])
        unit = np.eye(len(self.total))
        middle = np.block([[np.zeros_like(unit), -unit], [-unit, self.total]])
        product = middle @ (left.T @ left)
        on_diagonal = ((left @ middle) * left).sum(axis=1)
        trace = float(diagonal.sum() + np.trace(product))
        norm = float(diagonal @ diagonal + 2 * diagonal @ on_diagonal + (product * product.T).sum())
        return trace, trace**2 / norm
