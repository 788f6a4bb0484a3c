"""Keys: what changes pixels or scores changes them, nothing else does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
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


INSTRUCTIONS = [
    "make it red",
    "",
    "把天空变成蓝色 🌇",
    '"quoted" \\ back\nline\r\ttab\x00\x1f\x7f',
    "\ud83d lone \udc00",
    "</script>{instruction}%s{{}}",
]
EDITORS: dict[str, Any] = {
    "plain": {
        "name": "scripted",
        "version": 1,
        "model": None,
        "params": {"error_rate": 0.2},
        "components": {},
    },
    "whole": {
        "name": "qwen_image_edit",
        "version": 3,
        "model": {"repository": "Qwen/Qwen-Image-Edit-2509", "commit": "ac7f"},
        "params": {
            "steps": 40,
            "true_cfg_scale": 4.0,
            "eta": 1e-07,
            "big": 1e22,
            "small": -0.0,
            "on": True,
            "off": False,
            "none": None,
            "sizes": (1024, 768.5),
            "nested": {"b": [1.0, {"z": "红", "a": '\\"\n\t\x01/'}], "a": {}},
        },
        "components": {"transformer": {"files": "a" * 64}},
    },
    "odd": {"é": "\ud800", "a b": "<&>\u2028", "": []},
}
EDIT_KEYS = {
    ("plain", 0): "2654c4dbcf864914f96b5859ce02b3457b053a58119b42e7e9dc0395df43b3f5",
    ("plain", 1): "5ed73ad6b4e22451cd16629c0a09346b6c80d7e8b0f3ef8943cdea7c64b21211",
    ("plain", 2): "a4e9d810243b8891e8e566b7f37ae3886781e05525d93a2bf14d30d40733ccce",
    ("plain", 3): "504ec3e68a4c9d112710a9f7b7ed96434ac480cca163ae7f33965628c4d34bc4",
    ("plain", 4): "9919c75d25f2fb665be0b07d9a7ac2b6c9bc1438e38cfe19b99861b0d82f1897",
    ("plain", 5): "dc1a90e8432eb3dbd699dc32e3efbfcef6168858ed95d7f34f8ca5c598c6eba5",
    ("whole", 0): "22e924f40252a520f8d237d549906d1d80a73d7813fdc9a301a32abb107c4c6c",
    ("whole", 1): "0f3429d6499fa5eef6be2113a721e3dc1bfa5759d52d3dc77ece10704d9ea50e",
    ("whole", 2): "463da33c4db8a2dd3872e165e3cd0783dfc77309b76567ebf8c586d3e886faae",
    ("whole", 3): "bc9a52ff6e93ffc7e5f4be2bb93e27776db71135a97b5c9b0b1af5576c6e5a24",
    ("whole", 4): "b8815eee7a9e51d28d5c8023a1c948ffedaa11646b18a45872ce9d4119fbc77e",
    ("whole", 5): "8a1e381d46e1ae0beb2e4c97b8cc199007b1df96ba57c7eaba7fb420e658daab",
    ("odd", 0): "32778042066cea422fcaa0e4bc63200e1b33ec78e634ec00abfc722b9b533cd2",
    ("odd", 1): "70dc00e8e3c54c298ecbde5af307b26f94eaff4fbcf3e08a7db54869826b0d2e",
    ("odd", 2): "3251d96c32b0a9474becdc79f5a8d9bd66e9881cd71cf37fdd226ba4716d1699",
    ("odd", 3): "57af3dbf82dc801f51ca66c250c2c9c3ce812d6fc4d42276fba9304fa73aa56e",
    ("odd", 4): "7ac993375fd469cc51241fa41cf90fc26d1d460a7689c918dd743d30a21df6fb",
    ("odd", 5): "1eeceee4a6c976a1a8002d3d99af319ca12ad50bab9d29bc2443cea0c20d7a42",
}
SEEDS = [
    2122497166356620287,
    909300800218436871,
    5115420200388914722,
    4955524955877505011,
    9033797023765315190,
    2809687084204531662,
]


@pytest.mark.parametrize(("name", "number"), EDIT_KEYS)
def test_keys_of_odd_texts_and_parameters_are_what_they_always_were(name, number):
    key = edit_key(
        editor=EDITORS[name],
        sample=Sample("s", "x", ("/a.png",), edit_instruction=INSTRUCTIONS[number]),
        image_sha256=["1" * 64, "2" * 64],
        conditioning_sha256=["3" * 64][: number % 2],
        seed=number * 10**17,
        repeat=number,
    )
    assert key == EDIT_KEYS[name, number]
    assert sample_seed(number, INSTRUCTIONS[number], number) == SEEDS[number]


def said_by_the_standard_library(value: Any) -> str:
    """Canonical JSON as it was first defined."""

    def plain(one: Any) -> Any:
        if isinstance(one, float):
            return int(one) if one.is_integer() else one
        if isinstance(one, Mapping):
            return {str(key): plain(item) for key, item in one.items()}
        return [plain(item) for item in one] if isinstance(one, (list, tuple)) else one

    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


any_text = st.text(st.characters())  # lone surrogates too
any_trees = st.recursive(
    scalars | any_text,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(any_text | st.integers(0, 3), inner, max_size=4)
        | st.dictionaries(any_text, inner, max_size=3).map(MappingProxyType)
    ),
)


@given(any_trees)
def test_canonical_json_is_that_of_the_standard_library(tree):
    assert canonical_json(tree) == said_by_the_standard_library(tree)


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
