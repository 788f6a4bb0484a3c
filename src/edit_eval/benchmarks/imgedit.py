"""ImgEdit-Bench: 737 edits of nine types (Basic), and 47 hard ones (UGE).

Ye et al. 2025, ImgEdit, https://github.com/PKU-YuanGroup/ImgEdit, folder Benchmark; images in Benchmark.tar at
https://huggingface.co/datasets/sysuyy/ImgEdit. No licence is stated for the data: nothing of it is shipped here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from edit_eval.benchmarks import Benchmark, Facts, GitHubFiles, HubData, Protocol
from edit_eval.benchmarks._official import (
    Official,
    beside,
    constants,
    existing,
    items_of,
    json_texts,
    question,
    sourced,
)
from edit_eval.core.errors import DataError, did_you_mean, shown
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Call, Rubric, Sample, is_blank

__all__ = ["ImgEdit", "ImgEditParams", "ImgEditUGE"]

_TYPES = {
    "action": 36,
    "add": 95,
    "adjust": 94,
    "background": 94,
    "compose": 23,
    "extract": 117,
    "remove": 86,
    "replace": 92,
    "style": 100,
}
_WHERE = (
    "get Benchmark.tar from https://huggingface.co/datasets/sysuyy/ImgEdit and the item lists from "
    "https://github.com/PKU-YuanGroup/ImgEdit"
)
_FOLDERS = ("images", "original_images", "singleturn", "hard", "Benchmark/singleturn", "Benchmark/hard")
_LABEL = re.compile(r"^(?P<label>[^:\n]+): A number from 1 to 5\.\s*$", re.MULTILINE)
"""A line of an official prompt that asks for one score, and says what its line is to be called."""

_KNOWN_BASIC = ("6c8916e8b47d64d6af4f96035ef0ca9c0dcc13bce7790f99521367577ca84d7b",)
_KNOWN_UGE = ("8d945fbc1d5d67bb6f06616ee297d49df106f084e7921b69f0065c7f9769d52c",)
_JUDGES = ("gpt-4.1", "gpt-4o")


@dataclass(frozen=True)
class ImgEditParams:
    """Where ImgEdit's parts are.

    Attributes:
        images: folder that the items' image paths count from, or one that holds it; by default it is looked for beside the
            item list.
        prompts: path of the official prompts (`prompts.json` of Basic, `UGE_bench.py` of UGE), or of the repository's
            folder; without it our own rubric is used, and the protocol's id says so.
    """

    images: str | None = field(default=None, metadata={"identity": False})
    prompts: str | None = field(default=None, metadata={"identity": False})


def _github(path: str, sha256: str) -> GitHubFiles:
    return GitHubFiles("PKU-YuanGroup/ImgEdit", "547185d12c08267a862b94248576e1746e479937", {path: sha256})


class ImgEdit(Benchmark):
    """ImgEdit-Bench Basic: 737 edits of nine types, three scores of 1 to 5 each.

    A sample's score is the mean of its three, rounded to two decimals (official `step1_get_avgscore.py`); the
    headline is the unweighted mean of the nine type means (`step2_typescore.py` stops at these; the leaderboard's
    Overall is their mean). What the official prompts call a score differs by type; the label of its line is taken from
    the prompt itself. That two of the scores must not exceed the first is a wish of the prompt, which no official
    script enforces, and neither does this.
    """

    Params = ImgEditParams
    name: ClassVar[str] = "imgedit"
    version: ClassVar[int] = 1
    default_rubric: ClassVar[str] = "imgedit-own-v1"
    stratum: ClassVar[str] = "category"
    layout: ClassVar[str] = "{id}"
    facts: ClassVar[Facts | None] = Facts(
        samples="737 en",
        languages="en",
        calls="1",
        scale="1 to 5, three scores",
        aggregation="mean of the three, then the mean of nine type means",
        licence="none stated",
        data="huggingface.co/datasets/sysuyy/ImgEdit (Benchmark.tar); github.com/PKU-YuanGroup/ImgEdit (basic_edit.json)",
        prompts="github.com/PKU-YuanGroup/ImgEdit, Benchmark/Basic/prompts.json",
    )
    prompt_files: ClassVar[GitHubFiles | None] = _github(
        "Benchmark/Basic/prompts.json", "f9468dc848776ee0a6c2e2c31e678c7224e9cb61b013747c8c52d4a05627b5a0"
    )
    _items: ClassVar[GitHubFiles] = _github(
        "Benchmark/Basic/basic_edit.json", "5ee9b7d61e918692416f79896300f738598c83adff8de737b25be4aaff72dc69"
    )
    _list: ClassVar[tuple[str, ...]] = (
        "basic_edit.json",
        "Basic/basic_edit.json",
        "Benchmark/Basic/basic_edit.json",
    )

    @classmethod
    def hub_data(cls, params: ImgEditParams) -> Sequence[HubData | GitHubFiles]:
        """Return the item list, and the archive of images where the user gives no item list."""
        del params
        images = HubData(
            "sysuyy/ImgEdit",
            ("Benchmark.tar",),
            into="images",
            archives=("Benchmark.tar",),
            without_path=True,
        )
        return (cls._items, images)

    @classmethod
    def load(cls, path: Path | None, params: ImgEditParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples; `path` is the item list, or a folder of the repository that holds it."""
        del workspace
        with sourced(_WHERE):
            if path is None:
                raise DataError(f"benchmark.path: {cls.name} needs the path of its item list")
            file = existing(path, cls._list, f"no item list {cls._list[0]}")
            items = items_of(file)
            for key, item in items.items():
                cls._refuse(f"{file}, item {shown(key)}", item)
            root = beside(file, next(iter(items.values()))["id"], _FOLDERS, params.images, _WHERE)
        return [cls._sample(key, item, root) for key, item in items.items()]

    _fields: ClassVar[tuple[str, ...]] = ("id", "prompt", "edit_type")
    """What an item must have; the type of its edit last."""

    @classmethod
    def _refuse(cls, where: str, item: Mapping[str, Any]) -> None:
        """Raise `DataError` for what is no item of this list."""
        if "turn1" in item:
            raise DataError(
                f"{where}: this is the multi-turn list, which people judge; there is no protocol for it"
            )
        for name in cls._fields:
            if not isinstance(item.get(name), str) or is_blank(item[name]):
                hint = did_you_mean(name, [one for one in item if one != name])
                if name == "edit_type" and not hint:
                    hint = " (a list without it is that of UGE: set benchmark.type to imgedit_uge)"
                found = shown(", ".join(sorted(item)))
                raise DataError(f"{where}: {name!r} is missing or no text{hint}; found {found}")

    @classmethod
    def _sample(cls, key: str, item: Mapping[str, Any], root: Path) -> Sample:
        kind = item["edit_type"]
        images = (str(root / item["id"]),)
        return Sample(key, item["prompt"], images, tags={"category": kind}, rubric=kind)

    @classmethod
    def protocol(cls, params: ImgEditParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the official protocol with its prompts by type, or our own rubric for all types."""
        own = rubric(cls.default_rubric)
        headlines = (
            Headline("Overall", 1, 5, group="category", groups=_TYPES),
            *(Headline(one, 1, 5, where={"category": one}) for one in _TYPES),
        )
        if params.prompts is None:
            return Protocol({"": own}, headlines, ("own-prompts",), _JUDGES)
        names = ("prompts.json", "Basic/prompts.json", "Benchmark/Basic/prompts.json")
        file = existing(Path(params.prompts).expanduser(), names, "no prompts.json of ImgEdit")
        official = Official(json_texts(file, list(_TYPES)), _KNOWN_BASIC)
        rubrics = {kind: _official(own, file, kind, text) for kind, text in official.texts.items()}
        return Protocol({"": own, **rubrics}, headlines, official.deviations, _JUDGES)


class ImgEditUGE(ImgEdit):
    """ImgEdit-Bench UGE: 47 hard edits that need understanding, one score of 1 to 5 each.

    The headline is the mean (official `get_average_score.py`). The official prompt does not say how the score is to
    be written; as the official parser wants a line of the form `name: number`, a line `Score: number` is read.
    """

    name: ClassVar[str] = "imgedit_uge"
    default_rubric: ClassVar[str] = "imgedit-uge-own-v1"
    stratum: ClassVar[str] = ""
    facts: ClassVar[Facts | None] = Facts(
        samples="47 en",
        languages="en",
        calls="1",
        scale="1 to 5, one score",
        aggregation="mean",
        licence="none stated",
        data="huggingface.co/datasets/sysuyy/ImgEdit (Benchmark.tar); github.com/PKU-YuanGroup/ImgEdit (UGE_edit.json)",
        prompts="github.com/PKU-YuanGroup/ImgEdit, Benchmark/UGE/UGE_bench.py",
    )
    prompt_files: ClassVar[GitHubFiles | None] = _github(
        "Benchmark/UGE/UGE_bench.py", "f179b88b5f46d8acc2736d38af1ad4e0570a3d2d30148ca3ea02bf85f2960391"
    )
    _items: ClassVar[GitHubFiles] = _github(
        "Benchmark/UGE/UGE_edit.json", "807817d8765f8fc45397be9afbf638b00fad91e37c1d44fabd5103df73074d16"
    )
    _list: ClassVar[tuple[str, ...]] = ("UGE_edit.json", "UGE/UGE_edit.json", "Benchmark/UGE/UGE_edit.json")
    _fields: ClassVar[tuple[str, ...]] = ("id", "prompt")

    @classmethod
    def _refuse(cls, where: str, item: Mapping[str, Any]) -> None:
        if "edit_type" in item:
            raise DataError(f"{where}: 'edit_type' is of the Basic list: set benchmark.type to imgedit")
        super()._refuse(where, item)

    @classmethod
    def _sample(cls, key: str, item: Mapping[str, Any], root: Path) -> Sample:
        return Sample(key, item["prompt"], (str(root / item["id"]),))

    @classmethod
    def protocol(cls, params: ImgEditParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the official protocol with its prompt, or our own rubric."""
        own = rubric(cls.default_rubric)
        headlines = (Headline("UGE", 1, 5, groups={"": 47}),)
        if params.prompts is None:
            return Protocol({"": own}, headlines, ("own-prompts",), _JUDGES)
        names = ("UGE_bench.py", "UGE/UGE_bench.py", "Benchmark/UGE/UGE_bench.py")
        file = existing(Path(params.prompts).expanduser(), names, "no UGE_bench.py of ImgEdit")
        official = Official(constants(file, ["prompt"]), _KNOWN_UGE)
        call = _call(own, official.texts["prompt"], ("Score",))
        used = replace(own, name="imgedit-uge-official", calls=(call,))
        return Protocol({"": used}, headlines, official.deviations, _JUDGES)


def _official(own: Rubric, file: Path, kind: str, text: str) -> Rubric:
    labels = tuple(match["label"].strip() for match in _LABEL.finditer(text))
    if len(labels) != len(own.dimensions):
        raise DataError(f"{file}: the prompt {kind!r} asks for {len(labels)} scores, and not for three")
    return replace(own, name="imgedit-official", calls=(_call(own, text, labels),))


def _call(own: Rubric, text: str, labels: tuple[str, ...]) -> Call:
    """Return the one official question: the text, then source and edit (`basic_bench.py`, `UGE_bench.py`)."""
    dimensions = [one.name for one in own.dimensions]
    fill = {"<edit_prompt>": "instruction"}
    return question("edit", text, dimensions, ("source", "edited"), "lines", fill=fill, keys=labels)
