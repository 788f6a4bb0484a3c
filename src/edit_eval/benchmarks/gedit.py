"""GEdit-Bench v1: real users' edits in 11 groups, each instruction in English and in Chinese.

Liu et al. 2025, Step1X-Edit, https://github.com/stepfun-ai/Step1X-Edit, folder GEdit-Bench; data (MIT) at
https://huggingface.co/datasets/stepfun-ai/GEdit-Bench.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from edit_eval.benchmarks import Benchmark, Facts, GitHubFiles, HubData, Protocol
from edit_eval.benchmarks._official import (
    Official,
    column,
    constants,
    image,
    question,
    rows_of,
    text_of,
)
from edit_eval.core.errors import DataError
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Rubric, Sample, Shown

__all__ = ["GEdit", "GEditParams"]

_GROUPS = {
    "background_change": 40,
    "color_alter": 40,
    "material_alter": 40,
    "motion_change": 40,
    "ps_human": 70,
    "style_change": 60,
    "subject-add": 60,
    "subject-remove": 57,
    "subject-replace": 60,
    "text_change": 99,
    "tone_transfer": 40,
}
"""Samples of one language by group: 606 in all."""

_LANGUAGES = {"en": ("en",), "cn": ("cn",), "zh": ("cn",), "both": ("en", "cn")}
_WHERE = "get it from https://huggingface.co/datasets/stepfun-ai/GEdit-Bench"
_CONTEXT, _RULE = "_context_no_delimit", "_prompts_0shot_two_image_edit_rule"
_SC, _PQ = "_prompts_0shot_tie_rule_SC", "_prompts_0shot_rule_PQ"
_KNOWN_PROMPTS = ("3d02bb86a670ffb8414e66206223fb1ae73efd15eaeeeff58cd3c526096b378f",)
_JUDGES = {"gpt-4.1": ("gpt-4.1",), "qwen2.5-vl": ("Qwen/Qwen2.5-VL-72B-Instruct-AWQ",)}


@dataclass(frozen=True)
class GEditParams:
    """Which part of GEdit, and how it is judged.

    Attributes:
        language: `en`, `cn` (or `zh`), or `both`.
        subset: `full`, or `intersection`: the samples that every model of the paper's table could edit.
        edited: which of the two source images the editor is given: `raw` (`input_image_raw`, the original) or `small`
            (`input_image`, about 512 x 512 pixels). The judge always sees the small one.
        prompts: path of the official `vie_prompts.py`, or of the repository's folder; without it our own rubric is
            used, and the protocol's id says so.
        style: whose official way to show images: `gpt-4.1` (text first, JPEG) or `qwen2.5-vl` (images first, PNG).
    """

    language: Literal["en", "cn", "zh", "both"] = "en"
    subset: Literal["full", "intersection"] = "full"
    edited: Literal["raw", "small"] = "raw"
    prompts: str | None = field(default=None, metadata={"identity": False})
    style: Literal["gpt-4.1", "qwen2.5-vl"] = "gpt-4.1"


class GEdit(Benchmark):
    """GEdit-Bench v1 of Step1X-Edit: 606 edits of users' own pictures in 11 groups, English and Chinese.

    A sample's score is sqrt(min(success, overediting) * min(naturalness, artifacts)), each of the four on 0 to 10; the
    headline G_O is the unweighted mean of 11 group means (official `viescore/__init__.py` and
    `calculate_statistics.py`). G_SC and G_PQ are the same of the two minima. The edited image is resized to the
    small source's size before it is judged (`test_gedit_score.py`).
    """

    Params = GEditParams
    name: ClassVar[str] = "gedit"
    version: ClassVar[int] = 1
    default_rubric: ClassVar[str] = "gedit-own-v1"
    stratum: ClassVar[str] = "category"
    layout: ClassVar[str] = "fullset/{category}/{language}/{key}"
    facts: ClassVar[Facts | None] = Facts(
        samples="606 en, 606 cn",
        languages="en, cn",
        calls="2",
        scale="0 to 10, four scores",
        aggregation="sqrt of the product of two minima, then the mean of 11 group means",
        licence="MIT",
        data="huggingface.co/datasets/stepfun-ai/GEdit-Bench",
        prompts="github.com/stepfun-ai/Step1X-Edit, GEdit-Bench/viescore/vie_prompts.py",
    )
    prompt_files: ClassVar[GitHubFiles | None] = GitHubFiles(
        "stepfun-ai/Step1X-Edit",
        "570eba6ebda0c45c013983a483afbf2fd12bfcbc",
        {
            "GEdit-Bench/viescore/vie_prompts.py": "010234af186eb0a70fcb99047cd32ad1da01bed59ca1a95a01335426417cf838",
        },
    )

    @classmethod
    def hub_data(cls, params: GEditParams) -> Sequence[HubData]:
        """Return the data's repository."""
        del params
        return (HubData("stepfun-ai/GEdit-Bench", ("*.parquet",)),)

    @classmethod
    def load(cls, path: Path | None, params: GEditParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples of the language and subset asked for.

        `path` is the official Parquet file, or a folder with such files in it or in its `data`; images in them are
        written once to `workspace/embedded`. A JSONL or JSON table of the same columns with image paths will do.
        """
        files = _tables(path)
        samples = []
        for file, row in rows_of(files):
            language = text_of(file, row, "instruction_language")
            if language not in _LANGUAGES[params.language]:
                continue
            inside = column(file, row, "Intersection_exist")
            if params.subset == "intersection" and inside is not True:
                continue
            key = text_of(file, row, "key")
            small = image(file, row, column(file, row, "input_image"), file.parent, workspace / "embedded")
            given = small
            if params.edited == "raw":
                raw = column(file, row, "input_image_raw")
                given = image(file, row, raw, file.parent, workspace / "embedded")
            category = text_of(file, row, "task_type")
            samples.append(
                Sample(
                    id=key if params.language != "both" else f"{key}-{language}",
                    instruction=text_of(file, row, "instruction"),
                    images=(given,),
                    judged=(small,) if given != small else (),
                    tags={
                        "category": category,
                        "language": language,
                        "intersection": "yes" if inside is True else "no",
                        "key": key,
                    },
                    cluster=key,
                )
            )
        if not samples:
            raise DataError(f"{files[0]} holds no sample of language {params.language!r}; {_WHERE}")
        return samples

    @classmethod
    def protocol(cls, params: GEditParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the official protocol, or our own rubric under it where there are no official prompts."""
        own = rubric(cls.default_rubric)
        shown = Shown(edited_as_source=True, jpeg_quality=75 if params.style == "gpt-4.1" else 0)
        deviations: list[str] = []
        if params.prompts is None:
            used = replace(own, shown=shown)
            deviations.append("own-prompts")
        else:
            official = Official(
                constants(_prompts_file(Path(params.prompts)), [_CONTEXT, _RULE, _SC, _PQ]), _KNOWN_PROMPTS
            )
            used = _official_rubric(own, official, shown, text_first=params.style == "gpt-4.1")
            deviations += official.deviations
        if params.subset != "full":
            deviations.append("subset-intersection")
        if params.edited != "raw":
            deviations.append("edited-small")
        languages = _LANGUAGES[params.language]
        headlines = [one for language in languages for one in _headlines(language, params.subset)]
        return Protocol({"": used}, tuple(headlines), tuple(deviations), _JUDGES[params.style])


def _tables(path: Path | None) -> list[Path]:
    if path is None:
        raise DataError(f"benchmark.path: gedit needs the path of its data; {_WHERE}")
    if path.is_file():
        return [path]
    for folder in (path, path / "data"):
        files = sorted(folder.glob("*.parquet")) or sorted([*folder.glob("*.jsonl"), *folder.glob("*.json")])
        if files:
            return files
    raise DataError(f"{path} holds no Parquet file of GEdit-Bench (nor does its folder data); {_WHERE}")


def _prompts_file(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_dir():
        return path
    inner = ("vie_prompts.py", "viescore/vie_prompts.py", "GEdit-Bench/viescore/vie_prompts.py")
    return next((path / one for one in inner if (path / one).is_file()), path / inner[-1])


def _official_rubric(own: Rubric, official: Official, shown: Shown, *, text_first: bool) -> Rubric:
    """Return the two official questions: semantic consistency of source and edit, quality of the edit alone."""
    texts = official.texts
    consistency = "\n".join([texts[_CONTEXT], texts[_RULE], texts[_SC]])
    quality = "\n".join([texts[_CONTEXT], texts[_PQ]])
    calls = (
        question(
            "consistency",
            consistency,
            ("success", "overediting"),
            ("source", "edited"),
            "list",
            fill={"<instruction>": "instruction"},
            images_first=not text_first,
        ),
        question(
            "quality",
            quality,
            ("naturalness", "artifacts"),
            ("edited",),
            "list",
            images_first=not text_first,
        ),
    )
    return replace(own, name="gedit-official", calls=calls, shown=shown)


def _headlines(language: str, subset: str) -> list[Headline]:
    """Return G_O, G_SC and G_PQ of one language; of the full set, then of the intersection within it."""
    values = {
        "G_O": "overall",
        "G_SC": "min(success, overediting)",
        "G_PQ": "min(naturalness, artifacts)",
    }
    full = [
        Headline(
            f"{name} {language}",
            0,
            10,
            value,
            group="category",
            groups=_GROUPS,
            where={"language": language},
            digits=3,
        )
        for name, value in values.items()
    ]
    inner = [
        replace(
            one,
            name=f"{one.name} intersection",
            groups=dict.fromkeys(_GROUPS, 0),
            where={**one.where, "intersection": "yes"},
        )
        for one in full
    ]
    return [*full, *inner] if subset == "full" else inner
