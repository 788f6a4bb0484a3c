"""What a comparison of two runs shows, and what it does not, in one plain sentence or two, for the terminal and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from edit_eval.core.stats import Variance
from edit_eval.driver.comparison import ComparedRun, Difference, Lost, PairOfRuns, RunComparison
from edit_eval.views.tables import between, signed
from edit_eval.views.text import UNDEFINED, clean, fit, number

__all__ = [
    "corrections",
    "head_said",
    "lost_said",
    "p_value",
    "partial_said",
    "spread_said",
    "tags_said",
    "verdict",
]

_CORRECTIONS = {"holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg"}
_LEVEL = 0.05
_IDS = 5
_NAME_COLUMNS = 36


def verdict(comparison: RunComparison, pair: PairOfRuns) -> str:
    """Return which of two runs is better and by how much, or that no difference could be shown, and how small one could be.

    The benchmark's most important number comes first where it has any, then the mean overall score.
    """
    return " ".join(_sentences(comparison, pair))


def _sentences(comparison: RunComparison, pair: PairOfRuns) -> Iterator[str]:
    base, other = comparison.runs[pair.base].label, comparison.runs[pair.other].label
    whole = pair.overall
    if pair.same_run:
        yield f"{base} and {other} are the same run."
    if whole.n == 0:
        yield f"No sample has a score in both {base} and {other}: no difference can be computed."
        return
    for one in pair.headlines[:1]:
        if one.difference != 0 or whole.ties != whole.n:
            yield _claim(one, base, other, comparison, f"In {one.name}, ")
    if whole.ties == whole.n:
        yield f"{base} and {other} have the same score in {_all_of(whole.n)}."
        return
    yield _claim(whole, base, other, comparison, "In the mean overall score, " if pair.headlines else "")
    if pair.main.smallest:
        of = f" in {pair.main.name}" if pair.headlines else ""
        yield (
            f"The smallest difference{of} that these {_samples(pair.main)} could show, four times in five, is "
            f"{number(pair.main.smallest)}."
        )
    if whole.p is not None and not 2 ** (1 - whole.clusters) < _LEVEL:
        yield f"With {whole.clusters} clusters no difference can be shown, however large."
    elif whole.p is not None and whole.few:
        yield f"With {whole.clusters} clusters, fewer than 20, the interval is rough."


def _claim(one: Difference, base: str, other: str, comparison: RunComparison, of: str) -> str:
    """Return what is shown of one difference, or that nothing is; `of` says of which, and may be empty."""
    if one.difference is None:
        return f"{of}no difference can be computed{f': {one.why_undefined}' if one.why_undefined else ''}."
    if one.p is None:
        return (
            f"{of}{other} is at {signed(one.difference)} from {base} over {_samples(one)}: of one cluster alone nothing "
            "can be said of how certain that is."
        )
    several = f", corrected for {len(comparison.pairs)} comparisons" if one.adjusted_p is not None else ""
    certainty = f"p {p_value(one.corrected_p)}{several}"
    if not one.shown:
        no = "no" if of else "No"
        interval = between(one.low, one.high, sign=True)
        return (
            f"{of}{no} difference between {base} and {other} could be shown: {other} is at {signed(one.difference)} "
            f"(95 % interval {interval}, {certainty}) over {_samples(one)}."
        )
    better, worse = (other, base) if one.difference > 0 else (base, other)
    low, high = one.low, one.high
    if one.difference < 0 and low is not None and high is not None:
        low, high = -high, -low
    return (
        f"{of}{better} is better than {worse} by {number(abs(one.difference))} "
        f"(95 % interval {between(low, high)}, {certainty}) over {_samples(one)}."
    )


def _samples(one: Difference) -> str:
    clusters = (
        f" in {one.clusters} cluster{'s' if one.clusters != 1 else ''}" if one.clusters != one.n else ""
    )
    return f"{one.n} sample{'s' if one.n != 1 else ''}{clusters}"


def _all_of(count: int) -> str:
    return "the one sample that both scored" if count == 1 else f"all {count} samples that both scored"


def spread_said(label: str, one: Variance) -> str:
    """Return where the spread of a run's scores comes from, and what would lower the standard error of its mean most."""
    parts = [
        ("samples", one.sample),
        ("seeds", one.seed),
        ("judgements", one.judge),
        ("samples and seeds together", one.sample_and_seed if one.sample is None else None),
        (
            "seeds and judgements together",
            one.seed_and_judge if one.seed is None and one.judge is None else None,
        ),
    ]
    said = ", ".join(f"{number(value)} between {what}" for what, value in parts if value is not None)
    text = f"{label}: the variance of its scores is {said}."
    if one.standard_error is None or one.doubled is None:
        return text
    better = [
        f"{number(error)} with twice the {what}" for what, error in one.doubled.items() if error is not None
    ]
    return (
        f"{text} The standard error of its mean, {number(one.standard_error)}, would be {', '.join(better)}."
    )


def p_value(p: float | None) -> str:
    """Return a p as people write it: three decimals, `< 0.001` below; a dash where there is none."""
    if p is None:
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def corrections(correction: str | None, count: int) -> str:
    """Return how p is corrected: `corrected for 14 values (Benjamini-Hochberg)`; empty where it is not."""
    return f"corrected for {count} values ({_CORRECTIONS[correction]})" if correction else ""


def head_said(comparison: RunComparison) -> list[str]:
    """Return by what runs are compared, and whether that is the same for all of them; of protocols a line each."""
    low, high = comparison.scale
    rubrics = ", ".join(comparison.rubrics)
    lines = [f"{len(comparison.runs)} runs compared by {comparison.judge}, {rubrics}, on {low:g} to {high:g}"]
    if not comparison.same_judging:
        lines.append("Not judged alike: a difference may be that of judges or rubrics, and not of edits.")
    lines += [
        f"{one.label}: by a judge beside the run's own, {one.summary.judge}."
        for one in comparison.runs
        if not one.own_judge
    ]
    if comparison.protocols:
        lines.append("Protocols differ:")
        lines += [
            f"  {run.label}: {protocol}"
            for run, protocol in zip(comparison.runs, comparison.protocols, strict=True)
        ]
    return lines


def partial_said(run: ComparedRun) -> str:
    """Return that a run lacks scores, and where its mean would be if they were the lowest or the highest."""
    text = f"{run.label} is partial: {run.scored} of {run.wanted} scored."
    if run.bounds is not None:
        low, high = run.bounds
        text += f" Its mean would be {number(low)} to {number(high)} if all that is missing had the lowest or highest score."
    return text


def tags_said(pair: PairOfRuns) -> str:
    """Return how many values of tags stand out."""
    out = sum(one.shown for one in pair.tags)
    many = len(dict.fromkeys(one.tag for one in pair.tags))
    of = f"{len(pair.tags)} values of {'a tag' if many == 1 else f'{many} tags'}"
    return f"Of {of}, {out or 'none'} stand{'s' if out < 2 else ''} out."


def lost_said(lost: Lost, base: ComparedRun, other: ComparedRun) -> list[str]:
    """Return what is not compared, and why; the first line says how much. Empty where nothing is lost."""
    if not lost.count and not lost.partly:
        return []
    lines = [f"Not compared: {lost.count} sample{'s' if lost.count != 1 else ''}"]
    for run, ids in ((base, lost.only_base), (other, lost.only_other)):
        if ids:
            lines.append(f"only in {run.label}: {_ids(ids)}")
    if lost.changed:
        what = ", ".join(sorted({one for found in lost.changed.values() for one in found}))
        lines.append(f"another sample of that id ({what}): {_ids(lost.changed)}")
    for run, without in ((base, lost.without_base), (other, lost.without_other)):
        if without:
            kinds = ", ".join(
                f"{count} {clean(kind)}" for kind, count in Counter(without.values()).most_common()
            )
            lines.append(f"without a score in {run.label}: {_ids(without)}: {kinds}")
    if lost.partly:
        lines.append(f"{lost.partly} are compared by those of their repeats that are scored")
    return lines


def _ids(ids: Iterable[str]) -> str:
    every = list(ids)
    shown = ", ".join(fit(clean(one), _NAME_COLUMNS, "...") for one in every[:_IDS])
    return f"{len(every)} ({shown}{', ...' if len(every) > _IDS else ''})"
