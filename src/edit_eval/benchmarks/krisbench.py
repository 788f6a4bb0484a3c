"""KRIS-Bench: edits that need knowledge, of facts, concepts and procedures, in 20 categories.

Wu et al. 2025, https://github.com/mercurystraw/Kris_Bench; data (Apache-2.0) at
https://huggingface.co/datasets/Liang0223/KRIS_Bench. The official repository has no aggregation; the one in use everywhere is
`eval/gen/kris/summarize.py` of https://github.com/ByteDance-Seed/Bagel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from edit_eval.benchmarks import Benchmark, Facts, GitHubFiles, HubData, Protocol
from edit_eval.benchmarks._official import Official, constants, existing, items_of, question
from edit_eval.core.errors import DataError, did_you_mean
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Call, Rubric, Sample

__all__ = ["KRISBench", "KRISBenchParams"]

_MULTI, _TEMPORAL, _VIEW, _ANOMALY = (
    "multi-element_composition",
    "temporal_prediction",
    "viewpoint_change",
    "anomaly_correction",
)
_DIMENSIONS: Mapping[str, Mapping[str, int]] = {
    "Attribute Perception": {
        "count_change": 50,
        "color_change": 50,
        "size_adjustment": 50,
        "part_completion": 50,
        _ANOMALY: 75,
    },
    "Spatial Perception": {_VIEW: 50, "position_movement": 50},
    "Temporal Prediction": {_TEMPORAL: 74},
    "Social Science": {"humanities": 75, "practical_knowledge": 50},
    "Natural Science": {
        "biology": 68,
        "chemistry": 75,
        "geography": 75,
        "medicine": 50,
        "mathematics": 50,
        "physics": 75,
    },
    "Logical Reasoning": {"abstract_reasoning": 75, "rule-based_reasoning": 75},
    "Instruction Decomposition": {_MULTI: 75, "multi-instruction_execution": 75},
}
_TYPES = {
    "Factual Knowledge": ("Attribute Perception", "Spatial Perception", "Temporal Prediction"),
    "Conceptual Knowledge": ("Social Science", "Natural Science"),
    "Procedural Knowledge": ("Logical Reasoning", "Instruction Decomposition"),
}
_WITH_KNOWLEDGE = ("Social Science", "Natural Science", "Logical Reasoning")
"""Dimensions whose samples are also asked for knowledge plausibility."""

_CATEGORIES = {name: count for group in _DIMENSIONS.values() for name, count in group.items()}
_FORMER_NAMES = {
    "object_count": "count_change",
    "abnormality_correction": _ANOMALY,
    "daily_life": "practical_knowledge",
    "rule_reasoning": "rule-based_reasoning",
    "view_pair": _VIEW,
    "multi_element_composition": _MULTI,
    "multi-instruction": "multi-instruction_execution",
}
"""Folder names that older versions of data and scripts use."""

_WHERE = "get it from https://huggingface.co/datasets/Liang0223/KRIS_Bench"
_PROMPTS = (
    "prompt_consist",
    "prompt_quality",
    "prompt_instruction_following",
    "prompt_abnormal_instruction_following",
    "prompt_dual_evaluation",
    "prompt_view_instruction_following",
    "prompt_consist_multi",
    "prompt_instruction_multi",
    "prompt_consist_temporal",
    "prompt_instruction_temporal",
)
_KNOWN_PROMPTS: tuple[str, ...] = ()
_JUDGES = ("gpt-4o",)
_FRAME = re.compile(r"\d+-(\d+)")


@dataclass(frozen=True)
class KRISBenchParams:
    """How KRIS-Bench is judged.

    Attributes:
        prompts: path of the official `utils/prompts.py`, or of the repository's folder; without it our own rubrics are
            used, and the protocol's id says so.
    """

    prompts: str | None = field(default=None, metadata={"identity": False})


class KRISBench(Benchmark):
    """KRIS-Bench: 1,267 edits that need knowledge, in 20 categories, three or four scores of 1 to 5 each.

    Every score of every sample counts once: the headline is the mean of (score - 1) * 25 over all of them, and so are the
    numbers by dimension and by type of knowledge; samples that are asked for knowledge plausibility so weigh 4, others 3
    (`summarize.py` of Bagel). The official scripts read `instruction` and `explain`, the data has `ins_en` and
    `explain_en`: both are read here, and a sample without an instruction is refused.
    """

    Params = KRISBenchParams
    name: ClassVar[str] = "krisbench"
    version: ClassVar[int] = 1
    default_rubric: ClassVar[str] = "kris-own-v1"
    stratum: ClassVar[str] = "category"
    layout: ClassVar[str] = "{category}/{number}"
    layout_suffix: ClassVar[str] = ".jpg"
    facts: ClassVar[Facts | None] = Facts(
        samples="1,267 en",
        languages="en",
        calls="3",
        scale="1 to 5, three or four scores",
        aggregation="mean of 25 (score - 1) over all scores of all samples",
        licence="Apache-2.0",
        data="huggingface.co/datasets/Liang0223/KRIS_Bench",
        prompts="github.com/mercurystraw/Kris_Bench, utils/prompts.py",
    )
    prompt_files: ClassVar[GitHubFiles | None] = GitHubFiles(
        "mercurystraw/Kris_Bench", "main", {"utils/prompts.py": ""}
    )

    @classmethod
    def hub_data(cls, params: KRISBenchParams) -> Sequence[HubData]:
        """Return the data's repository."""
        del params
        return (HubData("Liang0223/KRIS_Bench"),)

    @classmethod
    def load(cls, path: Path | None, params: KRISBenchParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples, category by category; `path` holds a folder with `annotation.json` for each."""
        del params, workspace
        if path is None:
            raise DataError(f"benchmark.path: krisbench needs the folder of its categories; {_WHERE}")
        root = path / "KRIS_Bench" if (path / "KRIS_Bench").is_dir() else path
        files = sorted(root.glob("*/annotation.json"))
        if not files:
            raise DataError(f"{root} holds no CATEGORY/annotation.json; {_WHERE}")
        samples: list[Sample] = []
        for file in files:
            category = _FORMER_NAMES.get(file.parent.name, file.parent.name)
            samples += [_sample(file, category, number, item) for number, item in items_of(file).items()]
        return samples

    @classmethod
    def protocol(cls, params: KRISBenchParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the rubrics by kind of sample, official ones where there are official prompts."""
        own = {"": rubric(cls.default_rubric), "knowledge": rubric("kris-knowledge-own-v1")}
        if params.prompts is None:
            return Protocol(own, tuple(_headlines()), ("own-prompts",), _JUDGES)
        names = ("utils/prompts.py", "prompts.py", "ReasonEdit/prompts.py")
        file = existing(Path(params.prompts).expanduser(), names, "no utils/prompts.py of KRIS-Bench")
        official = Official(constants(file, _PROMPTS), _KNOWN_PROMPTS)
        rubrics = {
            "": _official(own[""], official.texts, "prompt_instruction_following"),
            "anomaly": _official(own[""], official.texts, "prompt_abnormal_instruction_following"),
            "knowledge": _official(own["knowledge"], official.texts, "prompt_dual_evaluation"),
            "view": _official(own[""], official.texts, "prompt_view_instruction_following", truth=True),
            **{f"multi/{count}": _multi(own[""], official.texts, count) for count in range(1, 7)},
            **{f"frame/{number}": _temporal(own[""], official.texts, number) for number in range(1, 5)},
        }
        return Protocol(rubrics, tuple(_headlines()), official.deviations, _JUDGES)


def _sample(file: Path, category: str, number: str, item: Mapping[str, Any]) -> Sample:
    sources, truth = item.get("ori_img"), item.get("gt_img")
    sources = [sources] if isinstance(sources, str) else sources
    if (
        not isinstance(sources, list)
        or not sources
        or not all(isinstance(one, str) and one for one in sources)
    ):
        raise DataError(f"{file}, item {number!r}: 'ori_img' must name an image, or several")
    dimension = next((name for name, group in _DIMENSIONS.items() if category in group), "")
    tags = {"category": category, "number": number}
    if dimension:
        kind = next(name for name, group in _TYPES.items() if dimension in group)
        tags |= {"dimension": dimension, "knowledge": kind}
    explain = next(
        (item[name] for name in ("explain_en", "explain") if isinstance(item.get(name), str) and item[name]),
        "",
    )
    return Sample(
        id=f"{category}/{number}",
        instruction=_instruction(file, number, item),
        images=tuple(str((file.parent / one).absolute()) for one in sources),
        references=(str((file.parent / truth).absolute()),) if isinstance(truth, str) and truth else (),
        tags=tags,
        notes={"explanation": explain},
        rubric=_kind(category, dimension, sources),
    )


def _instruction(file: Path, number: str, item: Mapping[str, Any]) -> str:
    for name in ("ins_en", "instruction"):
        if isinstance(item.get(name), str) and item[name].strip():
            return str(item[name])
    hint = did_you_mean("ins_en", list(item))
    raise DataError(f"{file}, item {number!r}: neither 'ins_en' nor 'instruction' holds a text{hint}")


def _kind(category: str, dimension: str, sources: Sequence[str]) -> str:
    if category == _MULTI:
        return f"multi/{len(sources)}"
    if category == _TEMPORAL:
        return f"frame/{_missing_frame(sources)}"
    if category == _VIEW:
        return "view"
    if category == _ANOMALY:
        return "anomaly"
    return "knowledge" if dimension in _WITH_KNOWLEDGE else ""


def _missing_frame(sources: Sequence[str]) -> int:
    """Return the number of the frame that is to be made: of 1 to 4 the one whose file is not among the sources."""
    seen = {int(match[1]) for one in sources if (match := _FRAME.search(one))}
    left = sorted({1, 2, 3, 4} - seen)
    return left[0] if left else 4


def _official(own: Rubric, texts: Mapping[str, str], instruction: str, *, truth: bool = False) -> Rubric:
    """Return the questions about one source and one edit (`metrics_common.py` and its siblings)."""
    both = {"This is the original image:": "source", "This is the edited image:": "edited"}
    with_truth = {**both, "This is the ground truth image:": "reference"} if truth else both
    knows = any(one.name == "knowledge" for one in own.dimensions)
    asked = ["instruction", "knowledge"] if knows else ["instruction"]
    calls = (
        _ask("consistency", texts["prompt_consist"], ["consistency"], both),
        _ask("instruction", texts[instruction], asked, with_truth),
        _ask("quality", texts["prompt_quality"], ["quality"], {"This is the edited image:": "edited"}),
    )
    return replace(own, name="kris-official", calls=calls)


def _multi(own: Rubric, texts: Mapping[str, str], count: int) -> Rubric:
    """Return the questions about several sources (`metrics_multi_element.py`)."""
    shown = {f"Reference Image {number}:": f"source/{number}" for number in range(1, count + 1)}
    shown["Predicted Image:"] = "edited"
    return _several(own, texts, "multi", shown, {})


def _temporal(own: Rubric, texts: Mapping[str, str], frame: int) -> Rubric:
    """Return the questions about a sequence of four frames, of which the edit is one (`metrics_temporal_prediction.py`)."""
    shown = {}
    number = 0
    for one in range(1, 5):
        if one == frame:
            shown[f"Frame {one} (Generated):"] = "edited"
        else:
            number += 1
            shown[f"Frame {one} (Reference):"] = f"source/{number}"
    return _several(own, texts, "temporal", shown, {"{N}": str(frame)})


def _several(
    own: Rubric, texts: Mapping[str, str], kind: str, shown: Mapping[str, str], known: Mapping[str, str]
) -> Rubric:
    calls = (
        _ask("consistency", _filled(texts[f"prompt_consist_{kind}"], known), ["consistency"], shown),
        _ask("instruction", _filled(texts[f"prompt_instruction_{kind}"], known), ["instruction"], shown),
        _ask("quality", texts["prompt_quality"], ["quality"], {"This is the image to evaluate:": "edited"}),
    )
    return replace(own, name="kris-official", calls=calls)


def _filled(text: str, known: Mapping[str, str]) -> str:
    for mark, value in known.items():
        text = text.replace(mark, value)
    return text


def _ask(name: str, text: str, dimensions: Sequence[str], shown: Mapping[str, str]) -> Call:
    """Return one question: a template of Python's `format`, then each image after its label."""
    plain = text.replace("{{", "{").replace("}}", "}")
    fill = {"{instruct}": "instruction", "{explanation}": "note:explanation"}
    keys = [f"{one}_score" for one in dimensions]
    labels = list(shown)
    roles = list(shown.values())
    return question(
        name,
        plain,
        dimensions,
        roles,
        "fields",
        fill={m: w for m, w in fill.items() if m in plain},
        keys=keys,
        labels=labels,
    )


def _headlines() -> list[Headline]:
    whole = Headline("Overall", 0, 100, "(score - 1) * 25", pool=True, groups={"": sum(_CATEGORIES.values())})
    found = [whole]
    for kind, dimensions in _TYPES.items():
        count = sum(sum(_DIMENSIONS[one].values()) for one in dimensions)
        found.append(replace(whole, name=kind, where={"knowledge": kind}, groups={"": count}))
    for dimension, group in _DIMENSIONS.items():
        count = sum(group.values())
        found.append(replace(whole, name=dimension, where={"dimension": dimension}, groups={"": count}))
    return found
