"""The forms of replies that benchmarks ask for: their reasons, and how their templates are filled."""

from __future__ import annotations

import pytest

from edit_eval.core.types import IMAGE_MARK, Call, Dimension, Rubric, Sample
from edit_eval.judges.contract import parse_reply
from edit_eval.judges.prompts import render_prompts

DIMENSIONS = (Dimension("a", 1, 5, True), Dimension("b", 1, 5, True))


def call(reply, dimensions, keys):
    return Call("c", "", dimensions, reply=reply, keys=keys)


def test_a_single_field_keeps_its_reason():
    one = call("fields", ("a",), ("score",))
    found = parse_reply(
        '{"score": 4, "reason": "soft edges"}', Rubric("r", DIMENSIONS[:1], (one,), "a", 1, 5), one
    )
    assert found.reasons == {"a": "soft edges"}


# What is asked

SAMPLE = Sample("s", 'say "<edit>" {x}', ("i.png",), notes={"why": f"because {IMAGE_MARK}"})


def render(prompt, fill, images=("source", "edited")):
    one = Call("c", prompt, ("a",), images, "fields", ("score",), fill)
    return render_prompts(Rubric("r", DIMENSIONS[:1], (one,), "a", 1, 5), SAMPLE)[0]


def test_an_official_template_is_filled_as_it_is():
    prompt = render("Do <edit>? {x} <why>", {"<edit>": "instruction", "<why>": "note:why"})
    assert prompt.text == 'Do say "<edit>" {x}? {x} because \ufffd'
    assert prompt.parts() == [("image", "source"), ("image", "edited"), ("text", prompt.text)]


def test_images_may_stand_within_the_text():
    fill = {"<edit>": "instruction", "[A]": "image:source", "[B]": "image:edited"}
    prompt = render("<edit>\n[A]then[B]", fill)
    assert prompt.parts() == [
        ("text", 'say "<edit>" {x}\n'),
        ("image", "source"),
        ("text", "then"),
        ("image", "edited"),
    ]


def test_our_own_templates_quote_what_they_show():
    prompt = render("{image:source} {note:why}", {}, ("source",))
    assert prompt.parts() == [("image", "source"), ("text", ' "because \\ufffc"')]


def test_images_in_another_order_than_declared_are_a_fault():
    with pytest.raises(ValueError, match="shows"):
        render("{image:edited}{image:source}", {})


def test_a_note_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="sample 's' has no note 'who'"):
        render("{note:who}", {})
