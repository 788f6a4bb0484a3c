"""What a comparison of two runs shows, and what it does not, in one plain sentence or two, for the terminal and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from edit_eval.driver.comparison import ComparedRun, Difference, Lost, PairOfRuns, RunComparison
from edit_eval.views.tables import between, signed
from edit_eval.views.text import UNDEFINED, clean, fit, number

__all__ = ["corrections", "head_said", "lost_said", "p_value", "partial_said", "tags_said", "verdict"]

_CORRECTIONS = {"holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg"}
_LEVEL = 0.05
_IDS = 5
_NAME_COLUMNS = 36


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
