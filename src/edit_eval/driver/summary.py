"""What a run says so far: one row per sample and repeat, and the numbers with their error bars.

Reads a run directory's ledgers through `driver.store`; decides nothing about showing them. Every view, the exit code
and the canonical export start from here, so that they cannot disagree.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.core.headlines import Headline, HeadlineEstimate, Scored, estimate
from edit_eval.core.stats import bounds, mean_interval
from edit_eval.core.types import Sample, Verdict
from edit_eval.driver.config import Config
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.protocol import OFFICIAL, PARTIAL
from edit_eval.driver.spending import Spent, spent_on
from edit_eval.driver.store import RunReader, image_path, thumbnail_path

__all__ = ["Estimate", "Row", "Summary", "read_rows", "summarize"]


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
class Row:
    """One sample and repeat, as far as it got.

    Attributes:
        index: 0-based position in the benchmark (times repeats).
        sample: the sample.
        repeat: 0-based.
        edit_key: 64 hex digits.
        edited: True, False (failed), or None (not done yet).
        edit_failure: kind and message where `edited` is False.
        edit: the ledger's record of the edit: `sha256`, `width`, `height`, `seconds`, `device`, `first_frames` (numbers
            of the sources of which the first frame or page was used) ...
        image: path of the edit, relative to the run directory; None if there is none.
        thumbnail: likewise, of its thumbnail; None if it was not written.
        source_thumbnail: likewise, of the first source image's thumbnail; None if it was not written.
        verdict_key: 64 hex digits; None before the edit exists.
        verdict: None if not judged yet.
        flags: of the edit (`worker.flags`); empty also where none were looked for.
    """

    index: int
    sample: Sample
    repeat: int
    edit_key: str
    edited: bool | None
    edit_failure: tuple[str, str] | None
    edit: Mapping[str, Any]
    image: str | None
    thumbnail: str | None
    source_thumbnail: str | None
    verdict_key: str | None
    verdict: Verdict | None
    flags: tuple[str, ...] = ()


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
        edit_failed: how many failed, by kind.
        scored: how many verdicts have scores.
        unscored: how many have none, by kind.
        coverage: scored / wanted, or without a judge edited / wanted, 0..1.
        min_coverage: below it the run counts as partial (exit code 3).
        headline: the mean of the overall score over samples.
        headlines: the benchmark's own numbers, the most important first; empty where it has none.
        bounds: at coverage < 1, the mean if everything missing had the lowest, or the highest, score.
        dimensions: estimate by dimension; a name that stands for several scales has them behind it (`reasoning (0 to 1)`).
        tags: tag name -> tag value -> estimate of the overall score, n 0 where none of it has one; a tag that only names
            each sample is left out.
        facts: lines of provenance for people: size policies, versions, device names ... (label -> text).
        tag_coverage: tag name -> tag value -> scored / wanted, for the same tags.
        flagged: how many edits have flags.
        flags: how many have each; an edit may have several.
        first_frames: how many edits are of the first frame or page of a source that has several.
        spent: on all verdicts that the directory holds, and those that they replaced.
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
    spent: Spent = field(default_factory=Spent)

    @property
    def complete(self) -> bool:
        """Whether coverage reaches `min_coverage`."""
        return self.reaches(judged=True)

    def reaches(self, *, judged: bool) -> bool:
        """Whether the share of what is wanted reaches `min_coverage`: of scores, or (not `judged`) of edits alone."""
        share = self.coverage if judged else _share(self.edited, self.wanted)
        return share >= self.min_coverage


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def read_rows(run: RunReader, *, thumbnails: bool = True) -> list[Row]:
    """Return one row per sample and repeat, in the benchmark's order.

    Of several verdicts on one edit, the row has that of the run's present judge and rubric, on the present image.

    Args:
        run: what to read.
        thumbnails: whether to look which there are; only pages show them.
    """
    judging = Judging.from_json(run.info["judging"]) if run.info.get("judging") else None
    root = str(run.path) if thumbnails else None
    return [_row(run, one, judging, root) for one in sorted(run.wanted, key=lambda one: one.index)]


def _row(run: RunReader, one: WantedEdit, judging: Judging | None, root: str | None) -> Row:
    record = run.edits.get(one.key)
    edited = None if record is None else record["status"] == "edited"
    key = judging.key(one, record["image"]["sha256"]) if judging and record and edited else None
    judged = run.verdicts.get(key) if key else None
    return Row(
        index=one.index,
        sample=one.sample,
        repeat=one.repeat,
        edit_key=one.key,
        edited=edited,
        edit_failure=(record["kind"], record["reason"]) if record and not edited else None,
        edit=_edit_facts(record) if record and edited else {},
        image=image_path(one.key) if edited else None,
        thumbnail=_existing(root, thumbnail_path(one.key)) if edited else None,
        source_thumbnail=_existing(root, thumbnail_path(one.source_sha256[0])),
        verdict_key=key,
        verdict=Verdict.from_json(judged["verdict"]) if judged else None,
        flags=_flags(record) if record and edited else (),
    )


def _flags(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the flags of an edit; a record made before there were flags has none."""
    found = record.get("flags")
    return tuple(flag for flag in found if isinstance(flag, str)) if isinstance(found, list) else ()


def _existing(root: str | None, path: str) -> str | None:
    return path if root and os.path.exists(f"{root}/{path}") else None  # noqa: PTH110 - fast


def _edit_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("seconds", "steps", "device", "attempts", "source_size", "flags", "first_frames")
    return {**record["image"], **{name: record[name] for name in kept if name in record}}


def summarize(run: RunReader, rows: Sequence[Row] | None = None) -> Summary:
    """Return the numbers of a run. Repeats of one sample are averaged first: the unit is the sample."""
    rows = read_rows(run) if rows is None else rows
    info = run.info
    judging = Judging.from_json(info["judging"]) if info.get("judging") else None
    rubrics = list(judging.rubrics.values()) if judging else []
    scored = [row for row in rows if row.verdict and row.verdict.overall is not None]
    overall = [
        (row, row.verdict.overall) for row in scored if row.verdict and row.verdict.overall is not None
    ]
    scale = (min(one.low for one in rubrics), max(one.high for one in rubrics)) if rubrics else (0.0, 0.0)
    headlines = _headlines(info, rows, judging)
    edited = sum(1 for row in rows if row.edited)
    tags = _by_tag([(row, _overall(row)) for row in rows], scale) if rubrics else {}
    edge = bounds([value for _, value in overall], len(rows) - len(overall), *scale) if rubrics else None
    return Summary(
        run=str(info.get("name", run.path.name)),
        protocol=_protocol_id(info, headlines),
        editor=str(info.get("editor", "")),
        judge=info.get("judge"),
        scale=scale,
        wanted=len(rows),
        edited=edited,
        edit_failed=_count(row.edit_failure[0] for row in rows if row.edit_failure),
        scored=len(scored),
        unscored=_count(row.verdict.unscored for row in rows if row.verdict and row.verdict.unscored),
        coverage=_share(len(scored) if rubrics else edited, len(rows)),
        min_coverage=info.get("min_coverage", Config.model_fields["min_coverage"].default),
        headline=_estimate(overall, scale),
        headlines=headlines,
        bounds=edge if len(overall) < len(rows) else None,
        dimensions=_by_dimension(judging, scored) if judging else {},
        tags=tags,
        facts=_facts(info, judging) | _unlooked(rows),
        spent=spent_on(run.verdicts.values()),
        tag_coverage=_tag_coverage(tags, rows),
        flagged=sum(1 for row in rows if row.flags),
        flags=_count(flag for row in rows for flag in row.flags),
        first_frames=sum(1 for row in rows if row.edit.get("first_frames")),
    )


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


def _headlines(
    info: Mapping[str, Any], rows: Sequence[Row], judging: Judging | None
) -> list[HeadlineEstimate]:
    asked = [Headline.from_json(one) for one in info.get("headlines") or []]
    if not asked or judging is None:
        return []
    repeats: dict[str, list[Row]] = {}
    for row in rows:
        repeats.setdefault(row.sample.id, []).append(row)
    samples = [
        Scored(
            cluster=group[0].sample.cluster,
            tags=group[0].sample.tags,
            rubric=judging.rubric_of(group[0].sample),
            verdicts=[
                (row.verdict.scores, row.verdict.overall)
                for row in group
                if row.verdict and row.verdict.overall is not None
            ],
        )
        for group in repeats.values()
    ]
    try:
        return [estimate(one, samples) for one in asked]
    except ValueError as error:
        raise RunError(
            f"a headline of this run cannot be computed: {error}; 'edit-eval run' writes it anew"
        ) from error


def _protocol_id(info: Mapping[str, Any], headlines: Sequence[HeadlineEstimate]) -> str:
    """Return the protocol's id; what is official is so only if nothing is missing."""
    text = str(info.get("protocol", ""))
    if text.endswith(OFFICIAL) and any(one.why_partial for one in headlines):
        return text.removesuffix(OFFICIAL) + PARTIAL
    return text


def _by_dimension(judging: Judging, scored: Sequence[Row]) -> dict[str, Estimate]:
    """Return estimates by dimension; where rubrics have scales of their own for one name, each scale has its own mean."""
    found: dict[tuple[str, float, float], list[tuple[Row, float]]] = {}
    for rubric in judging.rubrics.values():
        for one in rubric.dimensions:
            found.setdefault((one.name, one.low, one.high), [])
    for row in scored:
        for one in judging.rubric_of(row.sample).dimensions:
            if row.verdict and one.name in row.verdict.scores:
                found[one.name, one.low, one.high].append((row, row.verdict.scores[one.name]))
    scales = Counter(name for name, _, _ in found)
    return {
        name if scales[name] == 1 else f"{name} ({low:g} to {high:g})": _estimate(values, (low, high))
        for (name, low, high), values in found.items()
    }


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


def _facts(info: Mapping[str, Any], judging: Judging | None) -> dict[str, str]:
    """Return the provenance that people ask for first, as far as run.json has it."""
    facts = {
        "editor": info.get("editor"),
        "editor's sizes": _mapping(info.get("size_policy")).get("editor"),
        "judge": info.get("judge"),
        "judge's sizes": info.get("judge_size_policy"),
        "judge and rubric": judging.id[:16] if judging else None,
    }
    starts = [_mapping(start) for start in info.get("starts") or []]
    hosts = [_mapping(host) for start in starts for host in _mapping(start.get("hosts")).values()]
    for label, name in (
        ("accelerators", "accelerator"),
        ("torch", "torch"),
        ("diffusers", "diffusers"),
        ("transformers", "transformers"),
        ("pillow", "pillow"),
        ("host python", "python"),
    ):
        found = sorted({str(host[name]) for host in hosts if name in host})
        facts[label] = ", ".join(found) + (" (mixed)" if len(found) > 1 else "")
    facts["edit-eval"] = ", ".join(sorted({str(start.get("edit_eval", "?")) for start in starts}))
    facts["starts"] = str(len(starts))
    facts["seed"] = _mapping(info.get("config")).get("seed")
    return {label: str(text) for label, text in facts.items() if text not in (None, "")}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
