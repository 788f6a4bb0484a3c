"""What a run says so far: one row per sample and repeat, and the numbers with their error bars.

Reads a run directory's ledgers through `driver.store`; decides nothing about showing them. Every view, the exit code
and the canonical export start from here, so that they cannot disagree.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.core.headlines import HeadlineEstimate, Scored, estimate
from edit_eval.core.stats import bounds, mean_interval
from edit_eval.core.stats.agreement import Bridge
from edit_eval.core.types import Rubric
from edit_eval.driver.agreement import (
    Comparison,
    JudgeNoise,
    bridge_between,
    comparison_of,
    dimension_labels,
    noise_between,
)
from edit_eval.driver.config import Config
from edit_eval.driver.distributions import Distribution, distribution
from edit_eval.driver.judges import RecordedJudge, main_judge, other_judges
from edit_eval.driver.loading import loading_text
from edit_eval.driver.plan import Judging
from edit_eval.driver.protocol import OFFICIAL, PARTIAL
from edit_eval.driver.rows import Row, read_rows, rows_of
from edit_eval.driver.runinfo import distinct, hosts_in, mapping, shard_of, starts_in
from edit_eval.driver.spending import Spent, spent_on
from edit_eval.driver.store import RunReader

__all__ = ["Estimate", "JudgeSummary", "Row", "Summary", "read_rows", "summarize"]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        n: samples scored (repeats of one sample count once).
        clusters: groups of dependent samples among them.
        mean: None if n is 0.
        standard_error: clustered; None under two clusters.
        low, high: the interval, cut at the ends of the scale (where no mean can be); None under two clusters.
        minimum, maximum: over samples; None if n is 0.
    """

    n: int
    clusters: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True)
class JudgeSummary:
    """The numbers of a judge beside the run's own, about the same edits.

    Attributes:
        id: of judge and rubrics, 16 hex digits.
        judge, protocol, scale, scored, unscored, coverage, headline, headlines, bounds: as in `Summary`.
        bridge: how it relates to the run's own judge.
        noise: how much it differs from itself; None if it was not asked about any edit twice.
        not_applicable: samples times repeats that it cannot compare, for the other run has no edit of them; no part of
            coverage.
        comparison: how the edits fared against another run's; None if this judge does not compare.
    """

    id: str
    judge: str
    protocol: str
    scale: tuple[float, float]
    scored: int
    unscored: Mapping[str, int]
    coverage: float
    headline: Estimate
    headlines: Sequence[HeadlineEstimate]
    bounds: tuple[float, float] | None
    bridge: Bridge
    noise: JudgeNoise | None = None
    not_applicable: int = 0
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Summary:
    """The numbers of a run.

    Attributes:
        run: name of the run directory.
        protocol: protocol id, e.g. `scenes/v1+reference-v1`.
        editor, judge: as people know them (type and model); judge is None for a run without judging.
        scale: smallest and largest possible overall score.
        wanted: samples times repeats.
        edited: how many have an edit.
        edit_failed: how many failed, by kind; of those that are applicable.
        scored: how many verdicts have scores.
        unscored: how many have none, by kind.
        coverage: scored / what of wanted is applicable, or without a judge edited / wanted, 0..1.
        min_coverage: below it the run counts as partial (exit code 3).
        headline: the mean of the overall score over samples.
        headlines: the benchmark's own numbers, the most important first; empty where it has none.
        bounds: at coverage < 1, the mean if everything missing had the lowest, or the highest, score.
        dimensions: estimate by dimension; a name that stands for several scales has them behind it (`reasoning (0 to 1)`).
            None of a judge that compares: the answers to which is better have no mean.
        tags: tag name -> tag value -> estimate of the overall score, n 0 where none of it has one; a tag that only names
            each sample is left out.
        facts: lines of provenance for people: size policies, versions, device names ... (label -> text).
        tag_coverage: tag name -> tag value -> scored / wanted, for the same tags.
        flagged: how many edits have flags.
        flags: how many have each; an edit may have several.
        first_frames: how many edits are of the first frame or page of a source that has several.
        noise: how much the judge differs from itself; None if it was not asked about any edit twice.
        not_applicable: how many of wanted the judge cannot compare, for the other run has no edit of them.
        comparison: how the edits fared against another run's; None if the judge does not compare.
        others: the judges beside the run's own that have given a verdict on these edits.
        spent: on all verdicts that the directory holds, and those that they replaced.
        distribution: how the overall scores of all verdicts, repeats among them, lie over the scale; None where there is no
            judge, or one that compares.
        distributions: likewise, of each dimension, by the names of `dimensions`.
    """

    run: str
    protocol: str
    editor: str
    judge: str | None
    scale: tuple[float, float]
    wanted: int
    edited: int
    edit_failed: Mapping[str, int]
    scored: int
    unscored: Mapping[str, int]
    coverage: float
    min_coverage: float
    headline: Estimate
    bounds: tuple[float, float] | None
    dimensions: Mapping[str, Estimate]
    tags: Mapping[str, Mapping[str, Estimate]]
    facts: Mapping[str, str] = field(default_factory=dict)
    tag_coverage: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    flagged: int = 0
    flags: Mapping[str, int] = field(default_factory=dict)
    first_frames: int = 0
    headlines: Sequence[HeadlineEstimate] = ()
    noise: JudgeNoise | None = None
    not_applicable: int = 0
    comparison: Comparison | None = None
    others: Sequence[JudgeSummary] = ()
    spent: Spent = field(default_factory=Spent)
    distribution: Distribution | None = None
    distributions: Mapping[str, Distribution] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many are neither scored nor unscored nor failed yet."""
        ended = self.scored + sum(self.unscored.values()) + sum(self.edit_failed.values())
        return self.wanted - self.not_applicable - ended

    @property
    def complete(self) -> bool:
        """Whether coverage reaches `min_coverage`."""
        return self.reaches(judged=True)

    def reaches(self, *, judged: bool) -> bool:
        """Whether the share of what is wanted reaches `min_coverage`: of scores, or (not `judged`) of edits alone."""
        share = self.coverage if judged else _share(self.edited, self.wanted)
        falls_to_none = not self.wanted and "shard" in self.facts
        return share >= self.min_coverage or falls_to_none


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def summarize(run: RunReader, rows: Sequence[Row] | None = None) -> Summary:
    """Return the numbers of a run. Repeats of one sample are averaged first: the unit is the sample."""
    rows = read_rows(run) if rows is None else rows
    info = run.info
    judge = main_judge(info)
    rubrics = _rubrics(judge)
    counted = [row for row in rows if row.applicable]
    scored = [row for row in counted if _overall(row) is not None]
    scale = _scale(rubrics)
    headlines = _headlines(judge, counted)
    edited = sum(1 for row in rows if row.edited)
    tags = _by_tag([(row, _overall(row)) for row in counted], scale) if judge else {}
    return Summary(
        run=str(info.get("name", run.path.name)),
        protocol=_protocol_id(str(info.get("protocol", "")), headlines),
        editor=str(info.get("editor", "")),
        judge=info.get("judge"),
        scale=scale,
        wanted=len(rows),
        edited=edited,
        edit_failed=_count(row.edit_failure[0] for row in counted if row.edit_failure),
        scored=len(scored),
        unscored=_unscored(rows),
        coverage=_share(len(scored) if judge else edited, len(counted)),
        min_coverage=info.get("min_coverage", Config.model_fields["min_coverage"].default),
        headline=_estimate(_scored([(row, _overall(row)) for row in counted]), scale),
        headlines=headlines,
        bounds=_bounds(counted, scale) if judge else None,
        dimensions=_by_dimension(judge.judging, scored) if judge else {},
        tags=tags,
        facts=_facts(info, judge) | _unlooked(rows),
        tag_coverage=_tag_coverage(tags, counted),
        spent=spent_on(run.verdicts.values()),
        flagged=sum(1 for row in rows if row.flags),
        flags=_count(flag for row in rows for flag in row.flags),
        first_frames=sum(1 for row in rows if row.edit.get("first_frames")),
        noise=_noise(run, rows, judge) if judge else None,
        not_applicable=len(rows) - len(counted),
        comparison=comparison_of(counted, judge.judging) if judge else None,
        others=_others(run, rows, judge),
        distribution=_distribution(judge, counted, scale),
        distributions=_distributions(judge.judging, counted) if judge else {},
    )


def _distribution(
    judge: RecordedJudge | None, rows: Sequence[Row], scale: tuple[float, float]
) -> Distribution | None:
    if judge is None or judge.judging.against is not None or not scale[1] > scale[0]:
        return None
    values = [value for value in map(_overall, rows) if value is not None]
    return distribution(values, *scale, missing=sum(map(_done_without_score, rows)))


def _distributions(judging: Judging, rows: Sequence[Row]) -> dict[str, Distribution]:
    """Return how the scores of each dimension lie, over its own scale."""
    if judging.against is not None:
        return {}
    labels = dimension_labels(judging)
    found: dict[tuple[str, float, float], list[float]] = {part: [] for part in labels}
    missing: Counter[tuple[str, float, float]] = Counter()
    for row in rows:
        scores = row.verdict.scores if row.verdict and row.verdict.overall is not None else {}
        for one in judging.rubric_of(row.sample).dimensions:
            if one.name in scores:
                found[one.name, one.low, one.high].append(scores[one.name])
            elif not scores and _done_without_score(row):
                missing[one.name, one.low, one.high] += 1
    return {
        labels[part]: distribution(values, *part[1:], missing=missing[part])
        for part, values in found.items()
        if part[2] > part[1]
    }


def _done_without_score(row: Row) -> bool:
    return row.edited is False or (row.verdict is not None and row.verdict.overall is None)


def _others(run: RunReader, rows: Sequence[Row], own: RecordedJudge | None) -> list[JudgeSummary]:
    """Return the judges beside the run's own; one without any verdict on the present edits says nothing of them."""
    if own is None:
        return []
    judged = [(judge, rows_of(run, rows, judge.judging)) for judge in other_judges(run.info)]
    return [
        _judge_summary(judge, theirs, rows, own, _noise(run, theirs, judge))
        for judge, theirs in judged
        if any(row.verdict for row in theirs)
    ]


def _judge_summary(
    judge: RecordedJudge,
    rows: Sequence[Row],
    own_rows: Sequence[Row],
    own: RecordedJudge,
    noise: JudgeNoise | None,
) -> JudgeSummary:
    counted = [row for row in rows if row.applicable]
    scale, headlines = _scale(_rubrics(judge)), _headlines(judge, counted)
    overall = _scored([(row, _overall(row)) for row in counted])
    return JudgeSummary(
        id=judge.judging.id[:16],
        judge=judge.title,
        protocol=_protocol_id(judge.protocol, headlines),
        scale=scale,
        scored=len(overall),
        unscored=_unscored(counted),
        coverage=_share(len(overall), len(counted)),
        headline=_estimate(overall, scale),
        headlines=headlines,
        bounds=_bounds(counted, scale),
        bridge=bridge_between(own_rows, rows, own.judging, judge.judging),
        noise=noise,
        not_applicable=len(rows) - len(counted),
        comparison=comparison_of(counted, judge.judging),
    )


def _noise(run: RunReader, rows: Sequence[Row], judge: RecordedJudge) -> JudgeNoise | None:
    twice = run.judged_twice(judge.repeat_fraction)
    if not twice:
        return None
    again = rows_of(run, rows, judge.judging, repeat=1, among=twice)
    return noise_between([row for row in rows if row.edit_key in twice], again, judge.judging)


def _rubrics(judge: RecordedJudge | None) -> list[Rubric]:
    return list(judge.judging.rubrics.values()) if judge else []


def _scale(rubrics: Sequence[Rubric]) -> tuple[float, float]:
    """Return the least and the greatest overall score that there can be."""
    return (min(one.low for one in rubrics), max(one.high for one in rubrics)) if rubrics else (0.0, 0.0)


def _unscored(rows: Sequence[Row]) -> dict[str, int]:
    return _count(row.verdict.unscored for row in rows if row.verdict and row.verdict.unscored)


def _bounds(rows: Sequence[Row], scale: tuple[float, float]) -> tuple[float, float] | None:
    """Return the mean if all that is missing had the lowest, or the highest, score; None if nothing is."""
    values = [value for value in map(_overall, rows) if value is not None]
    return bounds(values, len(rows) - len(values), *scale) if len(values) < len(rows) else None


def _overall(row: Row) -> float | None:
    return row.verdict.overall if row.verdict else None


def _count(kinds: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(kinds).items()))


_MANY = 20
"""Above so many samples, a tag with another value for each of them is a name and no group."""


def _estimate(values: Sequence[tuple[Row, float]], scale: tuple[float, float]) -> Estimate:
    means, clusters = _by_sample(values)
    known = mean_interval(means, clusters)
    return Estimate(
        n=known.n,
        clusters=known.clusters,
        mean=known.mean,
        standard_error=known.standard_error,
        low=None if known.low is None else max(known.low, scale[0]),
        high=None if known.high is None else min(known.high, scale[1]),
        minimum=min(means, default=None),
        maximum=max(means, default=None),
    )


def _by_sample(values: Sequence[tuple[Row, float]]) -> tuple[list[float], list[str]]:
    """Return the mean value of every sample, and its cluster; without repeats there is nothing to average."""
    ids = [row.sample.id for row, _ in values]
    clusters = [row.sample.cluster for row, _ in values]
    if len(set(ids)) == len(ids):
        return [value for _, value in values], clusters
    by_sample: dict[str, list[float]] = {}
    for one, (_, value) in zip(ids, values, strict=True):
        by_sample.setdefault(one, []).append(value)
    cluster_of = dict(zip(ids, clusters, strict=True))
    return [math.fsum(part) / len(part) for part in by_sample.values()], [
        cluster_of[one] for one in by_sample
    ]


def _headlines(judge: RecordedJudge | None, rows: Sequence[Row]) -> list[HeadlineEstimate]:
    if judge is None or not judge.headlines:
        return []
    repeats: dict[str, list[Row]] = {}
    for row in rows:
        repeats.setdefault(row.sample.id, []).append(row)
    samples = [
        Scored(
            cluster=group[0].sample.cluster,
            tags=group[0].sample.tags,
            rubric=judge.judging.rubric_of(group[0].sample),
            verdicts=[
                (row.verdict.scores, row.verdict.overall)
                for row in group
                if row.verdict and row.verdict.overall is not None
            ],
        )
        for group in repeats.values()
    ]
    try:
        return [estimate(one, samples) for one in judge.headlines]
    except ValueError as error:
        raise RunError(
            f"a headline of this run cannot be computed: {error}; 'edit-eval run' writes it anew"
        ) from error


def _protocol_id(text: str, headlines: Sequence[HeadlineEstimate]) -> str:
    """Return the protocol's id; what is official is so only if nothing is missing."""
    if text.endswith(OFFICIAL) and any(one.why_partial for one in headlines):
        return text.removesuffix(OFFICIAL) + PARTIAL
    return text


def _by_dimension(judging: Judging, scored: Sequence[Row]) -> dict[str, Estimate]:
    """Return estimates by dimension; where rubrics have scales of their own for one name, each scale has its own mean."""
    if judging.against is not None:  # answers to "which is better" in two orders: their means say nothing
        return {}
    labels = dimension_labels(judging)
    found: dict[tuple[str, float, float], list[tuple[Row, float]]] = {part: [] for part in labels}
    for row in scored:
        for one in judging.rubric_of(row.sample).dimensions:
            if row.verdict and one.name in row.verdict.scores:
                found[one.name, one.low, one.high].append((row, row.verdict.scores[one.name]))
    return {labels[part]: _estimate(values, part[1:]) for part, values in found.items()}


def _by_tag(
    values: Sequence[tuple[Row, float | None]], scale: tuple[float, float]
) -> dict[str, dict[str, Estimate]]:
    """Return estimates by tag; what has no score gives its tag a line all the same."""
    tagged: dict[str, dict[str, list[tuple[Row, float | None]]]] = {}
    for row, value in values:
        for name, tag in row.sample.tags.items():
            tagged.setdefault(name, {}).setdefault(tag, []).append((row, value))
    return {
        name: {tag: _estimate(_scored(groups[tag]), scale) for tag in sorted(groups)}
        for name, groups in sorted(tagged.items())
        if len(groups) <= _MANY or len(groups) < _samples_in(groups.values())
    }


def _scored(group: Iterable[tuple[Row, float | None]]) -> list[tuple[Row, float]]:
    return [(row, value) for row, value in group if value is not None]


def _tag_coverage(
    tags: Mapping[str, Mapping[str, Estimate]], rows: Sequence[Row]
) -> dict[str, dict[str, float]]:
    wanted = Counter((name, tag) for row in rows for name, tag in row.sample.tags.items() if name in tags)
    there = Counter(
        (name, tag) for row in rows if _overall(row) is not None for name, tag in row.sample.tags.items()
    )
    return {
        name: {tag: _share(there[name, tag], wanted[name, tag]) for tag in groups}
        for name, groups in tags.items()
    }


def _unlooked(rows: Sequence[Row]) -> dict[str, str]:
    """Say how many edits were made before flags were looked for."""
    count = sum(1 for row in rows if row.edited and "flags" not in row.edit)
    return {"flags": f"not looked for in {count} edits, made by an earlier version"} if count else {}


def _samples_in(groups: Iterable[Sequence[tuple[Row, float | None]]]) -> int:
    return len({row.sample.id for group in groups for row, _ in group})


def _facts(info: Mapping[str, Any], judge: RecordedJudge | None) -> dict[str, str]:
    """Return the provenance that people ask for first, as far as run.json has it."""
    facts = {
        "editor": info.get("editor"),
        "editor's sizes": mapping(info.get("size_policy")).get("editor"),
        "judge": info.get("judge"),
        "judge's sizes": info.get("judge_size_policy"),
        "judge and rubric": judge.judging.id[:16] if judge else None,
    }
    starts = starts_in(info)
    hosts = hosts_in(starts)
    for label, name in (
        ("accelerators", "accelerator"),
        ("torch", "torch"),
        ("diffusers", "diffusers"),
        ("transformers", "transformers"),
        ("pillow", "pillow"),
        ("host python", "python"),
    ):
        facts[label] = distinct(host.get(name) for host in hosts)
    last = mapping(starts[-1].get("hosts")) if starts else {}
    for stage, label in (("edit", "editor loaded"), ("judge", "judge loaded")):
        facts[label] = loading_text(
            [mapping(one) for name, one in last.items() if name.startswith(f"{stage} ")]
        )
    facts["edit-eval"] = ", ".join(sorted({str(start.get("edit_eval", "?")) for start in starts}))
    facts["starts"] = str(len(starts))
    facts["shard"] = shard_of(info)
    facts["merged from shards"] = ", ".join(mapping(info.get("shards")))
    facts["seed"] = mapping(info.get("config")).get("seed")
    return {label: str(text) for label, text in facts.items() if text not in (None, "")}
