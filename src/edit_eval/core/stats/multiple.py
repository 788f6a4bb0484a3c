"""p-values of several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["benjamini_hochberg", "holm"]


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return adjusted p-values: rejecting those at most `a` errs at all with probability at most `a`.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure: of m tests the k-th smallest p is multiplied by
    m - k + 1, and none is adjusted to less than a smaller one.

    Args:
        ps: from 0 to 1; None is a test that could not be made: it stays None and does not count.

    Raises:
        ValueError: a p outside 0 to 1.
    """
    order = _order(ps)
    adjusted: list[float | None] = [None] * len(ps)
    so_far = 0.0
    for tested, (p, place) in enumerate(order):
        so_far = max(so_far, min(1.0, p * (len(order) - tested)))
        adjusted[place] = so_far
    return adjusted


def benjamini_hochberg(ps: Sequence[float | None]) -> list[float | None]:
    """Return adjusted p-values: of those rejected as at most `a`, a share of at most `a` is expected to be false.

    Benjamini and Hochberg 1995, Controlling the False Discovery Rate: of m tests the k-th smallest p is multiplied by
    m / k, and none is adjusted to more than a greater one. Holds for independent or positively dependent tests.

    Args:
        ps: from 0 to 1; None is a test that could not be made: it stays None and does not count.

    Raises:
        ValueError: a p outside 0 to 1.
    """
    order = _order(ps)
    adjusted: list[float | None] = [None] * len(ps)
    so_far = 1.0
    for number, (p, place) in reversed(list(enumerate(order, 1))):
        so_far = min(so_far, p * (len(order) / number))
        adjusted[place] = so_far
    return adjusted


def _order(ps: Sequence[float | None]) -> list[tuple[float, int]]:
    """Return the p-values that there are, the smallest first, with their places."""
    known = [(p, place) for place, p in enumerate(ps) if p is not None]
    if not all(0 <= p <= 1 for p, _ in known):
        raise ValueError("p-values must be between 0 and 1")
    return sorted(known)
