"""KRIS-Bench: official layouts, numbers worked out by hand, and what its scripts and their ports get wrong."""

from __future__ import annotations

import pytest
from harness import Ran
from public import config, judged, load, protocol, python_prompts, save, table

from edit_eval.benchmarks import krisbench
from edit_eval.benchmarks._official import Official
from edit_eval.benchmarks.krisbench import KRISBench
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

CATEGORIES = [
    "abstract_reasoning", "anomaly_correction", "biology", "chemistry", "color_change", "count_change", "geography",
    "humanities", "mathematics", "medicine", "multi-element_composition", "multi-instruction_execution",
    "part_completion", "physics", "position_movement", "practical_knowledge", "rule-based_reasoning", "size_adjustment",
    "temporal_prediction", "viewpoint_change",
]  # fmt: skip
KNOWLEDGE = {
    "humanities", "practical_knowledge", "biology", "chemistry", "geography", "medicine", "mathematics", "physics",
    "abstract_reasoning", "rule-based_reasoning",
}  # fmt: skip
PROMPTS = {
    "prompt_consist": 'Same? {instruct} Give {{"consistency_score": X}}',
    "prompt_quality": 'Sound? Give\n{{\n"quality_score": X,\n}}\n',
    "prompt_instruction_following": 'Done? {instruct} Give {{"instruction_score": X}}',
    "prompt_abnormal_instruction_following": 'Mended? {instruct} as {explanation} Give {{"instruction_score": X}}',
    "prompt_dual_evaluation": 'Done and true? {instruct} as {explanation} Give {{"instruction_score": X, "knowledge_score": X}}',
    "prompt_view_instruction_following": 'Turned? {instruct} Give {{"instruction_score": X}}',
    "prompt_consist_multi": 'All there? {instruct} Give {{"consistency_score": X}}',
    "prompt_instruction_multi": 'Composed? {instruct} Give {{"instruction_score": X}}',
    "prompt_consist_temporal": 'One sequence? {instruct} Give {{"consistency_score": X}}',
    "prompt_instruction_temporal": 'The frame? {instruct} Give {{"instruction_score": X}}',
}


def item(category, number=1, **changes):
    name = f"{number}.jpg"
    made = {"ori_img": name, "gt_img": "", "ins_en": "go", "explain_en": "so it is"}
    if category == "temporal_prediction":
        made |= {
            "ori_img": [f"{number}-1.jpg", f"{number}-3.jpg", f"{number}-4.jpg"],
            "gt_img": f"{number}-2.jpg",
        }
    elif category == "multi-element_composition":
        made |= {"ori_img": [f"{number}-1.jpg", f"{number}-2.png"]}
    elif category == "viewpoint_change":
        made |= {"gt_img": f"{number}_gt.jpg"}
    return {**made, **changes}


def write(root, category, items, folder=None):
    for number, one in enumerate(items.values()):
        sources = one["ori_img"] if isinstance(one["ori_img"], list) else [one["ori_img"]]
        for shade, name in enumerate([*sources, *filter(None, [one.get("gt_img")])]):
            save(root / (folder or category) / name, 40 * shade + number)
    return table(root / (folder or category) / "annotation.json", items)


def whole(root, instruction="go"):
    for category in CATEGORIES:
        write(root, category, {"1": item(category, ins_en=instruction)})
    return root


def rubric(chosen, sample):
    return Judging({}, chosen.rubrics, ()).rubric_of(sample)


# The data


@pytest.mark.parametrize("below", ["KRIS_Bench", "."])
def test_the_folder_itself_or_the_one_above_it(tmp_path, below):
    whole(tmp_path / below)
    samples = load(KRISBench, tmp_path, tmp_path)
    assert [one.tags["category"] for one in samples] == CATEGORIES
    assert samples[0].images == (str(tmp_path / below / "abstract_reasoning" / "1.jpg"),)
    assert samples[0].id == "abstract_reasoning/1"


@pytest.mark.parametrize(
    ("folder", "category"),
    [
        ("object_count", "count_change"),
        ("abnormality_correction", "anomaly_correction"),
        ("daily_life", "practical_knowledge"),
        ("rule_reasoning", "rule-based_reasoning"),
        ("view_pair", "viewpoint_change"),
        ("multi_element_composition", "multi-element_composition"),
        ("multi-instruction", "multi-instruction_execution"),
    ],
)
def test_folders_have_had_other_names(tmp_path, folder, category):
    write(tmp_path, category, {"1": item(category)}, folder)
    [sample] = load(KRISBench, tmp_path, tmp_path)
    assert (sample.id, sample.tags["category"]) == (f"{category}/1", category)
    assert f"/{folder}/" in sample.images[0]


@pytest.mark.parametrize(
    ("changes", "instruction", "explanation"),
    [
        ({"ins_en": "Turn it", "explain_en": "as said"}, "Turn it", "as said"),
        ({"ins_en": "", "explain_en": "", "instruction": "Turn it", "explain": "as said"}, "Turn it", "as said"),
        ({"ins_en": "Turn it", "instruction": "转", "explain_en": ""}, "Turn it", ""),
    ],
)  # fmt: skip
def test_both_spellings_of_instruction_and_explanation(tmp_path, changes, instruction, explanation):
    # The scripts' `.get("instruction", "")` gives the judge an empty instruction where the data says `ins_en`.
    write(tmp_path, "biology", {"1": item("biology", **changes)})
    [sample] = load(KRISBench, tmp_path, tmp_path)
    assert (sample.instruction, sample.notes["explanation"]) == (instruction, explanation)


@pytest.mark.parametrize(
    ("category", "changes", "says"),
    [
        ("biology", {"ins_en": None}, r"item '1': neither 'ins_en' nor 'instruction' holds a text"),
        ("biology", {"ins_en": None, "ins_cn": "走"}, r"did you mean 'ins_cn'"),
        ("biology", {"ori_img": None}, r"'ori_img' must name an image"),
        ("biology", {"ori_img": []}, r"'ori_img' must name an image"),
        ("biology", {"ori_img": ["1.jpg", ""]}, r"'ori_img' must name an image"),
        ("biology", {"ori_img": ["1.jpg", "2.jpg"]}, r"names 2 images, and biology has one a sample"),
        ("viewpoint_change", {"gt_img": ""}, r"'gt_img' must name an image of the right view"),
        ("viewpoint_change", {"gt_img": None}, r"'gt_img' must name an image of the right view"),
        ("temporal_prediction", {"ori_img": ["1-1.jpg", "1-2.jpg"]}, r"three of the frames N-1.*found 1-1\.jpg, 1-2\.jpg"),
        ("temporal_prediction", {"ori_img": ["1-1.jpg", "1-2.jpg", "1-2.png"]}, r"three of the frames"),
        ("temporal_prediction", {"ori_img": ["1-1.jpg", "1-2.jpg", "1-5.jpg"]}, r"three of the frames"),
        ("temporal_prediction", {"ori_img": ["a.jpg", "b.jpg", "c.jpg"]}, r"three of the frames"),
        ("multi-element_composition", {"ori_img": [f"1-{n}.jpg" for n in range(1, 11)]}, r"10 images; at most 9"),
    ],
)  # fmt: skip
def test_a_sample_that_cannot_be_judged_says_what_it_lacks(tmp_path, category, changes, says):
    table(tmp_path / category / "annotation.json", {"1": item(category, **changes)})
    with pytest.raises(DataError, match=says) as caught:
        load(KRISBench, tmp_path, tmp_path)
    assert str(caught.value).endswith("get it from https://huggingface.co/datasets/Liang0223/KRIS_Bench")
    assert "\n" not in str(caught.value)


def test_what_is_no_list_of_items(tmp_path):
    table(tmp_path / "biology" / "annotation.json", [item("biology")])
    with pytest.raises(DataError, match=r"expected an object of items by key; get it from"):
        load(KRISBench, tmp_path, tmp_path)


def test_a_folder_without_any_list(tmp_path):
    with pytest.raises(
        DataError, match=r"holds no CATEGORY/annotation\.json; get it from https://huggingface"
    ):
        load(KRISBench, tmp_path, tmp_path)


def test_a_category_of_images_alone_is_not_passed_over(tmp_path):
    write(tmp_path, "biology", {"1": item("biology")})
    save(tmp_path / "chemistry" / "1.jpg", 3)
    with pytest.raises(DataError, match=r"chemistry holds no annotation\.json"):
        load(KRISBench, tmp_path, tmp_path)


def test_one_category_under_two_names(tmp_path):
    for folder in ("count_change", "object_count"):
        write(tmp_path, "count_change", {"1": item("count_change")}, folder)
    with pytest.raises(
        DataError, match=r"count_change and object_count are both of the category count_change"
    ):
        load(KRISBench, tmp_path, tmp_path)


def test_a_missing_image_is_named_with_the_place_to_get_it(tmp_path):
    write(tmp_path / "data", "temporal_prediction", {"1": item("temporal_prediction")})
    (tmp_path / "data" / "temporal_prediction" / "1-3.jpg").unlink()
    says = r"temporal_prediction/1-3\.jpg of sample 'temporal_prediction/1' is missing; the data is at huggingface\.co/"
    with pytest.raises(DataError, match=says):
        prepare(check_config(config(tmp_path, "krisbench", tmp_path / "data")))


# The numbers


def scores(*values):
    names = ("consistency", "instruction", "quality")
    if len(values) == 4:
        names = ("consistency", "instruction", "knowledge", "quality")
    return dict(zip(names, values, strict=True))


def golden(tmp_path, given):
    """`given`: scores by sample, `CATEGORY/NUMBER`; None has none."""
    listed = {}
    for name in given:
        category, number = name.split("/")
        listed.setdefault(category, {})[number] = item(category, number)
    for category, items in listed.items():
        write(tmp_path / "data", category, items)
    samples = load(KRISBench, tmp_path / "data", tmp_path)
    return judged(protocol(KRISBench), samples, {name: one for name, one in given.items() if one})


THREE = {
    "color_change/1": scores(5, 5, 5),  # 100, 100, 100
    "color_change/2": scores(1, 2, 3),  # 0, 25, 50
    "humanities/1": scores(1, 1, 1, 2),  # 0, 0, 0, 25
}


def test_every_score_counts_once(tmp_path):
    found = golden(tmp_path, THREE)
    overall = found["Overall"].mean
    assert overall == pytest.approx((300 + 75 + 25) / 10) == pytest.approx(40)
    of_samples = (100 + 25 + 6.25) / 3  # 43.75
    of_categories = (62.5 + 6.25) / 2  # 34.375
    of_metrics = (100 / 3 + 125 / 3 + 175 / 3 + 0) / 4  # 33.33: consistency, instruction, quality, knowledge
    without_knowledge = 400 / 9  # 44.44
    for wrong in (of_samples, of_categories, of_metrics, without_knowledge):
        assert overall != pytest.approx(wrong, abs=0.5)


def test_by_type_of_knowledge_and_by_dimension(tmp_path):
    given = {
        **THREE,
        "viewpoint_change/1": scores(3, 3, 3),  # 50, 50, 50
        "mathematics/1": scores(5, 5, 5, 5),  # 100 four times
        "rule-based_reasoning/1": scores(2, 2, 2, 2),  # 25 four times
        "multi-element_composition/1": scores(5, 5, 1),  # 100, 100, 0
    }
    found = {name: one.mean for name, one in golden(tmp_path, given).items()}
    assert found["Factual Knowledge"] == pytest.approx((300 + 75 + 150) / 9)
    assert found["Conceptual Knowledge"] == pytest.approx((25 + 400) / 8)
    assert found["Procedural Knowledge"] == pytest.approx(
        (100 + 200) / 7
    )  # four scores and three, and not 45.8
    assert found["Attribute Perception"] == pytest.approx(375 / 6)
    assert found["Spatial Perception"] == 50
    assert found["Temporal Prediction"] is None  # there is no such sample
    assert found["Social Science"] == pytest.approx(6.25)
    assert found["Natural Science"] == 100
    assert found["Logical Reasoning"] == 25
    assert found["Instruction Decomposition"] == pytest.approx(200 / 3)
    assert found["Overall"] == pytest.approx((525 + 425 + 300) / 24)


def test_what_has_no_score_is_no_zero(tmp_path):
    # A port gives models that take one image zeros for samples of several.
    given = {**THREE, "multi-element_composition/1": None}
    found = golden(tmp_path, given)["Overall"]
    assert found.mean == pytest.approx(40)
    as_lowest = 400 / 13
    assert found.mean != pytest.approx(as_lowest)
    assert "1 without scores" in found.why_partial
    assert found.bounds == pytest.approx((400 / 13, 700 / 13))  # three scores at 0 and at 100


def test_an_unknown_category_is_left_out_and_said(tmp_path):
    found = golden(tmp_path, {**THREE, "colour_change/1": scores(1, 1, 1)})["Overall"]
    assert found.mean == pytest.approx(40)
    assert "category unknown to the benchmark, left out: colour_change" in found.why_partial
    # It may be one of those that are missing, with as many scores as the others have: 10 of three samples.
    assert found.bounds == pytest.approx((400 / (10 + 10 / 3), (400 + 1000 / 3) / (10 + 10 / 3)))


def test_the_benchmark_has_1267_samples():
    headlines = {one.name: one for one in protocol(KRISBench).headlines}
    assert headlines["Overall"].groups == {"": 1267}
    kinds = ("Factual Knowledge", "Conceptual Knowledge", "Procedural Knowledge")
    assert [headlines[kind].groups for kind in kinds] == [{"": 449}, {"": 518}, {"": 300}]
    counts = headlines["Overall"].expects["category"]
    assert sum(counts.values()) == 1267
    assert set(counts) == set(CATEGORIES)
    assert (counts["biology"], counts["temporal_prediction"], counts["medicine"]) == (68, 74, 50)


# The questions and what is read of their answers


def official(tmp_path, **params):
    path = python_prompts(tmp_path / "Kris_Bench" / "utils" / "prompts.py", PROMPTS)
    return protocol(KRISBench, prompts=str(path.parents[1]), **params)


def asked(tmp_path, category, chosen=None, **changes):
    """Return every question about a sample, as its texts and its images with the labels before them."""
    write(tmp_path / "data", category, {"1": item(category, ins_en="Go {on}", **changes)})
    [sample] = load(KRISBench, tmp_path / "data", tmp_path)
    used = rubric(chosen or official(tmp_path), sample)
    return [prompt.parts() for prompt in render_prompts(used, sample)], used, sample


BEFORE, AFTER, TRUE = (
    "This is the original image:",
    "This is the edited image:",
    "This is the ground truth image:",
)


def pairs(text, *pictures):
    """Return a text, then each label with its image."""
    parts = [("text", text + pictures[0][0]), ("image", pictures[0][1])]
    for label, role in pictures[1:]:
        parts += [("text", label), ("image", role)]
    return parts


@pytest.mark.parametrize(
    "category", ["color_change", "anomaly_correction", "multi-instruction_execution", "biology"]
)
def test_source_and_edit_each_after_its_label(tmp_path, category):
    found, used, _ = asked(tmp_path, category)
    both = [(BEFORE, "source"), (AFTER, "edited")]
    second = 'Done? Go {on} Give {"instruction_score": X}'
    if category in KNOWLEDGE:
        second = 'Done and true? Go {on} as so it is Give {"instruction_score": X, "knowledge_score": X}'
    assert found == [
        pairs('Same? Go {on} Give {"consistency_score": X}', *both),
        pairs(second, *both),
        # No script formats this text, so its braces are still doubled.
        pairs('Sound? Give\n{{\n"quality_score": X,\n}}\n', (AFTER, "edited")),
    ]
    assert used.shown == Shown()  # files as they are
    assert len(used.dimensions) == (4 if category in KNOWLEDGE else 3)


def test_the_right_view_is_shown_after_the_edit(tmp_path):
    found, _, sample = asked(tmp_path, "viewpoint_change")
    pictures = [(BEFORE, "source"), (AFTER, "edited"), (TRUE, "reference")]
    assert found[0][3:] == [("image", "edited")]
    assert found[1] == pairs('Turned? Go {on} Give {"instruction_score": X}', *pictures)
    assert sample.references[0].endswith("viewpoint_change/1_gt.jpg")


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_several_sources_are_numbered(tmp_path, count):
    names = [f"1-{number}.jpg" for number in range(1, count + 1)]
    found, used, _ = asked(tmp_path, "multi-element_composition", ori_img=names if count > 1 else names[0])
    pictures = [(f"Reference Image {number}:", f"source/{number}") for number in range(1, count + 1)]
    pictures.append(("Predicted Image:", "edited"))
    assert found[0] == pairs('All there? Go {on} Give {"consistency_score": X}', *pictures)
    assert found[1] == pairs('Composed? Go {on} Give {"instruction_score": X}', *pictures)
    assert found[2][0][1].endswith("This is the image to evaluate:")
    assert used.shown == Shown()


@pytest.mark.parametrize("missing", [1, 2, 3, 4])
@pytest.mark.parametrize("backwards", [False, True])
def test_frames_stand_in_their_order_with_the_edit_among_them(tmp_path, missing, backwards):
    names = [f"1-{number}.jpg" for number in range(1, 5) if number != missing]
    given = names[::-1] if backwards else names
    found, used, sample = asked(tmp_path, "temporal_prediction", ori_img=given, gt_img=f"1-{missing}.jpg")
    at = {number: f"source/{place}" for place, number in enumerate(sorted({1, 2, 3, 4} - {missing}), start=1)}
    pictures = [
        (f"Frame {number} (Generated):", "edited")
        if number == missing
        else (f"Frame {number} (Reference):", at[number])
        for number in range(1, 5)
    ]
    assert found[0] == pairs('One sequence? Go {on} Give {"consistency_score": X}', *pictures)
    assert found[1] == pairs('The frame? Go {on} Give {"instruction_score": X}', *pictures)
    # The editor is given them as they are listed, the judge in the order of the frames.
    assert [one.rpartition("/")[2] for one in sample.images] == given
    assert [one.rpartition("/")[2] for one in sample.shown_sources] == names
    assert used.shown == Shown(jpeg_quality=85)


def test_the_prompt_for_anomalies_is_asked_on_demand_and_named(tmp_path):
    # The scripts compare the folder `anomaly_correction` with `abnormality_correction`, so they never ask it.
    chosen = official(tmp_path, explain_anomalies=True)
    assert "anomalies-explained" in chosen.deviations
    found, _, _ = asked(tmp_path, "anomaly_correction", chosen)
    assert found[1][0][1].startswith('Mended? Go {on} as so it is Give {"instruction_score": X}')
    with pytest.raises(DataError, match=r"explain_anomalies needs benchmark\.params\.prompts"):
        protocol(KRISBench, explain_anomalies=True)


@pytest.mark.parametrize(
    ("reply", "score", "kind"),
    [
        ('{"consistency_score": 4, "reasoning": "ok"}', 4, None),
        ('Looked.\n```json\n{"reasoning": "ok", "consistency_score": 4}\n```', 4, None),
        # The scripts fall back to the first digit of 1 to 5 that stands alone anywhere: here 2 and 1.
        ("There are 2 cats in the edited image, and both are gone.", None, "unparsable"),
        ('{"reasoning": 1. The hat changed, "consistency_score": }', None, "unparsable"),
        ('{"consistency_score": "4", "reasoning": "ok"}', None, "unparsable"),
        # A port brings it to 5, and reads 4.5 as 4.
        ('{"consistency_score": 9, "reasoning": "ok"}', None, "out_of_range"),
        ('{"consistency_score": 4.5, "reasoning": "ok"}', None, "out_of_range"),
        ('{"consistency_score": null, "reasoning": "ok"}', None, "unparsable"),
        ("I'm sorry, but I can't assist with that.", None, "refused"),
        ("", None, "unparsable"),
    ],
)
def test_no_digit_is_picked_from_the_prose(tmp_path, reply, score, kind):
    used = official(tmp_path).rubrics[""]
    call = used.calls[0]
    found = parse_reply(reply, used, call)
    assert (found.scores.get("consistency"), found.unscored) == (score, kind)


def test_two_scores_of_one_reply(tmp_path):
    used = official(tmp_path).rubrics["knowledge"]
    texts = [
        '{"consistency_score": 5}',
        '{"instruction_score": 4, "instruction_reasoning": "done", "knowledge_score": 2, "knowledge_reasoning": "no"}',
        '{"quality_score": 3}',
    ]
    read = [parse_reply(text, used, call) for text, call in zip(texts, used.calls, strict=True)]
    verdict = combine(used, read, texts)
    assert verdict.scores == scores(5, 4, 2, 3)
    assert verdict.reasons["knowledge"] == "no"
    assert verdict.overall == 25 * (14 / 4 - 1)
    lacking = parse_reply('{"instruction_score": 4}', used, used.calls[1])
    assert lacking.unscored == "unparsable"  # and not a sample without knowledge


def test_a_prompt_file_that_lacks_one_is_named(tmp_path):
    path = python_prompts(tmp_path / "prompts.py", {**PROMPTS, "prompt_quality": ""} | {"x": "y"})
    path.write_text(path.read_text().replace("prompt_consist_multi", "prompt_consist_many"))
    with pytest.raises(DataError, match=r"holds no prompt 'prompt_consist_multi' \(did you mean"):
        protocol(KRISBench, prompts=str(path))


# The protocol's id


@pytest.fixture
def small(monkeypatch):
    """The benchmark has one sample a category, our prompts are the published ones, and our judge the authors'."""
    counts = {dimension: dict.fromkeys(group, 1) for dimension, group in krisbench._DIMENSIONS.items()}
    monkeypatch.setattr(krisbench, "_DIMENSIONS", counts)
    monkeypatch.setattr(krisbench, "_CATEGORIES", dict.fromkeys(CATEGORIES, 1))
    monkeypatch.setattr(krisbench, "_KNOWN_PROMPTS", (Official(PROMPTS, ()).sha256,))
    monkeypatch.setattr(krisbench, "_JUDGES", ("replying:Replying",))


@pytest.mark.usefixtures("small")
def test_everything_official_is_official(tmp_path):
    whole(tmp_path / "data", "go!")
    prompts = python_prompts(tmp_path / "prompts.py", PROMPTS)
    ran = Ran(config(tmp_path, "krisbench", tmp_path / "data", prompts=str(prompts)))
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "krisbench/v1+official"
    assert [one.why_partial for one in summary.headlines] == [()] * 11
    assert {one.mean for one in summary.headlines} == {75}  # every score is 4


@pytest.mark.usefixtures("small")
def test_one_that_cannot_be_read_is_partial(tmp_path):
    whole(tmp_path / "data", "go!")
    write(tmp_path / "data", "physics", {"1": item("physics", ins_en="garble")})
    prompts = python_prompts(tmp_path / "prompts.py", PROMPTS)
    ran = Ran(config(tmp_path, "krisbench", tmp_path / "data", prompts=str(prompts)))
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "krisbench/v1+partial"
    overall = summary.headlines[0]
    # 10 categories of 3 scores and 10 of 4, of which one is missing: 66 of 70 scores are 75
    assert overall.mean == pytest.approx(75)
    assert overall.bounds == pytest.approx((66 * 75 / 70, (66 * 75 + 400) / 70))
    assert summary.unscored == {"unparsable": 1}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("change", "name"),
    [("less", "samples-19-of-20"), ("more", "samples-21-of-20"), ("unknown", "samples-20-of-20")],
)
def test_other_samples_than_the_benchmarks_are_in_the_id(tmp_path, change, name):
    whole(tmp_path / "data")
    if change == "less":
        (tmp_path / "data" / "physics" / "annotation.json").unlink()
        (tmp_path / "data" / "physics" / "1.jpg").unlink()
        (tmp_path / "data" / "physics").rmdir()
    elif change == "more":
        write(tmp_path / "data", "physics", {"1": item("physics"), "2": item("physics", 2)})
    else:
        write(tmp_path / "data", "colour_change", {"1": item("color_change")})
    prompts = python_prompts(tmp_path / "prompts.py", PROMPTS)
    job = prepare(check_config(config(tmp_path, "krisbench", tmp_path / "data", prompts=str(prompts))))
    assert job.protocol == f"krisbench/v1+{name}"


@pytest.mark.parametrize(
    ("prompts", "limit", "params", "name"),
    [
        (False, 0, {}, "own-prompts+judge-replying-Replying"),
        (True, 0, {}, "prompts-HASH+judge-replying-Replying"),
        (True, 0, {"explain_anomalies": True}, "prompts-HASH+anomalies-explained+judge-replying-Replying"),
        (False, 5, {}, "own-prompts+limit-5+judge-replying-Replying"),
    ],
)
def test_every_deviation_has_a_name(tmp_path, prompts, limit, params, name):
    if prompts:
        params = {**params, "prompts": str(python_prompts(tmp_path / "prompts.py", PROMPTS))}
    tree = {**config(tmp_path, "krisbench", whole(tmp_path / "data"), **params), "limit": limit or None}
    found = protocol_in_use(check_config(tree), judging=True).id
    assert found == f"krisbench/v1+{name.replace('HASH', Official(PROMPTS, ()).sha256[:8])}"


def test_the_judge_of_the_scripts_is_official():
    assert protocol(KRISBench).official_judges == ("gpt-4o",)


# Out and in again


def test_edits_in_the_official_layout_are_the_same_samples(tmp_path):
    whole(tmp_path / "data")
    tree = config(tmp_path, "krisbench", tmp_path / "data")
    ran = Ran(tree)
    exported = tmp_path / "exported"
    write_layout(ran.run, ran.rows, KRISBench, exported)
    names = sorted(str(path.relative_to(exported)) for path in exported.glob("*/*"))
    assert names == sorted(f"{category}/1.jpg" for category in CATEGORIES)
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(exported)}}
    again = Ran({**tree, "editor": editor, "output": str(tmp_path / "again")})
    assert [row.sample for row in again.rows] == [row.sample for row in ran.rows]
    assert [row.verdict.scores for row in again.rows] == [row.verdict.scores for row in ran.rows]
