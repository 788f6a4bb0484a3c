"""Keys: what changes pixels or scores changes them, nothing else does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.identity import (
    canonical_json,
    digest,
    edit_key,
    file_sha256,
    identity_params,
    rubric_hash,
    sample_seed,
    verdict_key,
)
from edit_eval.core.types import Call, Dimension, Prompt, Rubric, Sample
from edit_eval.editors.scripted import ScriptedParams

SAMPLE = Sample("s1", "make it red", ("/data/a.png",), tags={"category": "recolour"}, cluster="a")
EDIT: dict[str, Any] = {
    "editor": {
        "name": "qwen_image_edit",
        "version": 1,
        "model": {"repository": "Qwen/Qwen-Image-Edit", "commit": "ac7f9318f633fc4b5778c59367c8128225f1e3de"},
        "components": {"transformer": {"files": "a" * 64}},
        "params": {"num_inference_steps": 40, "true_cfg_scale": 4.0, "negative_prompt": " "},
    },
    "sample": SAMPLE,
    "image_sha256": ["1" * 64, "2" * 64],
    "conditioning_sha256": ["3" * 64],
    "seed": 7,
    "repeat": 0,
}
RUBRIC = Rubric(
    name="r-v1",
    dimensions=(Dimension("quality", 0, 10), Dimension("preservation", 0, 10, integer=True)),
    calls=(Call("all", "Judge {instruction}. {output_format}", ("quality", "preservation")),),
    overall="min(quality, preservation)",
    low=0,
    high=10,
)
VERDICT: dict[str, Any] = {
    "judge": {
        "name": "qwen3_vl",
        "version": 1,
        "model": {"files": "b" * 64},
        "params": {"max_new_tokens": 512},
    },
    "rubric": RUBRIC,
    "prompts": [Prompt("all", "Judge make it red.", ("source", "edited"))],
    "edited_sha256": "4" * 64,
    "source_sha256": ["1" * 64, "2" * 64],
    "reference_sha256": ["5" * 64],
    "seed": 7,
    "repeat": 0,
}

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def shuffled(value: Any, data: st.DataObject) -> Any:
    """Return the same value with every mapping's keys in another order."""
    if isinstance(value, Mapping):
        keys = data.draw(st.permutations(sorted(value)))
        return {key: shuffled(value[key], data) for key in keys}
    return [shuffled(item, data) for item in value] if isinstance(value, list) else value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every leaf of a tree of dicts, lists and tuples."""
    if isinstance(value, Mapping):
        return [found for key in value for found in leaves(value[key], (*path, key))]
    if isinstance(value, (list, tuple)):
        return [found for index, item in enumerate(value) for found in leaves(item, (*path, index))]
    return [path]


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    """Return `value` with the leaf at `path` made another one of the same type."""
    if not path:
        return (
            value + "x" if isinstance(value, str) else (not value) if isinstance(value, bool) else value + 1
        )
    key, *rest = path
    if isinstance(value, Mapping):
        return {**value, key: changed(value[key], tuple(rest))}
    return type(value)(
        changed(item, tuple(rest)) if index == key else item for index, item in enumerate(value)
    )


@given(trees, st.data())
def test_order_of_keys_is_no_difference(tree, data):
    assert digest(shuffled(tree, data)) == digest(tree)


@given(trees)
def test_canonical_json_is_json_of_the_same_value(tree):
    assert json.loads(canonical_json(tree)) == tree


@given(trees, trees)
def test_different_values_have_different_digests(one, other):
    if canonical_json(one) != canonical_json(other):
        assert digest(one) != digest(other)
    else:
        assert one == other  # 4 and 4.0, tuples and lists are equal anyway; nothing else may fall together


@given(st.integers(-(2**53), 2**53))
def test_whole_floats_are_their_integers(number):
    assert digest({"a": [number]}) == digest({"a": [float(number)]})


def test_what_looks_alike_is_not_the_same():
    values = [1, True, "1", None, [1], {"1": 1}, 1.5, "", [], {}, 0, False, [[1]], "null"]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, {"a": float("-inf")}]])
def test_numbers_that_are_not_finite_have_no_identity(value):
    with pytest.raises(ValueError, match="JSON"):
        digest(value)


@pytest.mark.parametrize("value", [{1, 2}, object(), {"a": 1j}])
def test_what_json_has_no_word_for_has_no_identity(value):
    with pytest.raises(TypeError, match="identity"):
        digest(value)


def test_lone_surrogates_do_not_break_a_key():
    assert digest("\ud800") != digest("\udc00") != digest("?")


def test_a_key_is_what_it_always_was():
    # Pinned: a change here makes every run on anybody's disk start anew.
    assert (
        digest({"b": [4.0, "红"], "a": None})
        == hashlib.sha256('{"a":null,"b":[4,"红"]}'.encode()).hexdigest()
    )
    assert sample_seed(0, "s1", 0) == int(hashlib.sha256(b'[0,"s1",0]').hexdigest()[:16], 16) >> 1
    assert edit_key(**EDIT) == "1bfb3008495a988d8713d85e330c0615e57785617de9a19fe6a333768e11a8dc"
    assert verdict_key(**VERDICT) == "24db37f91af4cc587ec970c4c7341a075ee04e83b1b9cf6fd53202377e453f16"


# Edits


@pytest.mark.parametrize("name", ["editor", "image_sha256", "conditioning_sha256", "seed", "repeat"])
def test_every_leaf_that_decides_pixels_is_in_an_edits_key(name):
    keys = {edit_key(**EDIT)}
    paths = leaves(EDIT[name])
    for path in paths:
        keys.add(edit_key(**{**EDIT, name: changed(EDIT[name], path)}))
    assert len(keys) == 1 + len(paths)


def test_order_and_number_of_images_are_in_an_edits_key():
    one, two = EDIT["image_sha256"]
    different = [[one, two], [two, one], [one], [one, two, two], []]
    assert len({edit_key(**{**EDIT, "image_sha256": images}) for images in different}) == len(different)
    moved = {**EDIT, "image_sha256": [one, two, "3" * 64], "conditioning_sha256": []}
    assert edit_key(**moved) != edit_key(**EDIT)


@given(trees, trees)
def test_any_other_parameter_is_another_edit(one, other):
    def key(value: Any) -> str:
        editor = {**EDIT["editor"], "params": {"value": value}}
        return edit_key(**{**EDIT, "editor": editor})

    assert (key(one) == key(other)) == (canonical_json(one) == canonical_json(other))


def test_the_instruction_the_editor_reads_is_in_its_key():
    key = edit_key(**EDIT)
    assert edit_key(**{**EDIT, "sample": dataclasses.replace(SAMPLE, instruction="make it blue")}) != key
    rewritten = dataclasses.replace(SAMPLE, edit_instruction="turn the car red")
    assert edit_key(**{**EDIT, "sample": rewritten}) != key
    # Only the judge reads the original once there is a rewritten one.
    again = dataclasses.replace(rewritten, instruction="make it blue")
    assert edit_key(**{**EDIT, "sample": again}) == edit_key(**{**EDIT, "sample": rewritten})
    assert (
        edit_key(**{**EDIT, "sample": dataclasses.replace(SAMPLE, edit_instruction=SAMPLE.instruction)})
        == key
    )


@pytest.mark.parametrize(
    "change",
    [
        {"tags": {"language": "zh"}},
        {"cluster": "b"},
        {"images": ("/elsewhere/copy.png",)},
        {"references": ("/data/reference.png",)},
        {"target": "/data/target.png"},
    ],
)
def test_tags_places_and_what_only_judges_see_are_not_in_an_edits_key(change):
    assert edit_key(**{**EDIT, "sample": dataclasses.replace(SAMPLE, **change)}) == edit_key(**EDIT)


def test_parameters_marked_as_provenance_stay_out():
    @dataclasses.dataclass(frozen=True)
    class Params:
        steps: int = 30
        attention: str = dataclasses.field(default="sdpa", metadata={"identity": False})
        guidance: float = dataclasses.field(default=4.0, metadata={"identity": True})

    assert identity_params(Params(attention="flash")) == {"steps": 30, "guidance": 4.0}
    slow = ScriptedParams(error_rate=0.2, seconds=3.0, steps=10, spread=1.0)
    assert identity_params(slow) == identity_params(ScriptedParams(error_rate=0.2)) == {"error_rate": 0.2}


# Verdicts


@pytest.mark.parametrize(
    "name", ["judge", "edited_sha256", "source_sha256", "reference_sha256", "seed", "repeat"]
)
def test_every_leaf_that_decides_a_score_is_in_a_verdicts_key(name):
    keys = {verdict_key(**VERDICT)}
    paths = leaves(VERDICT[name])
    for path in paths:
        keys.add(verdict_key(**{**VERDICT, name: changed(VERDICT[name], path)}))
    assert len(keys) == 1 + len(paths)


def test_sources_and_references_do_not_run_into_each_other():
    moved = {**VERDICT, "source_sha256": ["1" * 64], "reference_sha256": ["2" * 64, "5" * 64]}
    assert verdict_key(**moved) != verdict_key(**VERDICT)


def test_everything_a_prompt_says_is_in_a_verdicts_key():
    prompt = VERDICT["prompts"][0]
    different = [
        [prompt],
        [dataclasses.replace(prompt, call="other")],
        [dataclasses.replace(prompt, text=prompt.text + " ")],
        [dataclasses.replace(prompt, images=("edited", "source"))],
        [dataclasses.replace(prompt, images=("edited",))],
        [prompt, prompt],
    ]
    assert len({verdict_key(**{**VERDICT, "prompts": prompts}) for prompts in different}) == len(different)


def test_every_leaf_of_a_rubric_is_in_its_hash():
    data = RUBRIC.to_json()
    hashes = {rubric_hash(RUBRIC)}
    paths = leaves(data)
    for path in paths:
        other = Rubric.from_json(changed(data, path))
        hashes.add(rubric_hash(other))
        assert verdict_key(**{**VERDICT, "rubric": other}) != verdict_key(**VERDICT)
    assert len(hashes) == 1 + len(paths)


def test_an_edit_is_never_a_verdict():
    assert edit_key(**EDIT) != verdict_key(**VERDICT)


# Seeds and files


@given(st.integers(0, 2**63), st.text(), st.integers(0, 100))
def test_seeds_fit_a_torch_generator_and_depend_on_all_three(base, name, repeat):
    seed = sample_seed(base, name, repeat)
    assert 0 <= seed < 2**63
    assert seed == sample_seed(base, name, repeat)
    assert (
        len(
            {
                seed,
                sample_seed(base + 1, name, repeat),
                sample_seed(base, name + "x", repeat),
                sample_seed(base, name, repeat + 1),
            }
        )
        == 4
    )


def test_seeds_of_a_benchmark_do_not_collide():
    assert (
        len({sample_seed(0, f"sample-{index}", repeat) for index in range(2000) for repeat in range(3)})
        == 6000
    )


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_file_hash_is_that_of_all_its_bytes(tmp_path, size):
    data = bytes(index * 31 % 251 for index in range(997)) * (size // 997 + 1)
    (tmp_path / "f").write_bytes(data[:size])
    assert file_sha256(tmp_path / "f") == hashlib.sha256(data[:size]).hexdigest()


def test_hash_of_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "none")
