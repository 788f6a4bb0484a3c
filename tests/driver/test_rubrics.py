"""Rubrics: built-in ones by name, a user's own from a file, everything wrong with it in one error."""

import json
from pathlib import Path

import pytest
import yaml

from edit_eval.core.errors import ConfigError
from edit_eval.core.expression import evaluate
from edit_eval.core.types import Rubric, Sample
from edit_eval.driver.rubrics import builtin_rubrics, load_rubric
from edit_eval.judges.prompts import render_prompts

MINE = {
    "name": "mine",
    "dimensions": [{"name": "fit", "scale": [0, 4], "integer": True}, {"name": "look", "scale": [1, 5]}],
    "calls": [
        {"name": "one", "prompt": "{instruction} {output_format}", "dimensions": ["fit"]},
        {"name": "two", "prompt": "{output_format}", "images": ["edited"], "dimensions": ["look"]},
    ],
    "overall": "mean(fit + 1, look)",
    "range": [1, 5],
}


def write(folder: Path, content: object, name: str = "mine.yaml") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, **changes: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_rubric(str(write(folder, {**MINE, **changes})))
    assert all(one.startswith(f"rubric {folder / 'mine.yaml'}: ") for one in caught.value.problems)
    return [one.partition("mine.yaml: ")[2] for one in caught.value.problems]


def test_every_built_in_rubric_loads():
    names = builtin_rubrics()
    assert [name for name in names if "-own-" not in name] == [
        "general-5-v1",
        "general-v1",
        "pairwise-v1",
        "reference-v1",
    ]
    assert names == sorted(names)
    for name in builtin_rubrics():
        rubric = load_rubric(name)
        assert rubric.name == name
        assert Rubric.from_json(rubric.to_json()) == rubric
        assert all(one.description for one in rubric.dimensions)


def test_the_general_rubric_is_what_it_says():
    rubric = load_rubric("general-v1")
    assert [one.name for one in rubric.dimensions] == ["instruction", "preservation", "quality"]
    assert (rubric.low, rubric.high) == (0, 10)
    assert evaluate(rubric.overall, {"instruction": 9, "preservation": 4, "quality": 9}) == 6
    (call,) = rubric.calls
    assert call.images == ("source", "edited")
    assert call.prompt.rstrip().endswith("{instruction}")


def test_prompts_of_two_samples_share_all_but_the_instruction():
    rubric = load_rubric("general-v1")
    (first,), (second,) = (
        render_prompts(rubric, Sample("s", text, ("a",))) for text in ("Add a cat", "去掉帽子")
    )
    assert first.text.removesuffix('"Add a cat"\n') == second.text.removesuffix('"去掉帽子"\n')


def test_the_reference_rubric_asks_nothing():
    assert load_rubric("reference-v1").calls == ()


def test_loads_a_users_file(tmp_path):
    write(tmp_path, MINE)
    for rubric in (load_rubric("mine.yaml", tmp_path), load_rubric(str(tmp_path / "mine.yaml"))):
        assert rubric.name == "mine"
        assert rubric.dimensions[0].integer
        assert rubric.calls[0].images == ("source", "edited")
        assert rubric.calls[1].images == ("edited",)
        assert (rubric.low, rubric.high) == (1, 5)


def test_a_relative_path_starts_from_the_current_folder(tmp_path, monkeypatch):
    write(tmp_path, MINE, "file-without-suffix")
    monkeypatch.chdir(tmp_path)
    assert load_rubric("file-without-suffix").name == "mine"


def test_a_built_in_rubric_can_be_copied_but_not_changed_under_its_name(tmp_path):
    source = Path(__file__).parents[2] / "src/edit_eval/judges/rubrics/general-v1.yaml"
    text = source.read_text(encoding="utf-8")
    assert load_rubric(str(write(tmp_path, text))) == load_rubric("general-v1")
    with pytest.raises(ConfigError, match="is a built-in rubric and this one differs"):
        load_rubric(str(write(tmp_path, text.replace("Compare", "Look"))))


def test_an_unknown_name_lists_what_there_is(tmp_path):
    with pytest.raises(
        ConfigError, match=r"no rubric 'general-v2' \(did you mean 'general-v1'\?\); there are gedit-own-v1,"
    ):
        load_rubric("general-v2")
    with pytest.raises(ConfigError, match=r"gone.yaml: No such file"):
        load_rubric("gone.yaml", tmp_path)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_rubric("./", tmp_path)
    with pytest.raises(ConfigError, match="null byte"):
        load_rubric("a\0/b", tmp_path)
    with pytest.raises(ConfigError, match="no rubric"):
        load_rubric("x" * 5000, tmp_path)


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    found = problems(
        tmp_path,
        name="my rubric!",
        dimensions=[{"name": "fit", "sclae": [0, 10], "integer": 1}],
        calls=[{"name": "c", "prompt": "", "dimensions": [], "images": ["target"]}],
        overal="fit",
        range=[0, True],
    )
    assert len(found) == 9
    assert (
        "unknown key 'dimensions.0.sclae' (did you mean 'scale'?); known: name, scale, integer, description"
        in found
    )
    assert "dimensions.0.scale: field required" in found
    assert any(one.startswith("unknown key 'overal' (did you mean 'overall'?)") for one in found)
    for place in (
        "name",
        "dimensions.0.integer",
        "calls.0.prompt",
        "calls.0.dimensions",
        "calls.0.images.0",
        "range.1",
    ):
        assert any(one.startswith(f"{place}: ") for one in found), place


def dimension(name: str, low: float = 0, high: float = 10, **more: object) -> dict[str, object]:
    return {"name": name, "scale": [low, high], **more}


def call(name: str = "c", prompt: str = "{instruction}{output_format}", **more: object) -> dict[str, object]:
    return {"name": name, "prompt": prompt, "dimensions": ["fit", "look"], **more}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"calls": [call(dimensions=["fit"])]}, "dimension 'look' is answered by no calls, must be by exactly one"),
        ({"calls": [call(), call("d", dimensions=["fit"])]}, "dimension 'fit' is answered by 2 calls, must be by exactly one"),
        ({"calls": [call(dimensions=["fit", "look", "fitt"])]}, "call 'c': unknown dimension 'fitt' (did you mean 'fit'?)"),
        ({"calls": [call(prompt="{instruction}")]}, "call 'c': its prompt lacks {output_format}"),
        ({"calls": [call(prompt="{output_format}")]}, "no prompt holds {instruction}, so the judge would not know what was asked for"),
        ({"calls": [call(images=["edited", "edited"])]}, "call 'c': an image is named twice"),
        ({"calls": [call("no-name")]}, "call 'no-name' is no identifier: use letters, digits and _"),
        ({"calls": [call(dimensions=["fit"]), call(dimensions=["look"])]}, "call 'c' is there 2 times"),
        ({"dimensions": [dimension("a b")], "calls": [], "overall": "1"}, "dimension 'a b' is no identifier: use letters, digits and _"),
        ({"dimensions": [dimension("lambda")], "calls": [], "overall": "1"}, "dimension 'lambda' is no identifier: use letters, digits and _"),
        ({"dimensions": [dimension("min")], "calls": [], "overall": "1"}, "dimension 'min': the name has a meaning of its own, use another"),
        ({"dimensions": [dimension("a"), dimension("a")], "calls": [], "overall": "1"}, "dimension 'a' is there 2 times"),
        ({"dimensions": [dimension("a", 5, 5)], "calls": [], "overall": "1"}, "dimension 'a': scale must be [low, high] with low below high"),
        ({"dimensions": [dimension("a", 0.5, 2, integer=True)], "calls": [], "overall": "1"}, "dimension 'a': an integer scale must begin and end at whole numbers"),
        ({"range": [5, 1]}, "range must be [low, high] with low below high"),
        ({"range": [1, 4]}, "overall: 5 for fit = 4, look = 5 is outside range [1, 4]"),
        ({"overall": "fitt"}, "overall: unknown dimension 'fitt' (did you mean 'fit'?)"),
        ({"overall": "fit +"}, "overall: not an expression: 'fit +'"),
        ({"overall": "__import__('os')"}, "overall: cannot be computed for fit = 0, look = 1: not allowed in an expression: \"'os'\""),
        ({"overall": "look / fit"}, "overall: cannot be computed for fit = 0, look = 1: 'look / fit' has no finite value for {'fit': 0.0, 'look': 1.0}"),
        ({"overall": "median(fit, look)"}, "overall: cannot be computed for fit = 0, look = 1: unknown function 'median'; there are choose, digits, equal, geomean, max, mean, min, sqrt"),
    ],
)  # fmt: skip
def test_names_what_does_not_fit_together(tmp_path, changes, problem):
    assert problems(tmp_path, **changes) == [problem]


def test_an_overall_must_exist_at_every_corner_of_the_scales(tmp_path):
    (found,) = problems(tmp_path, overall="sqrt(2 - look)")
    assert found.startswith("overall: cannot be computed for fit = 0, look = 5: ")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, r"aliases \(\*a\) are not allowed"),
        ("name: x\nname: y\n", "line 2: the key 'name' stands twice"),
        (
            "dimensions:\n  - name: x\n    name: y\n",
            r"line 3: the key 'name' stands twice in dimensions\[0\]",
        ),
        ("[" * 500_000, "nested too deeply"),
        ("name: [x\n", "line 2 is not YAML: while parsing a flow sequence"),
        ("day: 2026-13-45\n", "line 1: day: 2026-13-45 is a date to YAML; put it in quotes"),
        (
            "!!python/object/apply:os.system [true]\n",
            "line 1: the tag !!python/object/apply:os.system is not allowed",
        ),
        ("- a\n- b\n", "is no mapping"),
        ("", "is no mapping"),
        ("1: x\n", "line 1: the key '1' is no text; put it in quotes"),
        ("name: a\n---\nname: b\n", "line 2 begins a second document"),
        ("x: " + "y" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_refuses_what_is_no_plain_yaml(tmp_path, text, reason):
    with pytest.raises(ConfigError, match=reason):
        load_rubric(str(write(tmp_path, text)))


def test_refuses_other_encodings(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="not UTF-8 text \\(byte 6\\)"):
        load_rubric(str(path))


PAIRWISE = {
    "name": "mine",
    "compares": True,
    "dimensions": [{"name": name, "scale": [0, 2], "integer": True} for name in ("a", "b")],
    "calls": [
        {
            "name": name,
            "prompt": "{instruction} {output_format}",
            "images": ["source", *images],
            "dimensions": [name],
        }
        for name, images in (("a", ["edited", "reference"]), ("b", ["reference", "edited"]))
    ],
    "overall": "choose(equal(a, b), 0.5, choose(equal(a, 0), 1, 0))",
    "range": [0, 1],
}


def test_a_users_rubric_may_compare(tmp_path):
    rubric = load_rubric(str(write(tmp_path, PAIRWISE)))
    assert rubric.compares
    assert Rubric.from_json(rubric.to_json()) == rubric


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"range": [0, 2]}, "range must be [0, 1]"),
        (
            {"calls": [PAIRWISE["calls"][0], {**PAIRWISE["calls"][0], "name": "b", "dimensions": ["b"]}]},
            "two questions",
        ),
        (
            {"calls": [PAIRWISE["calls"][0]], "dimensions": PAIRWISE["dimensions"][:1], "overall": "a / 2"},
            "two questions",
        ),
        (
            {"dimensions": [{**one, "scale": [1, 3]} for one in PAIRWISE["dimensions"]]},
            "whole numbers from 0 to 2",
        ),
        (
            {"dimensions": [{**one, "integer": False} for one in PAIRWISE["dimensions"]]},
            "whole numbers from 0 to 2",
        ),
        ({"compares": "yes"}, "compares: input should be a valid boolean"),
    ],
)
def test_a_rubric_that_compares_asks_in_both_orders(tmp_path, change, said):
    changed = json.loads(
        json.dumps({**PAIRWISE, **change})
    )  # nothing shared, which YAML would write as an alias
    assert any(said in one for one in problems(tmp_path, **changed))


def test_an_answer_may_have_another_key_than_its_dimension(tmp_path):
    """In the reply's form, in its schema and where it is read; so two questions can be asked in the same words."""
    from edit_eval.judges.contract import json_schema, output_format, parse_reply

    rubric = load_rubric("pairwise-v1")
    first, second = rubric.calls
    assert output_format(rubric, first) == output_format(rubric, second)
    assert list(json_schema(rubric, first)["properties"]) == ["better"]
    reply = '{"better": {"reason": "sharper", "score": 2}}'
    assert parse_reply(reply, rubric, second).scores == {"second": 2}
    assert parse_reply(reply.replace("better", "second"), rubric, second).unscored == "unparsable"
