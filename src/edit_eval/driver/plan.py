"""The plan: what is wanted minus what the ledgers hold. Pure functions over values; no file is touched here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from edit_eval.core.errors import DataError, shown
from edit_eval.core.identity import digest, rubric_hash
from edit_eval.core.types import Prompt, Rubric, Sample
from edit_eval.driver.keys import verdict_keys
from edit_eval.judges.prompts import prompt_renderer

__all__ = [
    "Against",
    "EditPlan",
    "Judging",
    "Record",
    "Rival",
    "WantedEdit",
    "judged_again",
    "plan_edits",
    "recorded_rubrics",
    "verdict_is_done",
]

Record = Mapping[str, Any]
"""A line of a ledger."""

_ROUNDING = 1e-9
"""A tenth of 30 is 3, and not the 4 above 3.0000000000000004."""


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
        beside_sha256: of the sample's other images, by what they are: `reference`, `target`, `judged`.
        conditioning: path and hash of the further files that decide the edit; known to a start that edits.
    """

    index: int
    sample: Sample
    repeat: int
    seed: int
    key: str
    source_sha256: tuple[str, ...]
    beside_sha256: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conditioning: Sequence[tuple[str, str]] = ()

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """Path and hash of every file that the edit's key was made of."""
        return [*zip(self.sample.images, self.source_sha256, strict=True), *self.conditioning]


@dataclass(frozen=True)
class Rival:
    """Another run's edit of a sample.

    Attributes:
        key: of the edit.
        sha256: of its image's bytes.
        image: absolute path.
        thumbnail: likewise; it may not be there.
    """

    key: str
    sha256: str
    image: str
    thumbnail: str


@dataclass(frozen=True)
class Against:
    """Another run, with whose edits those of this one are compared.

    Attributes:
        run: its directory, absolute.
        edits: its edits by sample id and repeat; what is not among them cannot be compared. None: not looked up
            (`driver.against`).
    """

    run: str
    edits: Mapping[tuple[str, int], Rival] | None = None


@dataclass(frozen=True)
class Judging:
    """What decides a verdict beside the edit itself: the judge's identity, the rubrics, and what the judge looks at.

    Attributes:
        identity: name, version, model and parameters of the judge.
        rubrics: what it follows, by the name that samples know it by (`Sample.rubric`); `""` is for all others.
        reads: which of a sample's other images it sees: `reference`, `target`.
        against: the run whose edit of a sample is its `reference`; None: it has references of its own.
    """

    identity: Mapping[str, Any]
    rubrics: Mapping[str, Rubric]
    reads: tuple[str, ...]
    against: Against | None = None

    @property
    def id(self) -> str:
        """Identity of judge and rubrics (and of what is compared with) together, whatever they judge."""
        against = {"against": self.against.run} if self.against else {}
        return digest({"judge": self.identity, "rubric": self.rubrics_hash, **against})

    def applies(self, wanted: WantedEdit) -> bool:
        """Whether there is what an edit is to be compared with, if it is to be compared."""
        return self.against is None or self.rival(wanted) is not None

    def rival(self, wanted: WantedEdit) -> Rival | None:
        """Return the other run's edit of this sample and repeat, if there is one."""
        if self.against is None:
            return None
        if self.against.edits is None:
            raise ValueError(f"the edits of {self.against.run} were not looked up")
        return self.against.edits.get((wanted.sample.id, wanted.repeat))

    def shown(self, wanted: WantedEdit) -> Sample:
        """Return the sample as the judge is given it: with the other run's edit as its reference, if that is compared."""
        rival = self.rival(wanted)
        return replace(wanted.sample, references=(rival.image,)) if rival else wanted.sample

    def _beside(self, wanted: WantedEdit) -> Sequence[str]:
        """Return the hashes of the images that the judge sees beside source and edit."""
        known = wanted.beside_sha256
        if self.against and (rival := self.rival(wanted)):
            known = {**known, "reference": (rival.sha256,)}
        return list(chain.from_iterable([known.get(name, ()) for name in self._seen]))

    @cached_property
    def _seen(self) -> Sequence[str]:
        """What it reads; what it compares with is always among it."""
        return list(dict.fromkeys(["reference", *self.reads])) if self.against else self.reads

    @property
    def rubrics_hash(self) -> str:
        """The hash of everything the rubrics say."""
        if set(self.rubrics) == {""}:
            return rubric_hash(self.rubrics[""])
        return digest({name: rubric_hash(rubric) for name, rubric in self.rubrics.items()})

    @property
    def judge_id(self) -> str:
        """Identity of the judge alone, 16 hex digits: verdicts and starts are marked with it."""
        return digest(self.identity)[:16]

    def used_by(self, samples: Iterable[Sample]) -> Judging:
        """Return the same with those rubrics alone that these samples are judged by.

        Raises:
            DataError: there is none for a sample, or the sample lacks a text that it shows.
        """
        used: set[str] = set()
        asking = {name: rubric.asks_notes for name, rubric in self.rubrics.items()}
        for sample in samples:
            name = self.name_of(sample)
            if name in used and not asking[name]:
                continue
            if name not in self.rubrics:
                raise DataError(f"sample {shown(sample.id)}: there is no rubric {shown(sample.rubric)}")
            used.add(name)
            if asking[name]:
                try:
                    self.prompts(sample)
                except ValueError as error:
                    raise DataError(str(error)) from error
        return replace(self, rubrics={name: one for name, one in self.rubrics.items() if name in used})

    def name_of(self, sample: Sample) -> str:
        """Return the name by which this sample's rubric is in `rubrics`: its own, or what that begins with.

        `a/b/c` stands for itself, else for `a/b`, `a`, and at last `""`.
        """
        name = sample.rubric
        while name and name not in self.rubrics:
            name = name.rpartition("/")[0]
        return name

    def rubric_of(self, sample: Sample) -> Rubric:
        """Return what this sample is judged by. Raises `KeyError` if there is none for it."""
        return self.rubrics[self.name_of(sample)]

    def prompts(self, sample: Sample) -> tuple[Prompt, ...]:
        """Return the questions for this sample. Raises `ValueError` where it lacks a note that is asked for."""
        return self._render[self.name_of(sample)](sample)

    @cached_property
    def _render(self) -> Mapping[str, Callable[[Sample], tuple[Prompt, ...]]]:
        return {name: prompt_renderer(rubric) for name, rubric in self.rubrics.items()}

    @cached_property
    def _keys(self) -> Mapping[str, Callable[..., str]]:
        return {name: verdict_keys(self.identity, rubric) for name, rubric in self.rubrics.items()}

    @staticmethod
    def seed(wanted: WantedEdit, repeat: int = 0) -> int:
        """Return the 63-bit seed of a judgement: the edit's own the first time, another one each time again."""
        return int(digest([wanted.seed, "judged again", repeat])[:16], 16) >> 1 if repeat else wanted.seed

    def key(
        self,
        wanted: WantedEdit,
        edited_sha256: str,
        prompts: tuple[Prompt, ...] | None = None,
        repeat: int = 0,
    ) -> str:
        """Return the key of the verdict on one edit.

        Args:
            wanted: the edit.
            edited_sha256: of its image.
            prompts: rendered for it, if they are there already.
            repeat: 0 for the verdict that counts, 1 where the judge is asked again to see how sure it is.
        """
        sample = wanted.sample
        return self._keys[self.name_of(sample) if sample.rubric else ""](
            sample,
            edited_sha256=edited_sha256,
            source_sha256=wanted.beside_sha256.get("judged") or wanted.source_sha256,
            reference_sha256=self._beside(wanted),
            seed=self.seed(wanted, repeat),
            repeat=repeat,
            prompts=prompts,
        )

    def inputs(self, wanted: WantedEdit) -> list[tuple[str, str]]:
        """Return path and hash of every image, beside the edited one, that the key of a verdict was made of."""
        sample, known = self.shown(wanted), wanted.beside_sha256
        paths = {"reference": sample.references, "target": (sample.target,) if sample.target else ()}
        sources = zip(sample.shown_sources, known.get("judged") or wanted.source_sha256, strict=True)
        seen = chain.from_iterable(paths.get(name, ()) for name in self._seen)
        return [*sources, *zip(seen, self._beside(wanted), strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `from_json` reads it back."""
        rubrics = {name: rubric.to_json() for name, rubric in self.rubrics.items()}
        return {
            "identity": dict(self.identity),
            "rubrics": rubrics,
            "reads": list(self.reads),
            **({"against": {"run": self.against.run}} if self.against else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Judging:
        """Read what `to_json` wrote."""
        rubrics = {name: Rubric.from_json(one) for name, one in recorded_rubrics(data).items()}
        against = Against(data["against"]["run"]) if data.get("against") else None
        return cls(data["identity"], rubrics, tuple(data["reads"]), against)


def recorded_rubrics(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rubrics by name in what `Judging.to_json` wrote, now or when a run had one rubric for all samples."""
    rubrics: Mapping[str, Any] = data["rubrics"] if "rubrics" in data else {"": data.get("rubric") or {}}
    return rubrics


def judged_again(keys: Iterable[str], fraction: float) -> frozenset[str]:
    """Return that share of the edits (by key, rounded up) that a judge is asked about twice.

    They are those with the smallest hashes, so that they are always the same, and a larger share holds a smaller one.
    """
    if not fraction:
        return frozenset()
    ordered = sorted({*keys}, key=lambda key: hashlib.sha256(f"judged again {key}".encode()).digest())
    return frozenset(ordered[: math.ceil(fraction * len(ordered) - _ROUNDING)])


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
