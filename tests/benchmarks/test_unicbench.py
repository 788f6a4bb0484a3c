"""UnicBench: the official layouts, its numbers worked out by hand, and what its own scripts get wrong."""

from __future__ import annotations

import json

import pytest
from harness import Ran
from public import config, embedded, judged, load, parquet, protocol, python_prompts, save

from edit_eval.benchmarks.unicbench import UnicBench
from edit_eval.core.errors import DataError
from edit_eval.core.expression import evaluate
from edit_eval.core.types import IMAGE_MARK, Sample
from edit_eval.driver.config import check_config
from edit_eval.driver.layout import write_layout
from edit_eval.driver.protocol import protocol_in_use
from edit_eval.driver.summary import summarize
from edit_eval.judges.contract import parse_reply
from edit_eval.judges.prompts import render_prompts

SUBTASKS = {
    "Attribute Editing": ["Color Alteration", "Material Modification", "Motion Change", "Shape-Size Alteration",
                          "Texture Editing"],
    "Object Editing": ["Counting Change", "Object Extraction", "Portrait Editing", "Subject Addition",
                       "Subject Removal", "Subject Replacement", "Text Modification"],
    "Reasoning Editing": ["Compound Operation Edits", "Implicit Change Edits", "Multi-object Coordination",
                          "Relation Change", "Spatial Reasoning Edits"],
    "Scene Editing": ["Background Change", "Lens Zooming", "Style Transfer", "Tone Transformation",
                      "Viewpoint Transformation"],
}  # fmt: skip
PROMPTS = {
    "_prompts_if": "Following of <instruction>.",
    "_prompts_nc": "Consistency, <instruction>.",
    "_prompts_vq": "Quality, <instruction>.",
    "_prompts_ra": "Reasoning of <instruction>: <reasoning_points>",
}
JUDGE = "gpt-4.1-2025-04-14"


def row(number=0, subtask="Background Change", **changes):
    task = next((task for task, names in SUBTASKS.items() if subtask in names), "Scene Editing")
    made = {
        "key": f"{number:032x}",
        "task": task,
        "subtask": subtask,
        "cn": "把天空改成红色",
        "en": "Make the sky red.",
        "image_path": f"images/{number}.png",
        "resolution": [24, 16],
    }
    if task == "Reasoning Editing":
        made["reasoning_points"] = ["The sky’s red.", "The lake is red as well."]
    return {**made, **changes}


def lines(path, rows, *, images=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    for one in rows if images else ():
        save(path.parent.parent / one["image_path"], int(one["key"], 16))
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")
    return path


def without(name, **changes):
    return {key: value for key, value in row(**changes).items() if key != name}


# Data


def test_the_official_jsonl_stands_in_data_and_its_images_beside_that(tmp_path):
    path = lines(tmp_path / "UnicBench" / "data" / "test_data.jsonl", [row(0), row(1, "Relation Change")])
    for given in (path, path.parent, path.parent.parent):
        first, second = load(UnicBench, given, tmp_path)
        assert first.images == (str(tmp_path / "UnicBench" / "images" / "0.png"),)
        assert (first.id, first.cluster, first.rubric, first.notes) == ("0" * 32, "0" * 32, "", {})
        assert first.tags["category"] == "Background_Change"
        assert second.rubric == "reasoning"


def test_the_hubs_parquet_holds_the_images_and_null_points(tmp_path):
    rows = [
        {**row(0), "image": embedded(0), "reasoning_points": None},
        {**row(1, "Relation Change"), "image": embedded(1)},
    ]
    folder = parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", rows).parent.parent
    first, second = load(UnicBench, folder, tmp_path)
    assert first.images[0].startswith(str(tmp_path / "workspace"))
    assert (first.notes, second.notes) == ({}, {"points": json.dumps(rows[1]["reasoning_points"])})


@pytest.mark.parametrize(("name", "asked"), [("en", "en"), ("cn", "cn"), ("zh", "cn")])
def test_both_spellings_of_chinese_as_a_parameter(tmp_path, name, asked):
    path = lines(tmp_path / "data" / "test_data.jsonl", [row()])
    (one,) = load(UnicBench, path, tmp_path, language=name)
    assert (one.instruction, one.tags["language"]) == (row()[asked], asked)
    assert one.id == "0" * 32


def test_both_languages_of_a_picture_are_one_cluster(tmp_path):
    path = lines(tmp_path / "data" / "test_data.jsonl", [row()])
    english, chinese = load(UnicBench, path, tmp_path, language="both")
    assert (english.id, chinese.id) == ("0" * 32 + "-en", "0" * 32 + "-cn")
    assert english.cluster == chinese.cluster


def test_a_column_may_be_called_zh(tmp_path):
    made = {**without("cn"), "zh": "改"}
    path = lines(tmp_path / "data" / "test_data.jsonl", [made])
    assert load(UnicBench, path, tmp_path, language="cn")[0].instruction == "改"


@pytest.mark.parametrize("name", ["key", "task", "subtask", "en", "image_path"])
def test_a_missing_column_is_named(tmp_path, name):
    path = lines(tmp_path / "data" / "test_data.jsonl", [without(name)], images=False)
    save(tmp_path / "images" / "0.png", 0)
    with pytest.raises(DataError, match=rf"test_data\.jsonl, line 1: no column '{name}'.*found"):
        load(UnicBench, path, tmp_path)


@pytest.mark.parametrize(
    "points", [None, [], [" "], [3], {"a": "b"}, 7, ""], ids=["null", "none", "blank", "number", "object", "7", "empty"]
)  # fmt: skip
def test_a_reasoning_sample_without_points_is_refused_and_not_scored_on_three(tmp_path, points):
    # the official script then takes the mean of three scores, and nobody sees it
    path = lines(
        tmp_path / "data" / "test_data.jsonl", [row(subtask="Relation Change", reasoning_points=points)]
    )
    with pytest.raises(DataError, match=r"line 1: .*reasoning_points"):
        load(UnicBench, path, tmp_path)


@pytest.mark.parametrize(
    ("changes", "why"), [({"en": " "}, "'en' is blank"), ({"en": 3.5}, "'en' is no text")]
)
def test_an_instruction_is_a_text(tmp_path, changes, why):
    path = lines(tmp_path / "data" / "test_data.jsonl", [row(**changes)])
    with pytest.raises(DataError, match=why):
        load(UnicBench, path, tmp_path)


def test_missing_data_says_where_to_get_it(tmp_path):
    where = r"huggingface\.co/datasets/xiaotanhua/UnicBench"
    with pytest.raises(DataError, match=where):
        load(UnicBench, tmp_path, tmp_path)
    with pytest.raises(DataError, match=where):
        UnicBench.load(None, UnicBench.Params(), tmp_path)
    path = lines(tmp_path / "data" / "test_data.jsonl", [row()], images=False)
    with pytest.raises(DataError, match=rf"images are not beside it \(images/0\.png.*{where}"):
        load(UnicBench, path, tmp_path)


def test_images_may_lie_elsewhere(tmp_path):
    path = lines(tmp_path / "data" / "test_data.jsonl", [row()], images=False)
    found = load(UnicBench, path, tmp_path, images=str(tmp_path / "other"))
    assert found[0].images == (str(tmp_path / "other" / "images" / "0.png"),)


def test_a_picture_that_is_not_there_is_one_line_before_anything_starts(tmp_path):
    path = lines(tmp_path / "data" / "test_data.jsonl", [row(0), row(1)])
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(DataError, match=r"images/1\.png") as caught:
        Ran(config(tmp_path, "unicbench", path))
    assert "\n" not in str(caught.value)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = lines(tmp_path / "data" / "test_data.jsonl", [row(0), row(0)])
    with pytest.raises(DataError, match="0" * 32):
        Ran(config(tmp_path, "unicbench", path))


# The numbers

THREE = ("following", "consistency", "quality")
FOUR = (*THREE, "reasoning")


def scores(*values):
    return dict(zip(FOUR[: len(values)], values, strict=True))


def samples(tmp_path, rows):
    path = lines(tmp_path / "data" / "test_data.jsonl", rows, images=False)
    return load(UnicBench, path, tmp_path, images=str(tmp_path))


def keyed(*given):
    return {f"{number:032x}": scores(*one) for number, one in enumerate(given) if one}


def test_a_sample_is_the_geometric_mean_and_the_headline_the_mean_of_samples(tmp_path):
    rows = [row(0), row(1), row(2, "Relation Change")]
    given = keyed((8, 8, 8), (9, 3, 1), (10, 10, 10, 0.625))
    found = judged(protocol(UnicBench), samples(tmp_path, rows), given)
    # 8; the third root of 27 is 3; the fourth root of 625 is 5: (8 + 3 + 5) / 3
    assert found["Overall en"].mean == pytest.approx(16 / 3)
    arithmetic = (8 + 13 / 3 + 30.625 / 4) / 3
    without_reasoning = (8 + 3 + 10) / 3  # the third sample without its fourth score
    of_means = evaluate("geomean(a, b, c)", {"a": 9, "b": 7, "c": 19 / 3})
    by_subtask = ((8 + 3) / 2 + 5) / 2
    for wrong in (arithmetic, without_reasoning, of_means, by_subtask):
        assert found["Overall en"].mean != pytest.approx(wrong)
    assert found["IF en"].mean == pytest.approx((8 + 9 + 10) / 3)
    assert found["NC en"].mean == pytest.approx((8 + 3 + 10) / 3)
    assert found["VQ en"].mean == pytest.approx((8 + 1 + 10) / 3)
    assert found["RA en"].mean == pytest.approx(0.625)  # the only sample that has it
    assert found["Overall en, Scene Editing"].mean == pytest.approx((8 + 3) / 2)
    assert found["Overall en, Reasoning Editing"].mean == pytest.approx(5)


def test_a_zero_makes_the_sample_zero_but_a_reply_that_cannot_be_read_does_not(tmp_path):
    rows = [row(0), row(1)]
    zero = judged(protocol(UnicBench), samples(tmp_path, rows), keyed((8, 8, 8), (0, 9, 9)))["Overall en"]
    assert zero.mean == pytest.approx(4)
    unread = judged(protocol(UnicBench), samples(tmp_path, rows), keyed((8, 8, 8), None))["Overall en"]
    assert unread.mean == pytest.approx(8)  # the official parser makes it a score of 0, and the mean 4
    assert unread.bounds == pytest.approx((4, 9))
    assert "1 without scores" in unread.why_partial


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score": 8, "reason": "ok"}', 8),
        ('```json\n{"score": 7.5, "reason": "ok"}\n```', 7.5),
        ('The edit is good.\n{"score": 8, "reason": "ok (mostly)"}', 8),
        ('{"score": "8", "reason": "ok"}', "unparsable"),
        ('{"reason": "no score"}', "unparsable"),  # official: 0
        ("8/10", "unparsable"),  # official: 0
        ('{"score": 11, "reason": "ok"}', "out_of_range"),  # official: 11
        ('{"score": -1, "reason": "ok"}', "out_of_range"),
        ("I'm sorry, but I can't assist with that.", "refused"),  # official: 0
    ],
)
def test_replies(tmp_path, text, expected):
    rubric = official(tmp_path).rubrics[""]
    found = parse_reply(text, rubric, rubric.calls[0])
    assert (found.unscored or found.scores["following"]) == expected


def whole(tmp_path, change=lambda rows: rows):
    """All 1,100 samples, each with eights; the reasoning ones with four of them."""
    names = [subtask for names in SUBTASKS.values() for subtask in names for _ in range(50)]
    rows = change([row(number, subtask) for number, subtask in enumerate(names)])
    given = {one["key"]: scores(*[8] * (4 if one["task"] == "Reasoning Editing" else 3)) for one in rows}
    return judged(protocol(UnicBench), samples(tmp_path, rows), given)


def test_all_of_it_is_complete(tmp_path):
    found = whole(tmp_path)
    assert all(one.mean == pytest.approx(8) and one.why_partial == () for one in found.values())
    assert found["Overall en"].n == 1100


def test_an_unknown_task_is_left_out_and_said_with_bounds(tmp_path):
    def misspell(rows):
        rows[-1] = {**rows[-1], "task": "Scene editing"}
        return rows

    found = whole(tmp_path, misspell)["Overall en"]
    assert found.mean == pytest.approx(8)
    assert found.bounds == pytest.approx((8 * 1099 / 1100, (8 * 1099 + 10) / 1100))
    assert "task unknown to the benchmark, left out: Scene editing" in found.why_partial
    assert "other numbers of samples than the benchmark's: 1099 of 1100" in found.why_partial


def test_an_unknown_and_a_missing_subtask_are_said(tmp_path):
    found = whole(
        tmp_path, lambda rows: [{**one, "subtask": one["subtask"].replace("Lens Z", "Z")} for one in rows]
    )
    for name in ("Overall en", "Overall en, Scene Editing"):
        assert "category unknown to the benchmark, left out: Zooming" in found[name].why_partial
        assert "no sample of category: Lens_Zooming" in found[name].why_partial
    assert found["Overall en, Object Editing"].why_partial == ()


def test_a_subtask_of_which_half_was_judged_is_said(tmp_path):
    # the official script takes up a subtask whose file is there as done, however little is in it
    found = whole(tmp_path, lambda rows: rows[:-25])["Overall en"]
    assert (
        "other numbers of samples than the benchmark's: Viewpoint_Transformation 25 of 50"
        in found.why_partial
    )


# The protocol


def official(tmp_path, **params):
    python_prompts(tmp_path / "repo" / "data" / "prompts.py", PROMPTS)
    return protocol(UnicBench, prompts=str(tmp_path / "repo"), **params)


@pytest.fixture
def published(monkeypatch):
    from edit_eval.benchmarks import unicbench
    from edit_eval.benchmarks._official import Official

    monkeypatch.setattr(unicbench, "_KNOWN_PROMPTS", (Official(PROMPTS, ()).sha256,))


def test_what_the_judge_is_asked_and_shown(tmp_path):
    found = official(tmp_path)
    three, four = found.rubrics[""], found.rubrics["reasoning"]
    assert [one.name for one in three.calls] == list(THREE)
    assert [one.name for one in four.calls] == list(FOUR)
    assert {one.images for one in four.calls} == {("source", "edited")}
    for rubric in (three, four):
        shown = rubric.shown  # a JPEG of Pillow's own quality, in full size
        assert (shown.edited_as_source, shown.longest_side, shown.jpeg_quality) == (False, 0, 75)
        assert {(one.low, one.high, one.integer) for one in rubric.dimensions} == {(0, 10, False)}
    points = json.dumps(["The sky’s red."])
    sample = Sample("x", "把 <b>", ("a.png",), notes={"points": points}, rubric="reasoning")
    texts = [one.text for one in render_prompts(four, sample)]
    assert texts[0] == f"Following of 把 <b>.{IMAGE_MARK}{IMAGE_MARK}"  # text, source, edit
    assert texts[3] == 'Reasoning of 把 <b>: ["The sky\\u2019s red."]' + IMAGE_MARK * 2


def in_use(tmp_path, data, model=None, **params):
    tree = config(tmp_path, "unicbench", data, **params)
    tree["judge"]["model"] = model
    return protocol_in_use(check_config(tree), judging=True).id


def test_every_deviation_has_its_name_in_the_id(tmp_path, published):
    data = lines(tmp_path / "data" / "test_data.jsonl", [row()])
    good = str(python_prompts(tmp_path / "good" / "prompts.py", PROMPTS))
    other = str(python_prompts(tmp_path / "other" / "prompts.py", {**PROMPTS, "_prompts_vq": "Quality?"}))
    assert in_use(tmp_path, data, JUDGE, prompts=good) == "unicbench/v1+official"
    assert in_use(tmp_path, data, JUDGE) == "unicbench/v1+own-prompts"
    assert in_use(tmp_path, data, "gpt-4.1", prompts=good) == "unicbench/v1+judge-gpt-4.1"
    assert in_use(tmp_path, data, prompts=good) == "unicbench/v1+judge-replying-Replying"
    assert in_use(tmp_path, data, JUDGE, prompts=other).startswith("unicbench/v1+prompts-")
    tree = {**config(tmp_path, "unicbench", data, prompts=good), "limit": 5}
    assert "+limit-5+" in protocol_in_use(check_config(tree), judging=True).id
    tree["judge"] = {**tree["judge"], "rubric": "general-v1"}
    assert protocol_in_use(check_config(tree), judging=True).id == "unicbench/v1+limit-5+general-v1"


def test_a_prompt_file_that_lacks_one_is_named(tmp_path):
    path = python_prompts(tmp_path / "short" / "prompts.py", {"_prompts_if": "x"})
    with pytest.raises(DataError, match="holds no prompt '_prompts_nc'"):
        protocol(UnicBench, prompts=str(path))
    with pytest.raises(DataError, match=r"no data/prompts\.py of UnicBench"):
        protocol(UnicBench, prompts=str(tmp_path))


# From end to end


def test_an_official_run_of_a_part_is_partial_and_says_so(tmp_path, published, monkeypatch):
    monkeypatch.setattr("edit_eval.benchmarks.unicbench._JUDGES", ("replying:Replying",))
    rows = [row(0), row(1, "Relation Change", en="Make it so!"), row(2, en="garble")]
    data = lines(tmp_path / "data" / "test_data.jsonl", rows)
    prompts = str(python_prompts(tmp_path / "prompts.py", PROMPTS))
    ran = Ran(config(tmp_path, "unicbench", data, prompts=prompts))
    assert ran.run.info["protocol"] == "unicbench/v1+samples-3-of-1100"
    assert [row.verdict.unscored for row in ran.rows] == [None, None, "unparsable"]
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "unicbench/v1+samples-3-of-1100"
    first = summary.headlines[0]
    assert first.mean == pytest.approx((10 + 9) / 2)
    assert first.bounds == pytest.approx((19 / 3, 29 / 3))
    assert any("1 without scores" in why for why in first.why_partial)


def test_edits_go_out_in_the_official_layout_and_come_back_the_same(tmp_path):
    data = lines(tmp_path / "data" / "test_data.jsonl", [row(0), row(1, "Relation Change")])
    ran = Ran(config(tmp_path, "unicbench", data, language="both"))
    write_layout(ran.run, ran.rows, UnicBench, tmp_path / "out")
    written = sorted(str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out").rglob("*.png"))
    assert written == [
        f"{name}/{language}/{number:032x}.png"
        for number, name in enumerate(["Background_Change", "Relation_Change"])
        for language in ("cn", "en")
    ]
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(tmp_path / "out")}}
    tree = config(tmp_path, "unicbench", data, language="both")
    again = Ran({**tree, "editor": editor, "output": str(tmp_path / "again")})
    assert [one.sample for one in again.rows] == [one.sample for one in ran.rows]
    assert [one.verdict_key for one in again.rows] == [one.verdict_key for one in ran.rows]
    assert [one.edit["sha256"] for one in again.rows] == [one.edit["sha256"] for one in ran.rows]
