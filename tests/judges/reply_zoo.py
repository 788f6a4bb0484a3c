"""A zoo of judges' replies, all written by hand: what each is to be read as, in the form that it answers.

`ZOO` is a table of `Specimen`; a text that means the same in every form stands there once per form. An outcome is the
scores in the order of the dimensions, or the kind of *unscored*. Dimensions of `object` are real numbers from 0 to 10,
those of the official forms whole numbers from 1 to 5, so that both kinds of scale are met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edit_eval.core.types import Call, Dimension, Rubric
from judges.zoo_objects import CALL, CUT_OFF, RUBRIC, SCORED, UNSCORED
from judges.zoo_texts import NOT_REFUSED, OFFICIAL, OFFICIAL_CUT_OFF, REFUSED, Outcome

__all__ = ["FORMS", "ZOO", "Specimen"]


def _whole(call: Call) -> tuple[Rubric, Call]:
    dimensions = tuple(Dimension(name, 1, 5, integer=True) for name in call.dimensions)
    return Rubric(call.reply, dimensions, (call,), call.dimensions[0], 1, 5), call


FORMS: Mapping[str, tuple[Rubric, Call]] = {
    "object": (RUBRIC, CALL),
    "fields": _whole(Call("c", "", ("a", "b"), reply="fields", keys=("a_score", "b_score"))),
    "list": _whole(Call("c", "", ("a", "b"), reply="list")),
    "lines": _whole(Call("c", "", ("a", "b"), reply="lines", keys=("Prompt", "Quality & X"))),
    "final": _whole(Call("c", "", ("a",), reply="final")),
    "finals": _whole(Call("c", "", ("a", "b"), reply="final")),
    "level": _whole(Call("c", "", ("a",), reply="level")),
}
"""Name of a form here -> a rubric and its only question; `finals` is `final` for two dimensions at once."""


@dataclass(frozen=True)
class Specimen:
    """One reply, and what it must be read as.

    Attributes:
        form: a key of `FORMS`.
        name: what is peculiar about it.
        text: the reply.
        outcome: scores, or the kind of unscored.
        cut_off: whether generation ended at its token limit.
    """

    form: str
    name: str
    text: str
    outcome: Outcome
    cut_off: bool = False

    def __str__(self) -> str:
        return f"{self.form}: {self.name}{', cut off' if self.cut_off else ''}"


def _specimens() -> Iterator[Specimen]:
    for name, text in SCORED.items():
        outcome = (0.0 if name == "negative zero" else 8.0, 9.5)
        yield Specimen("object", name, text, outcome)
        yield Specimen("object", name, text, outcome, cut_off=True)
    for name, (text, kind) in UNSCORED.items():
        yield Specimen("object", name, text, kind)
    for name, (text, kind) in CUT_OFF.items():
        yield Specimen("object", name, text, kind, cut_off=True)
    for form in FORMS:
        for text in REFUSED:
            yield Specimen(form, text, text, "refused")
        for text in NOT_REFUSED:
            yield Specimen(form, repr(text), text, "unparsable")
    for table, cut_off in ((OFFICIAL, False), (OFFICIAL_CUT_OFF, True)):
        for form, replies in table.items():
            for text, outcome in replies.items():
                yield Specimen(form, repr(text[:80]), text, outcome, cut_off)


ZOO = tuple(_specimens())
"""Every specimen."""
