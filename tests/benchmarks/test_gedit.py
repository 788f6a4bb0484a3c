"""GEdit-Bench: the official layout, its numbers worked out by hand, and what its own scripts get wrong."""

from __future__ import annotations

import json
import math

import pytest
from harness import Ran
from public import config, embedded, judged, load, parquet, protocol, python_prompts, save, table

from edit_eval.benchmarks.gedit import GEdit
from edit_eval.core.errors import DataError
from edit_eval.core.headlines import HeadlineEstimate
from edit_eval.driver.config import check_config
from edit_eval.driver.protocol import protocol_in_use
from edit_eval.driver.summary import summarize
from edit_eval.worker.images import open_rgb

GROUPS = [
    "background_change", "color_alter", "material_alter", "motion_change", "ps_human", "style_change", "subject-add",
    "subject-remove", "subject-replace", "text_change", "tone_transfer",
]  # fmt: skip
PROMPTS = {
    "_context_no_delimit": "Context.",
    "_prompts_0shot_two_image_edit_rule": "Two images.",
    "_prompts_0shot_tie_rule_SC": "Success and overediting of <instruction>.",
    "_prompts_0shot_rule_PQ": "Quality.",
}


def rows(groups=GROUPS, each=1, **changes):
    return [
        {
            "key": f"{number:032x}",
            "task_type": group,
            "instruction": f"change it ({language})" + "!" * (number % 3),
            "instruction_language": language,
            "input_image": embedded(number),
            "input_image_raw": embedded(number, (48, 32)),
            "Intersection_exist": number % 2 == 0,
            **changes,
        }
        for number, group in enumerate(groups * each)
        for language in ("en", "cn")
    ]


@pytest.fixture
def data(tmp_path):
    return parquet(tmp_path / "gedit" / "data" / "train-00000-of-00001.parquet", rows()).parent.parent


def test_the_raw_image_is_edited_and_the_small_one_judged(tmp_path, data):
    first = load(GEdit, data, tmp_path)[0]
    assert open_rgb(first.images[0]).size == (48, 32)
    assert open_rgb(first.judged[0]).size == (24, 16)
    assert first.tags["category"] == "background_change"
    assert (first.id, first.cluster) == ("0" * 32, "0" * 32)


@pytest.mark.parametrize(("language", "count"), [("en", 11), ("cn", 11), ("zh", 11), ("both", 22)])
def test_both_spellings_of_chinese(tmp_path, data, language, count):
    samples = load(GEdit, data, tmp_path, language=language)
    assert len({one.id for one in samples}) == count
    asked = {"zh": {"cn"}, "both": {"en", "cn"}}.get(language, {language})
    assert {one.tags["language"] for one in samples} == asked


def test_the_intersection_is_what_all_models_could_edit(tmp_path, data):
    assert len(load(GEdit, data, tmp_path, subset="intersection")) == 6


def test_a_table_with_image_paths_will_do(tmp_path):
    save(tmp_path / "small.png", 1)
    save(tmp_path / "raw.png", 2)
    row = {**rows()[0], "input_image": "small.png", "input_image_raw": "raw.png"}
    path = tmp_path / "gedit.jsonl"
    path.write_text(json.dumps(row))
    assert load(GEdit, path, tmp_path)[0].images == (str(tmp_path / "raw.png"),)


@pytest.mark.parametrize("name", ["key", "task_type", "instruction", "input_image", "Intersection_exist"])
def test_a_missing_column_is_named(tmp_path, name):
    broken = [{key: value for key, value in row.items() if key != name} for row in rows()]
    path = parquet(tmp_path / "train.parquet", broken)
    with pytest.raises(DataError, match=f"no column '{name}'.*found"):
        load(GEdit, path, tmp_path)


def test_a_folder_without_data_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"huggingface\.co/datasets/stepfun-ai/GEdit-Bench"):
        load(GEdit, tmp_path, tmp_path)


# The numbers. Two groups have two samples, so that the mean of groups is not the mean of samples.

SCORES = {
    # success, overediting, naturalness, artifacts -> SC = min, PQ = min, O = sqrt(SC * PQ)
    "a": {"success": 9, "overediting": 4, "naturalness": 9, "artifacts": 10},  # SC 4, PQ 9, O 6
    "b": {"success": 1, "overediting": 10, "naturalness": 4, "artifacts": 9},  # SC 1, PQ 4, O 2
    "c": {"success": 10, "overediting": 10, "naturalness": 10, "artifacts": 10},  # 10, 10, 10
}


def golden(tmp_path, groups, scores=SCORES, names="abc") -> dict[str, HeadlineEstimate]:
    made = rows(groups)
    for row, name in zip(made[::2], names, strict=True):
        row["key"] = name
    samples = load(GEdit, parquet(tmp_path / "g.parquet", made[::2]), tmp_path)
    return judged(protocol(GEdit), samples, scores)


def test_the_headline_is_the_mean_of_groups_of_roots(tmp_path):
    # color_alter: (6 + 2) / 2 = 4; text_change: 10. The other nine groups are missing, so only bounds are known:
    # nine groups at 0 give (4 + 10) / 11, at 10 give (4 + 10 + 90) / 11.
    found = golden(tmp_path, ["color_alter", "color_alter", "text_change"])["G_O en"]
    assert found.mean is None
    assert found.by_group["color_alter"] == pytest.approx(4)
    assert found.bounds == pytest.approx((14 / 11, 104 / 11))
    assert "no sample of category: background_change" in found.why_partial[0]


def test_all_eleven_groups(tmp_path):
    groups = [*GROUPS, "color_alter"]
    scores = {f"{number}": SCORES["c"] for number in range(12)}
    scores["1"], scores["11"] = SCORES["a"], SCORES["b"]  # both of color_alter
    found = golden(tmp_path, groups, scores, [str(number) for number in range(12)])
    # macro: ten groups at 10, color_alter at (6 + 2) / 2 = 4
    assert found["G_O en"].mean == pytest.approx((10 * 10 + 4) / 11)
    micro = (10 * 10 + 6 + 2) / 12
    of_means = math.sqrt(found["G_SC en"].mean * found["G_PQ en"].mean)
    assert found["G_O en"].mean != pytest.approx(micro)
    assert found["G_O en"].mean != pytest.approx(of_means)
    assert found["G_SC en"].mean == pytest.approx((10 * 10 + (4 + 1) / 2) / 11)
    assert found["G_PQ en"].mean == pytest.approx((10 * 10 + (9 + 4) / 2) / 11)


def test_what_cannot_be_read_is_no_zero_and_no_guess(tmp_path):
    groups = [*GROUPS, "color_alter"]
    scores = {f"{number}": SCORES["c"] for number in range(11)}  # the twelfth has none
    found = golden(tmp_path, groups, scores, [str(number) for number in range(12)])["G_O en"]
    assert found.mean == 10  # a zero would make it (100 + 5) / 11
    assert found.bounds == pytest.approx((105 / 11, 10))
    assert any("1 without scores" in why for why in found.why_partial)


def test_an_unknown_task_is_left_out_and_said(tmp_path):
    scores = {f"{number}": SCORES["c"] for number in range(12)}
    found = golden(tmp_path, [*GROUPS, "colour_alter"], scores, [str(number) for number in range(12)])[
        "G_O en"
    ]
    assert found.mean == 10
    assert any("colour_alter" in why for why in found.why_partial)


# The protocol


def in_use(tmp_path, data, judge="replying:Replying", model=None, **params):
    tree = config(tmp_path, "gedit", data, **params)
    return protocol_in_use(check_config(tree), judging=True)


def test_without_official_prompts_the_id_says_so(tmp_path, data):
    assert in_use(tmp_path, data).id == "gedit/v1+own-prompts+judge-replying-Replying"


def test_other_prompts_than_the_published_ones_are_named_by_their_hash(tmp_path, data):
    path = python_prompts(tmp_path / "vie_prompts.py", PROMPTS)
    found = in_use(tmp_path, data, prompts=str(path), subset="intersection").id
    assert found.startswith("gedit/v1+prompts-")
    assert "+subset-intersection" in found


def test_the_published_prompts_are_no_deviation(tmp_path, monkeypatch):
    from edit_eval.benchmarks import gedit
    from edit_eval.benchmarks._official import Official

    monkeypatch.setattr(gedit, "_KNOWN_PROMPTS", (Official(PROMPTS, ()).sha256,))
    path = python_prompts(tmp_path / "GEdit-Bench" / "viescore" / "vie_prompts.py", PROMPTS)
    found = protocol(GEdit, prompts=str(tmp_path))
    assert found.deviations == ()
    assert found.official_judges == ("gpt-4.1",)
    consistency, quality = found.rubrics[""].calls
    assert consistency.prompt.startswith("Context.\nTwo images.\nSuccess and overediting of <instruction>.")
    assert (consistency.images, quality.images) == (("source", "edited"), ("edited",))
    assert found.rubrics[""].shown.edited_as_source
    assert path.exists()


def test_a_prompt_file_that_lacks_one_is_named(tmp_path):
    path = python_prompts(tmp_path / "vie_prompts.py", {"_context_no_delimit": "x"})
    with pytest.raises(DataError, match="holds no prompt '_prompts_0shot_two_image_edit_rule'"):
        protocol(GEdit, prompts=str(path))


@pytest.mark.parametrize("official", [False, True])
def test_a_run_from_end_to_end(tmp_path, data, official):
    params = {"language": "both"}
    if official:
        params["prompts"] = str(python_prompts(tmp_path / "vie_prompts.py", PROMPTS))
    ran = Ran(config(tmp_path, "gedit", data, **params))
    assert len(ran.rows) == 22
    assert all(row.verdict.overall is not None for row in ran.rows)
    summary = summarize(ran.run, ran.rows)
    # every score of a sample is 10 - k, so its O is 10 - k with k = number % 3 over the groups 0..10
    expected = sum(10 - number % 3 for number in range(11)) / 11
    assert summary.headlines[0].headline.name == "G_O en"
    assert summary.headlines[0].mean == pytest.approx(expected)
    assert not summary.protocol.endswith("+official")
    assert summary.headline.mean == pytest.approx(expected)


def test_tables_of_other_things_are_refused(tmp_path):
    with pytest.raises(DataError):
        load(GEdit, table(tmp_path / "x.json", [{"a": 1}]), tmp_path)
