"""WiseEdit: the official layout, its numbers worked out by hand, and what its own scripts get wrong."""

from __future__ import annotations

import json

import pytest
from harness import Ran
from public import config, judged, load, protocol, python_prompts, save, sheet

from edit_eval.benchmarks.wiseedit import WiseEdit
from edit_eval.core.errors import DataError
from edit_eval.core.types import Sample
from edit_eval.driver.config import check_config
from edit_eval.driver.layout import write_layout
from edit_eval.driver.plan import Judging
from edit_eval.driver.protocol import protocol_in_use
from edit_eval.driver.summary import summarize
from edit_eval.judges.contract import parse_reply
from edit_eval.judges.prompts import render_prompts

BASIC = ["Awareness", "Imagination", "Interpretation"]
SUBSETS = [*(f"Imagination_{number}" for number in range(1, 6)), "Awareness_1", "Awareness_2", "Interpretation_1",
           *(f"WiseEdit_Complex_{number}" for number in range(2, 5))]  # fmt: skip
ASKED = ["detail_preserving", "instruction_following", "knowledge_fidelity", "creative_fusion"]
SINGLE = {**{f"prompt_{name}_single": f"{name}, one" for name in ASKED}, "prompt_visual_quality": "quality"}
MULTI = {f"prompt_{name}_multi": f"{name}, several" for name in ASKED}
JUDGE = "gpt-4o"


def row(subset, idx=1, **changes):
    inputs = {
        f"input_{one}": f"WiseEdit/imgs/{subset}_{idx}_{one}.png" for one in range(1, int(subset[-1]) + 1)
    }
    return {
        "idx": str(idx),
        "prompt": "Dress them for winter.",
        "promptcn": "给他们穿上冬装",
        **inputs,
        "hint": "",
        "ref": "",
        **changes,
    }


def data(tmp_path, rows, *, images=True):
    """Write a sheet for each subset, as {subset: rows}; return the folder of all the data."""
    root = tmp_path / "WiseEdit-Benchmark"
    for subset, given in rows.items():
        part = "WiseEdit-Complex" if "Complex" in subset else f"WiseEdit/{subset.rpartition('_')[0]}"
        sheet(root / part / subset / f"{subset}.csv", given)
        for one in given if images else ():
            paths = [value for key, value in one.items() if key.startswith("input_") and value.strip()]
            for path in paths:
                save(root / path, len(path))
    return root


# Data


def test_the_official_layout(tmp_path):
    root = data(tmp_path, {one: [row(one)] for one in SUBSETS})
    samples = load(WiseEdit, root, tmp_path)
    assert [one.tags["subset"] for one in samples] == SUBSETS
    assert [len(one.images) for one in samples] == [1, 2, 3, 4, 5, 1, 2, 1, 2, 3, 4]
    first = samples[0]
    assert (first.id, first.cluster) == ("Imagination_1/1", "Imagination_1/1")
    assert first.images == (str(root / "WiseEdit/imgs/Imagination_1_1_1.png"),)
    assert first.tags == {
        "category": "Imagination", "subset": "Imagination_1", "language": "en", "part": "basic", "idx": "1",
    }  # fmt: skip
    assert samples[-1].tags["part"] == "complex"


def test_other_tables_of_the_hub_are_not_read(tmp_path):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1")]})
    sheet(root / "metadata.csv", [row("Awareness_1", 9)])
    assert [one.id for one in load(WiseEdit, root, tmp_path)] == ["Awareness_1/1"]


def test_a_folder_within_the_data_will_do(tmp_path):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1")]})
    for given in (root / "WiseEdit", root / "WiseEdit" / "Awareness"):
        (one,) = load(WiseEdit, given, tmp_path)
        assert one.images == (str(root / "WiseEdit/imgs/Awareness_1_1_1.png"),)


@pytest.mark.parametrize(
    ("name", "languages"), [("en", ["en"]), ("cn", ["cn"]), ("zh", ["cn"]), ("both", ["cn", "en"])]
)
def test_the_editor_gets_its_language_and_the_judge_english(tmp_path, name, languages):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1")]})
    samples = load(WiseEdit, root, tmp_path, language=name)
    assert [one.tags["language"] for one in samples] == languages
    for one in samples:
        assert one.instruction == "Dress them for winter."
        chinese = one.tags["language"] == "cn"
        assert one.editor_instruction == ("给他们穿上冬装" if chinese else one.instruction)
    assert len({one.cluster for one in samples}) == 1


def test_an_empty_cell_is_no_image(tmp_path):
    root = data(tmp_path, {"Imagination_3": [row("Imagination_3", input_2="", input_3=" ")]})
    (one,) = load(WiseEdit, root, tmp_path)
    assert len(one.images) == 1
    assert one.rubric == "Imagination/1/0/0"  # and it is asked about as one with a single input


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("", []),
        ("a.png", ["a.png"]),
        ('["a.png", "b.png"]', ["a.png", "b.png"]),
        ('"a.png"', ["a.png"]),
        ("a.png|b.png", ["a.png", "b.png"]),
        ("a.png; b.png", ["a.png", "b.png"]),
        (json.dumps([f"{one}.png" for one in range(9)]), [f"{one}.png" for one in range(9)]),
    ],
)
def test_all_references_are_kept(tmp_path, cell, names):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1", ref=cell)]})
    (one,) = load(WiseEdit, root, tmp_path)
    assert one.references == tuple(str(root / name) for name in names)
    assert official(tmp_path).rubrics[one.rubric]


def test_more_references_than_can_be_shown_are_refused_and_not_dropped(tmp_path):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1", ref=json.dumps(["a.png"] * 10))]})
    with pytest.raises(DataError, match=r"Awareness_1\.csv, line 2: 'ref' names 10 images"):
        load(WiseEdit, root, tmp_path)


def test_a_hint_is_stripped_as_the_official_script_does(tmp_path):
    rows = [row("Awareness_1", 1, hint=" It snows. \n"), row("Awareness_1", 2, hint="  ")]
    first, second = load(WiseEdit, data(tmp_path, {"Awareness_1": rows}), tmp_path)
    assert (first.notes, first.rubric) == ({"hint": "It snows."}, "Awareness/1/1/0")
    assert (second.notes, second.rubric) == ({"hint": "none"}, "Awareness/1/0/0")


@pytest.mark.parametrize("name", ["idx", "prompt", "input_1"])
def test_a_missing_column_is_named(tmp_path, name):
    broken = {key: value for key, value in row("Awareness_1").items() if key != name}
    root = data(tmp_path, {"Awareness_1": [broken]})
    with pytest.raises(DataError, match=rf"Awareness_1\.csv, line 2: no column '{name}'.*found"):
        load(WiseEdit, root, tmp_path)


def test_without_a_chinese_instruction_only_the_chinese_part_is_refused(tmp_path):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1", promptcn="")]})
    assert load(WiseEdit, root, tmp_path)
    with pytest.raises(DataError, match="no column 'promptcn' or 'prompt_cn'"):
        load(WiseEdit, root, tmp_path, language="cn")


def test_missing_data_says_where_to_get_it(tmp_path):
    where = r"huggingface\.co/datasets/123123chen/WiseEdit-Benchmark"
    with pytest.raises(DataError, match=rf"holds none of WiseEdit's tables.*{where}"):
        load(WiseEdit, tmp_path, tmp_path)
    with pytest.raises(DataError, match=where):
        WiseEdit.load(None, WiseEdit.Params(), tmp_path)
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1")]}, images=False)
    with pytest.raises(DataError, match=rf"Awareness_1_1_1\.png is not there; .*{where}"):
        load(WiseEdit, root, tmp_path)


def test_a_picture_that_is_not_there_is_one_line_before_anything_starts(tmp_path):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1", ref="WiseEdit/img_ref/gone.png")]})
    with pytest.raises(DataError, match=r"img_ref/gone\.png") as caught:
        Ran(config(tmp_path, "wiseedit", root))
    assert "\n" not in str(caught.value)


# The numbers

NAMES = ["preservation", "following", "quality", "knowledge", "creativity"]


def golden(tmp_path, rows, values, **params):
    """Judge with `values`: by sample's id its scores in the order of its rubric's dimensions."""
    samples = load(WiseEdit, data(tmp_path, rows), tmp_path, **params)
    chosen = protocol(WiseEdit, **params)
    judging = Judging({}, chosen.rubrics, ())
    given = {}
    for one in samples:
        names = [dimension.name for dimension in judging.rubric_of(one).dimensions]
        if found := values(one):
            given[one.id] = dict(zip(names, found, strict=True))
    return judged(chosen, samples, given)


def on_100(*raw):
    return (sum(raw) / len(raw) - 1) / 9 * 100


def test_which_scores_a_category_has(tmp_path):
    rubrics = protocol(WiseEdit).rubrics
    asked = {name: [one.name for one in rubrics[name].dimensions] for name in [*BASIC, "WiseEdit_Complex"]}
    assert asked == {
        "Awareness": NAMES[:4],
        "Interpretation": NAMES[:4],
        "Imagination": [*NAMES[:3], "creativity"],
        "WiseEdit_Complex": NAMES,
    }


def test_the_headline_is_the_mean_of_three_categories_of_pooled_subsets(tmp_path):
    rows = {one: [row(one)] for one in SUBSETS[:8]}
    rows["Awareness_1"] = [row("Awareness_1", 1), row("Awareness_1", 2)]
    values = {
        "Awareness_1/1": (10, 10, 10, 10),
        "Awareness_1/2": (10, 10, 10, 6),  # 9
        "Awareness_2/1": (1, 1, 1, 1),
        "Interpretation_1/1": (4, 4, 4, 4),
    }
    found = golden(tmp_path, rows, lambda one: values.get(one.id, (7, 7, 7, 7)))
    # Awareness: (10 + 9 + 1) / 3 over its three samples; the mean of its two subsets would be (9.5 + 1) / 2
    awareness, imagination, interpretation = on_100(10, 9, 1), on_100(7), on_100(4)
    assert found["Awareness en"].mean == pytest.approx(awareness)
    assert found["Awareness en"].mean != pytest.approx(on_100(9.5, 1))
    assert found["Basic en"].mean == pytest.approx((awareness + imagination + interpretation) / 3)
    micro = on_100(10, 9, 1, 4, *[7] * 5)
    assert found["Basic en"].mean != pytest.approx(micro)
    assert found["Basic en"].why_partial == ()
    assert found["WiseEdit_Complex en"].mean is None


def test_a_score_that_does_not_apply_is_not_counted(tmp_path):
    found = golden(tmp_path, {"Awareness_1": [row("Awareness_1")]}, lambda _one: (10, 10, 10, 1))
    assert found["Awareness en"].mean == pytest.approx(on_100(10, 10, 10, 1))
    assert found["Awareness en"].mean == pytest.approx(75)
    assert found["Awareness en"].mean != pytest.approx(
        on_100(10, 10, 10, 1, 1)
    )  # 60: creativity as the least score


def test_complex_is_the_mean_of_both_languages(tmp_path):
    rows = {one: [row(one)] for one in SUBSETS[8:]}
    found = golden(
        tmp_path,
        rows,
        lambda one: (10,) * 5 if one.tags["language"] == "en" else (1, 1, 1, 1, 6),
        language="both",
    )
    assert found["WiseEdit_Complex en"].mean == 100
    assert found["WiseEdit_Complex cn"].mean == pytest.approx(on_100(2))
    assert found["Complex"].mean == pytest.approx((100 + on_100(2)) / 2)
    assert found["Complex"].why_partial == ()


def test_a_sample_without_scores_is_left_out_of_its_language_alone_and_bounded(tmp_path):
    # official: a failed score is 0, and such a row is left out of both languages without a word
    rows = {
        "Awareness_1": [row("Awareness_1", 1), row("Awareness_1", 2)],
        "Awareness_2": [row("Awareness_2")],
    }

    def values(one):
        if one.id == "Awareness_1/1-cn":
            return None
        return (10, 10, 10, 10) if one.tags["idx"] == "1" else (1, 1, 1, 1)

    found = golden(tmp_path, rows, values, language="both")
    assert found["Awareness en"].mean == pytest.approx(200 / 3)
    assert found["Awareness en"].why_partial == ()
    assert found["Awareness cn"].mean == pytest.approx(50)
    assert found["Awareness cn"].bounds == pytest.approx((100 / 3, 200 / 3))
    assert found["Awareness cn"].why_partial == ("1 without scores",)


def test_a_subset_that_is_missing_is_said_and_not_filled_with_ones(tmp_path):
    rows = {one: [row(one)] for one in SUBSETS[:8] if one != "Imagination_4"}
    found = golden(tmp_path, rows, lambda _one: (10, 10, 10, 10))
    assert found["Basic en"].mean == pytest.approx(100)
    assert found["Basic en"].why_partial == ("no sample of subset: Imagination_4",)
    assert found["Imagination en"].why_partial == ("no sample of subset: Imagination_4",)
    assert found["Awareness en"].why_partial == ()


def test_a_category_that_is_missing_leaves_the_headline_open(tmp_path):
    rows = {"Awareness_1": [row("Awareness_1")], "Interpretation_1": [row("Interpretation_1")]}
    found = golden(tmp_path, rows, lambda _one: (10, 10, 10, 10))["Basic en"]
    assert found.mean is None
    assert found.bounds == pytest.approx((200 / 3, 100))


def test_single_inputs_are_a_table_of_their_own(tmp_path):
    rows = {one: [row(one)] for one in SUBSETS}
    found = golden(
        tmp_path,
        rows,
        lambda one: (10,) * 4 if one.tags["subset"] == "Awareness_1" else (1,) * 4,
        inputs="single",
    )
    assert list(found) == ["Basic en", "Awareness en", "Imagination en", "Interpretation en"]
    assert found["Basic en"].mean == pytest.approx(100 / 3)
    assert found["Basic en"].n == 3
    assert all(one.why_partial == () for one in found.values())
    assert protocol(WiseEdit, inputs="single").deviations == ("own-prompts", "subset-single")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score": 8, "reason": "ok"}', 8),
        ('Here:\n```json\n{"score": 10, "reason": "ok"}\n```', 10),
        ('{"score": 8.7, "reason": "ok"}', "out_of_range"),  # official: 8
        ('{"score": 0, "reason": "ok"}', "out_of_range"),
        ('{"score": "8", "reason": "ok"}', "unparsable"),
        ("I give it 8/10.", "unparsable"),
        ("There are 3 people in the picture.", "unparsable"),  # official: the first number in the text, 3
        ("I'm sorry, but I can't help with that.", "refused"),  # official: 0 after five attempts
    ],
)
def test_replies(tmp_path, text, expected):
    rubric = official(tmp_path).rubrics["Awareness/1/0/0"]
    found = parse_reply(text, rubric, rubric.calls[0])
    assert (found.unscored or found.scores["preservation"]) == expected


# The protocol

UTILS = """
def build(hint):
    return {"type": "text", "text": ("Hint: " "as it should be.\\n" f"{hint}")}
raise SystemExit("run!")
"""


def repository(folder, single=SINGLE):
    python_prompts(folder / "Evaluation" / "prompt_single.py", single)
    python_prompts(folder / "Evaluation" / "prompt_multi.py", MULTI)
    (folder / "Evaluation" / "evaluation_utils.py").write_text(UTILS)
    return str(folder)


def official(tmp_path, **params):
    return protocol(WiseEdit, prompts=repository(tmp_path / "repo"), **params)


@pytest.fixture
def published(monkeypatch):
    from edit_eval.benchmarks import wiseedit
    from edit_eval.benchmarks._official import Official

    texts = {**SINGLE, **MULTI, "hint": "Hint: as it should be.\n"}
    monkeypatch.setattr(wiseedit, "_KNOWN_PROMPTS", (Official(texts, ()).sha256,))


def parts(rubric, **changes):
    """The questions as they go to the judge: texts, and images in brackets."""
    sample = Sample("x", "Do it.", ("a.png",), notes={"hint": "It snows."}, **changes)
    return [
        [text if kind == "text" else [text] for kind, text in prompt.parts()]
        for prompt in render_prompts(rubric, sample)
    ]


def test_what_the_judge_is_asked_and_shown_of_one_input(tmp_path):
    rubric = official(tmp_path).rubrics["Awareness/1/0/0"]
    assert parts(rubric) == [
        [f"{name}, one\n\nEditing instruction: Do it.Input image:", ["source/1"], "Edited image:", ["edited"]]
        if name
        else ["qualityImage:", ["edited"]]
        for name in ("detail_preserving", "instruction_following", "", "knowledge_fidelity")
    ]
    shown = rubric.shown
    assert (shown.edited_as_source, shown.longest_side, shown.jpeg_quality) == (False, 512, 90)
    assert {(one.low, one.high, one.integer) for one in rubric.dimensions} == {(1, 10, True)}


def test_inputs_are_numbered_and_hint_and_references_come_last_where_they_are_asked_for(tmp_path):
    rubric = official(tmp_path).rubrics["WiseEdit_Complex/2/1/2"]
    keeping, following, quality, knowledge, creativity = parts(rubric)
    inputs = ["Input image #1:", ["source/1"], "Input image #2:", ["source/2"]]

    def begins(name):
        return [f"{name}, several\n\nEditing instruction: Do it.{inputs[0]}", *inputs[1:]]

    hint = "Hint: as it should be.\nIt snows."
    helped = [
        "Edited image:",
        ["edited"],
        f"{hint}Reference image:",
        ["reference/1"],
        "Reference image:",
        ["reference/2"],
    ]
    assert keeping == [*begins("detail_preserving"), "Edited image:", ["edited"]]
    assert following == [*begins("instruction_following"), *helped]
    assert quality == ["qualityImage:", ["edited"]]
    assert knowledge == [*begins("knowledge_fidelity"), *helped]
    assert creativity == [*begins("creative_fusion"), "Edited image:", ["edited"]]


def test_a_hint_without_references_stands_at_the_end(tmp_path):
    following = parts(official(tmp_path).rubrics["Imagination/1/1/0"])[1]
    assert following[-3:] == ["Edited image:", ["edited"], "Hint: as it should be.\nIt snows."]


def test_every_deviation_has_its_name_in_the_id(tmp_path, published):
    root = data(tmp_path, {"Awareness_1": [row("Awareness_1")]})
    good = repository(tmp_path / "good")
    other = repository(tmp_path / "other", {**SINGLE, "prompt_visual_quality": "?"})

    def in_use(model=None, limit=None, **params):
        tree = {**config(tmp_path, "wiseedit", root, **params), "limit": limit}
        tree["judge"]["model"] = model
        return protocol_in_use(check_config(tree), judging=True).id

    assert in_use(JUDGE, prompts=good) == "wiseedit/v1+official"
    assert in_use(JUDGE, prompts=good, inputs="single") == "wiseedit/v1+subset-single"
    assert in_use(JUDGE) == "wiseedit/v1+own-prompts"
    assert in_use(JUDGE, prompts=other).startswith("wiseedit/v1+prompts-")
    assert in_use("gpt-4o-2024-11-20", prompts=good) == "wiseedit/v1+judge-gpt-4o-2024-11-20"
    assert in_use(JUDGE, limit=3, prompts=good) == "wiseedit/v1+limit-3"


def test_prompt_files_that_lack_something_are_named(tmp_path):
    short = {key: text for key, text in SINGLE.items() if key != "prompt_creative_fusion_single"}
    with pytest.raises(DataError, match="holds no prompt 'prompt_creative_fusion_single'"):
        protocol(WiseEdit, prompts=repository(tmp_path / "short", short))
    folder = repository(tmp_path / "bare")
    (tmp_path / "bare" / "Evaluation" / "evaluation_utils.py").write_text("x = 1\n")
    with pytest.raises(DataError, match=r"evaluation_utils\.py holds no sentence for hints"):
        protocol(WiseEdit, prompts=folder)
    with pytest.raises(DataError, match=r"cannot read .*prompt_single\.py"):
        protocol(WiseEdit, prompts=str(tmp_path))


# From end to end


def test_an_official_run_of_a_part_is_partial_and_says_so(tmp_path, published, monkeypatch):
    monkeypatch.setattr("edit_eval.benchmarks.wiseedit._JUDGES", ("replying:Replying",))
    rows = {
        "Awareness_2": [
            row("Awareness_2", 1, hint="It snows.", ref="r.png"),
            row("Awareness_2", 2, prompt="garble"),
        ],
        "Imagination_1": [row("Imagination_1", 1, prompt="Go!")],
        "Interpretation_1": [row("Interpretation_1")],
    }
    root = data(tmp_path, rows)
    save(root / "r.png", 5)
    ran = Ran(config(tmp_path, "wiseedit", root, prompts=repository(tmp_path / "repo")))
    assert ran.run.info["protocol"] == "wiseedit/v1+official"
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "wiseedit/v1+partial"
    basic = summary.headlines[0]
    assert basic.mean == pytest.approx((100 + 800 / 9 + 100) / 3)
    assert any("no sample of subset: Awareness_1, Imagination_2" in why for why in basic.why_partial)
    assert "1 without scores" in basic.why_partial


def test_edits_go_out_in_the_official_layout_and_come_back_the_same(tmp_path):
    root = data(
        tmp_path, {"Awareness_2": [row("Awareness_2")], "WiseEdit_Complex_3": [row("WiseEdit_Complex_3", 7)]}
    )
    ran = Ran(config(tmp_path, "wiseedit", root, language="both"))
    write_layout(ran.run, ran.rows, WiseEdit, tmp_path / "out")
    assert sorted(str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out").rglob("*.png")) == [
        f"{name}/{language}/{idx}.png"
        for name, idx in (("Awareness_2", 1), ("WiseEdit_Complex_3", 7))
        for language in ("cn", "en")
    ]
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(tmp_path / "out")}}
    tree = config(tmp_path, "wiseedit", root, language="both")
    again = Ran({**tree, "editor": editor, "output": str(tmp_path / "again")})
    assert [one.sample for one in again.rows] == [one.sample for one in ran.rows]
    assert [one.verdict_key for one in again.rows] == [one.verdict_key for one in ran.rows]
    assert [one.edit["sha256"] for one in again.rows] == [one.edit["sha256"] for one in ran.rows]
