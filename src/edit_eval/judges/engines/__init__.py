"""Engines: what answers the questions of a judge that talks. One module per kind; this file holds what they share.

An engine turns questions into replies and knows nothing of rubrics and scores: what is asked is decided by
`judges.asking`, and what a reply says by `judges.contract`. Heavy libraries are imported inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Union

from edit_eval.core.types import UnscoredKind

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Engine", "Part", "Question", "Reply"]

Part = Union[tuple[Literal["text"], str], tuple[Literal["image"], "Image"]]  # noqa: UP007 - Python 3.10, at run time
"""A piece of a question: a text, or an RGB image."""


@dataclass(frozen=True)
class Question:
    """One question, as one user message.

    Attributes:
        parts: texts and images, in the order in which they are shown.
        max_tokens: most tokens of the reply.
        temperature: 0 is greedy.
        seed: of sampling; without effect at temperature 0.
        schema: JSON schema that the reply is to be held to by an engine that can; None: any text.
        choices: texts of one token each, of which the probability to be the reply's first token is wanted; the reply
            then has no text. Empty: a text is wanted.
    """

    parts: tuple[Part, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What an engine answers.

    Attributes:
        text: as written, special tokens removed; empty where `choices` were asked for.
        truncated: it was cut off at `max_tokens`.
        unscored: why there is no text to read: a provider's filter refused, no reply came in time, or an error that
            asking again does not mend; `text` is then the reason. None: `text` is what the model wrote.
        probabilities: of each of the question's `choices`, in 0..1; a choice that is missing has a negligible one.
        tokens_in: tokens of the question, those of images included; 0 where the engine does not say.
        tokens_out: tokens of the reply.
        attempts: how often the engine had to ask for this reply (an endpoint may be busy).
        seconds: from the first attempt to the reply, waits between attempts included; 0 where many share the time.
        notes: further provenance, plain JSON: `without` (what an endpoint does not take, and was left out), `served` (the
            model that answered, where that is not the one that was asked).
    """

    text: str
    truncated: bool = False
    unscored: UnscoredKind | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    attempts: int = 1
    seconds: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)


class Engine:
    """A loaded model, or the way to one.

    Attributes:
        progress: told that token k of at most n of a batch is written; set by its judge.
    """

    def __init__(self) -> None:
        self.progress: Callable[[int, int], None] = lambda _step, _steps: None

    @property
    def window(self) -> int:
        """How many edits' questions it wants at once; read after every batch, so it may shrink."""
        return 1

    @property
    def threads(self) -> int:
        """How many threads ask at once, each about one edit; above 1, the engine must bear that."""
        return 1

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Return one reply per question, in order.

        May be called by `threads` threads at once.

        Raises:
            UserError: no question would be answered (a wrong key): the run ends.
            RuntimeError: out of memory with a single question, or any other fault of the model's code.
        """
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return what run.json records of this engine beside library versions: texts, numbers, true and false."""
        return {}
