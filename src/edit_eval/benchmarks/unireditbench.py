"""UniREditBench: edits that need reasoning, in the real world and in games, each with the expected result as an image.

Han et al. 2025, https://github.com/Maplebb/UniREditBench, folder eval; data (Apache-2.0) at
https://huggingface.co/datasets/maplebb/UniREditBench.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    table_of,
    text_of,
)
from edit_eval.core.errors import DataError
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Rubric, Sample, Shown

__all__ = ["UniREditBench", "UniREditBenchParams"]

_WHERE = "get it from https://huggingface.co/datasets/maplebb/UniREditBench"
_PROMPTS = ("prompt_consist", "prompt_reasoning_w_ref_image", "prompt_generation")
_KNOWN_PROMPTS = ("12bc5fface37e303aba0690873c57afa8c2ad5f763638a75f19952b54a4ca320",)
_JUDGES = ("gpt-4.1-2025-04-14",)
_SHOWN = Shown(longest_side=768, jpeg_quality=75)
_SAMPLES = 2700
_SCORES = {
    "ApprConsistency": "consistency",
    "Reasoning": "reasoning",
    "VisualPlausibility": "plausibility",
}
"""The official names of the scores, and ours."""


@dataclass(frozen=True)
class UniREditBenchParams:
    """Where UniREditBench's parts are.

    Attributes:
        images: folder that image paths count from; by default the table's.
        prompts: path of the official `eval/utils.py`, or of the repository's folder; without it our own rubric is
            used, and the protocol's id says so.
    """

    images: str | None = field(default=None, metadata={"identity": False})
    prompts: str | None = field(default=None, metadata={"identity": False})


class UniREditBench(Benchmark):
    """UniREditBench: 2,700 reasoning edits in 8 dimensions of real world and games, three scores of 1 to 5 each.

    A sample's score is 0.3 consistency + 0.5 reasoning + 0.2 plausibility; the headlines are the mean of 25 (score - 1)
    over samples, and the share of samples with 5 in all three (official `eval/gpt_eval_uniredit.py`, which gives the means
    of the three scores as well). Where a game has rules, they stand before the instruction: on a line of their own for
    the judge (same file), with a space between for the editor (`gen_images_mp_uniredit.py`).
    """

    Params = UniREditBenchParams
    name: ClassVar[str] = "unireditbench"
    version: ClassVar[int] = 1
    default_rubric: ClassVar[str] = "uniredit-own-v1"
    stratum: ClassVar[str] = "category"
    layout: ClassVar[str] = "{category}/{idx}"
    facts: ClassVar[Facts | None] = Facts(
        samples="2,700 en",
        languages="en",
        calls="3",
        scale="1 to 5, three scores",
        aggregation="weighted 0.3/0.5/0.2, then the mean over samples; share of samples with 5 in all",
        licence="Apache-2.0",
        data="huggingface.co/datasets/maplebb/UniREditBench",
        prompts="github.com/Maplebb/UniREditBench, eval/utils.py",
    )
    prompt_files: ClassVar[GitHubFiles | None] = GitHubFiles(
        "Maplebb/UniREditBench",
        "a7015c5c2d17aecb1a5af4af1b234c357d86cc7d",
        {
            "eval/utils.py": "2823400b1cc083fcaa86aa37c35f0fa7dc8b8af520f3c1de045547896dd76870",
        },
    )

    @classmethod
    def hub_data(cls, params: UniREditBenchParams) -> Sequence[HubData | GitHubFiles]:
        """Return the data's repository: the table, and archives of originals and references."""
        del params
        return (HubData("maplebb/UniREditBench", ("data.json", "*.zip"), archives=("*.zip",)),)

    @classmethod
    def load(cls, path: Path | None, params: UniREditBenchParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples; `path` is `data.json`, or its folder."""
        del workspace
        rows, root = table_of(
            cls.name,
            path,
            tables=("data.json",),
            image_column="original_image_path",
            folders=(),
            images=params.images,
            where=_WHERE,
        )
        samples = []
        for table, row in rows:
            instruction, rules = text_of(table, row, "instruction"), given(row, "rules")
            if rules is not None and not isinstance(rules, str):
                raise DataError(f"{table}, {row.where}: 'rules' is no text")
            name, idx = text_of(table, row, "name"), text_of(table, row, "idx")
            effect = given(row, "reference_effect")
            samples.append(
                Sample(
                    id=f"{name}#{idx}",
                    instruction=f"{rules}\n{instruction}" if rules else instruction,
                    edit_instruction=f"{rules} {instruction}" if rules else None,
                    images=(str(root / text_of(table, row, "original_image_path")),),
                    references=(str(root / text_of(table, row, "reference_image_path")),),
                    tags={"category": name, "idx": idx},
                    notes={"reference": str(effect) if effect is not None else ""},
                )
            )
        return samples

    @classmethod
    def protocol(cls, params: UniREditBenchParams, rubric: Callable[[str], Rubric]) -> Protocol:
        """Return the official protocol with its prompts, or our own rubric."""
        own = replace(rubric(cls.default_rubric), shown=_SHOWN)
        values = {
            "Score": "25 * (overall - 1)",
            "Accuracy": "perfect",
            **{name: f"25 * ({one} - 1)" for name, one in _SCORES.items()},
        }
        headlines = tuple(Headline(name, 0, 100, one, groups={"": _SAMPLES}) for name, one in values.items())
        if params.prompts is None:
            return Protocol({"": own}, headlines, ("own-prompts",), _JUDGES)
        file = existing(Path(params.prompts).expanduser(), ("eval/utils.py", "utils.py"), "no eval/utils.py")
        official = Official(constants(file, _PROMPTS), _KNOWN_PROMPTS)
        fill = {"{instruct}": "instruction", "{reference}": "note:reference"}
        consist, reasoning, generation = (official.texts[name] for name in _PROMPTS)
        calls = (
            question("consistency", consist, ["consistency"], ["source", "edited"], "final", fill=fill),
            question(
                "reasoning", reasoning, ["reasoning"], ["source", "reference", "edited"], "final", fill=fill
            ),
            question("plausibility", generation, ["plausibility"], ["edited"], "final"),
        )
        used = replace(own, name="uniredit-official", calls=calls)
        return Protocol({"": used}, headlines, official.deviations, _JUDGES)
