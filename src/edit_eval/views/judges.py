"""What is said of the judges beside a run's own, as rows of a label and a text, for the terminal and for the page alike."""

from __future__ import annotations

from edit_eval.core.stats.agreement import Bridge
from edit_eval.driver.agreement import Comparison, JudgeNoise
from edit_eval.driver.summary import Estimate, JudgeSummary
from edit_eval.views.text import UNDEFINED, kinds, number

__all__ = [
    "bridge_rows",
    "comparison_rows",
    "interval",
    "judge_rows",
    "noise_said",
    "noise_table",
    "percent",
    "score_label",
]

Rows = list[tuple[str, str]]


def judge_rows(one: JudgeSummary, wanted: int) -> Rows:
    """Return the headline of a judge beside the run's own."""
    low, high = one.scale
    clusters = f" in {one.headline.clusters} clusters" if one.headline.clusters != one.headline.n else ""
    partial = "" if one.coverage >= 1 else "(partial) "
    rows = [
        (score_label(one.comparison), f"{number(one.headline.mean)} {partial}on {low:g} to {high:g}"),
        *(comparison_rows(one.comparison, one.not_applicable) if one.comparison else []),
        ("Interval", f"{interval(one.headline)} (95 %), n = {one.headline.n}{clusters}"),
        ("Coverage", f"{percent(one.coverage)} ({one.scored} of {wanted - one.not_applicable} scored)"),
    ]
    if one.bounds is not None:
        rows.append(("Bounds", f"{number(one.bounds[0])} to {number(one.bounds[1])}"))
    if one.unscored:
        rows.append(("Unscored", kinds(one.unscored)))
    for headline in one.headlines:
        digits = headline.headline.digits
        mark = " (partial)" if headline.why_partial else ""
        rows.append((headline.headline.name + mark, number(headline.mean, digits)))
    return rows


def score_label(comparison: Comparison | None) -> str:
    """Return what the headline is: a mean score, or a share of wins in which a tie counts half."""
    return "Score" if comparison is None else "Win rate"


def comparison_rows(one: Comparison, not_applicable: int) -> Rows:
    """Return how this run's edits fared against another run's, and whether the order of showing decided."""
    count = one.wins + one.ties + one.losses
    orders = UNDEFINED
    if one.disagreed is not None:
        orders = f"{_share(one.disagreed)} of {count} answered otherwise in the other order"
    bias = UNDEFINED
    if one.first_preferred is not None:
        bias = f"the first shown preferred in {_share(one.first_preferred)} of {one.decided} answers; 50 % is none"
    rows = [
        ("Against", one.against),
        ("Compared", f"wins {one.wins}, ties {one.ties}, losses {one.losses}"),
        ("Orders", orders),
        ("Bias", bias),
    ]
    if not_applicable:
        rows.append(("Left out", f"{not_applicable} that the other run has no edit of: not applicable"))
    return rows


def bridge_rows(one: Bridge) -> Rows:
    """Return how a judge relates to the run's own; what is undefined is a dash."""
    pairs = UNDEFINED
    if one.ordered == 0:
        pairs = f"{UNDEFINED} (all {one.tied} are tied)"
    elif one.ordered is not None:
        pairs = f"{_share(one.concordant)} of {one.ordered}; {one.tied} tied"
    rows = [("In common", str(one.n))]
    if one.same_scale:
        spread = f" ({number(one.low)} to {number(one.high)}, 95 %)" if one.low is not None else ""
        rows += [
            ("Mean of the run's own", number(one.first)),
            ("Mean of this one", number(one.second)),
            ("Mean shift", _signed(one.shift) + spread),
            ("Equal scores", _share(one.equal)),
            ("Krippendorff's alpha", number(one.alpha)),
        ]
    else:
        rows.append(("Scales", "differ: nothing is rescaled, order alone compares"))
    return [
        *rows,
        ("Spearman", number(one.spearman)),
        ("Kendall tau-b", number(one.kendall)),
        ("Pairs in one order", pairs),
    ]


def noise_table(one: JudgeNoise) -> list[tuple[str, ...]]:
    """Return how much a judge differs from itself, a row each for the overall score and every dimension, under a head."""
    named = [("overall", one.overall), *one.dimensions.items()]
    rows = [
        (label, str(noise.n), number(noise.mean_absolute), number(noise.deviation), _share(noise.identical))
        for label, noise in named
    ]
    return [("Judged twice", "n", "mean |diff.|", "sd of one", "identical"), *rows]


def noise_said(one: JudgeNoise) -> str:
    """Return how many edits were judged twice, of how many, where some are missing; empty if none is."""
    missing = one.wanted - one.overall.n
    if not missing:
        return ""
    unscored = f"; second time unscored: {kinds(one.unscored)}" if one.unscored else ""
    return f"{missing} of {one.wanted} have not two scores{unscored}"


def interval(estimate: Estimate) -> str:
    """Return `7.412 to 8.448`, or a dash where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return UNDEFINED
    return f"{number(estimate.low)} to {number(estimate.high)}"


def percent(share: float) -> str:
    """Return a share in per cent, rounded down: 99.97 % must not read as 100.0 %."""
    return f"{int(share * 1000 + 1e-9) / 10:.1f} %"


def _share(share: float | None) -> str:
    return UNDEFINED if share is None else f"{100 * share:.1f} %"


def _signed(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:+.3f}"
