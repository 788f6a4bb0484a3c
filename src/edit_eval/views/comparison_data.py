"""A comparison as data: JSON with all numbers, and a table of one row a sample.

The keys of the JSON (`"format": 1`; a number that is undefined is null, never 0):

| key | value |
|---|---|
| `format` | 1 |
| `judge`, `rubrics`, `scale` | by what the runs are compared |
| `same_judging` | whether all runs are judged by one judge and rubric; false only with `--any-protocol` |
| `protocols` | the protocol ids where they differ, in the order of the runs; else empty |
| `partial` | whether a run lacks scores that it wants |
| `base` | the label of the run that all others are compared with |
| `runs` | a list of `label`, `path`, `protocol`, `judge`, `own_judge`, `editor`, `wanted`, `scored`, `coverage`, `min_coverage`, `headline`, `headlines`, `bounds`, as in the report; `variance` (`core.stats.Variance`: `sample`, `seed`, `judge` ..., `standard_error`, `doubled`) or null |
| `pairs` | every other run against the base, a list of `base` and `other` (labels), `same_run`, `verdict` (in words), `overall`, `headlines`, `dimensions`, `tags`, `headline_correction`, `dimension_correction`, `tag_correction`, `lost`, `provenance` |
| `overall` ... | differences: `name`, `n`, `clusters`, `base`, `other`, `difference` (other minus base), `standard_error`, `low`, `high`, `p`, `adjusted_p`, `wins`, `ties`, `losses`, `smallest`, `why_undefined`; of a tag its `tag` (and `name` is its value); of `overall` also `exact`, `spread` |
| `lost` | what is not compared: `only_base`, `only_other` (ids), `changed` (id -> what differs), `without_base`, `without_other` (id -> why), `partly` (count), `count` |
| `provenance` | a list of `label`, `base`, `other` |
| `ranking` | of three runs or more: `n`, `clusters`, `lost`, `runs` (label -> `mean`, `rank`, `rank_low`, `rank_high`, `best`), `groups` (of runs that cannot be told apart); else null |
| `pairs_correction` | how the p of several pairs are corrected (`adjusted_p` of `overall`); null for one |
| `samples` | a list of `id`, `instruction`, `cluster`, `tags`, and by run `overall` (or null) and `status` |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from edit_eval.driver.comparison import ComparedRun, PairOfRuns, RunComparison
from edit_eval.driver.records import Kind
from edit_eval.views.verdicts import verdict

__all__ = ["comparison_json", "sample_columns", "sample_rows"]

FORMAT = 1


def comparison_json(comparison: RunComparison) -> dict[str, Any]:
    """Return a comparison as JSON data; the keys are documented at the top of this module."""
    return {
        "format": FORMAT,
        "judge": comparison.judge,
        "rubrics": list(comparison.rubrics),
        "scale": list(comparison.scale),
        "same_judging": comparison.same_judging,
        "protocols": list(comparison.protocols),
        "partial": comparison.partial,
        "base": comparison.runs[comparison.base].label,
        "runs": [_run(one) for one in comparison.runs],
        "pairs": [_pair(comparison, one) for one in comparison.pairs],
        "ranking": _ranking(comparison),
        "pairs_correction": comparison.pairs_correction,
        "samples": [
            {
                "id": one.id,
                "instruction": one.instruction,
                "cluster": one.cluster,
                "tags": dict(one.tags),
                "overall": dict(zip(_labels(comparison), one.overall, strict=True)),
                "status": dict(zip(_labels(comparison), one.statuses, strict=True)),
            }
            for one in comparison.samples
        ],
    }


def _labels(comparison: RunComparison) -> list[str]:
    return [run.label for run in comparison.runs]


def _run(run: ComparedRun) -> dict[str, Any]:
    return {
        "label": run.label,
        "path": str(run.path),
        "protocol": run.protocol,
        "judge": run.judge,
        "own_judge": run.own_judge,
        "editor": run.summary.editor,
        "wanted": run.wanted,
        "scored": run.scored,
        "coverage": run.coverage,
        "min_coverage": run.summary.min_coverage,
        "headline": asdict(run.headline),
        "headlines": [asdict(one) for one in run.headlines],
        "bounds": None if run.bounds is None else list(run.bounds),
        "variance": None if run.variance is None else asdict(run.variance),
    }


def _pair(comparison: RunComparison, pair: PairOfRuns) -> dict[str, Any]:
    labels = _labels(comparison)
    return {
        **asdict(pair),
        "base": labels[pair.base],
        "other": labels[pair.other],
        "verdict": verdict(comparison, pair),
        "lost": {**asdict(pair.lost), "count": pair.lost.count},
    }


def _ranking(comparison: RunComparison) -> dict[str, Any] | None:
    ranking = comparison.ranking
    if ranking is None:
        return None
    kept = ("mean", "rank", "rank_low", "rank_high", "best")
    return {
        "n": ranking.n,
        "clusters": ranking.clusters,
        "lost": dict(ranking.lost),
        "runs": {name: {key: getattr(one, key) for key in kept} for name, one in ranking.runs.items()},
        "groups": [list(group) for group in ranking.groups],
    }


def sample_columns(comparison: RunComparison) -> dict[str, Kind]:
    """Return the columns of the table of samples: what a sample is, then its score, status and difference in each run."""
    tags = sorted({tag for one in comparison.samples for tag in one.tags})
    labels = _labels(comparison)
    others = [labels[pair.other] for pair in comparison.pairs]
    plain = ["sample", "instruction", "cluster", *(f"tag:{tag}" for tag in tags)]
    return {
        **dict.fromkeys(plain, "text"),
        **dict.fromkeys((f"overall:{label}" for label in labels), "number"),
        **dict.fromkeys((f"difference:{label}" for label in others), "number"),
        **dict.fromkeys((f"status:{label}" for label in labels), "text"),
    }


def sample_rows(comparison: RunComparison) -> Iterator[dict[str, Any]]:
    """Yield one row a sample, each with all of `sample_columns`; what is missing is None."""
    empty = dict.fromkeys(sample_columns(comparison))
    labels = _labels(comparison)
    for one in comparison.samples:
        yield {
            **empty,
            "sample": one.id,
            "instruction": one.instruction,
            "cluster": one.cluster,
            **{f"tag:{tag}": value for tag, value in one.tags.items()},
            **{f"overall:{label}": value for label, value in zip(labels, one.overall, strict=True)},
            **{f"difference:{labels[pair.other]}": one.difference(pair.other) for pair in comparison.pairs},
            **{f"status:{label}": value for label, value in zip(labels, one.statuses, strict=True)},
        }
