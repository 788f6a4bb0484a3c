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
from edit_eval.benchmarks._official import Official, constants, existing, items_of, question, sourced
from edit_eval.core.errors import DataError, did_you_mean, shown
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Call, Rubric, Sample, Shown, is_blank

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
_KNOWN_PROMPTS = ("8e7ea01a702870f84c2c0dfe4df5575ea8e7f848cd1da04c2a67dd20b9f0ce37",)
_JUDGES = ("gpt-4o",)
_FRAME = re.compile(r"\d+-(\d+)")
_FRAMES = frozenset({1, 2, 3, 4})
_COUNTS = range(1, 10)
"""Of sources that a question can tell apart; the data has up to five."""

_FRAMES_SHOWN = Shown(jpeg_quality=85)
"""How `metrics_temporal_prediction.py` encodes what it shows; the other scripts show files as they are."""


@dataclass(frozen=True)
class KRISBenchParams:
    """How KRIS-Bench is judged.

    Attributes:
        prompts: path of the official `utils/prompts.py`, or of the repository's folder; without it our own rubrics are
            used, and the protocol's id says so.
        explain_anomalies: ask about `anomaly_correction` with the prompt that the authors wrote for it, which shows the
            explanation. Their scripts look for it under another folder name, and so ask as of every other category; so
            do we by default. The protocol's id says so. Only with official prompts.
    """

    prompts: str | None = field(default=None, metadata={"identity": False})
    explain_anomalies: bool = field(default=False, metadata={"identity": False})


class KRISBench(Benchmark):
    """KRIS-Bench: 1,267 edits that need knowledge, in 20 categories, three or four scores of 1 to 5 each.

    Every score of every sample counts once: the headline is the mean of (score - 1) * 25 over all of them, and so are the
    numbers by dimension and by type of knowledge; samples that are asked for knowledge plausibility so weigh 4, others 3
    (`summarize.py` of Bagel). A sample without one of its scores counts with none of them. The official scripts read
    `instruction` and `explain`, in later versions `ins_en` and `explain_en` as in the data: both are read here, and a
    sample without an instruction is refused. Frames of a sequence are shown in their order, as JPEG of quality 85
    (`metrics_temporal_prediction.py`); other images as they are. The official layout wants edits as JPEG and states no
    quality; the judge here sees the edit itself, or the JPEG that others made of theirs.
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
        with sourced(_WHERE):
            if path is None:
                raise DataError("benchmark.path: krisbench needs the folder of its categories")
            samples: list[Sample] = []
            for category, file in _lists(path / "KRIS_Bench" if (path / "KRIS_Bench").is_dir() else path):
                samples += [_sample(file, category, number, item) for number, item in items_of(file).items()]
        return samples

    @classmethod
    def protocol(cls, params: KRISBenchParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the rubrics by kind of sample, official ones where there are official prompts."""
        own = {"": rubric(cls.default_rubric), "knowledge": rubric("kris-knowledge-own-v1")}
        if params.prompts is None:
            if params.explain_anomalies:
                raise DataError("benchmark.params.explain_anomalies needs benchmark.params.prompts")
            return Protocol(own, tuple(_headlines()), ("own-prompts",), _JUDGES)
        names = ("utils/prompts.py", "prompts.py", "ReasonEdit/prompts.py")
        file = existing(Path(params.prompts).expanduser(), names, "no utils/prompts.py of KRIS-Bench")
        official = Official(constants(file, _PROMPTS), _KNOWN_PROMPTS)
        rubrics = {
            "": _official(own[""], official.texts, "prompt_instruction_following"),
            "knowledge": _official(own["knowledge"], official.texts, "prompt_dual_evaluation"),
            "view": _official(own[""], official.texts, "prompt_view_instruction_following", truth=True),
            **{f"multi/{count}": _multi(own[""], official.texts, count) for count in _COUNTS},
            **{f"frame/{number}": _temporal(own[""], official.texts, number) for number in sorted(_FRAMES)},
        }
        deviations = official.deviations
        if params.explain_anomalies:
            rubrics["anomaly"] = _official(own[""], official.texts, "prompt_abnormal_instruction_following")
            deviations += ("anomalies-explained",)
        return Protocol(rubrics, tuple(_headlines()), deviations, _JUDGES)


def _lists(root: Path) -> list[tuple[str, Path]]:
    """Return every category in `root` and its list, by folder name. Raises `DataError`."""
    found: dict[str, Path] = {}
    for folder in sorted(one for one in root.glob("*") if one.is_dir()):
        category, file = _FORMER_NAMES.get(folder.name, folder.name), folder / "annotation.json"
        if not file.exists():
            if category in _CATEGORIES:
                raise DataError(f"{folder} holds no annotation.json")
            continue
        if category in found:
            raise DataError(
                f"{found[category].parent} and {folder.name} are both of the category {category}; keep one"
            )
        found[category] = file
    if not found:
        raise DataError(f"{root} holds no CATEGORY/annotation.json")
    return list(found.items())


def _sample(file: Path, category: str, number: str, item: Mapping[str, Any]) -> Sample:
    where = f"{file}, item {shown(number)}"
    sources, truth = _sources(where, category, item), item.get("gt_img")
    if category == _VIEW and not (isinstance(truth, str) and truth):
        raise DataError(f"{where}: 'gt_img' must name an image of the right view, which the judge is shown")
    dimension = next((name for name, group in _DIMENSIONS.items() if category in group), "")
    tags = {"category": category, "number": number}
    if dimension:
        kind = next(name for name, group in _TYPES.items() if dimension in group)
        tags |= {"dimension": dimension, "knowledge": kind}

    def absolute(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(str((file.parent / one).absolute()) for one in names)

    frames = _frames(where, sources) if category == _TEMPORAL else {}
    in_order = [frames[one] for one in sorted(frames)]
    return Sample(
        id=f"{category}/{number}",
        instruction=_instruction(where, item),
        images=absolute(sources),
        references=absolute([truth]) if isinstance(truth, str) and truth else (),
        tags=tags,
        judged=absolute(in_order) if in_order and in_order != sources else (),
        notes={"explanation": _text(item, "explain_en", "explain")},
        rubric=_kind(category, dimension, sources, frames),
    )


def _sources(where: str, category: str, item: Mapping[str, Any]) -> list[str]:
    """Return the names of the source images. Raises `DataError`: none, or more than the category's questions show."""
    sources = item.get("ori_img")
    sources = [sources] if isinstance(sources, str) else sources
    if (
        not isinstance(sources, list)
        or not sources
        or not all(isinstance(one, str) and one for one in sources)
    ):
        hint = "" if "ori_img" in item else did_you_mean("ori_img", list(item))
        raise DataError(f"{where}: 'ori_img' must name an image, or several{hint}")
    if category in _CATEGORIES and category not in (_MULTI, _TEMPORAL) and len(sources) > 1:
        raise DataError(f"{where}: 'ori_img' names {len(sources)} images, and {category} has one a sample")
    if category == _MULTI and len(sources) not in _COUNTS:
        raise DataError(f"{where}: 'ori_img' names {len(sources)} images; at most {_COUNTS[-1]} can be shown")
    return sources


def _frames(where: str, sources: Sequence[str]) -> dict[int, str]:
    """Return the three sources of a sequence by number of their frame. Raises `DataError`."""
    frames = {int(match[1]): one for one in sources if (match := _FRAME.search(one))}
    if len(sources) != len(frames) or len(_FRAMES - set(frames)) != 1 or len(frames) != len(_FRAMES) - 1:
        raise DataError(
            f"{where}: 'ori_img' must name three of the frames N-1, N-2, N-3 and N-4; found {', '.join(sources)}"
        )
    return frames


def _text(item: Mapping[str, Any], *names: str) -> str:
    """Return the first text that can be seen under `names`, or an empty one."""
    return next(
        (item[one] for one in names if isinstance(item.get(one), str) and not is_blank(item[one])), ""
    )


def _instruction(where: str, item: Mapping[str, Any]) -> str:
    if text := _text(item, "ins_en", "instruction"):
        return text
    hint = did_you_mean("ins_en", [one for one in item if one not in ("ins_en", "instruction")])
    raise DataError(f"{where}: neither 'ins_en' nor 'instruction' holds a text{hint}")


def _kind(category: str, dimension: str, sources: Sequence[str], frames: Mapping[int, str]) -> str:
    if category == _MULTI:
        return f"multi/{len(sources)}"
    if category == _TEMPORAL:
        return f"frame/{min(_FRAMES - set(frames))}"
    if category == _VIEW:
        return "view"
    if category == _ANOMALY:
        return "anomaly"
    return "knowledge" if dimension in _WITH_KNOWLEDGE else ""


def _official(own: Rubric, texts: Mapping[str, str], instruction: str, *, truth: bool = False) -> Rubric:
    """Return the questions about one source and one edit (`metrics_common.py` and its siblings)."""
    both = {"This is the original image:": "source", "This is the edited image:": "edited"}
    with_truth = {**both, "This is the ground truth image:": "reference"} if truth else both
    knows = any(one.name == "knowledge" for one in own.dimensions)
    asked = ["instruction", "knowledge"] if knows else ["instruction"]
    calls = (
        _ask("consistency", texts["prompt_consist"], ["consistency"], both),
        _ask("instruction", texts[instruction], asked, with_truth),
        _quality(texts, "This is the edited image:"),
    )
    return replace(own, name="kris-official", calls=calls)


def _multi(own: Rubric, texts: Mapping[str, str], count: int) -> Rubric:
    """Return the questions about several sources (`metrics_multi_element.py`)."""
    pictures = {f"Reference Image {number}:": f"source/{number}" for number in range(1, count + 1)}
    pictures["Predicted Image:"] = "edited"
    return replace(own, name="kris-official", calls=_several(texts, "multi", pictures))


def _temporal(own: Rubric, texts: Mapping[str, str], frame: int) -> Rubric:
    """Return the questions about a sequence of four frames, of which the edit is one (`metrics_temporal_prediction.py`)."""
    pictures = {}
    number = 0
    for one in sorted(_FRAMES):
        if one == frame:
            pictures[f"Frame {one} (Generated):"] = "edited"
        else:
            number += 1
            pictures[f"Frame {one} (Reference):"] = f"source/{number}"
    known = {name: text.replace("{N}", str(frame)) for name, text in texts.items()}
    calls = _several(known, "temporal", pictures)
    return replace(own, name="kris-official", calls=calls, shown=_FRAMES_SHOWN)


def _several(texts: Mapping[str, str], kind: str, pictures: Mapping[str, str]) -> tuple[Call, ...]:
    return (
        _ask("consistency", texts[f"prompt_consist_{kind}"], ["consistency"], pictures),
        _ask("instruction", texts[f"prompt_instruction_{kind}"], ["instruction"], pictures),
        _quality(texts, "This is the image to evaluate:"),
    )


def _quality(texts: Mapping[str, str], label: str) -> Call:
    """Return the question about the edit alone, whose text no script formats: doubled braces stay doubled."""
    return question(
        "quality",
        texts["prompt_quality"],
        ["quality"],
        ["edited"],
        "fields",
        keys=["quality_score"],
        labels=[label],
    )


def _ask(name: str, text: str, dimensions: Sequence[str], pictures: Mapping[str, str]) -> Call:
    """Return one question: a template of Python's `format`, then each image after its label."""
    plain = text.replace("{{", "{").replace("}}", "}")
    fill = {"{instruct}": "instruction", "{explanation}": "note:explanation"}
    return question(
        name,
        plain,
        dimensions,
        list(pictures.values()),
        "fields",
        fill={mark: what for mark, what in fill.items() if mark in plain},
        keys=[f"{one}_score" for one in dimensions],
        labels=list(pictures),
    )


def _headlines() -> list[Headline]:
    whole = Headline(
        "Overall",
        0,
        100,
        "(score - 1) * 25",
        pool=True,
        groups={"": sum(_CATEGORIES.values())},
        expects={"category": _CATEGORIES},
    )
    found = [whole]
    for kind, dimensions in _TYPES.items():
        counts = {name: count for one in dimensions for name, count in _DIMENSIONS[one].items()}
        found.append(_only(whole, kind, "knowledge", counts))
    return [*found, *(_only(whole, name, "dimension", counts) for name, counts in _DIMENSIONS.items())]


def _only(whole: Headline, name: str, tag: str, counts: Mapping[str, int]) -> Headline:
    """Return the same of the samples that `tag` names so, whose categories are these."""
    expects = {"category": dict(counts)}
    return replace(whole, name=name, where={tag: name}, groups={"": sum(counts.values())}, expects=expects)
