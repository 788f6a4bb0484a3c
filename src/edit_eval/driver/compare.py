"""Two or more runs compared: who is better, by how much, how certain that is, where, and what is not compared.

Reads run directories, joins samples (`driver.join`), has `core.stats` compute, and says nothing about showing it. Failures
never become numbers: a sample without a score in one of two runs is not compared, and is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edit_eval.core.errors import ConfigError, DataError, RunError
from edit_eval.core.headlines import Scored
from edit_eval.core.stats import Ranking, rank
from edit_eval.core.stats import compare as compare_scores
from edit_eval.driver.agreement import dimension_labels
from edit_eval.driver.common_judge import common_judges
from edit_eval.driver.comparison import (
    ComparedRun,
    Correction,
    Difference,
    PairOfRuns,
    ProvenanceDifference,
    RunComparison,
    SampleDifference,
    TagDifference,
)
from edit_eval.driver.differences import corrected, difference_of, headline_of, overall_of
from edit_eval.driver.join import SampleOfRun, differs, join, samples_of
from edit_eval.driver.judges import RecordedJudge, main_judge, same_judging
from edit_eval.driver.made_with import differences, made_with
from edit_eval.driver.rows import Row, read_rows, rows_of
from edit_eval.driver.spread import variance_of
from edit_eval.driver.store import RunReader
from edit_eval.driver.summary import JudgeSummary, Summary, summarize

__all__ = ["compare_runs", "labels_of"]

_NOT_IN_THIS_RUN = "not in this run"
_ANOTHER_SAMPLE = "another sample"


@dataclass(frozen=True)
class _Read:
    """One run as it is compared."""

    run: RunReader
    judge: RecordedJudge
    shown: ComparedRun
    samples: Mapping[str, SampleOfRun]


def compare_runs(runs: Sequence[RunReader], *, base: int = 0, any_protocol: bool = False) -> RunComparison:
    """Return what `runs` say beside one another.

    Args:
        runs: two or more.
        base: the place of the one that all others are compared with.
        any_protocol: compare verdicts of different judges or rubrics too, where no judge has judged all runs.

    Raises:
        ConfigError: fewer than two runs.
        RunError: a run has no judge, or is damaged.
        DataError: no judge has judged all runs (without `any_protocol`), the scales of two judges differ, or two runs have
            no sample in common.
    """
    if len(runs) < 2:
        raise ConfigError("name two runs or more: edit-eval compare RUN RUN")
    if not 0 <= base < len(runs):
        raise ValueError(f"there is no run {base} among {len(runs)}")
    rows = [read_rows(run) for run in runs]
    judges = common_judges(runs, rows, base, any_protocol=any_protocol)
    scales = [_scale(judge) for judge in judges]
    for run, scale in zip(runs, scales, strict=True):
        if scale != scales[base]:
            raise DataError(
                f"{runs[base].path} is scored on {_span(scales[base])} and {run.path} on {_span(scale)}: "
                "scores on two scales have no difference"
            )
    labels = labels_of([run.path for run in runs])
    read = [_read(*one) for one in zip(runs, rows, judges, labels, strict=True)]
    pairs = [_pair(read, base, other) for other in range(len(read)) if other != base]
    correction: Correction | None = None
    if len(pairs) > 1:
        overalls, correction = corrected([pair.overall for pair in pairs])
        firsts, _ = corrected([pair.headlines[0] for pair in pairs if pair.headlines])
        if len(firsts) < len(pairs):  # runs by different judges: not all have it
            firsts = []
        pairs = [
            replace(
                pair, overall=one, headlines=(*firsts[place : place + 1], *pair.headlines[bool(firsts) :])
            )
            for place, (pair, one) in enumerate(zip(pairs, overalls, strict=True))
        ]
    protocols = tuple(one.shown.protocol for one in read)
    samples = _table([one.samples for one in read], base)
    return RunComparison(
        runs=tuple(one.shown for one in read),
        base=base,
        pairs=tuple(pairs),
        judge=" / ".join(dict.fromkeys(one.title for one in judges)),
        rubrics=tuple(sorted({rubric.name for judge in judges for rubric in judge.judging.rubrics.values()})),
        scale=scales[base],
        same_judging=all(same_judging(judges[base].judging, one.judging) for one in judges),
        protocols=protocols if len(set(protocols)) > 1 else (),
        samples=samples,
        ranking=_ranking(labels, samples, base) if len(read) > 2 else None,
        pairs_correction=correction,
    )


def labels_of(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each run directory: its name, with as many parents as tell it from the others.

    A directory named twice is told by its number.
    """
    parts = [path.resolve().parts for path in paths]
    names = []
    for own in parts:
        depth = 1
        while depth < len(own) and any(one[-depth:] == own[-depth:] for one in parts if one != own):
            depth += 1
        names.append("/".join(own[-depth:]) or "/")
    return [
        f"{name} ({names[:number].count(name) + 1})" if names.count(name) > 1 else name
        for number, name in enumerate(names)
    ]


def _scale(judge: RecordedJudge) -> tuple[float, float]:
    rubrics = judge.judging.rubrics.values()
    return min(one.low for one in rubrics), max(one.high for one in rubrics)


def _span(scale: tuple[float, float]) -> str:
    return f"{scale[0]:g} to {scale[1]:g}"


def _read(run: RunReader, own_rows: Sequence[Row], judge: RecordedJudge, label: str) -> _Read:
    summary = summarize(run, own_rows)
    own = main_judge(run.info)
    is_own = own is not None and own.judging.id == judge.judging.id
    rows = own_rows if is_own else rows_of(run, own_rows, judge.judging)
    numbers: Summary | JudgeSummary = summary
    if not is_own:
        numbers = next((one for one in summary.others if one.id == judge.judging.id[:16]), summary)
    wanted = sum(row.applicable for row in rows)
    compared = ComparedRun(
        label=label,
        path=run.path,
        summary=summary,
        rows=rows,
        protocol=numbers.protocol,
        judge=judge.title,
        own_judge=is_own,
        wanted=wanted,
        scored=numbers.scored,
        coverage=numbers.coverage,
        headline=numbers.headline,
        headlines=numbers.headlines,
        bounds=numbers.bounds,
        variance=variance_of(run, rows, judge),
    )
    return _Read(run, judge, compared, samples_of(run.wanted, rows))


def _pair(read: Sequence[_Read], base: int, other: int) -> PairOfRuns:
    one, two = read[base], read[other]
    joined = join(one.samples, two.samples)
    if not joined.same:
        raise DataError(_nothing_in_common(one, two, bool(joined.lost.changed)))
    clusters = {name: one.samples[name].sample.cluster for name in joined.ids}

    def both(value: Callable[[SampleOfRun], float | None]) -> tuple[dict[str, float], dict[str, float]]:
        found = [(name, value(one.samples[name]), value(two.samples[name])) for name in joined.ids]
        known = [(name, a, b) for name, a, b in found if a is not None and b is not None]
        return {name: a for name, a, _ in known}, {name: b for name, _, b in known}

    scores = both(lambda sample: sample.overall)
    overall = compare_scores(*scores, clusters)
    low, high = _scale(one.judge)
    span = high - low
    dimensions = [
        difference_of(label, compare_scores(*both(value), clusters), width)
        for label, width, value in _dimensions(one, two)
    ]
    tags = [
        found
        for tag in _tags(one, joined.ids)
        for found in _by_tag(tag, span, scores, clusters, {name: one.samples[name] for name in joined.ids})
    ]
    headlines = _headlines(one, two, joined.same)
    corrected_headlines, headline_correction = corrected(headlines[1:])
    corrected_dimensions, dimension_correction = corrected(dimensions)
    corrected_tags, tag_correction = corrected(tags)
    return PairOfRuns(
        base=base,
        other=other,
        same_run=one.run.path.resolve() == two.run.path.resolve(),
        overall=overall_of(overall, span),
        headlines=(*headlines[:1], *corrected_headlines),
        dimensions=tuple(corrected_dimensions),
        tags=tuple(corrected_tags),
        headline_correction=headline_correction,
        dimension_correction=dimension_correction,
        tag_correction=tag_correction,
        lost=joined.lost,
        provenance=_provenance(one, two, joined.same),
    )


def _nothing_in_common(one: _Read, two: _Read, changed: bool) -> str:
    why = (
        "their samples have the same ids but other instructions or images" if changed else "no id is in both"
    )
    return f"{one.run.path} and {two.run.path} have no sample in common ({why}): there is nothing to compare"


def _dimensions(one: _Read, two: _Read) -> list[tuple[str, float, Callable[[SampleOfRun], float | None]]]:
    """Return the dimensions that both runs have on one scale: their label, how wide that is, and what a sample has of each."""
    if one.judge.judging.against is not None or two.judge.judging.against is not None:
        return []
    labels = dimension_labels(one.judge.judging)
    theirs = dimension_labels(two.judge.judging)

    def value(part: tuple[str, float, float]) -> Callable[[SampleOfRun], float | None]:
        scales = {
            key: {(d.name, d.low, d.high) for d in rubric.dimensions}
            for key, rubric in one.judge.judging.rubrics.items()
        }

        def mean(sample: SampleOfRun) -> float | None:
            asked = scales.get(one.judge.judging.name_of(sample.sample), set())
            return sample.mean(part[0]) if part in asked else None

        return mean

    return [(label, part[2] - part[1], value(part)) for part, label in labels.items() if part in theirs]


def _tags(one: _Read, ids: Sequence[str]) -> list[str]:
    """Return the tags that split the compared samples: those that the summary has, with two values or more."""
    return [
        tag
        for tag in one.shown.summary.tags
        if len({one.samples[name].sample.tags.get(tag) for name in ids} - {None}) > 1
    ]


def _by_tag(
    tag: str,
    span: float,
    scores: tuple[Mapping[str, float], Mapping[str, float]],
    clusters: Mapping[str, str],
    samples: Mapping[str, SampleOfRun],
) -> list[TagDifference]:
    strata = {name: one.sample.tags[tag] for name, one in samples.items() if tag in one.sample.tags}
    found = compare_scores(*scores, clusters, strata).strata
    return [
        TagDifference(**asdict(difference_of(str(value), one, span)), tag=tag)
        for value, one in sorted(found.items(), key=lambda pair: str(pair[0]))
    ]


def _headlines(one: _Read, two: _Read, ids: Sequence[str]) -> list[Difference]:
    """Return the differences of the benchmark's own numbers, as far as both runs have them.

    By two judges, unlike rubrics may make one undefined: it is left out.
    """
    alike = same_judging(one.judge.judging, two.judge.judging)
    found = []
    for headline in one.judge.headlines:
        if headline not in two.judge.headlines:
            continue
        pairs = [[_scored(read, name, one) for name in ids] for read in (one, two)]
        try:
            found.append(headline_of(headline, *pairs))
        except ValueError as error:
            if alike:
                raise RunError(
                    f"a headline of these runs cannot be compared: {error}; 'edit-eval run' writes it anew"
                ) from error
    return found


def _scored(read: _Read, name: str, base: _Read) -> Scored:
    """Return a sample as a headline sees it: cluster and tags are the base's, so that both sides fall into one group."""
    sample = read.samples[name]
    return Scored(
        cluster=base.samples[name].sample.cluster,
        tags=base.samples[name].sample.tags,
        rubric=read.judge.judging.rubric_of(sample.sample),
        verdicts=[
            (row.verdict.scores, row.verdict.overall)
            for row in sample.rows
            if row.verdict and row.verdict.overall is not None
        ],
    )


def _provenance(one: _Read, two: _Read, same: Sequence[str]) -> tuple[ProvenanceDifference, ...]:
    """Return in what else two runs differ, the samples that both are about included."""
    found = list(differences(made_with(one.run.info, one.judge), made_with(two.run.info, two.judge)))
    pairs = [(one.samples[name].sample, two.samples[name].sample) for name in same]
    for label, count in (
        (
            "instructions given to the editor",
            sum(a.editor_instruction != b.editor_instruction for a, b in pairs),
        ),
        ("clusters", sum(a.cluster != b.cluster for a, b in pairs)),
        ("tags", sum(dict(a.tags) != dict(b.tags) for a, b in pairs)),
    ):
        if count:
            said = "" if label.startswith("instructions") else "; the base's count"
            found.append(ProvenanceDifference(label, "", f"differ in {count} of {len(pairs)} samples{said}"))
    return tuple(found)


def _table(runs: Sequence[Mapping[str, SampleOfRun]], base: int) -> tuple[SampleDifference, ...]:
    """Return every sample of any run, the base's first."""
    names = dict.fromkeys([*runs[base], *(name for run in runs for name in run)])
    return tuple(_row(name, runs, base) for name in names)


def _row(name: str, runs: Sequence[Mapping[str, SampleOfRun]], base: int) -> SampleDifference:
    there = [run.get(name) for run in runs]
    first = there[base] or next(one for one in there if one is not None)
    overall: list[float | None] = []
    statuses = []
    for one in there:
        if one is None:
            overall.append(None)
            statuses.append(_NOT_IN_THIS_RUN)
        elif differs(first, one):
            overall.append(None)
            statuses.append(_ANOTHER_SAMPLE)
        else:
            overall.append(one.overall)
            statuses.append(one.status)
    return SampleDifference(
        id=name,
        instruction=first.sample.instruction,
        cluster=first.sample.cluster,
        tags=first.sample.tags,
        overall=tuple(overall),
        statuses=tuple(statuses),
        base=base,
    )


def _ranking(labels: Sequence[str], samples: Sequence[SampleDifference], base: int) -> Ranking:
    """Return the order of several runs, over the samples that mean the same in all of them and that all scored."""
    scores = {
        label: {one.id: value for one in samples if (value := one.overall[number]) is not None}
        for number, label in enumerate(labels)
    }
    return rank(scores, {one.id: one.cluster for one in samples}, base=labels[base])
