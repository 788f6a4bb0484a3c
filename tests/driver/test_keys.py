"""Keys by the hundred thousand are those of `core.identity`, whatever is in them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.identity import canonical_json, edit_key, sample_seed, verdict_key
from edit_eval.core.types import Call, Dimension, Prompt, Rubric, Sample
from edit_eval.driver.keys import edit_keys, seeds, verdict_keys
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.rubrics import load_rubric
from edit_eval.judges.prompts import render_prompts

texts = st.text(st.characters())  # lone surrogates too
whole = st.integers() | st.integers(2**63 - 2, 2**64 + 2)
trees = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts | st.integers(0, 3), inner, max_size=4)
    ),
)
identities = st.dictionaries(texts, trees, max_size=4)
hashes = st.lists(texts, max_size=3)
RUBRIC = Rubric("r", (Dimension("quality", 0, 10),), (), "quality", 0, 10)


def test_every_character_is_written_as_the_standard_library_writes_it():
    plain = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    assert [one for one in plain if orjson.dumps(one) != encode_basestring(one).encode()] == []


@given(whole, texts, st.integers(0, 2**65))
def test_seeds(base, name, repeat):
    assert seeds(base)(name, repeat) == sample_seed(base, name, repeat)


@given(identities, texts, st.none() | texts, hashes, hashes, whole, st.integers(0, 9))
def test_edits(editor, instruction, rewritten, images, conditioning, seed, repeat):
    parts = {
        "sample": Sample("s", instruction, ("/a",), edit_instruction=rewritten),
        "image_sha256": tuple(images),
        "conditioning_sha256": conditioning,
        "seed": seed,
        "repeat": repeat,
    }
    key = edit_keys(editor)
    assert key(**parts) == edit_key(editor=editor, **parts)
    assert key(**{**parts, "repeat": repeat + 1}) == edit_key(
        editor=editor, **{**parts, "repeat": repeat + 1}
    )


@given(identities, hashes, texts, hashes, hashes, whole)
def test_verdicts(judge, asked, edited, sources, references, seed):
    parts = {
        "prompts": [Prompt(f"call {number}", text, ("source", text)) for number, text in enumerate(asked)],
        "edited_sha256": edited,
        "source_sha256": tuple(sources),
        "reference_sha256": references,
        "seed": seed,
        "repeat": 0,
    }
    sample = Sample("s", "do it", ("/a",))
    assert verdict_keys(judge, RUBRIC)(sample, **parts) == verdict_key(judge=judge, rubric=RUBRIC, **parts)


@given(identities, st.lists(texts, min_size=1, max_size=3), texts, texts, hashes, whole)
def test_verdicts_whose_prompts_are_filled_in(judge, prompts, instruction, note, sources, seed):
    marks = ("{instruction}", "100 %b of {note:n}", "%d {output_format}")
    calls = tuple(
        Call(f"%b {number}", f"{text}{marks[number]}{text}", ("quality",), ("source", "edited"))
        for number, text in enumerate(prompts)
    )
    rubric = dataclasses.replace(RUBRIC, calls=calls)
    sample = Sample("s", instruction, ("/a",), notes={"n": note})
    parts = {
        "edited_sha256": "e" * 64,
        "source_sha256": tuple(sources),
        "reference_sha256": [],
        "seed": seed,
        "repeat": 1,
    }
    rendered = render_prompts(rubric, sample)
    key = verdict_key(judge=judge, rubric=rubric, prompts=rendered, **parts)
    assert verdict_keys(judge, rubric)(sample, **parts) == key
    assert verdict_keys(judge, rubric)(sample, prompts=rendered, **parts) == key


numbers = st.integers(-(2**53), 2**53)
parameters = st.recursive(
    st.booleans() | numbers | st.floats(-1e300, 1e300) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
editors = st.fixed_dictionaries(
    {
        "name": texts,
        "version": st.integers(1, 9),
        "model": st.dictionaries(st.sampled_from(["repository", "commit", "files"]), texts, min_size=1),
        "components": st.dictionaries(
            st.text(max_size=5), st.dictionaries(st.just("files"), texts), max_size=2
        ),
        "params": st.dictionaries(st.text(min_size=1, max_size=8), parameters, min_size=1, max_size=5),
    }
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every leaf, empty lists and objects among them."""
    if isinstance(value, Mapping) and value:
        return [found for key in value for found in leaves(value[key], (*path, key))]
    if isinstance(value, (list, tuple)) and value:
        return [found for index, item in enumerate(value) for found in leaves(item, (*path, index))]
    return [path]


def with_leaf(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """Return `value` with the leaf at `path` changed."""
    if not path:
        return change(value)
    key, *rest = path
    if isinstance(value, Mapping):
        return {**value, key: with_leaf(value[key], tuple(rest), change)}
    return type(value)(
        with_leaf(item, tuple(rest), change) if number == key else item for number, item in enumerate(value)
    )


def as_floats(value: Any) -> Any:
    """Return the same wish with every whole number written as a float."""
    if isinstance(value, Mapping):
        return {key: as_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_floats(item) for item in value]
    return float(value) if type(value) is int and float(value) == value else value


def turned_round(value: Any) -> Any:
    """Return the same wish with the names of every object in another order."""
    if isinstance(value, Mapping):
        return {key: turned_round(value[key]) for key in reversed(value)}
    return [turned_round(item) for item in value] if isinstance(value, (list, tuple)) else value


@given(
    editors,
    texts,
    st.lists(texts, min_size=1, max_size=3),
    hashes,
    st.integers(0, 2**63),
    st.integers(0, 9),
    st.data(),
)
def test_any_change_of_any_part_is_another_edit_and_another_way_to_write_it_is_not(
    editor, instruction, images, conditioning, seed, repeat, data
):
    def key(**changes: Any) -> str:
        parts = {
            "editor": editor,
            "instruction": instruction,
            "images": images,
            "conditioning": conditioning,
            "seed": seed,
            "repeat": repeat,
            **changes,
        }
        return edit_keys(parts["editor"])(
            sample=Sample("s", parts["instruction"], ("/a",)),
            image_sha256=tuple(parts["images"]),
            conditioning_sha256=parts["conditioning"],
            seed=parts["seed"],
            repeat=parts["repeat"],
        )

    before = key()
    assert key(editor=turned_round(editor)) == before
    assert key(editor=as_floats(editor)) == before
    path = data.draw(st.sampled_from(leaves(editor)))
    other = data.draw(parameters | st.none())
    changed = with_leaf(editor, path, lambda _: other)
    same = canonical_json(changed) == canonical_json(editor)
    assert (key(editor=changed) == before) == same
    assert key(instruction=instruction + "x") != before
    assert key(instruction=" " + instruction) != before
    number = data.draw(st.integers(0, len(images) - 1))
    assert key(images=[*images[:number], images[number] + "0", *images[number + 1 :]]) != before
    assert key(images=[*images, images[-1]]) != before
    assert key(conditioning=[*conditioning, "f" * 64]) != before
    assert key(seed=seed + 1) != before
    assert key(repeat=repeat + 1) != before


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_what_has_no_identity_has_none_here_either(value):
    with pytest.raises((TypeError, ValueError)):
        edit_keys({"params": value})


# The whole way from a sample to its keys

INSTRUCTIONS = [
    "make it red",
    "",
    "把天空变成蓝色 🌇",
    '"quoted" \\ back\nline\r\ttab\x00\x1f\x7f',
    "\ud83d lone \udc00",
    "</script>{instruction}%s{{}}",
]
JUDGE = {
    "name": "qwen3_vl",
    "version": 1,
    "model": {"files": "b" * 64},
    "params": {"max_new_tokens": 512, "dtype": "bfloat16", "t": 0.0},
}
JUDGING_IDS = {
    "general-v1": "94401a73de0cde11be9ec2e391025137ef97becf6e54392551f1027a61aa7279",
    "reference-v1": "e56f6e36b96134793a282f709e2923c7ce05fceca0de251e7dcbf21b0d2f7fab",
}
VERDICT_KEYS = {
    ("general-v1", 0): "a3c6fc0330c5308390d7108aeaf4b4afcb40ced7ce3fff30f531142f17795eb5",
    ("general-v1", 1): "598e28f067e1b7dbec5d5b90dcbe7e392ec5146445013df98d1077ac62354229",
    ("general-v1", 2): "5e6f7b9602875f179454c490851a0abaccd54af690d978dd5b7d79147f198943",
    ("general-v1", 3): "08f5e599527960b1455fe0cd693747d66b76b205f7df74c5804c952766b0a393",
    ("general-v1", 4): "716f22b2e842547f40676631278fc287c25460f6a3c68b25ce79da0c7eba0c85",
    ("general-v1", 5): "a3485e9d19c9cce7fb857519795bb6e093f272fc9548aba839c4a9a431bdcb86",
    ("reference-v1", 0): "c366938f1ed84d944dcf73e390478c1363bafb3821feb903839d6a485cee7ad4",
    ("reference-v1", 1): "04dc31c87b83883aeb9fdcbd86494f5b1d91ad90bfdebb0a40603654be853547",
    ("reference-v1", 2): "9f520d2774ad2a4f9dbaefe6a3fe8e4849a4aba30b324e4cfd4c29db15de0a88",
    ("reference-v1", 3): "4d4cb608696a7ec161c17e16788e0ad2d43b5477e7ebee4675f6f923d91372fe",
    ("reference-v1", 4): "70f0318155ceb4a87ff52155df376641885365952c85780a1625a0e3ad71642e",
    ("reference-v1", 5): "3d2f5fdc551156a74643b4dc9680cc9a9106e4ac17e0d81093b00c3aac0ae5cc",
}


@pytest.mark.parametrize(("rubric", "number"), VERDICT_KEYS)
def test_keys_under_the_built_in_rubrics_are_what_they_always_were(rubric, number):
    # Pinned: a change here has every verdict on anybody's disk given anew. A new wording is a new version.
    judging = Judging(JUDGE, {"": load_rubric(rubric)}, ("reference", "target"))
    beside = {"reference": ("4" * 64,), "target": ("5" * 64,)[: number % 2]}
    sources = ("1" * 64, "2" * 64)[: 1 + number % 2]
    sample = Sample("s", INSTRUCTIONS[number], ("/a.png",))
    wanted = WantedEdit(0, sample, 0, 7 + number, "k", sources, beside)
    assert judging.id == JUDGING_IDS[rubric]
    assert judging.key(wanted, "6" * 64) == VERDICT_KEYS[rubric, number]
    assert judging.key(wanted, "6" * 64, judging.prompts(sample)) == VERDICT_KEYS[rubric, number]
