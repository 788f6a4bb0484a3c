"""RISEBench: edits that need temporal, causal, spatial or logical reasoning.

Zhao et al. 2025, https://github.com/PhoenixZ810/RISEBench; data at https://huggingface.co/datasets/PhoenixZ/RISEBench. No
licence is stated for the data: nothing of it is shipped here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from edit_eval.benchmarks import Benchmark, Facts, GitHubFiles, HubData, Protocol
from edit_eval.benchmarks._official import (
    Official,
    constants,
    existing,
    given,
    question,
    sourced,
    table_of,
    text_of,
)
from edit_eval.benchmarks._tables import Row
from edit_eval.core.errors import DataError, shown
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Call, Dimension, Rubric, Sample, Shown

__all__ = ["RISEBench", "RISEBenchParams"]

_GROUPS = {
    "temporal_reasoning": 85,
    "causal_reasoning": 90,
    "spatial_reasoning": 100,
    "logical_reasoning": 85,
}
_SPATIAL, _LOGICAL = "spatial_reasoning", "logical_reasoning"
_WHERE = "get it from https://huggingface.co/datasets/PhoenixZ/RISEBench"
_TABLES = (
    "datav2_total_w_subtask.json",
    "data/datav2_total_w_subtask.json",
    "data_total.json",
    "data/data_total.json",
)
_PROMPTS = (
    "prompt_consist",
    "prompt_generation",
    "prompt_reasoning",
    "prompt_reasoning_w_input",
    "prompt_spatial_cons",
    "prompt_spatial_qual",
    "prompt_spatial_ref",
    "prompt_spatial_ref_img",
    "prompt_spatial_ref_w_input",
    "prompt_logical_cons",
    "prompt_logical_cons_ans",
    "prompt_logical_txt",
    "prompt_logical_img",
    "prompt_logical_img_wo_q",
)
_KNOWN_PROMPTS = ("6fa0f37c3a7e728b9e7084f8fd933a2bebc84d80e1f5c6dbcecf6de3128fd01f",)
_JUDGES = ("gpt-4.1-2025-04-14",)
_SHOWN = Shown(longest_side=768, jpeg_quality=75)
_FILL = {"{instruct}": "instruction", "{reference}": "note:reference"}
_HALVED = "choose(equal(reasoning, {low}), max(1, 0.5 * ({score})), {score})"
"""Where reasoning has the lowest score the sample's score is halved, but not below 1 (`calculate_score`)."""


@dataclass(frozen=True)
class RISEBenchParams:
    """Where RISEBench's parts are.

    Attributes:
        images: folder that image paths count from; by default it is looked for beside the table.
        prompts: path of the official `utils.py`, or of the repository's folder; without it our own rubrics are used,
            and the protocol's id says so.
    """

    images: str | None = field(default=None, metadata={"identity": False})
    prompts: str | None = field(default=None, metadata={"identity": False})


class RISEBench(Benchmark):
    """RISEBench: 360 edits in four kinds of reasoning, up to three scores each.

    Appearance consistency C, instruction reasoning R and visual plausibility P are on 1 to 5; logical samples have C and R
    of 0 or 1, which count as 1 and 5. A sample's score is 0.3 C + 0.5 R + 0.2 P; without C where the sample says
    `consistency_free` 0.8 R + 0.2 P; for logical ones 0.3 C + 0.7 R; halved, but not below 1, where R is lowest
    (official `gpt_eval.py`, `calculate_score`). The headlines are the share of samples whose scores are all at the top
    (`calculate_completion`), and the mean of 25 (score - 1); beside them the mean of each score on 0 to 100, as the
    leaderboard has it. The official table takes a missing value for true, so it leaves C out of most scores; here C is left
    out only where the sample says so. It also looks for `reasoning_wo_ins` in the table and not in the sample: where one
    sample has it, every picture of a logical result is compared without the question, and so it is here.
    """

    Params = RISEBenchParams
    name: ClassVar[str] = "risebench"
    version: ClassVar[int] = 1
    default_rubric: ClassVar[str] = "rise-own-v1"
    stratum: ClassVar[str] = "category"
    layout: ClassVar[str] = "images/{category}/{id}"
    facts: ClassVar[Facts | None] = Facts(
        samples="360 en",
        languages="en",
        calls="2 to 3",
        scale="1 to 5, or 0 and 1 for logical samples",
        aggregation="share of samples with the top in all; weighted mean on 0 to 100",
        licence="none stated",
        data="huggingface.co/datasets/PhoenixZ/RISEBench",
        prompts="github.com/PhoenixZ810/RISEBench, utils.py",
    )
    prompt_files: ClassVar[GitHubFiles | None] = GitHubFiles(
        "PhoenixZ810/RISEBench",
        "5f226519b25c005bb32fb83864bbd1845ab85c23",
        {
            "utils.py": "c8a693294768b7ceb355d98d3bc71f40c4fe51979a2e84ffc07f829764b676a3",
        },
    )

    @classmethod
    def hub_data(cls, params: RISEBenchParams) -> Sequence[HubData | GitHubFiles]:
        """Return the data's repository, one archive."""
        del params
        return (HubData("PhoenixZ/RISEBench", ("data.zip",), archives=("data.zip",)),)

    @classmethod
    def load(cls, path: Path | None, params: RISEBenchParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples; `path` is the JSON list, or a folder that holds it."""
        del workspace
        with sourced(_WHERE):
            rows, root = table_of(
                cls.name,
                path,
                tables=_TABLES,
                image_column="image",
                folders=("data", "images"),
                images=params.images,
                where=_WHERE,
            )
            alone = any(_marked(row, "reasoning_wo_ins") for _, row in rows)
            return [_sample(table, row, root, alone) for table, row in rows]

    @classmethod
    def protocol(cls, params: RISEBenchParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the rubrics by kind of sample, official ones where there are official prompts."""
        own = {"": rubric(cls.default_rubric), _LOGICAL: rubric("rise-logical-own-v1")}
        headlines = _headlines()
        if params.prompts is None:
            rubrics = {kind: _own(kind, own) for kind in _kinds()}
            return Protocol({"": own[""], **rubrics}, tuple(headlines), ("own-prompts",), _JUDGES)
        file = existing(Path(params.prompts).expanduser(), ("utils.py",), "no utils.py of RISEBench")
        official = Official(constants(file, _PROMPTS), _KNOWN_PROMPTS)
        rubrics = {kind: _official(kind, own, official.texts) for kind in _kinds()}
        return Protocol({"": own[""], **rubrics}, tuple(headlines), official.deviations, _JUDGES)


def _headlines() -> list[Headline]:
    found = []
    for name, value in (("Accuracy", "perfect"), ("Score", "25 * (overall - 1)")):
        found.append(_of(Headline(name, 0, 100, value), _GROUPS))
    for category, count in _GROUPS.items():
        short = category.removesuffix("_reasoning")
        for one in found[:2]:
            alone = replace(one, name=f"{one.name} {short}", where={"category": category})
            found.append(_of(alone, {category: count}))
    share = Headline(
        "Instruction reasoning", 0, 100, "100 * (score - low) / (high - low)", dimension="reasoning"
    )
    seen = {name: count for name, count in _GROUPS.items() if name != _LOGICAL}
    return [
        *found,
        _of(share, _GROUPS),
        _of(
            replace(share, name="Appearance consistency", dimension="consistency"), dict.fromkeys(_GROUPS, 0)
        ),
        _of(replace(share, name="Visual plausibility", dimension="plausibility"), seen),
    ]


def _of(headline: Headline, counts: Mapping[str, int]) -> Headline:
    """Return the same over the samples of these categories."""
    return replace(headline, groups={"": sum(counts.values())}, expects={"category": counts})


def _sample(table: Path, row: Row, root: Path, alone: bool) -> Sample:
    """Return a sample; `alone`: pictures of logical results are compared without the question."""
    category = text_of(table, row, "category")
    picture, text = _reference(table, row, category)
    tags = {"category": category}
    if subtask := given(row, "subtask"):
        tags["subtask"] = str(subtask)
    return Sample(
        id=text_of(table, row, "index"),
        instruction=text_of(table, row, "instruction"),
        images=(str(root / text_of(table, row, "image")),),
        references=(str(root / picture),) if picture else (),
        tags=tags,
        notes={"reference": text or "the right result is shown as a picture"},
        rubric=_kind(category, row, picture=bool(picture), text=bool(text), alone=alone),
    )


def _reference(table: Path, row: Row, category: str) -> tuple[str | None, str | None]:
    """Return the picture of the right result and the text about it, one of which the questions of the category show.

    Raises:
        DataError: there is neither, or one that is no text.
    """
    found = {}
    for name in ("reference_img", "reference_txt", "reference"):
        found[name] = given(row, name)
        if found[name] is not None and not isinstance(found[name], str):
            raise DataError(f"{table}, {row.where}: {name!r} is no text")
    wanted = {
        "temporal_reasoning": ("reference",),
        "causal_reasoning": ("reference",),
        _SPATIAL: ("reference_img", "reference"),
        _LOGICAL: ("reference_txt", "reference_img"),
    }.get(category)
    if wanted and not any(found[name] for name in wanted):
        raise DataError(
            f"{table}, {row.where}: a sample of {category} needs {' or '.join(map(repr, wanted))}; "
            f"found {shown(', '.join(sorted(row.values)), quote=False)}"
        )
    text = found["reference_txt"] if category == _LOGICAL else found["reference"] or found["reference_txt"]
    return found["reference_img"], text


def _marked(row: Row, name: str) -> bool:
    """Whether a sample has this mark, which the data writes as `"True"` and leaves out where it is not so."""
    value = given(row, name)
    return value is not None and str(value).strip().lower() not in ("false", "0")


def _kind(category: str, row: Row, *, picture: bool, text: bool, alone: bool) -> str:
    """Return which questions a sample is asked: its category, what the right result is given as, and exceptions.

    As `eval_vanilla` decides: a spatial sample with a picture of the result is compared with that picture; a logical
    one with a text goes by the text.
    """
    if category == _LOGICAL:
        if text:
            return f"{_LOGICAL}/text"
        return f"{_LOGICAL}/picture" + ("-alone" if alone else "")
    if category not in _GROUPS:
        return ""
    family = _SPATIAL if category == _SPATIAL else "temporal_reasoning"
    given_as = "text"
    if category == _SPATIAL and picture:
        given_as = "picture"
    elif _marked(row, "reasoning_img"):
        given_as = "text-and-source"
    free = "/free" if _marked(row, "consistency_free") else ""
    return f"{family}/{given_as}{free}"


def _kinds() -> list[str]:
    kinds = [f"{_LOGICAL}/text", f"{_LOGICAL}/picture", f"{_LOGICAL}/picture-alone"]
    for family in ("temporal_reasoning", _SPATIAL):
        for given_as in ("text", "text-and-source", "picture"):
            if not (given_as == "picture" and family != _SPATIAL):
                kinds += [f"{family}/{given_as}", f"{family}/{given_as}/free"]
    return kinds


def _own(kind: str, own: Mapping[str, Rubric]) -> Rubric:
    if kind.startswith(_LOGICAL):
        return _finished(own[_LOGICAL], own[_LOGICAL].calls, kind)
    return _finished(own[""], own[""].calls, kind)


def _official(kind: str, own: Mapping[str, Rubric], texts: Mapping[str, str]) -> Rubric:
    """Return the official questions of one kind, as `eval_vanilla` asks them."""
    family, given_as = kind.split("/")[:2]
    before = "reference" if given_as.startswith("picture") else "source"

    def ask(dimension: str, prompt: str, images: Sequence[str]) -> Call:
        fill = {mark: what for mark, what in _FILL.items() if mark in texts[prompt]}
        return question(dimension, texts[prompt], [dimension], images, "final", fill=fill)

    if family == _LOGICAL:
        asked = {
            "text": ("prompt_logical_cons_ans", "prompt_logical_txt", ["edited"]),
            "picture": ("prompt_logical_cons", "prompt_logical_img", ["reference", "edited"]),
            "picture-alone": ("prompt_logical_cons", "prompt_logical_img_wo_q", ["reference", "edited"]),
        }
        consistency, reasoning, images = asked[given_as]
        both = (
            ask("consistency", consistency, [before, "edited"]),
            ask("reasoning", reasoning, images),
        )
        return _finished(replace(own[_LOGICAL], name="rise-official"), both, kind)
    spatial = family == _SPATIAL
    reasoning = {
        "text": "prompt_spatial_ref" if spatial else "prompt_reasoning",
        "text-and-source": "prompt_spatial_ref_w_input" if spatial else "prompt_reasoning_w_input",
        "picture": "prompt_spatial_ref_img",
    }[given_as]
    calls = (
        ask("consistency", "prompt_spatial_cons" if spatial else "prompt_consist", [before, "edited"]),
        ask("reasoning", reasoning, ["edited"] if given_as == "text" else [before, "edited"]),
        ask("plausibility", "prompt_spatial_qual" if spatial else "prompt_generation", ["edited"]),
    )
    return _finished(replace(own[""], name="rise-official"), calls, kind)


def _finished(base: Rubric, calls: Sequence[Call], kind: str) -> Rubric:
    """Return `base` with the questions that apply and the score that they make."""
    free = kind.endswith("/free")
    dimensions: tuple[Dimension, ...] = base.dimensions
    if kind.startswith(_LOGICAL):
        overall = _HALVED.format(low=0, score="0.3 * (4 * consistency + 1) + 0.7 * (4 * reasoning + 1)")
    elif free:
        calls = [call for call in calls if call.name != "consistency"]
        dimensions = tuple(one for one in dimensions if one.name != "consistency")
        overall = _HALVED.format(low=1, score="0.8 * reasoning + 0.2 * plausibility")
    else:
        overall = _HALVED.format(low=1, score="0.3 * consistency + 0.5 * reasoning + 0.2 * plausibility")
    return replace(base, dimensions=dimensions, calls=tuple(calls), overall=overall, shown=_SHOWN)
