"""UnicBench: 22 kinds of edits with 50 samples each, in English and Chinese.

2025, arXiv 2512.02790, https://github.com/WeChatCV/UnicBench; data (Apache-2.0) there and at
https://huggingface.co/datasets/xiaotanhua/UnicBench.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from edit_eval.benchmarks import Benchmark, Facts, GitHubFiles, HubData, Protocol
from edit_eval.benchmarks._official import (
    Official,
    beside,
    column,
    constants,
    existing,
    given,
    image,
    only_json,
    question,
    rows_of,
    text_of,
)
from edit_eval.benchmarks._tables import Row
from edit_eval.core.errors import DataError
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Rubric, Sample, Shown

__all__ = ["UnicBench", "UnicBenchParams"]

_REASONING = "Reasoning Editing"
_SUBTASKS = {
    "Attribute Editing": (
        "Color_Alteration", "Material_Modification", "Motion_Change", "Shape-Size_Alteration", "Texture_Editing",
    ),
    "Object Editing": (
        "Counting_Change", "Object_Extraction", "Portrait_Editing", "Subject_Addition", "Subject_Removal",
        "Subject_Replacement", "Text_Modification",
    ),
    _REASONING: (
        "Compound_Operation_Edits", "Implicit_Change_Edits", "Multi-object_Coordination", "Relation_Change",
        "Spatial_Reasoning_Edits",
    ),
    "Scene Editing": (
        "Background_Change", "Lens_Zooming", "Style_Transfer", "Tone_Transformation", "Viewpoint_Transformation",
    ),
}  # fmt: skip
_EACH = 50
"""Samples of a subtask."""

_TASKS = {task: _EACH * len(subtasks) for task, subtasks in _SUBTASKS.items()}
_LANGUAGES = {"en": ("en",), "cn": ("cn",), "zh": ("cn",), "both": ("en", "cn")}
_WHERE = "get it from https://huggingface.co/datasets/xiaotanhua/UnicBench"
_PROMPTS = ("_prompts_if", "_prompts_nc", "_prompts_vq", "_prompts_ra")
_KNOWN_PROMPTS = ("d3237b5b02a4886b477ff738c6a6f6e9d6fb48d334641271677c80c4ad695e89",)
_JUDGES = ("gpt-4.1-2025-04-14",)
_SHOWN = Shown(jpeg_quality=75)
_CALLS = {"following": "_prompts_if", "consistency": "_prompts_nc", "quality": "_prompts_vq"}


@dataclass(frozen=True)
class UnicBenchParams:
    """Which part of UnicBench.

    Attributes:
        language: `en`, `cn` (or `zh`), or `both`.
        images: folder that image paths count from; by default it is looked for beside the table.
        prompts: path of the official `data/prompts.py`, or of the repository's folder; without it our own rubrics are
            used, and the protocol's id says so.
    """

    language: Literal["en", "cn", "zh", "both"] = "en"
    images: str | None = field(default=None, metadata={"identity": False})
    prompts: str | None = field(default=None, metadata={"identity": False})


class UnicBench(Benchmark):
    """UnicBench: 1,100 edits in 22 kinds, English and Chinese, three or four scores of 0 to 10 each.

    A sample's score is the geometric mean of instruction following, consistency outside of the edit and visual quality,
    and for the reasoning samples of reasoning accuracy as well; the headline is the mean over samples (official
    `eval/eval_pipeline.py`). A score of 0 makes the sample 0, as it does there; a reply that cannot be read does not.
    """

    Params = UnicBenchParams
    name: ClassVar[str] = "unicbench"
    version: ClassVar[int] = 1
    default_rubric: ClassVar[str] = "unic-own-v1"
    stratum: ClassVar[str] = "category"
    layout: ClassVar[str] = "{category}/{language}/{key}"
    facts: ClassVar[Facts | None] = Facts(
        samples="1,100 en, 1,100 cn",
        languages="en, cn",
        calls="3 to 4",
        scale="0 to 10, three or four scores",
        aggregation="geometric mean, then the mean over samples",
        licence="Apache-2.0",
        data="huggingface.co/datasets/xiaotanhua/UnicBench; github.com/WeChatCV/UnicBench (data/test_data.jsonl)",
        prompts="github.com/WeChatCV/UnicBench, data/prompts.py",
    )
    prompt_files: ClassVar[GitHubFiles | None] = GitHubFiles(
        "WeChatCV/UnicBench",
        "24c13be072020348ca19e70f0e57df4c30a8495c",
        {
            "data/prompts.py": "130a596f45e911c92ad0adb121053f60cf071cd2247818367c19f766839ad9fa",
        },
    )

    @classmethod
    def hub_data(cls, params: UnicBenchParams) -> Sequence[HubData]:
        """Return the data's repository."""
        del params
        return (HubData("xiaotanhua/UnicBench"),)

    @classmethod
    def load(cls, path: Path | None, params: UnicBenchParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples; `path` is `test_data.jsonl`, a Parquet file with images in it, or a folder with either."""
        if path is None:
            raise DataError(f"benchmark.path: unicbench needs the path of its data; {_WHERE}")
        files = _tables(path)
        samples: list[Sample] = []
        root: Path | None = None
        for file, row in rows_of(files):
            picture = given(row, "image")
            if picture is None:
                picture = text_of(file, row, "image_path")
                root = root or beside(file, picture, ("data",), params.images, _WHERE)
            source = image(file, row, picture, root or file.parent, workspace / "embedded")
            samples += [
                _sample(file, row, source, language, both=params.language == "both")
                for language in _LANGUAGES[params.language]
            ]
        return samples

    @classmethod
    def protocol(cls, params: UnicBenchParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the official protocol with its prompts, or our own rubrics."""
        own = {
            "": replace(rubric(cls.default_rubric), shown=_SHOWN),
            "reasoning": replace(rubric("unic-reasoning-own-v1"), shown=_SHOWN),
        }
        headlines = [one for language in _LANGUAGES[params.language] for one in _headlines(language)]
        if params.prompts is None:
            return Protocol(own, tuple(headlines), ("own-prompts",), _JUDGES)
        file = existing(
            Path(params.prompts).expanduser(),
            ("data/prompts.py", "prompts.py"),
            "no data/prompts.py of UnicBench",
        )
        official = Official(constants(file, _PROMPTS), _KNOWN_PROMPTS)
        rubrics = {name: _official(one, official.texts) for name, one in own.items()}
        return Protocol(rubrics, tuple(headlines), official.deviations, _JUDGES)


def _tables(path: Path) -> list[Path]:
    if path.is_dir():
        for folder in (path, path / "data"):
            if files := sorted(folder.glob("*.parquet")):
                return files
    return [only_json(path, ("test_data.jsonl", "data/test_data.jsonl"), _WHERE)]


def _sample(file: Path, row: Row, source: str, language: str, *, both: bool) -> Sample:
    key, task = text_of(file, row, "key"), text_of(file, row, "task")
    reasoning = task == _REASONING
    names = ("cn", "zh") if language == "cn" else ("en",)
    return Sample(
        id=f"{key}-{language}" if both else key,
        instruction=text_of(file, row, *names),
        images=(source,),
        tags={
            "task": task,
            "category": "_".join(text_of(file, row, "subtask").split()),
            "language": language,
            "key": key,
        },
        cluster=key,
        notes={"points": _points(file, row)} if reasoning else {},
        rubric="reasoning" if reasoning else "",
    )


def _points(file: Path, row: Row) -> str:
    """Return the reasoning points as the official script writes them into its prompt: as JSON, in ASCII."""
    points = column(file, row, "reasoning_points")
    texts = [points] if isinstance(points, str) else points
    whole = isinstance(texts, list) and all(isinstance(one, str) and one.strip() for one in texts)
    if not texts or not whole:
        raise DataError(f"{file}, {row.where}: 'reasoning_points' is no list of texts; {_WHERE}")
    return json.dumps(points)


def _official(own: Rubric, texts: Mapping[str, str]) -> Rubric:
    """Return the official questions: each sees source and edit, and answers `{"score": ..., "reason": ...}`."""
    asked = [
        (one.name, "_prompts_ra" if one.name == "reasoning" else _CALLS[one.name]) for one in own.dimensions
    ]
    calls = []
    for name, prompt in asked:
        fill = {"<instruction>": "instruction"}
        if name == "reasoning":
            fill["<reasoning_points>"] = "note:points"
        calls.append(
            question(name, texts[prompt], [name], ["source", "edited"], "fields", fill=fill, keys=["score"])
        )
    return replace(own, name="unic-official", calls=tuple(calls))


def _headlines(language: str) -> list[Headline]:
    where = {"language": language}
    every = {name: _EACH for subtasks in _SUBTASKS.values() for name in subtasks}
    overall = Headline(
        f"Overall {language}",
        0,
        10,
        groups={"": sum(_TASKS.values())},
        where=where,
        expects={"task": _TASKS, "category": every},
    )
    return [
        overall,
        replace(overall, name=f"IF {language}", value="following"),
        replace(overall, name=f"NC {language}", value="consistency"),
        replace(overall, name=f"VQ {language}", value="quality"),
        replace(_of_task(overall, _REASONING), name=f"RA {language}", value="reasoning"),
        *(replace(_of_task(overall, task), name=f"Overall {language}, {task}") for task in _TASKS),
    ]


def _of_task(overall: Headline, task: str) -> Headline:
    return replace(
        overall,
        where={**overall.where, "task": task},
        groups={"": _TASKS[task]},
        expects={"category": dict.fromkeys(_SUBTASKS[task], _EACH)},
    )
