"""The vocabulary as types: sample, rubric, verdict, and what an editor and a judge are handed.

Knows nothing of processes, files or models. Standard library only, and as old as Python 3.10, because it is
imported inside every model process.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "IMAGE_MARK",
    "Call",
    "Dimension",
    "EditFailureKind",
    "EditRequest",
    "HostContext",
    "JudgeRequest",
    "Prompt",
    "ReplyForm",
    "Rubric",
    "Sample",
    "Shown",
    "StepCallback",
    "UnscoredKind",
    "Verdict",
    "is_blank",
]

EditFailureKind = Literal["error", "unreadable", "missing", "out_of_memory", "crash", "timeout"]
"""Why a sample has no edit: an exception, an image that cannot be read, no such file (`precomputed`), out of memory, a
dead host, a deadline."""

UnscoredKind = Literal["unparsable", "refused", "out_of_range", "truncated", "timeout", "error"]
"""Why an edit has no score. None of these is ever a number."""

ReplyForm = Literal["object", "fields", "list", "lines", "final", "level"]
"""In which form a reply is written; each has one strict grammar in `judges.contract`."""

IMAGE_MARK = "\ufffc"
"""Stands in a rendered prompt where an image is shown (Unicode's object replacement character)."""


def is_blank(text: str) -> bool:
    """Whether nobody could see anything of `text`: empty, spaces, control characters, characters without width."""
    if text[:1].isalnum():  # as nearly all: a letter or a digit is seen
        return False
    return all(one.isspace() or unicodedata.category(one) in _UNSEEN for one in text)


_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


@dataclass(frozen=True)
class Sample:
    """One thing to edit.

    Attributes:
        id: unique within its benchmark; any text.
        instruction: what was asked for, as the judge reads it.
        images: absolute paths of the source images, at least one; the first one is *the* source.
        edit_instruction: what the editor is given where it differs from `instruction` (a rewritten prompt).
        tags: category, language ...; scores are also reported by tag.
        cluster: samples that share it are not independent (same source image); empty means the source image.
        references: absolute paths of images that the judge may see beside source and edit.
        target: absolute path of the exact result, where one is known.
        judged: absolute paths of the images that the judge sees as the source, where they are others than `images`
            (a benchmark may have the original edited, and a smaller copy judged); empty means `images`.
        notes: texts beside the instruction that a prompt may show to the judge (an explanation, the expected effect).
        rubric: which of the protocol's rubrics applies to this sample; empty where there is one for all.
    """

    id: str
    instruction: str
    images: tuple[str, ...]
    edit_instruction: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    references: tuple[str, ...] = ()
    target: str | None = None
    judged: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    rubric: str = ""

    @property
    def shown_sources(self) -> tuple[str, ...]:
        """The paths of the images that the judge sees as the source."""
        return self.judged or self.images

    @property
    def editor_instruction(self) -> str:
        """The text that the editor is given."""
        return self.instruction if self.edit_instruction is None else self.edit_instruction

    def in_cluster(self, cluster: str) -> Sample:
        """Return the same sample in this cluster."""
        made = object.__new__(type(self))  # by hand: `replace` takes a second for 100,000 samples
        object.__setattr__(made, "__dict__", self.__dict__.copy())
        object.__setattr__(made, "cluster", cluster)
        return made

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `from_json` reads it back."""
        data: dict[str, Any] = {  # by hand: `asdict` copies deeply, which costs seconds at 100,000 samples
            "id": self.id,
            "instruction": self.instruction,
            "images": self.images,
            "edit_instruction": self.edit_instruction,
            "tags": dict(self.tags),
            "cluster": self.cluster,
            "references": self.references,
            "target": self.target,
        }
        if self.judged:
            data["judged"] = self.judged
        if self.notes:
            data["notes"] = dict(self.notes)
        if self.rubric:
            data["rubric"] = self.rubric
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sample:
        """Read what `to_json` wrote."""
        return cls(
            id=data["id"],
            instruction=data["instruction"],
            images=tuple(data["images"]),
            edit_instruction=data.get("edit_instruction"),
            tags=dict(data.get("tags", {})),
            cluster=data.get("cluster", ""),
            references=tuple(data.get("references", ())),
            target=data.get("target"),
            judged=tuple(data.get("judged", ())),
            notes=dict(data.get("notes", {})),
            rubric=data.get("rubric", ""),
        )


@dataclass(frozen=True)
class Dimension:
    """One named score of a rubric, on the closed scale `low`..`high`."""

    name: str
    low: float
    high: float
    integer: bool = False
    description: str = ""


@dataclass(frozen=True)
class Call:
    """One question to the judge: a prompt, the images it sees in order, the dimensions it answers.

    Attributes:
        name: unique within the rubric.
        prompt: template; `{instruction}`, `{output_format}` and `{note:NAME}` (a sample's note) are filled in, other
            braces stay as they are. `{image:source}`, `{image:edited}` and `{image:reference}` say where images stand
            within the text, in the order of `images`; without them all images come first.
        dimensions: names of the dimensions that the reply must score.
        images: any of `source` (all source images), `edited`, `reference` (all references), in the order shown; one of
            several alone is `source/1`, `source/2` ...
        reply: form of the reply.
        keys: what a dimension is called in the reply, where that is not its name: the label of a line, or the key of
            an object or field. One per dimension, in their order.
        fill: a benchmark's own marks in an official template and what takes their place, as it is: `instruction`,
            `note:NAME` or `image:ROLE`, as in `{"<edit_prompt>": "instruction"}`. With `fill`, the template holds no
            placeholder of ours.
    """

    name: str
    prompt: str
    dimensions: tuple[str, ...]
    images: tuple[str, ...] = ("source", "edited")
    reply: ReplyForm = "object"
    keys: tuple[str, ...] = ()
    fill: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        fill = tuple(sorted(self.fill.items()))
        return hash((self.name, self.prompt, self.dimensions, self.images, self.reply, self.keys, fill))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, without what is as by default."""
        data: dict[str, Any] = {
            "name": self.name,
            "prompt": self.prompt,
            "dimensions": self.dimensions,
            "images": self.images,
        }
        if self.reply != "object":
            data["reply"] = self.reply
        if self.keys:
            data["keys"] = self.keys
        if self.fill:
            data["fill"] = dict(self.fill)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Call:
        """Read what `to_json` wrote."""
        return cls(
            data["name"],
            data["prompt"],
            tuple(data["dimensions"]),
            tuple(data["images"]),
            data.get("reply", "object"),
            tuple(data.get("keys", ())),
            dict(data.get("fill", {})),
        )


@dataclass(frozen=True)
class Shown:
    """How images are prepared before a judge sees them; part of the rubric, because it moves scores.

    Attributes:
        edited_as_source: the edited image is resized to the first shown source's size (bicubic, aspect not kept)
            where it differs.
        longest_side: images are reduced (bicubic, aspect kept) to at most this many pixels a side; 0: not at all.
        jpeg_quality: images pass through a JPEG of this quality (1..95); 0: they do not (PNG).
    """

    edited_as_source: bool = False
    longest_side: int = 0
    jpeg_quality: int = 0


@dataclass(frozen=True)
class Rubric:
    """What a judge follows: dimensions, questions, and how they make one overall score.

    Attributes:
        name: part of the protocol id.
        dimensions: the scores.
        calls: the questions; together they answer every dimension once.
        overall: an expression over dimension names (`core.expression`).
        low: smallest possible overall score.
        high: largest possible overall score.
        shown: how images are prepared.
        compares: each question shows the edited image and, as the reference, another run's edit of the same sample, and asks
            which is better: 0 the one shown first, 2 the one shown second, 1 neither. There are two, in opposite orders.
        continuous: scores are means or expected values, and may lie between the levels of a whole-number scale.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    calls: tuple[Call, ...]
    overall: str
    low: float
    high: float
    shown: Shown = Shown()
    continuous: bool = False
    compares: bool = False

    def dimension(self, name: str) -> Dimension:
        """Return the dimension called `name`; raises `KeyError`."""
        for one in self.dimensions:
            if one.name == name:
                return one
        raise KeyError(name)

    @property
    def asks_notes(self) -> bool:
        """Whether a question shows a sample's note."""
        return any(
            "{note:" in call.prompt or any("note:" in what for what in call.fill.values())
            for call in self.calls
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, without what is as by default; `from_json` reads it back."""
        data: dict[str, Any] = {
            "name": self.name,
            "dimensions": [asdict(one) for one in self.dimensions],
            "calls": [one.to_json() for one in self.calls],
            "overall": self.overall,
            "low": self.low,
            "high": self.high,
        }
        if self.shown != Shown():
            data["shown"] = asdict(self.shown)
        if self.continuous:
            data["continuous"] = True
        if self.compares:
            data["compares"] = True
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rubric:
        """Read what `to_json` wrote."""
        return cls(
            name=data["name"],
            dimensions=tuple(Dimension(**one) for one in data["dimensions"]),
            calls=tuple(Call.from_json(one) for one in data["calls"]),
            overall=data["overall"],
            low=data["low"],
            high=data["high"],
            shown=Shown(**data.get("shown", {})),
            continuous=data.get("continuous", False),
            compares=data.get("compares", False),
        )


@dataclass(frozen=True)
class Verdict:
    """What a judge said of one edit: scores, or *unscored* with a kind. Never a stand-in number.

    Attributes:
        scores: score by dimension; empty when unscored.
        overall: the rubric's one number; None when unscored.
        unscored: why there is no score; None when scored.
        reasons: the judge's one-sentence reason by dimension.
        reply: the judge's raw text (of several calls: joined by blank lines); a short note where it wrote none.
        facts: provenance, plain JSON: `tokens_in`, `tokens_out`, `replies`, `attempts`, `seconds`, `spread` of several
            readings (standard deviation by dimension), `mass` (probability by dimension) ... None of it is a score.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    overall: float | None = None
    unscored: UnscoredKind | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    reply: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.overall is None) == (self.unscored is None):
            raise ValueError("a verdict is either scored or unscored with a kind")
        if self.overall is not None and not all(map(math.isfinite, [self.overall, *self.scores.values()])):
            raise ValueError(f"scores must be finite: {dict(self.scores)}, overall {self.overall}")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Read what `to_json` wrote."""
        return cls(
            scores=dict(data.get("scores", {})),
            overall=data.get("overall"),
            unscored=data.get("unscored"),
            reasons=dict(data.get("reasons", {})),
            reply=data.get("reply", ""),
            facts=dict(data.get("facts", {})),
        )


class StepCallback(Protocol):
    """How an editor reports denoising: `step(k, n)` after step k of n."""

    def __call__(self, step: int, steps: int, /) -> None:
        """Report that `step` of `steps` is done."""


@dataclass(frozen=True)
class HostContext:
    """Where an editor or judge is loaded.

    Attributes:
        devices: torch's names of this replica's devices inside this process (`("cuda:0",)`, `("cpu",)`).
        model: local path of the model, or its name at an endpoint; None for kinds that need none.
        components: parts replaced over the base model: component name -> local path.
        options: settings that do not change pixels or scores (batch size ...).
        lora: low-rank weights to put over the model: path of their file, and their scale; None: none.
    """

    devices: tuple[str, ...] = ("cpu",)
    model: str | None = None
    components: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    lora: tuple[str, float] | None = None

    @property
    def device(self) -> str:
        """The first of `devices`."""
        return self.devices[0]


@dataclass(frozen=True)
class EditRequest:
    """What an editor is given.

    Attributes:
        sample: the sample, for editors that need more than the fields below.
        instruction: the text to follow.
        images: source images, RGB, upright, alpha flattened on white; at least one.
        seed: 63-bit seed of this sample and repeat; the same wherever and whenever it runs.
        repeat: 0-based.
    """

    sample: Sample
    instruction: str
    images: tuple[Image, ...]
    seed: int
    repeat: int = 0


@dataclass(frozen=True)
class Prompt:
    """One rendered question: the text before the chat template, and which images come with it, in order.

    Where `text` holds `IMAGE_MARK`, the images of the next role in `images` stand there; without any, all come first.
    """

    call: str
    text: str
    images: tuple[str, ...]

    def parts(self) -> list[tuple[Literal["text", "image"], str]]:
        """Return the question as a sequence of texts and roles of images (`source`, `edited`, `reference`)."""
        if IMAGE_MARK not in self.text:
            return [*(("image", role) for role in self.images), ("text", self.text)]
        parts: list[tuple[Literal["text", "image"], str]] = []
        roles = iter(self.images)
        for number, text in enumerate(self.text.split(IMAGE_MARK)):
            if number:
                parts.append(("image", next(roles)))
            if text:
                parts.append(("text", text))
        return parts


@dataclass(frozen=True)
class JudgeRequest:
    """What a judge is given.

    Attributes:
        sample: the sample.
        rubric: what this sample is judged by.
        prompts: the rubric's questions, rendered for this sample.
        sources: source images, RGB, prepared as the rubric says; so are the others.
        edited: the edited image, RGB.
        references: reference images, RGB.
        seed: 63-bit seed of this edit and repeat, for judges that sample.
    """

    sample: Sample
    rubric: Rubric
    prompts: tuple[Prompt, ...]
    sources: tuple[Image, ...]
    edited: Image
    references: tuple[Image, ...]
    seed: int

    def images_of(self, prompt: Prompt) -> list[Image]:
        """Return the images that `prompt` shows, in its order."""
        return [image for role in prompt.images for image in self.images_as(role)]

    def images_as(self, role: str) -> tuple[Image, ...]:
        """Return the images of one role: `source`, `edited`, `reference`, or one of them alone, from 1: `source/2`.

        Raises `IndexError` where there is no such one.
        """
        name, _, number = role.partition("/")
        images = {"source": self.sources, "edited": (self.edited,), "reference": self.references}[name]
        return (images[int(number) - 1],) if number else images
