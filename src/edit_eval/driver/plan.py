"""The plan: what is wanted minus what the ledgers hold. Pure functions over values; no file is touched here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from edit_eval.core.identity import digest, rubric_hash
from edit_eval.core.types import Prompt, Rubric, Sample
from edit_eval.driver.keys import verdict_keys
from edit_eval.judges.contract import prompt_renderer

__all__ = ["EditPlan", "Judging", "WantedEdit", "plan_edits", "verdict_is_done"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class WantedEdit:
    """One edit that the run is about.

    Attributes:
        index: 0-based position in the run.
        sample: what to edit.
        repeat: 0-based.
        seed: of this sample and repeat.
        key: identity of the edit.
        source_sha256: of each source image's bytes.
        beside_sha256: of the sample's other images, by what they are: `reference`, `target`.
    """

    index: int
    sample: Sample
    repeat: int
    seed: int
    key: str
    source_sha256: tuple[str, ...]
    beside_sha256: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judging:
    """What decides a verdict beside the edit itself: the judge's identity, the rubric, and what the judge looks at.

    Attributes:
        identity: name, version, model and parameters of the judge.
        rubric: what it follows.
        reads: which of a sample's other images it sees: `reference`, `target`.
    """

    identity: Mapping[str, Any]
    rubric: Rubric
    reads: tuple[str, ...]

    @property
    def id(self) -> str:
        """Identity of judge and rubric together, whatever they judge."""
        return digest({"judge": self.identity, "rubric": rubric_hash(self.rubric)})

    def prompts(self, sample: Sample) -> tuple[Prompt, ...]:
        """Return the questions for this sample."""
        return self._render(sample)

    @cached_property
    def _render(self) -> Callable[[Sample], tuple[Prompt, ...]]:
        return prompt_renderer(self.rubric)

    @cached_property
    def _keys(self) -> Callable[..., str]:
        return verdict_keys(self.identity, self.rubric)

    def key(self, wanted: WantedEdit, edited_sha256: str, prompts: tuple[Prompt, ...] | None = None) -> str:
        """Return the key of the verdict on one edit, whose image has that hash; `prompts` if they are there already."""
        return self._keys(
            prompts=self.prompts(wanted.sample) if prompts is None else prompts,
            edited_sha256=edited_sha256,
            source_sha256=wanted.source_sha256,
            reference_sha256=[sha for name in self.reads for sha in wanted.beside_sha256.get(name, ())],
            seed=wanted.seed,
            repeat=0,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `from_json` reads it back."""
        return {"identity": dict(self.identity), "rubric": self.rubric.to_json(), "reads": list(self.reads)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Judging:
        """Read what `to_json` wrote."""
        return cls(data["identity"], Rubric.from_json(data["rubric"]), tuple(data["reads"]))


@dataclass
class EditPlan:
    """Which edits are to be made, and which outcomes are there already; of those edited, by key, the image's hash."""

    todo: list[WantedEdit] = field(default_factory=list)
    edited: list[WantedEdit] = field(default_factory=list)
    failed: list[WantedEdit] = field(default_factory=list)
    edited_sha256: dict[str, str] = field(default_factory=dict)


def plan_edits(
    wanted: Iterable[WantedEdit],
    ledger: Mapping[str, Record],
    intact: Callable[[WantedEdit, Record], bool],
    *,
    retry_failed: bool = False,
) -> EditPlan:
    """Sort what is wanted by what the ledger says of it.

    Args:
        wanted: every edit of the run.
        ledger: last record by key.
        intact: whether the image of an `edited` record is still what was recorded.
        retry_failed: whether failed edits are to be tried again.
    """
    plan = EditPlan()
    for one in wanted:
        record = ledger.get(one.key)
        if record is None:
            plan.todo.append(one)
        elif record["status"] == "failed":
            (plan.todo if retry_failed else plan.failed).append(one)
        elif intact(one, record):
            plan.edited.append(one)
            plan.edited_sha256[one.key] = record["image"]["sha256"]
        else:
            plan.todo.append(one)
    return plan


def verdict_is_done(record: Record | None, *, retry_failed: bool = False) -> bool:
    """Say whether a verdict's last record stands: scored, or unscored and not to be tried again."""
    if record is None:
        return False
    return record["verdict"]["unscored"] is None or not retry_failed
