"""UniREditBench: the official layout, its numbers worked out by hand, and what its own script gets wrong."""

from __future__ import annotations

import zipfile

import pytest
from harness import Ran
from public import config, judged, load, protocol, python_prompts, save, table

from edit_eval.benchmarks.unireditbench import UniREditBench
from edit_eval.core.errors import DataError
from edit_eval.core.types import IMAGE_MARK, Sample
from edit_eval.driver.config import check_config
from edit_eval.driver.layout import write_layout
from edit_eval.driver.protocol import protocol_in_use
from edit_eval.driver.summary import summarize
from edit_eval.judges.contract import parse_reply
from edit_eval.judges.prompts import render_prompts

PROMPTS = {
    "prompt_consist": "Consistency of {instruct} {{as it is}}",
    "prompt_reasoning_w_ref_image": "Reasoning of {instruct}, expected {reference}",
    "prompt_generation": "Quality",
}
JUDGE = "gpt-4.1-2025-04-14"


def item(number=0, **changes):
    return {
        "original_image_path": f"original_image/a/{number}.png",
        "reference_image_path": f"reference_image/a/{number}.png",
        "instruction": "Move the box onto the mark.",
        "name": "attribute",
        "idx": number,
        "reference_effect": "The box is on the mark.",
        **changes,
    }


def data(tmp_path, items, *, images=True):
    for one in items if images else ():
        save(tmp_path / "data" / one["original_image_path"], int(one["idx"]))
        save(tmp_path / "data" / one["reference_image_path"], int(one["idx"]) + 90)
    return table(tmp_path / "data" / "data.json", items)


# Data


def test_the_official_layout(tmp_path):
    path = data(tmp_path, [item(0), item(1, idx="1", name="sokoban", rules="Push, never pull.")])
    for given in (path, path.parent):
        first, second = load(UniREditBench, given, tmp_path)
        assert first.id == "attribute#0"
        assert first.images == (str(tmp_path / "data" / "original_image/a/0.png"),)
        assert first.references == (str(tmp_path / "data" / "reference_image/a/0.png"),)
        assert first.notes == {"reference": "The box is on the mark."}
        assert first.tags == {"category": "attribute", "idx": "0"}
        assert (first.instruction, first.edit_instruction) == ("Move the box onto the mark.", None)
        # rules: a line of their own for the judge, a space between for the editor
        assert second.instruction == "Push, never pull.\nMove the box onto the mark."
        assert second.edit_instruction == "Push, never pull. Move the box onto the mark."


@pytest.mark.parametrize("rules", [None, "", "  "])
def test_samples_of_the_real_world_have_no_rules(tmp_path, rules):
    (one,) = load(UniREditBench, data(tmp_path, [item(rules=rules)]), tmp_path)
    assert (one.instruction, one.edit_instruction) == ("Move the box onto the mark.", None)


@pytest.mark.parametrize("effect", [None, "", " "])
def test_without_an_effect_in_words_there_is_still_the_picture(tmp_path, effect):
    (one,) = load(UniREditBench, data(tmp_path, [item(reference_effect=effect)]), tmp_path)
    assert one.notes == {"reference": ""}
    assert len(one.references) == 1


@pytest.mark.parametrize(
    "name", ["original_image_path", "reference_image_path", "instruction", "name", "idx"]
)
def test_a_missing_column_is_named(tmp_path, name):
    data(tmp_path, [item()])
    broken = {key: value for key, value in item().items() if key != name}
    path = table(tmp_path / "data" / "data.json", [broken])
    with pytest.raises(DataError, match=rf"data\.json, entry 1: no column '{name}'.*found"):
        load(UniREditBench, path, tmp_path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rules": ["a", "b"]}, "'rules' is no text"),
        ({"instruction": ""}, "'instruction' is blank"),
        ({"idx": 1.5}, "'idx' is no text"),
        ({"reference_image_path": None}, "no column 'reference_image_path'"),
    ],
)
def test_a_wrong_type_is_named(tmp_path, changes, why):
    data(tmp_path, [item()])
    path = table(tmp_path / "data" / "data.json", [item(**changes)])
    with pytest.raises(DataError, match=rf"data\.json, entry 1: {why}"):
        load(UniREditBench, path, tmp_path)


def test_missing_data_says_where_to_get_it(tmp_path):
    where = r"huggingface\.co/datasets/maplebb/UniREditBench"
    with pytest.raises(DataError, match=rf"holds no data\.json; .*{where}"):
        load(UniREditBench, tmp_path, tmp_path)
    with pytest.raises(DataError, match=where):
        UniREditBench.load(None, UniREditBench.Params(), tmp_path)
    path = data(tmp_path, [item()], images=False)
    with pytest.raises(DataError, match=rf"set benchmark\.params\.images to the folder .*{where}"):
        load(UniREditBench, path, tmp_path)
    assert load(UniREditBench, path, tmp_path, images=str(tmp_path / "x"))[0].images == (
        str(tmp_path / "x" / "original_image/a/0.png"),
    )


def test_archives_that_were_not_unpacked_are_named(tmp_path):
    path = data(tmp_path, [item()], images=False)
    for name in ("original_image.zip", "reference_image.zip"):
        with zipfile.ZipFile(path.parent / name, "w") as archive:
            archive.writestr("x", "")
    with pytest.raises(DataError, match=r"unpack original_image\.zip, reference_image\.zip there"):
        load(UniREditBench, path, tmp_path)


def test_a_reference_that_is_not_there_is_one_line_before_anything_starts(tmp_path):
    path = data(tmp_path, [item(0), item(1)])
    (tmp_path / "data" / "reference_image/a/1.png").unlink()
    with pytest.raises(DataError, match=r"reference_image/a/1\.png") as caught:
        Ran(config(tmp_path, "unireditbench", path))
    assert "\n" not in str(caught.value)


def test_the_same_number_may_stand_in_two_categories_but_not_twice_in_one(tmp_path):
    path = data(tmp_path, [item(0), item(0, name="maze")])
    assert [one.id for one in load(UniREditBench, path, tmp_path)] == ["attribute#0", "maze#0"]
    twice = table(path, [item(0), item(0)])
    with pytest.raises(DataError, match="attribute#0"):
        Ran(config(tmp_path, "unireditbench", twice))


# The numbers


def scores(consistency, reasoning, plausibility):
    return {"consistency": consistency, "reasoning": reasoning, "plausibility": plausibility}


def golden(tmp_path, names, *given):
    items = [item(number, name=name) for number, name in enumerate(names)]
    samples = load(UniREditBench, data(tmp_path, items, images=False), tmp_path, images=str(tmp_path))
    found = {sample.id: one for sample, one in zip(samples, given, strict=True) if one}
    return judged(protocol(UniREditBench), samples, found)


def test_the_weighted_mean_of_samples_on_0_to_100(tmp_path):
    found = golden(tmp_path, ["a", "a", "b"], scores(5, 5, 5), scores(5, 1, 4), scores(1, 1, 2))
    # 0.3 C + 0.5 R + 0.2 P: 5; 1.5 + 0.5 + 0.8 = 2.8; 0.3 + 0.5 + 0.4 = 1.2: a mean of 3
    assert found["Score"].mean == pytest.approx(25 * (3 - 1))
    by_class = (25 * (3.9 - 1) + 25 * 0.2) / 2
    unweighted = 25 * ((5 + 10 / 3 + 4 / 3) / 3 - 1)
    halved = 25 * ((5 + 1.4 + 1) / 3 - 1)  # RISEBench halves where reasoning is 1; this benchmark does not
    for wrong in (by_class, unweighted, halved):
        assert found["Score"].mean != pytest.approx(wrong)
    assert found["ApprConsistency"].mean == pytest.approx(25 * (11 / 3 - 1))
    assert found["Reasoning"].mean == pytest.approx(25 * (7 / 3 - 1))
    assert found["VisualPlausibility"].mean == pytest.approx(25 * (11 / 3 - 1))


def test_accuracy_counts_all_fives(tmp_path):
    found = golden(tmp_path, ["a", "a", "b"], scores(5, 5, 5), scores(5, 5, 4), scores(5, 5, 5))
    assert found["Accuracy"].mean == pytest.approx(200 / 3)
    assert found["Score"].mean == pytest.approx((100 + 25 * 3.8 + 100) / 3)


def test_one_that_was_not_scored_is_neither_wrong_nor_a_one(tmp_path):
    found = golden(tmp_path, ["a", "a", "b"], scores(5, 5, 5), None, scores(1, 1, 1))
    assert (found["Accuracy"].mean, found["Accuracy"].n) == (50, 2)  # as an error: 33.3
    assert found["Accuracy"].bounds == pytest.approx((100 / 3, 200 / 3))
    assert found["Score"].mean == 50
    assert found["Score"].bounds == pytest.approx((100 / 3, 200 / 3))
    assert "1 without scores" in found["Score"].why_partial


def test_all_2700_are_complete_and_2699_are_not(tmp_path):
    names = [f"kind {number % 18}" for number in range(2700)]
    every = golden(tmp_path, names, *[scores(4, 4, 4)] * 2700)
    assert all(one.why_partial == () for one in every.values())
    assert every["Score"].mean == pytest.approx(75)
    fewer = golden(tmp_path, names[1:], *[scores(4, 4, 4)] * 2699)["Score"]
    assert fewer.why_partial == ("other numbers of samples than the benchmark's: 2699 of 2700",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I see 5 boxes.\n\n**Final Score:** **4**", 4),
        ("**Final Score: 4**", 4),
        ("Final Score: **4**", 4),
        ("**Final Score:** 4.5", "out_of_range"),  # official: 4
        ("**Final Score:** 7", "out_of_range"),  # official: 7
        ("**Final Score:** **1-5**", "unparsable"),  # the prompt's own words; official: 1
        ("First look: Final Score: 5. No: Final Score: 2", "unparsable"),  # official: 5
        ("It deserves 4 of 5.", "unparsable"),
        ("", "unparsable"),  # official: stored as an answer, and never asked for again
        ("Failed to obtain answer via API. ", "unparsable"),
    ],
)
def test_replies(tmp_path, text, expected):
    rubric = official(tmp_path).rubrics[""]
    for call in rubric.calls:
        found = parse_reply(text, rubric, call)
        assert (found.unscored or found.scores[call.name]) == expected


# The protocol


def official(tmp_path):
    python_prompts(tmp_path / "repo" / "eval" / "utils.py", PROMPTS)
    return protocol(UniREditBench, prompts=str(tmp_path / "repo"))


@pytest.fixture
def published(monkeypatch):
    from edit_eval.benchmarks import unireditbench
    from edit_eval.benchmarks._official import Official

    monkeypatch.setattr(unireditbench, "_KNOWN_PROMPTS", (Official(PROMPTS, ()).sha256,))


def test_what_the_judge_is_asked_and_shown(tmp_path):
    rubric = official(tmp_path).rubrics[""]
    assert [(one.name, one.images) for one in rubric.calls] == [
        ("consistency", ("source", "edited")),
        ("reasoning", ("source", "reference", "edited")),
        ("plausibility", ("edited",)),
    ]
    assert {(one.low, one.high, one.integer) for one in rubric.dimensions} == {(1, 5, True)}
    shown = rubric.shown  # thumbnails of 768 pixels as JPEG of Pillow's own quality
    assert (shown.edited_as_source, shown.longest_side, shown.jpeg_quality) == (False, 768, 75)
    sample = Sample("x", "R\nI", ("a.png",), references=("b.png",), notes={"reference": "E"})
    texts = [one.text for one in render_prompts(rubric, sample)]
    assert texts[0].startswith("Consistency of R\nI ")
    assert texts[0].endswith(IMAGE_MARK * 2)  # the text, then source and edit
    assert texts[1] == "Reasoning of R\nI, expected E" + IMAGE_MARK * 3
    assert texts[2] == "Quality" + IMAGE_MARK


def test_every_deviation_has_its_name_in_the_id(tmp_path, published):
    path = data(tmp_path, [item()])
    good = str(python_prompts(tmp_path / "good" / "utils.py", PROMPTS))
    other = str(python_prompts(tmp_path / "other" / "utils.py", {**PROMPTS, "prompt_generation": "?"}))

    def in_use(model=None, limit=None, **params):
        tree = {**config(tmp_path, "unireditbench", path, **params), "limit": limit}
        tree["judge"]["model"] = model
        return protocol_in_use(check_config(tree), judging=True).id

    assert in_use(JUDGE, prompts=good) == "unireditbench/v1+official"
    assert in_use(JUDGE) == "unireditbench/v1+own-prompts"
    assert in_use(JUDGE, prompts=other).startswith("unireditbench/v1+prompts-")
    assert in_use("gpt-4.1", prompts=good) == "unireditbench/v1+judge-gpt-4.1"  # the alias is another judge
    assert in_use(JUDGE, limit=9, prompts=good) == "unireditbench/v1+limit-9"


def test_a_prompt_file_that_lacks_one_is_named(tmp_path):
    path = python_prompts(tmp_path / "short" / "utils.py", {"prompt_consist": "x"})
    with pytest.raises(DataError, match="holds no prompt 'prompt_reasoning_w_ref_image'"):
        protocol(UniREditBench, prompts=str(path))
    with pytest.raises(DataError, match=r"no eval/utils\.py"):
        protocol(UniREditBench, prompts=str(tmp_path))


# From end to end


def test_an_official_run_of_a_part_is_partial_and_says_so(tmp_path, published, monkeypatch):
    monkeypatch.setattr("edit_eval.benchmarks.unireditbench._JUDGES", ("replying:Replying",))
    path = data(tmp_path, [item(0), item(1, instruction="Go!"), item(2, instruction="refuse")])
    prompts = str(python_prompts(tmp_path / "utils.py", PROMPTS))
    ran = Ran(config(tmp_path, "unireditbench", path, prompts=prompts))
    assert ran.run.info["protocol"] == "unireditbench/v1+samples-3-of-2700"
    assert [row.verdict.unscored for row in ran.rows] == [None, None, "refused"]
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "unireditbench/v1+samples-3-of-2700"
    score, accuracy = summary.headlines[:2]
    assert (score.mean, accuracy.mean) == (pytest.approx(87.5), 50)
    assert score.bounds == pytest.approx((175 / 3, 275 / 3))


def test_edits_go_out_in_the_official_layout_and_come_back_the_same(tmp_path):
    path = data(tmp_path, [item(0), item(1, name="space invader", rules="Shoot.")])
    ran = Ran(config(tmp_path, "unireditbench", path))
    write_layout(ran.run, ran.rows, UniREditBench, tmp_path / "out")
    assert sorted(str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out").rglob("*.png")) == [
        "attribute/0.png",
        "space invader/1.png",
    ]
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(tmp_path / "out")}}
    tree = config(tmp_path, "unireditbench", path)
    again = Ran({**tree, "editor": editor, "output": str(tmp_path / "again")})
    assert [one.sample for one in again.rows] == [one.sample for one in ran.rows]
    assert [one.verdict_key for one in again.rows] == [one.verdict_key for one in ran.rows]
    assert [one.edit["sha256"] for one in again.rows] == [one.edit["sha256"] for one in ran.rows]
