"""What a comparison of two runs shows, and what it does not, in one plain sentence or two, for the terminal and the page."""

from __future__ import annotations

from edit_eval.driver.comparison import Difference, PairOfRuns, RunComparison
from edit_eval.views.tables import between, signed
from edit_eval.views.text import UNDEFINED, number

__all__ = ["corrections", "p_value", "verdict"]

_CORRECTIONS = {"holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg"}
_LEVEL = 0.05


def verdict(comparison: RunComparison, pair: PairOfRuns) -> str:
    """Return which of two runs is better and by how much, or that no difference could be shown, and how small one could be."""
    base, other = comparison.runs[pair.base].label, comparison.runs[pair.other].label
    whole = pair.overall
    said = [f"{base} and {other} are the same run."] if pair.same_run else []
    if whole.n == 0:
        return " ".join(
            [*said, f"No sample has a score in both {base} and {other}: no difference can be computed."]
        )
    if whole.ties == whole.n:
        return " ".join([*said, f"{base} and {other} have the same score in {_all_of(whole.n)}."])
    if whole.difference is None or whole.p is None:
        text = (
            f"{other} is at {signed(whole.difference)} from {base} over {_samples(whole)}: of one cluster alone nothing "
            "can be said of how certain that is."
        )
        return " ".join([*said, text])
    correction = f", corrected for {len(comparison.pairs)} comparisons" if comparison.pairs_correction else ""
    certainty = f"p {p_value(whole.corrected_p)}{correction}"
    said.append(
        _shown(whole, base, other, certainty) if whole.shown else _not_shown(whole, base, other, certainty)
    )
    if whole.smallest:
        said.append(
            f"The smallest difference that these {_samples(whole)} could show, four times in five, is {number(whole.smallest)}."
        )
    said += [_headline(one, base, other) for one in pair.headlines[:1]]
    if not 2 ** (1 - whole.clusters) < _LEVEL:
        said.append(f"With {whole.clusters} clusters no difference can be shown, however large.")
    elif whole.few:
        said.append(f"With {whole.clusters} clusters, fewer than 20, the interval is rough.")
    return " ".join(said)


def _shown(one: Difference, base: str, other: str, certainty: str) -> str:
    better, worse, sign = (other, base, 1) if (one.difference or 0.0) > 0 else (base, other, -1)
    size = None if one.difference is None else abs(one.difference)
    interval = UNDEFINED
    if one.low is not None and one.high is not None:
        interval = between(*((one.low, one.high) if sign > 0 else (-one.high, -one.low)))
    return f"{better} is better than {worse} by {number(size)} (95 % interval {interval}, {certainty}) over {_samples(one)}."


def _not_shown(one: Difference, base: str, other: str, certainty: str) -> str:
    interval = UNDEFINED if one.low is None else f"{signed(one.low)} to {signed(one.high)}"
    return (
        f"No difference between {base} and {other} could be shown: {other} is at {signed(one.difference)} "
        f"(95 % interval {interval}, {certainty}) over {_samples(one)}."
    )


def _headline(one: Difference, base: str, other: str) -> str:
    """Return the same of the benchmark's own number, which has an interval alone."""
    if one.difference is None or one.low is None or one.high is None:
        return (
            f"In {one.name} the difference is {signed(one.difference)}; how certain that is cannot be said."
        )
    interval = f"{signed(one.low)} to {signed(one.high)}"
    if one.low <= 0 <= one.high:
        return f"In {one.name} no difference could be shown ({signed(one.difference)}, 95 % interval {interval})."
    better, worse = (other, base) if one.difference > 0 else (base, other)
    return (
        f"In {one.name} {better} is better than {worse} by {number(abs(one.difference))} "
        f"(95 % interval of {other} - {base}: {interval})."
    )


def _samples(one: Difference) -> str:
    clusters = (
        f" in {one.clusters} cluster{'s' if one.clusters != 1 else ''}" if one.clusters != one.n else ""
    )
    return f"{one.n} sample{'s' if one.n != 1 else ''}{clusters}"


def _all_of(count: int) -> str:
    return "the one sample that both scored" if count == 1 else f"all {count} samples that both scored"


def p_value(p: float | None) -> str:
    """Return a p as people write it: three decimals, `< 0.001` below; a dash where there is none."""
    if p is None:
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def corrections(correction: str | None, count: int) -> str:
    """Return how p is corrected: `corrected for 14 values (Benjamini-Hochberg)`; empty where it is not."""
    return f"corrected for {count} values ({_CORRECTIONS[correction]})" if correction else ""
