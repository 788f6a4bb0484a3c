"""Small copies of public benchmarks in their official layouts, made by us, and what their tests have in common."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from replying import score_of

from edit_eval.benchmarks import Benchmark, Protocol
from edit_eval.core.expression import evaluate
from edit_eval.core.headlines import HeadlineEstimate, Scored, estimate
from edit_eval.core.types import Rubric, Sample
from edit_eval.driver.plan import Judging
from edit_eval.driver.rubrics import load_rubric


def picture(shade: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    return Image.new("RGB", size, (shade % 256, 80, 120))


def embedded(shade: int, size: tuple[int, int] = (24, 16)) -> dict[str, Any]:
    buffer = io.BytesIO()
    picture(shade, size).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": f"{shade}.png"}


def save(path: Path, shade: int, size: tuple[int, int] = (24, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(shade, size).save(path)


def parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def table(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def sheet(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def python_prompts(path: Path, texts: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(f"{name} = {text!r}\n" for name, text in texts.items()) + "raise SystemExit('run!')\n"
    )
    return path


def protocol(cls: type[Benchmark], **params: Any) -> Protocol:
    return cls.protocol(cls.Params(**params), load_rubric)


def load(cls: type[Benchmark], path: Path, tmp_path: Path, **params: Any) -> list[Sample]:
    return list(cls.load(path, cls.Params(**params), tmp_path / "workspace"))


def judged(
    chosen: Protocol, samples: Sequence[Sample], scores: Mapping[str, Mapping[str, float]] | None = None
) -> dict[str, HeadlineEstimate]:
    """Return the headlines where every sample has the scores of `replying`, or those given by id (none: unscored)."""
    judging = Judging({}, chosen.rubrics, ())
    wanted = []
    for sample in samples:
        rubric = judging.rubric_of(sample)
        given = _foretold(rubric, sample) if scores is None else scores.get(sample.id)
        verdicts = [(given, evaluate(rubric.overall, given))] if given is not None else []
        wanted.append(Scored(sample.cluster or sample.id, sample.tags, rubric, verdicts))
    return {one.name: estimate(one, wanted) for one in chosen.headlines}


def _foretold(rubric: Rubric, sample: Sample) -> dict[str, float]:
    return {one.name: float(score_of(one, sample.instruction)) for one in rubric.dimensions}


def config(tmp_path: Path, kind: str, path: Path, **params: Any) -> dict[str, Any]:
    """Return a config with the scripted editor and the judge of `replying`."""
    return {
        "benchmark": {"type": kind, "path": str(path), "params": params},
        "editor": {"type": "scripted", "devices": ["cpu:0"]},
        "judge": {"type": "replying:Replying", "devices": ["cpu:0"], "batch_size": 4},
        "output": str(tmp_path / "run"),
    }
