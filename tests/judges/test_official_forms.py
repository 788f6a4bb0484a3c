"""The forms of replies that benchmarks ask for: what is read, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import IMAGE_MARK, Call, Dimension, Rubric, Sample
from edit_eval.judges.contract import parse_reply
from edit_eval.judges.prompts import render_prompts

DIMENSIONS = (Dimension("a", 1, 5, True), Dimension("b", 1, 5, True))


def call(reply, dimensions, keys):
    return Call("c", "", dimensions, reply=reply, keys=keys)


def read(text, reply, dimensions=("a", "b"), keys=(), **options):
    one = call(reply, dimensions, keys)
    found = parse_reply(text, Rubric("r", DIMENSIONS, (one,), "a", 1, 5), one, **options)
    return found.unscored or tuple(found.scores.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Final Scores: 4, 5", (4, 5)),
        ("I looked.\n**Final Scores**: 4,5", (4, 5)),
        ("**Final Scores:** **4**, **5**", (4, 5)),
        ("<think>Final Scores: 1, 1</think>Final Scores: 4, 5.", (4, 5)),
        ("Final Score: 4", "unparsable"),
        ("Final Scores: 4, 5, 3", "unparsable"),
        ("Final Scores: 4/5, 5/5", "unparsable"),
        ("Final Scores: 4, 5\nFinal Scores: 4, 5", "unparsable"),
        ("**Final Scores:** **1-5**, **1-5**", "unparsable"),  # the question's own words
        ("Final Scores: 4, 1 – 5", "unparsable"),
        ("Final Scores: 4, 1-5", "unparsable"),
        ("Final Scores: 4, 9", "out_of_range"),
        ("Final Scores: 4.5, 5", "out_of_range"),
        ("nothing here", "unparsable"),
        ("I cannot help with that.", "refused"),
        ("<think>Final Scores: 4, 5", "unparsable"),
    ],
)
def test_final(text, expected):
    assert read(text, "final") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Final Score:** **4**", (4,)),
        ("Final Score: 4 - only the sky differs", (4,)),
        ("### Final Score\n4", (4,)),
        ("**Final Score:** **1-5**", "unparsable"),  # the format that was asked for, repeated
        ("**Final Score:** 1–5", "unparsable"),
        ("Final Score: 3 to 4", "unparsable"),
        ("Final Score: **4** or **5**", "unparsable"),
        ("**Final Score:** **X**", "unparsable"),
    ],
)
def test_a_single_final_score(text, expected):
    assert read(text, "final", dimensions=("a",)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Brief reasoning: ok, 3 of 4\nPrompt: 4\nQuality & X: 5", (4, 5)),
        ("Brief reasoning: ok\n**Prompt**: **4**\n- Quality & X: 5/5", (4, 5)),
        ("prompt: 4\nQUALITY & X: 5", (4, 5)),
        ("Prompt: 4\nPrompt: 4\nQuality & X: 5", "unparsable"),
        ("Prompt: four\nQuality & X: 5", "unparsable"),
        ("Prompt: 4", "unparsable"),
        ("Prompt: 4/10\nQuality & X: 5", "unparsable"),
        ("Prompt: 7\nQuality & X: 5", "out_of_range"),
        ("Prompt: A number from 1 to 5.\nQuality & X: A number from 1 to 5.", "unparsable"),
        ("", "unparsable"),
    ],
)
def test_lines(text, expected):
    assert read(text, "lines", keys=("Prompt", "Quality & X")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score" : [4, 5], "reasoning" : "x"}', (4, 5)),
        ('Sure:\n```json\n{"score": [4, 5]}\n```', (4, 5)),
        ('{"score": [4], "reasoning": "x"}', "unparsable"),
        ('{"score": ["4", 5]}', "unparsable"),
        ('{"score": 4}', "unparsable"),
        ('{"score": [4, 5], "score": [1, 1]}', "unparsable"),
        ('{"score": [4, 5]}{"score": [4, 5]}', "unparsable"),
        ('{"score": [4, 50]}', "out_of_range"),
    ],
)
def test_list(text, expected):
    assert read(text, "list") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a_score": 4, "a_reasoning": "x", "b_score": 5, "b_reasoning": "y"}', (4, 5)),
        ('{"a_score": 4}', "unparsable"),
        ('{"a_score": "4", "b_score": 5}', "unparsable"),
        ('{"a_score": true, "b_score": 5}', "unparsable"),
        ('{"a_score": 4.5, "b_score": 5}', "out_of_range"),
    ],
)
def test_fields(text, expected):
    assert read(text, "fields", keys=("a_score", "b_score")) == expected


def test_a_single_field_keeps_its_reason():
    one = call("fields", ("a",), ("score",))
    found = parse_reply(
        '{"score": 4, "reason": "soft edges"}', Rubric("r", DIMENSIONS[:1], (one,), "a", 1, 5), one
    )
    assert found.reasons == {"a": "soft edges"}


@pytest.mark.parametrize("reply", ["list", "fields"])
def test_what_is_cut_off_within_its_answer_is_truncated(reply):
    keys = ("score", "x") if reply == "fields" else ()
    assert read('Well. {"score": [4, ', reply, keys=keys, truncated=True) == "truncated"


@pytest.mark.parametrize("reply", ["lines", "final"])
def test_what_is_cut_off_before_its_answer_is_truncated(reply):
    assert read("Let me look at the", reply, keys=("A", "B"), truncated=True) == "truncated"


@given(
    st.text(max_size=200) | st.text('FfinalScore: 45,*\n{}[]"/<think>', max_size=200),
    st.sampled_from(["object", "fields", "list", "lines", "final"]),
    st.booleans(),
)
def test_nothing_raises_and_no_score_is_off_its_scale(text, reply, truncated):
    found = read(text, reply, truncated=truncated)
    assert isinstance(found, str) or all(1 <= score <= 5 and score == int(score) for score in found)


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
