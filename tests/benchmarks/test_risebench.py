"""RISEBench: the official layout, its numbers worked out by hand, and what its own scripts got wrong."""

from __future__ import annotations

import math

import pytest
from harness import Ran
from PIL import Image
from public import config, judged, load, picture, protocol, python_prompts, save, table

from edit_eval.benchmarks import risebench
from edit_eval.benchmarks._official import Official
from edit_eval.benchmarks.risebench import RISEBench
from edit_eval.core.errors import DataError
from edit_eval.core.types import Shown
from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.layout import write_layout
from edit_eval.driver.plan import Judging
from edit_eval.driver.protocol import protocol_in_use
from edit_eval.driver.summary import summarize
from edit_eval.judges.contract import combine, parse_reply
from edit_eval.judges.prompts import render_prompts
from edit_eval.worker.images import as_shown

GROUPS = ["temporal_reasoning", "causal_reasoning", "spatial_reasoning", "logical_reasoning"]
NAMES = (
    "prompt_consist", "prompt_generation", "prompt_reasoning", "prompt_reasoning_w_input", "prompt_spatial_cons",
    "prompt_spatial_qual", "prompt_spatial_ref", "prompt_spatial_ref_img", "prompt_spatial_ref_w_input",
    "prompt_logical_cons", "prompt_logical_cons_ans", "prompt_logical_txt", "prompt_logical_img", "prompt_logical_img_wo_q",
)  # fmt: skip
BARE = {"prompt_generation", "prompt_spatial_qual", "prompt_logical_img_wo_q"}
WITH_REFERENCE = {
    "prompt_reasoning", "prompt_reasoning_w_input", "prompt_spatial_ref", "prompt_spatial_ref_w_input",
    "prompt_logical_cons_ans", "prompt_logical_txt",
}  # fmt: skip
PROMPTS = {
    name: f"[{name}]"
    + ("" if name in BARE else " {instruct}")
    + (" is {reference}" if name in WITH_REFERENCE else "")
    for name in NAMES
}


def row(category, number=1, /, **changes):
    made = {
        "index": f"{category}_{number}",
        "category": category,
        "instruction": "go",
        "image": f"{category}_images/{number}.png",
    }
    made |= (
        {"reference_img": f"{category}_images/{number}_ref.png"}
        if category == GROUPS[3]
        else {"reference": "older"}
    )
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


def write(root, rows, name="datav2_total_w_subtask.json", pictures="data"):
    for shade, one in enumerate(rows):
        for path in filter(None, [one.get("image"), one.get("reference_img")]):
            if isinstance(path, str):
                save(root / pictures / path, 30 * shade + len(path))
    return table(root / name, rows)


def rubric(chosen, sample):
    return Judging({}, chosen.rubrics, ()).rubric_of(sample)


# The data


@pytest.mark.parametrize(
    ("given", "name", "pictures"),
    [
        ("", "datav2_total_w_subtask.json", "data"),  # the data set of 360
        ("datav2_total_w_subtask.json", "datav2_total_w_subtask.json", "data"),
        ("", "data/data_total.json", "data"),  # the repository, of 64
        ("data/data_total.json", "data/data_total.json", "data"),
        ("", "data/datav2_total_w_subtask.json", "data"),
        ("", "data_total.json", "."),
        ("", "my_copy.json", "images"),
    ],
)
def test_every_name_and_place_of_the_table(tmp_path, given, name, pictures):
    write(tmp_path, [row(one) for one in GROUPS], name, pictures)
    samples = load(RISEBench, tmp_path / given, tmp_path)
    assert [one.id for one in samples] == [f"{one}_1" for one in GROUPS]
    assert samples[0].images == (str(tmp_path / pictures / "temporal_reasoning_images" / "1.png"),)
    assert samples[3].references == (str(tmp_path / pictures / "logical_reasoning_images" / "1_ref.png"),)


def test_of_two_tables_the_whole_one_is_taken(tmp_path):
    write(tmp_path, [row(GROUPS[0])], "data/data_total.json")
    write(tmp_path, [row(GROUPS[0]), row(GROUPS[1])])
    assert len(load(RISEBench, tmp_path, tmp_path)) == 2


def test_several_tables_of_other_names_are_asked_about(tmp_path):
    for name in ("a.json", "b.json"):
        write(tmp_path, [row(GROUPS[0])], name)
    with pytest.raises(DataError, match=r"several JSON files.*give one as benchmark\.path; get it from"):
        load(RISEBench, tmp_path, tmp_path)


def test_images_elsewhere_are_named_by_a_parameter(tmp_path):
    path = write(tmp_path / "lists", [row(GROUPS[0])], pictures="../far")
    with pytest.raises(
        DataError, match=r"images/1\.png.*set benchmark\.params\.images.*huggingface\.co/datasets"
    ):
        load(RISEBench, path, tmp_path)
    [sample] = load(RISEBench, path, tmp_path, images=str(tmp_path / "far"))
    assert sample.images == (str(tmp_path / "far" / "temporal_reasoning_images" / "1.png"),)


@pytest.mark.parametrize(
    ("category", "changes", "says"),
    [
        ("temporal_reasoning", {"index": None}, r"no column 'index'; found category"),
        ("temporal_reasoning", {"category": None}, r"no column 'category'"),
        ("temporal_reasoning", {"instruction": None}, r"no column 'instruction'"),
        ("temporal_reasoning", {"instruction": "  "}, r"'instruction' is blank"),
        ("temporal_reasoning", {"image": None}, r"no column 'image'"),
        ("temporal_reasoning", {"image": ["a.png"]}, r"'image' is no text"),
        ("temporal_reasoning", {"reference": None}, r"needs 'reference'; found category, image"),
        ("causal_reasoning", {"reference": None, "reference_img": "a.png"}, r"a sample of causal_reasoning needs 'reference'"),
        ("spatial_reasoning", {"reference": " "}, r"needs 'reference_img' or 'reference'"),
        ("logical_reasoning", {"reference_img": None, "reference": "a maze"}, r"needs 'reference_txt' or 'reference_img'"),
        ("logical_reasoning", {"reference_img": ["a.png"]}, r"'reference_img' is no text"),
    ],
)  # fmt: skip
def test_a_sample_that_cannot_be_judged_says_what_it_lacks(tmp_path, category, changes, says):
    path = write(tmp_path, [row("causal_reasoning", 9), row(category, **changes)])
    with pytest.raises(DataError, match=rf"entry 2: .*{says}") as caught:
        load(RISEBench, path, tmp_path)
    assert str(caught.value).endswith("get it from https://huggingface.co/datasets/PhoenixZ/RISEBench")
    assert "\n" not in str(caught.value)


def test_a_folder_without_the_table_says_where_to_get_it(tmp_path):
    with pytest.raises(
        DataError, match=r"holds no datav2_total_w_subtask\.json; get it from https://huggingface"
    ):
        load(RISEBench, tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["image", "reference_img"])
def test_a_missing_image_is_named_with_the_place_to_get_it(tmp_path, name):
    rows = [row(GROUPS[0]), row(GROUPS[3])]
    path = write(tmp_path / "data", rows)
    (tmp_path / "data" / "data" / rows[1][name]).unlink()
    says = rf"{rows[1][name]} of sample 'logical_reasoning_1' is missing; the data is at huggingface\.co/datasets/PhoenixZ"
    with pytest.raises(DataError, match=says):
        prepare(check_config(config(tmp_path, "risebench", path)))


# The numbers


def scores(*values):
    names = ("consistency", "reasoning", "plausibility")[: len(values)]
    return dict(zip(names, values, strict=True))


def free(reasoning, plausibility):
    return {"reasoning": reasoning, "plausibility": plausibility}


TEMPORAL, CAUSAL, SPATIAL, LOGICAL = GROUPS
GIVEN = {
    # category, marks, scores: weighted score, all at the top?
    "a": (TEMPORAL, {}, scores(5, 5, 5)),  # 5, yes
    "b": (TEMPORAL, {}, scores(5, 5, 4)),  # 1.5 + 2.5 + 0.8 = 4.8, no
    "c": (CAUSAL, {}, scores(5, 1, 5)),  # (1.5 + 0.5 + 1) / 2 = 1.5, no
    "d": (CAUSAL, {}, scores(1, 1, 1)),  # 1 / 2, but not below 1, no
    "e": (SPATIAL, {"consistency_free": "True"}, free(5, 5)),  # 4 + 1 = 5, yes
    "f": (SPATIAL, {}, scores(1, 5, 5)),  # 0.3 + 2.5 + 1 = 3.8, no
    "g": (LOGICAL, {}, scores(1, 1)),  # 1 stands for 5: 1.5 + 3.5 = 5, yes
    "h": (LOGICAL, {}, scores(1, 0)),  # (1.5 + 0.7) / 2 = 1.1, no
}  # fmt: skip


AS_FLOATS = [
    {"consistency": math.nan, **scores} if marks else {name: 4 * v + 1 for name, v in scores.items()} if group == LOGICAL else scores
    for group, marks, scores in GIVEN.values()
]  # fmt: skip
"""What a table of the official script holds, where a score of 0 or 1 stands for 1 or 5."""


def golden(tmp_path, given):
    rows = [row(category, name, **marks) for name, (category, marks, _) in given.items()]
    samples = load(RISEBench, write(tmp_path / "data", rows), tmp_path)
    return judged(
        protocol(RISEBench), samples, {f"{group}_{name}": one for name, (group, _, one) in given.items() if one}
    )  # fmt: skip


def test_accuracy_is_the_share_of_samples_whose_scores_are_all_at_the_top(tmp_path):
    found = golden(tmp_path, GIVEN)
    assert found["Accuracy"].mean == pytest.approx(100 * 3 / 8) == pytest.approx(37.5)
    # In a table of floats e has NaN for consistency, which equals no 5: until April 2026 such samples were always wrong.
    tables = [dict.fromkeys(("consistency", "reasoning", "plausibility"), 5) | scores for scores in AS_FLOATS]
    wrong = 100 * sum(all(value == 5 for value in one.values()) for one in tables) / 8
    assert wrong == 25
    assert found["Accuracy"].mean != pytest.approx(wrong)
    assert found["Accuracy spatial"].mean == 50
    assert found["Accuracy temporal"].mean == 50
    assert found["Accuracy causal"].mean == 0
    assert found["Accuracy logical"].mean == 50


def test_the_score_is_weighted_by_what_applies(tmp_path):
    found = golden(tmp_path, GIVEN)
    each = [5, 4.8, 1.5, 1, 5, 3.8, 5, 1.1]
    assert found["Score"].mean == pytest.approx(25 * (sum(each) / 8 - 1)) == pytest.approx(60)
    # The official table holds NaN where a sample is not free, which counts as true: C is left out of a to f.
    without_c = [0.8 * 5 + 0.2 * 5, 4.8, (0.8 + 1) / 2, 1, 5, 5, 5, 1.1]
    without_c[2] = 1  # 0.9, but not below 1
    assert found["Score"].mean != pytest.approx(25 * (sum(without_c) / 8 - 1), abs=0.5)
    not_halved = [5, 4.8, 3, 1, 5, 3.8, 5, 2.2]
    assert found["Score"].mean != pytest.approx(25 * (sum(not_halved) / 8 - 1), abs=0.5)
    no_floor = [5, 4.8, 1.5, 0.5, 5, 3.8, 5, 1.1]
    assert found["Score"].mean != pytest.approx(25 * (sum(no_floor) / 8 - 1), abs=0.5)
    assert found["Score temporal"].mean == pytest.approx(25 * (4.9 - 1))
    assert found["Score causal"].mean == pytest.approx(25 * 0.25)
    assert found["Score spatial"].mean == pytest.approx(25 * (4.4 - 1))
    assert found["Score logical"].mean == pytest.approx(25 * (3.05 - 1))


def test_it_is_the_mean_of_samples_and_not_of_categories(tmp_path):
    found = golden(tmp_path, {name: GIVEN[name] for name in "abcdeg"})["Accuracy"]
    assert found.mean == pytest.approx(100 * 3 / 6)  # of four categories: (50 + 0 + 100 + 100) / 4


def test_the_three_scores_of_the_leaderboard(tmp_path):
    found = golden(tmp_path, GIVEN)
    # 25 (score - 1), and for logical samples 0 or 100; e has no consistency, g and h no plausibility.
    consistency, reasoning, plausibility = (
        found[name] for name in ("Appearance consistency", "Instruction reasoning", "Visual plausibility")
    )
    assert consistency.mean == pytest.approx((100 + 100 + 100 + 0 + 0 + 100 + 100) / 7)
    assert reasoning.mean == pytest.approx((100 + 100 + 0 + 0 + 100 + 100 + 100 + 0) / 8)
    assert plausibility.mean == pytest.approx((100 + 75 + 100 + 0 + 100 + 100) / 6)
    assert (consistency.n, reasoning.n, plausibility.n) == (7, 8, 6)


def test_what_cannot_be_read_is_not_wrong_but_missing(tmp_path):
    # The official table holds None for such a sample: no score, and an accuracy of 0.
    found = golden(tmp_path, {**GIVEN, "a": (TEMPORAL, {}, None)})
    assert found["Accuracy"].mean == pytest.approx(100 * 2 / 7)
    assert found["Accuracy"].mean != pytest.approx(100 * 2 / 8)
    assert found["Accuracy"].bounds == pytest.approx((100 * 2 / 8, 100 * 3 / 8))
    assert "1 without scores" in found["Accuracy"].why_partial
    assert found["Score"].bounds == pytest.approx((25 * (23.2 / 8 - 1), 25 * (27.2 / 8 - 1)))


def test_an_unknown_category_is_left_out_and_said(tmp_path):
    found = golden(tmp_path, {**GIVEN, "z": ("hybrid_reasoning", {}, scores(1, 1, 1))})["Accuracy"]
    assert found.mean == pytest.approx(37.5)
    assert "category unknown to the benchmark, left out: hybrid_reasoning" in found.why_partial
    assert found.bounds == pytest.approx((300 / 9, 400 / 9))  # it may be one of those that are missing


def test_a_missing_category_is_said(tmp_path):
    found = golden(tmp_path, {name: GIVEN[name] for name in "abcdef"})
    assert found["Accuracy"].mean == pytest.approx(100 * 2 / 6)
    assert found["Accuracy"].why_partial[0] == "no sample of category: logical_reasoning"
    assert found["Accuracy logical"].mean is None


def test_the_benchmark_has_360_samples_and_the_small_table_64(tmp_path):
    accuracy = protocol(RISEBench).headlines[0]
    assert accuracy.groups == {"": 360}
    assert list(accuracy.expects["category"].values()) == [85, 90, 100, 85]
    found = golden(tmp_path, GIVEN)["Accuracy"]
    assert any("causal_reasoning 2 of 90, spatial_reasoning 2 of 100" in why for why in found.why_partial)


# The questions and what is read of their answers


def official(tmp_path):
    path = python_prompts(tmp_path / "RISEBench" / "utils.py", PROMPTS)
    return protocol(RISEBench, prompts=str(path.parent))


def asked(tmp_path, *rows):
    """Return the questions about the first of the rows: each prompt's name, its text after that, its images."""
    [sample, *_] = load(RISEBench, write(tmp_path / "data", rows), tmp_path)
    used = rubric(official(tmp_path), sample)
    found = []
    for prompt in render_prompts(used, sample):
        (_, text), *images = prompt.parts()
        name, _, rest = text.removeprefix("[").partition("]")
        assert all(kind == "image" for kind, _ in images)
        found.append((name.removeprefix("prompt_"), rest.strip(), [role for _, role in images]))
    assert used.shown == Shown(longest_side=768, jpeg_quality=75)
    return found


S, R, E = "source", "reference", "edited"


@pytest.mark.parametrize(
    ("category", "changes", "expected"),
    [
        (TEMPORAL, {}, [("consist", "go", [S, E]), ("reasoning", "go is older", [E]), ("generation", "", [E])]),
        (CAUSAL, {"reasoning_img": "True"},
         [("consist", "go", [S, E]), ("reasoning_w_input", "go is older", [S, E]), ("generation", "", [E])]),
        (CAUSAL, {"consistency_free": "True"}, [("reasoning", "go is older", [E]), ("generation", "", [E])]),
        (TEMPORAL, {"consistency_free": "True", "reasoning_img": "True"},
         [("reasoning_w_input", "go is older", [S, E]), ("generation", "", [E])]),
        (SPATIAL, {}, [("spatial_cons", "go", [S, E]), ("spatial_ref", "go is older", [E]), ("spatial_qual", "", [E])]),
        (SPATIAL, {"reasoning_img": "True"},
         [("spatial_cons", "go", [S, E]), ("spatial_ref_w_input", "go is older", [S, E]), ("spatial_qual", "", [E])]),
        # A picture of the result takes the source's place, before `reasoning_img` is looked at.
        (SPATIAL, {"reference_img": "r.png", "reasoning_img": "True"},
         [("spatial_cons", "go", [R, E]), ("spatial_ref_img", "go", [R, E]), ("spatial_qual", "", [E])]),
        (SPATIAL, {"reference_img": "r.png", "reference": None, "consistency_free": "True"},
         [("spatial_ref_img", "go", [R, E]), ("spatial_qual", "", [E])]),
        (LOGICAL, {}, [("logical_cons", "go", [R, E]), ("logical_img", "go", [R, E])]),
        # A text of the result goes before its picture; `reference` is no text of a logical result.
        (LOGICAL, {"reference_txt": "a path"},
         [("logical_cons_ans", "go is a path", [S, E]), ("logical_txt", "go is a path", [E])]),
        (LOGICAL, {"reference": "a path"}, [("logical_cons", "go", [R, E]), ("logical_img", "go", [R, E])]),
        (LOGICAL, {"reasoning_wo_ins": "True"}, [("logical_cons", "go", [R, E]), ("logical_img_wo_q", "", [R, E])]),
        (CAUSAL, {"consistency_free": False, "reasoning_img": "False"},
         [("consist", "go", [S, E]), ("reasoning", "go is older", [E]), ("generation", "", [E])]),
        (CAUSAL, {"consistency_free": "", "reasoning_img": ""},
         [("consist", "go", [S, E]), ("reasoning", "go is older", [E]), ("generation", "", [E])]),
    ],
)  # fmt: skip
def test_two_or_three_questions_by_kind_of_sample(tmp_path, category, changes, expected):
    assert asked(tmp_path, row(category, **changes)) == expected


def test_the_mark_of_one_logical_sample_is_a_column_of_the_table(tmp_path):
    other = row(LOGICAL, 2, reasoning_wo_ins="True")
    assert asked(tmp_path, row(LOGICAL), other)[1][0] == "logical_img_wo_q"
    text = row(LOGICAL, reference_txt="a path")
    assert asked(tmp_path, text, other)[1][0] == "logical_txt"


def test_the_judge_sees_jpegs_of_at_most_768_pixels():
    shown = protocol(RISEBench).rubrics["temporal_reasoning/text"].shown
    large = Image.effect_noise((1536, 900), 90).convert("RGB")
    small = as_shown(large, shown)
    assert small.size == (768, 450)
    wanted = large.copy()
    wanted.thumbnail((768, 768))  # as the official script calls it
    assert as_shown(wanted, Shown(jpeg_quality=75)).tobytes() == small.tobytes()
    assert as_shown(picture(3, (300, 200)), shown).size == (300, 200)  # never enlarged


@pytest.mark.parametrize(
    ("reply", "score", "kind"),
    [
        ("I looked.\n\n**Final Score:** **4**", 4, None),
        ("Final Score: 4", 4, None),
        ("**Final Score**: **4**\n", 4, None),
        ("final score 4", 4, None),
        # Official: the first digits after the first such words; here 1, and the template is no answer.
        ("**Final Score:** **1-5**", None, "unparsable"),
        ("**Final Score:** **1** - **5**", None, "unparsable"),
        ("Final Score: 1–5", None, "unparsable"),
        # Official: the first of the two.
        ("Final Score: 2\nNo, after all:\nFinal Score: 4", None, "unparsable"),
        ("**Final Score:** **X**", None, "unparsable"),
        ("Final Score: 3, 4", None, "unparsable"),
        ("**Final Score:** **6**", None, "out_of_range"),
        ("**Final Score:** **4.5**", None, "out_of_range"),
        # What the official script stores where the call failed, and takes for finished when it resumes.
        ("Failed to obtain answer via API. ", None, "unparsable"),
        ("I'm sorry, but I can't assist with that.", None, "refused"),
        ("", None, "unparsable"),
    ],
)  # fmt: skip
def test_one_final_score_or_none(tmp_path, reply, score, kind):
    used = official(tmp_path).rubrics["temporal_reasoning/text"]
    found = parse_reply(reply, used, used.calls[0])
    assert (found.scores.get("consistency"), found.unscored) == (score, kind)


def test_one_unreadable_answer_leaves_the_sample_without_scores(tmp_path):
    used = official(tmp_path).rubrics["logical_reasoning/text"]
    texts = ["Final Score: 1", "Hm."]
    read = [parse_reply(text, used, call) for text, call in zip(texts, used.calls, strict=True)]
    assert combine(used, read, texts).unscored == "unparsable"
    # Official: 4 min(s, 1) + 1, so that a 5 on the scale of 0 and 1 counts as 1.
    assert parse_reply("Final Score: 5", used, used.calls[0]).unscored == "out_of_range"


# The protocol's id


FIVE = [row(TEMPORAL), row(CAUSAL), row(SPATIAL), row(SPATIAL, 2), row(LOGICAL)]


@pytest.fixture
def small(monkeypatch):
    """The benchmark has few samples, our prompts are the published ones, and our judge the authors'."""
    monkeypatch.setattr(risebench, "_GROUPS", {TEMPORAL: 1, CAUSAL: 1, SPATIAL: 2, LOGICAL: 1})
    monkeypatch.setattr(risebench, "_KNOWN_PROMPTS", (Official(PROMPTS, ()).sha256,))
    monkeypatch.setattr(risebench, "_JUDGES", ("replying:Replying",))


def ran(tmp_path, rows, **params):
    prompts = python_prompts(tmp_path / "utils.py", PROMPTS)
    found = Ran(config(tmp_path, "risebench", write(tmp_path / "data", rows), prompts=str(prompts), **params))
    return summarize(found.run, found.rows)


@pytest.mark.usefixtures("small")
def test_everything_official_is_official(tmp_path):
    free_one = {**FIVE[2], "consistency_free": "True"}
    rows = [row(TEMPORAL), row(CAUSAL, instruction="go!"), free_one, FIVE[3], row(LOGICAL, instruction="go!")]
    summary = ran(tmp_path, rows)
    assert summary.protocol == "risebench/v1+official"
    found = {one.headline.name: one for one in summary.headlines}
    assert {one.why_partial for one in summary.headlines} == {()}
    assert found["Accuracy"].mean == 60
    # 5; 4; 5; 5; 0 and 0 of 1: (1 * 0.3 + 1 * 0.7) / 2, but not below 1
    assert found["Score"].mean == pytest.approx(25 * (20 / 5 - 1))
    # Scores of 0 to 1 and of 1 to 5 have no mean in common.
    means = {name: (one.mean, one.n) for name, one in summary.dimensions.items()}
    assert means == {
        "consistency (1 to 5)": (pytest.approx(14 / 3), 3),
        "reasoning (1 to 5)": (19 / 4, 4),
        "plausibility": (19 / 4, 4),
        "consistency (0 to 1)": (0, 1),
        "reasoning (0 to 1)": (0, 1),
    }


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("instruction", ["garble", "refuse"])
def test_one_that_cannot_be_read_is_partial(tmp_path, instruction):
    summary = ran(tmp_path, [*FIVE[:4], row(LOGICAL, instruction=instruction)])
    assert summary.protocol == "risebench/v1+partial"
    accuracy = summary.headlines[0]
    assert (accuracy.mean, accuracy.n, accuracy.wanted) == (100, 4, 5)
    assert accuracy.bounds == (80, 100)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (FIVE[:4], "samples-4-of-5"),
        ([*FIVE, row(LOGICAL, 2)], "samples-6-of-5"),
        ([*FIVE[:4], row(SPATIAL, 3)], "samples-5-of-5"),
        ([*FIVE, row("hybrid_reasoning")], "samples-5-of-5"),
        ([*FIVE[:4], row("logic_reasoning")], "samples-4-of-5"),
    ],
)
def test_other_samples_than_the_benchmarks_are_in_the_id(tmp_path, rows, name):
    prompts = python_prompts(tmp_path / "utils.py", PROMPTS)
    path = write(tmp_path / "data", rows)
    job = prepare(check_config(config(tmp_path, "risebench", path, prompts=str(prompts))))
    assert job.protocol == f"risebench/v1+{name}"


def test_the_small_table_is_named_by_its_number(tmp_path):
    rows = [row(one, number) for one in GROUPS for number in range(16)]
    path = write(tmp_path / "data", rows, "data/data_total.json")
    job = prepare(check_config(config(tmp_path, "risebench", path)))
    assert job.protocol == "risebench/v1+own-prompts+judge-replying-Replying+samples-64-of-360"


@pytest.mark.parametrize(
    ("prompts", "limit", "rubric", "name"),
    [
        (False, None, None, "own-prompts+judge-replying-Replying"),
        (True, None, None, "prompts-HASH+judge-replying-Replying"),
        (False, 3, None, "own-prompts+limit-3+judge-replying-Replying"),
        (False, None, "general-v1", "general-v1"),
    ],
)
def test_every_deviation_has_a_name(tmp_path, prompts, limit, rubric, name):
    params = {"prompts": str(python_prompts(tmp_path / "utils.py", PROMPTS))} if prompts else {}
    tree = config(tmp_path, "risebench", write(tmp_path / "data", [row(TEMPORAL)]), **params)
    tree["limit"], tree["judge"]["rubric"] = limit, rubric
    found = protocol_in_use(check_config(tree), judging=True).id
    assert found == f"risebench/v1+{name.replace('HASH', Official(PROMPTS, ()).sha256[:8])}"


def test_the_judge_of_the_scripts_is_official():
    assert protocol(RISEBench).official_judges == ("gpt-4.1-2025-04-14",)


# Out and in again


def test_edits_in_the_official_layout_are_the_same_edits(tmp_path):
    rows = [row(TEMPORAL), row(SPATIAL, reference_img="r.png"), row(LOGICAL, reference_txt="a path")]
    tree = config(tmp_path, "risebench", write(tmp_path / "data", rows))
    found = Ran(tree)
    exported = tmp_path / "exported"
    write_layout(found.run, found.rows, RISEBench, exported)
    names = sorted(str(path.relative_to(exported)) for path in exported.glob("images/*/*"))
    assert names == [f"images/{one}/{one}_1.png" for one in sorted([TEMPORAL, SPATIAL, LOGICAL])]
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(exported)}}
    again = Ran({**tree, "editor": editor, "output": str(tmp_path / "again")})
    assert [one.sample for one in again.rows] == [one.sample for one in found.rows]
    assert [one.edit["sha256"] for one in again.rows] == [one.edit["sha256"] for one in found.rows]
    assert [one.verdict_key for one in again.rows] == [one.verdict_key for one in found.rows]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg"])
def test_edits_of_others_have_one_of_three_extensions(tmp_path, suffix):
    save(tmp_path / "outputs" / "MODEL" / "images" / TEMPORAL / f"{TEMPORAL}_1.{suffix}", 7)
    tree = config(tmp_path, "risebench", write(tmp_path / "data", [row(TEMPORAL)]))
    folder = str(tmp_path / "outputs" / "MODEL")
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": folder}}
    [found] = Ran({**tree, "editor": editor}).rows
    assert found.verdict.overall == 5
