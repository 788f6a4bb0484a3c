"""ImgEdit-Bench, Basic and UGE: official layouts, numbers worked out by hand, and what its own scripts get wrong."""

from __future__ import annotations

import json

import pytest
from harness import Ran
from public import config, judged, load, protocol, python_prompts, save, table

from edit_eval.benchmarks import imgedit
from edit_eval.benchmarks._official import Official
from edit_eval.benchmarks.imgedit import ImgEdit, ImgEditUGE
from edit_eval.core.errors import DataError
from edit_eval.core.types import Shown
from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.layout import write_layout
from edit_eval.driver.protocol import protocol_in_use
from edit_eval.driver.summary import summarize
from edit_eval.judges.contract import combine, parse_reply
from edit_eval.judges.prompts import render_prompts

TYPES = ["action", "add", "adjust", "background", "compose", "extract", "remove", "replace", "style"]
PROMPTS = {
    kind: f"Rate the {kind}.\nFidelity {kind}: A number from 1 to 5.\nSmooth {kind}: A number from 1 to 5.\n"
    f"Detail & {kind}: A number from 1 to 5.\nediting instruction is : <edit_prompt>.\n"
    for kind in TYPES
}
UGE = {
    "prompt": "\nJudge it.\nEditing Instruction: <edit_prompt>.\nBrief reasoning: in no more than 20 words.\n"
}


def items(kinds=TYPES, **changes):
    return {
        str(1000 + number): {
            "id": f"animal/{number}.jpg",
            "prompt": "go" + "!" * (number % 3),
            "edit_type": kind,
            **changes,
        }
        for number, kind in enumerate(kinds)
    }


def images(folder, count=9):
    for number in range(count):
        save(folder / "animal" / f"{number}.jpg", number)
        save(folder / f"{number}.jpg", number)


@pytest.fixture
def data(tmp_path):
    images(tmp_path / "data" / "original_images")
    return table(tmp_path / "data" / "basic_edit.json", items())


# The data


@pytest.mark.parametrize(
    ("given", "at", "pictures"),
    [
        ("basic_edit.json", "basic_edit.json", "original_images"),  # as the official readme has it
        ("", "basic_edit.json", "images"),
        ("", "Benchmark/Basic/basic_edit.json", "Benchmark/singleturn"),  # Benchmark.tar in a clone of the repository
        ("", "Basic/basic_edit.json", "singleturn"),
        ("Benchmark/Basic/basic_edit.json", "Benchmark/Basic/basic_edit.json", "Benchmark/Basic/Benchmark/singleturn"),
        ("basic_edit.json", "basic_edit.json", "."),
    ],
)  # fmt: skip
def test_every_place_of_the_images(tmp_path, given, at, pictures):
    images(tmp_path / pictures)
    table(tmp_path / at, items())
    samples = load(ImgEdit, tmp_path / given, tmp_path)
    assert [one.id for one in samples] == [str(1000 + number) for number in range(9)]
    assert samples[3].images == (str(tmp_path / pictures / "animal" / "3.jpg"),)
    assert (samples[3].tags, samples[3].rubric) == ({"category": "background"}, "background")


def test_images_elsewhere_are_named_by_a_parameter(tmp_path):
    images(tmp_path / "far" / "away")
    path = table(tmp_path / "lists" / "basic_edit.json", items())
    with pytest.raises(DataError, match=r"animal/0\.jpg.*set benchmark\.params\.images.*Benchmark\.tar"):
        load(ImgEdit, path, tmp_path)
    first = load(ImgEdit, path, tmp_path, images=str(tmp_path / "far" / "away"))[0]
    assert first.images == (str(tmp_path / "far" / "away" / "animal" / "0.jpg"),)


@pytest.mark.parametrize("at", ["UGE_edit.json", "Benchmark/UGE/UGE_edit.json"])
def test_the_hard_list_has_no_types(tmp_path, at):
    images(tmp_path / ("Benchmark/hard" if "/" in at else "original_images"))
    table(tmp_path / at, {"7": {"id": "0.jpg", "prompt": "Remove the second lemon."}})
    [sample] = load(ImgEditUGE, tmp_path, tmp_path)
    assert (sample.id, sample.instruction) == ("7", "Remove the second lemon.")
    assert (sample.tags, sample.rubric) == ({}, "")


TURNS = {"1": {"id": "0.jpg", "turn1": "All in green", "turn2": "Now a hat", "turn3": "Undo it"}}


@pytest.mark.parametrize(
    ("cls", "name", "value", "says"),
    [
        (ImgEdit, "basic_edit.json", {"1": {"id": "a.jpg", "edit_type": "add"}}, r"item '1': 'prompt' is missing"),
        (ImgEdit, "basic_edit.json", {"1": {"id": "a.jpg", "promt": "go", "edit_type": "add"}}, r"did you mean 'promt'"),
        (ImgEdit, "basic_edit.json", {"1": {"prompt": "go", "edit_type": "add"}}, r"'id' is missing"),
        (ImgEdit, "basic_edit.json", {"1": {"id": 7, "prompt": "go", "edit_type": "add"}}, r"'id' is missing or no text; found"),
        (ImgEdit, "basic_edit.json", {"1": {"id": "a.jpg", "prompt": " ", "edit_type": "add"}}, r"'prompt' is missing or no text"),
        (ImgEdit, "basic_edit.json", {"1": {"id": "0.jpg", "prompt": "go"}}, r"'edit_type' is missing.*benchmark\.type to imgedit_uge"),
        (ImgEdit, "basic_edit.json", TURNS, r"multi-turn list, which people judge"),
        (ImgEdit, "basic_edit.json", {}, r"expected an object of items by key"),
        (ImgEdit, "basic_edit.json", [], r"expected an object of items by key"),
        (ImgEditUGE, "UGE_edit.json", items(), r"of the Basic list: set benchmark\.type to imgedit"),
        (ImgEditUGE, "UGE_edit.json", TURNS, r"multi-turn list, which people judge"),
        (ImgEditUGE, "UGE_edit.json", {"1": {"id": "a.jpg"}}, r"item '1': 'prompt' is missing"),
    ],
)  # fmt: skip
def test_a_list_that_is_no_such_list_says_what_it_lacks_and_where_to_get_it(tmp_path, cls, name, value, says):
    with pytest.raises(DataError, match=says) as caught:
        load(cls, table(tmp_path / name, value), tmp_path)
    assert "github.com/PKU-YuanGroup/ImgEdit" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", [ImgEdit, ImgEditUGE])
def test_a_folder_without_the_list_says_where_to_get_it(tmp_path, cls):
    with pytest.raises(
        DataError, match=r"no item list .*edit\.json; get Benchmark\.tar from https://huggingface"
    ):
        load(cls, tmp_path, tmp_path)


def test_a_key_that_stands_twice_is_no_lost_sample(tmp_path):
    path = tmp_path / "basic_edit.json"
    one = json.dumps(items()["1000"])
    path.write_text(f'{{"1": {one}, "1": {one}}}')
    with pytest.raises(DataError, match="'1' stands twice"):
        load(ImgEdit, path, tmp_path)


def test_a_missing_image_is_named_with_the_place_to_get_it(tmp_path, data):
    (tmp_path / "data" / "original_images" / "animal" / "4.jpg").unlink()
    says = (
        r"animal/4\.jpg of sample '1004' is missing; the data is at huggingface\.co/datasets/sysuyy/ImgEdit"
    )
    with pytest.raises(DataError, match=says):
        prepare(check_config(config(tmp_path, "imgedit", data)))


# The numbers


def three(*scores):
    return dict(zip(("compliance", "naturalness", "integrity"), scores, strict=True))


def golden(tmp_path, scores, kinds=TYPES, cls=ImgEdit, name="basic_edit.json"):
    images(tmp_path / "images", len(kinds))
    samples = load(cls, table(tmp_path / name, items(kinds)), tmp_path)
    return judged(protocol(cls), samples, {str(1000 + n): one for n, one in enumerate(scores) if one})


KINDS = [*TYPES, "compose"]
SCORES = [three(5, 5, 5) if kind != "compose" else three(5, 4, 1) for kind in TYPES] + [three(1, 1, 1)]


def test_the_headline_is_the_mean_of_nine_type_means(tmp_path):
    found = golden(tmp_path, SCORES, KINDS)
    # compose: round((5 + 4 + 1) / 3, 2) = 3.33 and 1, so 2.165; the other eight types 5
    overall = found["Overall"].mean
    assert found["compose"].mean == pytest.approx(2.165)
    assert overall == pytest.approx((8 * 5 + 2.165) / 9)
    micro = (8 * 5 + 3.33 + 1) / 10  # what ports of the scripts call overall
    of_two_rounded = (8 * 5 + 10 / 3 / 2 + 1 / 2) / 9  # samples not rounded to two decimals
    assert overall != pytest.approx(micro, abs=0.1)
    assert overall != pytest.approx(of_two_rounded, abs=1e-5)


def test_no_score_is_capped_by_the_first_one(tmp_path):
    # The prompt wishes that the second and third do not exceed the first; no official script sees to it.
    found = golden(tmp_path, [three(1, 5, 5)], ["style"])
    assert found["style"].mean == pytest.approx(3.67)  # capped: 1


def test_what_has_no_score_is_no_zero_and_not_forgotten(tmp_path):
    found = golden(tmp_path, [*SCORES[:-1], None], KINDS)["Overall"]
    assert found.mean == pytest.approx((8 * 5 + 3.33) / 9)
    as_zero = (8 * 5 + 3.33 / 2) / 9  # below a scale that begins at 1
    assert found.mean != pytest.approx(as_zero)
    assert found.bounds == pytest.approx(((40 + (3.33 + 1) / 2) / 9, (40 + (3.33 + 5) / 2) / 9))
    assert "1 without scores" in found.why_partial


def test_a_missing_type_leaves_no_mean_of_nine(tmp_path):
    # As in tables that lack 'adjust': the mean of eight is no Overall.
    kinds = [kind for kind in TYPES if kind != "adjust"]
    found = golden(tmp_path, [three(5, 5, 5)] * 8, kinds)["Overall"]
    assert found.mean is None
    assert found.bounds == pytest.approx(((8 * 5 + 1) / 9, 5))
    assert found.why_partial[0] == "no sample of category: adjust"


def test_an_unknown_type_is_left_out_and_said(tmp_path):
    found = golden(tmp_path, [three(5, 5, 5)] * 9 + [three(1, 1, 1)], [*TYPES, "hybrid"])["Overall"]
    assert found.mean == 5
    assert "category unknown to the benchmark, left out: hybrid" in found.why_partial


def test_other_numbers_of_samples_are_said(tmp_path):
    found = golden(tmp_path, SCORES, KINDS)["Overall"]
    assert any("action 1 of 36" in why and "compose 2 of 23" in why for why in found.why_partial)


def test_the_benchmark_has_737_samples_and_47():
    [overall, *kinds] = protocol(ImgEdit).headlines
    assert sum(overall.groups.values()) == 737
    assert [one.name for one in kinds] == TYPES
    [uge] = protocol(ImgEditUGE).headlines
    assert uge.groups == {"": 47}


def test_the_hard_headline_is_the_mean(tmp_path):
    images(tmp_path / "images")
    path = table(tmp_path / "UGE_edit.json", {str(n): {"id": f"{n}.jpg", "prompt": "go"} for n in range(3)})
    samples = load(ImgEditUGE, path, tmp_path)
    found = judged(protocol(ImgEditUGE), samples, {"0": {"score": 5}, "1": {"score": 2}})["UGE"]
    assert found.mean == 3.5  # with a zero for the third: 7 / 3
    assert found.bounds == pytest.approx((8 / 3, 12 / 3))


# The questions and what is read of their answers


def official(tmp_path, cls=ImgEdit):
    if cls is ImgEdit:
        path = table(tmp_path / "Benchmark" / "Basic" / "prompts.json", PROMPTS).parents[2]
    else:
        path = python_prompts(tmp_path / "UGE_bench.py", UGE)
    return protocol(cls, prompts=str(path))


def test_one_question_of_text_then_source_then_edit(tmp_path):
    samples = load(ImgEdit, data_of(tmp_path), tmp_path)
    rubric = official(tmp_path).rubrics["add"]
    [prompt] = render_prompts(rubric, samples[1])
    assert prompt.parts() == [
        ("text", PROMPTS["add"].replace("<edit_prompt>", "go!")),
        ("image", "source"),
        ("image", "edited"),
    ]
    assert rubric.shown == Shown()  # the files as they are: no resizing, no JPEG
    assert rubric.calls[0].keys == ("Fidelity add", "Smooth add", "Detail & add")


def data_of(tmp_path):
    images(tmp_path / "data" / "images")
    return table(tmp_path / "data" / "basic_edit.json", items())


def read(rubric, reply, **options):
    [call] = rubric.calls
    return combine(rubric, [parse_reply(reply, rubric, call, **options)], [reply])


@pytest.mark.parametrize(
    "reply",
    [
        "Brief reasoning: fine.\nFidelity add: 5\nSmooth add: 4\nDetail & add: 1",
        "Brief reasoning: fine.\n**Fidelity add**: 5\n**Smooth add:** 4\n- Detail & add: **1**",
        "Brief reasoning: fine.\nFidelity add: 5/5\nSmooth add: 4 / 5\nDetail & add: 1/5.",
        "Detail & add: 1\nFidelity add: 5\nSmooth add: 4",
    ],
)
def test_three_lines_in_any_dress_are_three_scores(tmp_path, reply):
    verdict = read(official(tmp_path).rubrics["add"], reply)
    assert verdict.scores == three(5, 4, 1)
    assert verdict.overall == 3.33


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        # Official: a line that is not `name: digits` is dropped, and the mean is over what remains (5, 5 and 4.5).
        ("Fidelity add: 5\nSmooth add: four\nDetail & add: none", "unparsable"),
        ("Brief reasoning: fine.\nFidelity add: 5", "unparsable"),
        ("Fidelity add: 5\nSmooth add: 4\nDetail & add:", "unparsable"),
        # Official: any line that ends in a number is a score, so this would be the mean of four.
        ("Fidelity add: 5\nFidelity add: 2\nSmooth add: 4\nDetail & add: 1", "unparsable"),
        ("Fidelity add: 9\nSmooth add: 4\nDetail & add: 1", "out_of_range"),
        ("Fidelity add: 4.5\nSmooth add: 4\nDetail & add: 1", "out_of_range"),
        ("I'm sorry, I can't help with that.", "refused"),
        ("", "unparsable"),
    ],
)
def test_a_reply_that_lacks_a_score_is_unscored(tmp_path, reply, kind):
    verdict = read(official(tmp_path).rubrics["add"], reply)
    assert (verdict.overall, verdict.unscored) == (None, kind)


def test_a_cut_off_reply_is_truncated(tmp_path):
    rubric = official(tmp_path).rubrics["add"]
    assert read(rubric, "Brief reasoning: fi", truncated=True).unscored == "truncated"


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Brief reasoning: fine.\nScore: 3", 3),
        ("Brief reasoning: fine.\n**Score:** 3/5", 3),
        # In the readme's own examples the score ends the line of reasons, which the official parser does not see.
        ("Brief reasoning: Partly followed. Score: 2.", None),
        ("Brief reasoning: Partly followed. Score: 3 (Acceptable)", None),
    ],
)
def test_the_hard_score_is_a_line_of_its_own(tmp_path, reply, score):
    rubric = official(tmp_path, ImgEditUGE).rubrics[""]
    verdict = read(rubric, reply)
    assert verdict.overall == score
    assert (verdict.unscored is None) == (score is not None)


def test_a_prompt_that_asks_for_two_scores_is_refused(tmp_path):
    broken = {**PROMPTS, "add": "Fidelity: A number from 1 to 5.\nSmooth: A number from 1 to 5."}
    path = table(tmp_path / "prompts.json", broken)
    with pytest.raises(DataError, match="the prompt 'add' asks for 2 scores, and not for three"):
        protocol(ImgEdit, prompts=str(path))


def test_a_type_without_a_prompt_is_named(tmp_path):
    path = table(tmp_path / "prompts.json", {kind: PROMPTS[kind] for kind in TYPES if kind != "compose"})
    with pytest.raises(DataError, match="holds no prompt 'compose'"):
        protocol(ImgEdit, prompts=str(path))


# The protocol's id


@pytest.fixture
def small(monkeypatch):
    """The benchmark has one sample of each type, our prompts are the published ones, and our judge the authors'."""
    monkeypatch.setattr(imgedit, "_TYPES", dict.fromkeys(TYPES, 1))
    monkeypatch.setattr(imgedit, "_KNOWN_BASIC", (Official(PROMPTS, ()).sha256,))
    monkeypatch.setattr(imgedit, "_KNOWN_UGE", (Official(UGE, ()).sha256,))
    monkeypatch.setattr(imgedit, "_JUDGES", ("replying:Replying",))


def test_everything_official_is_official(tmp_path, data, small):
    prompts = table(tmp_path / "prompts.json", PROMPTS)
    ran = Ran(config(tmp_path, "imgedit", data, prompts=str(prompts)))
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "imgedit/v1+official"
    assert summary.judge == "replying:Replying"  # which of the authors' two judges: beside the id
    # the number k of nine samples has 5 - k % 3: 5, 4, 3, 5, 4, 3, 5, 4, 3
    assert summary.headlines[0].mean == pytest.approx(4)
    assert summary.headlines[0].why_partial == ()


def test_one_that_cannot_be_read_is_partial(tmp_path, small):
    images(tmp_path / "images")
    listed = items()
    listed["1008"]["prompt"] = "garble"
    data = table(tmp_path / "basic_edit.json", listed)
    prompts = table(tmp_path / "prompts.json", PROMPTS)
    ran = Ran(config(tmp_path, "imgedit", data, prompts=str(prompts)))
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "imgedit/v1+partial"
    assert summary.headlines[0].mean is None  # of `style` there is no score at all
    assert summary.headlines[0].bounds == pytest.approx(((33 + 1) / 9, (33 + 5) / 9))
    assert summary.unscored == {"unparsable": 1}


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (TYPES[:8], "samples-8-of-9"),
        ([*TYPES, "add"], "samples-10-of-9"),
        ([*TYPES[:8], "add"], "samples-9-of-9"),  # one too few of style, one too many of add
        ([*TYPES, "hybrid"], "samples-9-of-9"),
    ],
)
def test_other_samples_than_the_benchmarks_are_in_the_id(tmp_path, small, kinds, name):
    images(tmp_path / "images", len(kinds))
    data = table(tmp_path / "basic_edit.json", items(kinds))
    prompts = table(tmp_path / "prompts.json", PROMPTS)
    job = prepare(check_config(config(tmp_path, "imgedit", data, prompts=str(prompts))))
    assert job.protocol == f"imgedit/v1+{name}"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "own-prompts+judge-replying-Replying"),
        ({"prompts": PROMPTS}, f"prompts-{Official(PROMPTS, ()).sha256[:8]}+judge-replying-Replying"),
        ({"limit": 4}, "own-prompts+limit-4+judge-replying-Replying"),
        ({"rubric": "general-v1"}, "general-v1"),
    ],
)
def test_every_deviation_has_a_name(tmp_path, data, changes, name):
    tree = config(tmp_path, "imgedit", data)
    if "prompts" in changes:
        tree["benchmark"]["params"]["prompts"] = str(table(tmp_path / "p" / "prompts.json", PROMPTS))
    if "rubric" in changes:
        tree["judge"]["rubric"] = changes["rubric"]
    if "limit" in changes:
        tree["limit"] = changes["limit"]
    assert protocol_in_use(check_config(tree), judging=True).id == f"imgedit/v1+{name}"


@pytest.mark.parametrize("cls", [ImgEdit, ImgEditUGE])
def test_the_judges_of_script_and_leaderboard_are_official(cls):
    assert protocol(cls).official_judges == ("gpt-4.1", "gpt-4o")


def test_the_published_prompts_are_no_deviation(tmp_path, small):
    assert official(tmp_path).deviations == ()
    assert official(tmp_path, ImgEditUGE).deviations == ()


# Out and in again


def test_edits_in_the_official_layout_are_the_same_edits(tmp_path, data):
    ran = Ran(config(tmp_path, "imgedit", data))
    exported = tmp_path / "exported"
    write_layout(ran.run, ran.rows, ImgEdit, exported)
    assert sorted(path.name for path in exported.glob("*.png")) == [f"{1000 + n}.png" for n in range(9)]
    tree = config(tmp_path, "imgedit", data)
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(exported)}}
    again = Ran({**tree, "editor": editor, "output": str(tmp_path / "again")})
    assert [row.sample for row in again.rows] == [row.sample for row in ran.rows]
    assert [row.edit["sha256"] for row in again.rows] == [row.edit["sha256"] for row in ran.rows]
    assert [row.verdict_key for row in again.rows] == [row.verdict_key for row in ran.rows]


def test_an_edit_that_is_not_in_the_folder_is_missing_and_not_skipped(tmp_path, small, data):
    prompts = table(tmp_path / "prompts.json", PROMPTS)
    for number in range(8):  # of nine; and one that belongs to nothing
        save(tmp_path / "edits" / f"{1000 + number}.png", number)
    save(tmp_path / "edits" / "2000.png", 1)
    tree = config(tmp_path, "imgedit", data, prompts=str(prompts))
    tree["editor"] = {
        "type": "precomputed",
        "devices": ["cpu:0"],
        "params": {"folder": str(tmp_path / "edits")},
    }
    ran = Ran(tree)
    summary = summarize(ran.run, ran.rows)
    assert summary.protocol == "imgedit/v1+partial"
    assert summary.edit_failed == {"missing": 1}
    overall = summary.headlines[0]
    assert (overall.mean, overall.n, overall.wanted) == (None, 8, 9)
    assert overall.bounds == pytest.approx(((33 + 1) / 9, (33 + 5) / 9))
