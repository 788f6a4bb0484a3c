"""WiseEdit: edits that need awareness, interpretation and imagination, with up to five input images, in two languages.

2025, https://github.com/beepkh/WiseEdit; data (Apache-2.0) at
https://huggingface.co/datasets/123123chen/WiseEdit-Benchmark.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from edit_eval.benchmarks import Benchmark, Facts, GitHubFiles, HubData, Protocol
from edit_eval.benchmarks._official import (
    Official,
    constants,
    given,
    missing_column,
    question,
    read_text,
    rows_of,
    text_of,
)
from edit_eval.benchmarks._tables import Row
from edit_eval.core.errors import DataError
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Call, Rubric, Sample, Shown

__all__ = ["WiseEdit", "WiseEditParams"]

_COMPLEX = "WiseEdit_Complex"
_BASIC = ("Awareness", "Imagination", "Interpretation")
_SUBSETS = (
    *(f"Imagination_{number}" for number in range(1, 6)),
    "Awareness_1",
    "Awareness_2",
    "Interpretation_1",
    *(f"{_COMPLEX}_{number}" for number in range(2, 5)),
)
_METRICS = {
    "preservation": "detail_preserving",
    "following": "instruction_following",
    "quality": "visual_quality",
    "knowledge": "knowledge_fidelity",
    "creativity": "creative_fusion",
}
"""Our names of the scores, and the official ones."""

_NOT_ASKED = {"Imagination": "knowledge", "Awareness": "creativity", "Interpretation": "creativity"}
_LANGUAGES = {"en": ("en",), "cn": ("cn",), "zh": ("cn",), "both": ("cn", "en")}
_WHERE = "get it from https://huggingface.co/datasets/123123chen/WiseEdit-Benchmark"
_KNOWN_PROMPTS = ("1fa8c1de3b576fa626462c06472c0df8d8e6ef4704d368250a5f6f72565048be",)
_JUDGES = ("gpt-4o",)
_SHOWN = Shown(longest_side=512, jpeg_quality=90)
_MOST_INPUTS = 5
_MOST_REFERENCES = 9


@dataclass(frozen=True)
class WiseEditParams:
    """Which part of WiseEdit.

    Attributes:
        language: `en`, `cn` (or `zh`), or `both`.
        inputs: `all`, or `single`: the subsets with one input image, for editors that take no more (official
            `statistic_single.py`).
        prompts: folder of the official repository (its `Evaluation` holds the prompts); without it our own rubrics are
            used, and the protocol's id says so.
    """

    language: Literal["en", "cn", "zh", "both"] = "en"
    inputs: Literal["all", "single"] = "all"
    prompts: str | None = field(default=None, metadata={"identity": False})


class WiseEdit(Benchmark):
    """WiseEdit: 1,220 edits with one to five input images, English and Chinese, four or five scores of 1 to 10 each.

    Each score counts as (score - 1) / 9 * 100. A category's number is the mean of its scores' means; the headline of the
    three basic categories is their unweighted mean (official `statistic.py`, which rounds the means to one decimal before;
    here nothing is rounded). Knowledge is not asked for in Imagination, creativity not in Awareness and Interpretation. The
    judge is given the English instruction in both languages, as in `run_eval.py`. How many samples a subset has is published
    nowhere: that a subset is missing is noticed, that rows of one are missing is not.
    """

    Params = WiseEditParams
    name: ClassVar[str] = "wiseedit"
    version: ClassVar[int] = 1
    default_rubric: ClassVar[str] = "wise-own-v1"
    stratum: ClassVar[str] = "subset"
    layout: ClassVar[str] = "{subset}/{language}/{idx}"
    facts: ClassVar[Facts | None] = Facts(
        samples="1,220 test cases, each in en and cn",
        languages="en, cn",
        calls="4 to 5",
        scale="1 to 10, four or five scores",
        aggregation="mean of the scores on 0 to 100, then the mean of three categories; complex ones apart",
        licence="Apache-2.0",
        data="huggingface.co/datasets/123123chen/WiseEdit-Benchmark",
        prompts="github.com/beepkh/WiseEdit, Evaluation/",
    )
    prompt_files: ClassVar[GitHubFiles | None] = GitHubFiles(
        "beepkh/WiseEdit",
        "58cadba788b56ee718724e27d64c2c76c297d046",
        {
            "Evaluation/prompt_single.py": "0d12af1f0df49977285496346f6e3f3f0e6594339a84d39648f908fea60e997d",
            "Evaluation/prompt_multi.py": "6acb8fb8cdc33b06fbe8ed74dfdc5c111ec135e1ff731254669be13d8cadbca6",
            "Evaluation/evaluation_utils.py": "fa5ba8b6c07e03c0a93aee79a334431dae8d3d69e4ab6ddc9f8cda111945df54",
        },
    )

    @classmethod
    def hub_data(cls, params: WiseEditParams) -> Sequence[HubData]:
        """Return the data's repository."""
        del params
        return (HubData("123123chen/WiseEdit-Benchmark"),)

    @classmethod
    def load(cls, path: Path | None, params: WiseEditParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples, subset by subset; `path` is the data's folder, with a CSV for each subset in it."""
        del workspace
        if path is None:
            raise DataError(f"benchmark.path: wiseedit needs the folder of its data; {_WHERE}")
        files = {file.stem: file for file in sorted(path.rglob("*.csv")) if file.stem in _SUBSETS}
        if not files:
            raise DataError(f"{path} holds none of WiseEdit's tables (Awareness_1.csv ...); {_WHERE}")
        samples = []
        root: Path | None = None
        for subset in [one for one in _chosen(params) if one in files]:
            for file, row in rows_of([files[subset]]):
                inputs = _inputs(file, row, subset)
                root = root or _root(path, file, inputs[0])
                samples += [
                    _sample(file, row, root, subset, inputs, language, both=params.language == "both")
                    for language in _LANGUAGES[params.language]
                ]
        return samples

    @classmethod
    def protocol(cls, params: WiseEditParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the rubrics by category and number of inputs, official ones where there are official prompts."""
        own = replace(rubric(cls.default_rubric), shown=_SHOWN)
        headlines = _headlines(params)
        subset = ("subset-single",) if params.inputs == "single" else ()
        if params.prompts is None:
            rubrics = {name: _of_category(own, name, own.calls) for name in (*_BASIC, _COMPLEX)}
            return Protocol({"": own, **rubrics}, headlines, ("own-prompts", *subset), _JUDGES)
        official = Official(_texts(Path(params.prompts).expanduser()), _KNOWN_PROMPTS)
        rubrics = {
            f"{name}/{inputs}/{hinted}/{references}": _official(
                own, name, official.texts, inputs, hinted=bool(hinted), references=references
            )
            for name in (*_BASIC, _COMPLEX)
            for inputs in range(1, _MOST_INPUTS + 1)
            for hinted in (0, 1)
            for references in range(_MOST_REFERENCES + 1)
        }
        return Protocol({"": own, **rubrics}, headlines, (*official.deviations, *subset), _JUDGES)


def _chosen(params: WiseEditParams) -> Sequence[str]:
    return [one for one in _SUBSETS if params.inputs == "all" or one.endswith("_1")]


def _headlines(params: WiseEditParams) -> tuple[Headline, ...]:
    """Return what `statistic.py` prints. How many samples a subset has is published nowhere, so none is counted."""
    subsets: dict[str, dict[str, int]] = {}
    for one in _chosen(params):
        subsets.setdefault(one.rpartition("_")[0], {})[one] = 0
    basic = {name: size for one in _BASIC for name, size in subsets[one].items()}
    found: list[Headline] = []
    for language in _LANGUAGES[params.language]:
        where = {"language": language}
        whole = Headline(
            f"Basic {language}",
            0,
            100,
            group="category",
            groups=dict.fromkeys(_BASIC, 0),
            where={**where, "part": "basic"},
            expects={"subset": basic},
            digits=1,
        )
        found += [
            whole,
            *(
                Headline(
                    f"{one} {language}",
                    0,
                    100,
                    where={**where, "category": one},
                    expects={"subset": names},
                    digits=1,
                )
                for one, names in sorted(subsets.items())
            ),
        ]
    if params.language == "both" and _COMPLEX in subsets:
        languages = {"cn": 0, "en": 0}
        where = {"category": _COMPLEX}
        expects = {"subset": subsets[_COMPLEX]}
        found.append(Headline("Complex", 0, 100, "overall", False, "language", languages, where, expects, 1))
    return tuple(found)


def _inputs(file: Path, row: Row, subset: str) -> list[str]:
    """Return the paths of the input images: as many columns as the subset's name says, those that are filled."""
    columns = [f"input_{one}" for one in range(1, int(subset.rpartition("_")[2]) + 1)]
    found = [str(given(row, name)).strip() for name in columns if given(row, name) is not None]
    if not found:
        raise missing_column(file, row, columns[:1])
    return found


def _root(path: Path, file: Path, first: str) -> Path:
    """Return the folder that image paths count from: the data's, whichever folder of it was given."""
    folders = [path, *path.absolute().parents[:2], file.parent]
    found = next((one for one in folders if (one / first).is_file()), None)
    if found is None:
        raise DataError(f"{file}: {path / first} is not there; give the folder of all the data; {_WHERE}")
    return found.absolute()


def _sample(
    file: Path, row: Row, root: Path, subset: str, inputs: Sequence[str], language: str, *, both: bool
) -> Sample:
    category = subset.rpartition("_")[0]
    hint, references = str(given(row, "hint") or "").strip(), _references(given(row, "ref"))
    if len(references) > _MOST_REFERENCES:
        raise DataError(
            f"{file}, {row.where}: 'ref' names {len(references)} images, of at most {_MOST_REFERENCES}"
        )
    idx = text_of(file, row, "idx").strip()
    return Sample(
        id=f"{subset}/{idx}" + (f"-{language}" if both else ""),
        instruction=text_of(file, row, "prompt"),
        edit_instruction=text_of(file, row, "promptcn", "prompt_cn") if language == "cn" else None,
        images=tuple(str(root / one) for one in inputs),
        references=tuple(str(root / one) for one in references),
        tags={
            "category": category,
            "subset": subset,
            "language": language,
            "part": "complex" if category == _COMPLEX else "basic",
            "idx": idx,
        },
        cluster=f"{subset}/{idx}",
        notes={"hint": hint or "none"},
        rubric=f"{category}/{len(inputs)}/{int(bool(hint))}/{len(references)}",
    )


def _references(value: object) -> list[str]:
    """Return the paths of a cell: a JSON list or text, or paths with `|` or `;` between them."""
    if value is None:
        return []
    text = str(value).strip()
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = re.split(r"[|;]", text)
    several = parsed if isinstance(parsed, list) else [parsed]
    return [str(one).strip() for one in several if str(one).strip()]


def _of_category(own: Rubric, category: str, calls: Sequence[Call]) -> Rubric:
    """Return `own` with the scores that this category has."""
    left_out = _NOT_ASKED.get(category, "")
    dimensions = tuple(one for one in own.dimensions if one.name != left_out)
    mean = f"mean({', '.join(one.name for one in dimensions)})"
    return replace(
        own,
        dimensions=dimensions,
        calls=tuple(call for call in calls if call.name != left_out),
        overall=f"({mean} - 1) / 9 * 100",
    )


def _texts(folder: Path) -> dict[str, str]:
    """Return the official prompts, and the sentence that stands before a hint."""
    inner = folder / "Evaluation" if (folder / "Evaluation").is_dir() else folder
    asked = [name for name in _METRICS.values() if name != "visual_quality"]
    single = [f"prompt_{name}_single" for name in asked]
    multi = [f"prompt_{name}_multi" for name in asked]
    return {
        **constants(inner / "prompt_single.py", [*single, "prompt_visual_quality"]),
        **constants(inner / "prompt_multi.py", multi),
        "hint": _hint_sentence(inner / "evaluation_utils.py"),
    }


def _hint_sentence(path: Path) -> str:
    """Return the fixed part of the f-string that introduces a hint; the file is parsed and never run."""
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: this is no Python file: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            text = str(node.values[0].value)
            if text.startswith("Hint"):
                return text
    raise DataError(f"{path} holds no sentence for hints; give the folder of WiseEdit's own repository")


def _official(
    own: Rubric, category: str, texts: Mapping[str, str], inputs: int, *, hinted: bool, references: int
) -> Rubric:
    """Return the official questions (`build_message_for_metric`) for so many inputs and references."""
    form = "multi" if inputs > 1 else "single"
    calls = []
    for ours, theirs in _METRICS.items():
        if ours == "quality":
            calls.append(
                question(
                    ours,
                    texts["prompt_visual_quality"],
                    [ours],
                    ["edited"],
                    "fields",
                    keys=["score"],
                    labels=["Image:"],
                )
            )
            continue
        text = texts[f"prompt_{theirs}_{form}"] + "\n\nEditing instruction: <instruction>"
        shown = {f"source/{one}": f"Input image #{one}:" for one in range(1, inputs + 1)}
        shown = shown if inputs > 1 else {"source/1": "Input image:"}
        shown["edited"] = "Edited image:"
        after = ""
        if ours in ("following", "knowledge"):
            after = texts["hint"] + "<hint>" if hinted else ""
            shown |= {f"reference/{one}": "Reference image:" for one in range(1, references + 1)}
        fill = {"<instruction>": "instruction", **({"<hint>": "note:hint"} if after else {})}
        labels = list(shown.values())
        if after and references:  # the hint stands between the edit and the references
            labels[inputs + 1] = after + labels[inputs + 1]
        calls.append(
            question(
                ours,
                text,
                [ours],
                list(shown),
                "fields",
                fill=fill,
                keys=["score"],
                labels=labels,
                after="" if references else after,
            )
        )
    return _of_category(replace(own, name="wise-official"), category, calls)
