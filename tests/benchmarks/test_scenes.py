"""Scenes are the same whenever they are drawn, and a target differs from its source only where it was asked to."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from cpu_time import within
from PIL import Image, ImageChops

from edit_eval.benchmarks._backdrops import BACKDROPS
from edit_eval.benchmarks._drawing import Chooser
from edit_eval.benchmarks._scene_edits import CATEGORIES, Item, composed
from edit_eval.benchmarks._scene_styles import STYLES
from edit_eval.benchmarks._things import COLOURS, THINGS, things_at
from edit_eval.benchmarks.scenes import Scenes, ScenesParams, render
from edit_eval.core.errors import DataError

SIZE = 96
INDICES = range(96)


def load(folder: Path, **params: object) -> list:
    return list(Scenes.load(None, ScenesParams(**{"size": SIZE, **params}), folder))


def files(folder: Path) -> dict[str, str]:
    return {
        one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.rglob("*") if one.is_file()
    }


def changed_box(source: Image.Image, target: Image.Image) -> tuple[int, int, int, int]:
    box = ImageChops.difference(source, target).getbbox()
    assert box is not None
    return box


def reach(item: Item, scale: float) -> tuple[float, float, float, float]:
    """A box that surely holds a thing, its shadow and its glow, in pixels."""
    x, y = (
        (190, 500, 810)[item.slot] + item.shift_x,
        {"ground": 840, "table": 838, "sky": 215, "wall": 265}[item.place],
    )
    above, below = (330, 30) if item.place in ("ground", "table") else (150, 150)
    box = (x - 160, y + item.shift_y - above, x + 160, y + item.shift_y + below)
    left, top, right, bottom = (edge * scale for edge in box)
    return left - 1, top - 1, right + 1, bottom + 1


def test_drawn_again_the_bytes_are_the_same(tmp_path: Path) -> None:
    first, second = load(tmp_path / "a", n=24), load(tmp_path / "b", n=24)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert [one.instruction for one in first] == [one.instruction for one in second]


def test_a_scene_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few, many = load(tmp_path / "few", n=5), load(tmp_path / "many", n=20)
    assert files(tmp_path / "few").items() <= files(tmp_path / "many").items()
    assert [(one.id, one.instruction, one.tags) for one in few] == [
        (one.id, one.instruction, one.tags) for one in many[:5]
    ]


def test_seed_and_size_make_other_scenes(tmp_path: Path) -> None:
    folders = {
        Path(load(tmp_path, n=1, **change)[0].images[0]).parent for change in ({}, {"seed": 1}, {"size": 64})
    }
    assert len(folders) == 3
    assert render(0, 3, SIZE)[0].tobytes() != render(1, 3, SIZE)[0].tobytes()


def test_categories_take_turns(tmp_path: Path) -> None:
    samples = load(tmp_path, n=20, size=32)
    counts = Counter(one.tags["category"] for one in samples)
    assert set(counts) == set(CATEGORIES) == {
        "recolour", "remove", "add", "move", "replace", "background", "text", "style",
    }  # fmt: skip
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_sample_has_all_it_needs(tmp_path: Path) -> None:
    sample = load(tmp_path, n=1)[0]
    assert (sample.id, sample.cluster) == ("scene-0000", "scene-0000")
    for path in (sample.images[0], sample.target):
        assert Path(path).is_absolute()
        with Image.open(path) as opened:
            assert (opened.size, opened.mode, opened.format) == ((SIZE, SIZE), "RGB", "PNG")


@pytest.mark.parametrize("index", INDICES)
def test_only_what_was_asked_for_changes(index: int) -> None:
    edit = composed(0, index)
    source, target, *_ = render(0, index, SIZE)
    box = changed_box(source, target)
    if edit.category in ("background", "style"):
        assert (box[2] - box[0], box[3] - box[1]) > (SIZE * 0.9, SIZE * 0.5)
        return
    before, after = set(edit.source.items), set(edit.target.items)
    boxes = [reach(item, SIZE / 1000) for item in before ^ after]
    outside = ImageChops.difference(source, target).convert("L")
    for left, top, right, bottom in boxes:
        outside.paste(0, (int(left), int(top), int(right) + 1, int(bottom) + 1))
    assert outside.getbbox() is None, edit.english


@pytest.mark.parametrize("index", INDICES)
def test_an_instruction_can_mean_one_thing_only(index: int) -> None:
    edit = composed(0, index)
    for scene in (edit.source, edit.target):
        assert len({one.kind for one in scene.items}) == len(scene.items)
        assert len({(one.place, one.slot) for one in scene.items}) == len(scene.items)
        assert all(one.colour in THINGS[one.kind].colours for one in scene.items)
    assert edit.english[0].isupper()
    assert edit.english.endswith(".")
    assert edit.chinese.endswith("。")
    assert not any("a" <= letter <= "z" for letter in edit.chinese)
    named = set(edit.source.items) ^ set(edit.target.items)
    assert all(one.kind in edit.english and THINGS[one.kind].chinese in edit.chinese for one in named)


def test_source_and_instruction_decide_the_target() -> None:
    edits = [composed(0, index) for index in range(200)]
    for edit in edits:
        new = set(edit.target.items) - set(edit.source.items)
        if edit.category == "add":
            [added] = new
            assert (added.shift_x, added.shift_y, added.scale) == (0, 0, 1)
        elif edit.category == "replace":
            [taken] = set(edit.source.items) - set(edit.target.items)
            [put] = new
            places = [(one.slot, one.shift_x, one.shift_y, one.scale) for one in (taken, put)]
            assert places[0] == places[1]


def test_a_backdrop_that_is_asked_for_always_looks_the_same() -> None:
    corners: dict[str, set[bytes]] = {}
    for index in range(4, 200, len(CATEGORIES)):
        edit = composed(0, index)
        corner = render(0, index, 32)[1].crop((0, 0, 32, 1))  # nothing reaches up there
        corners.setdefault(edit.target.backdrop, set()).add(corner.tobytes())
    assert len(corners) > 8
    assert {len(each) for each in corners.values()} == {1}


def test_every_thing_in_every_colour_can_be_drawn_and_told_from_another() -> None:
    from edit_eval.benchmarks._drawing import blank, finished, pen_on

    for thing in THINGS.values():
        pictures = set()
        for colour in thing.colours:
            picture = blank(64)
            thing.draw(
                pen_on(picture).at(500, 700, 1.3), COLOURS[colour].rgb, "TEA" if thing.bears_text else ""
            )
            pictures.add(finished(picture, 64).tobytes())
        assert len(pictures) == len(thing.colours), thing.english


def test_every_backdrop_leaves_every_thing_a_choice_of_colours() -> None:
    for family, places in (("outdoors", ("ground", "sky")), ("indoors", ("table", "wall"))):
        for backdrop in BACKDROPS[family].values():
            for place in places:
                for kind in things_at(place):
                    assert len(set(THINGS[kind].colours) - set(backdrop.avoid)) >= 2, (backdrop.english, kind)


def test_all_backdrops_and_styles_come_up() -> None:
    edits = [composed(0, index) for index in range(400)]
    assert Counter(one.source.backdrop for one in edits[:12]) == dict.fromkeys(
        [name for backdrops in BACKDROPS.values() for name in backdrops], 1
    )
    assert {one.target.style for one in edits} == {"", *STYLES}
    assert {item.kind for one in edits for item in one.source.items} == set(THINGS)


def test_languages(tmp_path: Path) -> None:
    english, chinese = load(tmp_path, n=2, language="en"), load(tmp_path, n=2, language="zh")
    assert [one.tags["language"] for one in english + chinese] == ["en", "en", "zh", "zh"]
    assert chinese[0].instruction == render(0, 0, SIZE)[3]
    assert english[0].images == chinese[0].images
    both = load(tmp_path, n=16, language="both", size=32)
    assert len({(one.tags["category"], one.tags["language"]) for one in both}) == 16
    assert all((one.tags["language"] == "en") == one.instruction.isascii() for one in both)


def test_pictures_that_are_there_are_not_drawn_again(tmp_path: Path) -> None:
    samples = load(tmp_path, n=3)
    Path(samples[1].target).unlink()
    before = {one: one.stat().st_mtime_ns for one in tmp_path.rglob("*.png")}
    load(tmp_path, n=3)
    after = {one: one.stat().st_mtime_ns for one in tmp_path.rglob("*.png")}
    assert before.items() <= after.items()
    assert set(after) - set(before) == {Path(samples[1].target)}
    assert not list(tmp_path.rglob("*.tmp"))


def test_nine_hundred_scenes_are_resumed_at_once(tmp_path: Path) -> None:
    folder = Path(load(tmp_path, n=1, size=512)[0].images[0]).parent
    for index in range(1, 900):
        for which in ("source", "target"):
            (folder / f"scene-{index:04d}-{which}.png").touch()
    with within(1.0):
        assert len(load(tmp_path, n=900, size=512)) == 900


@pytest.mark.parametrize("size", [32, 33, 257, 1000])
def test_any_size(size: int) -> None:
    source, target, *_ = render(7, 0, size)
    assert source.size == target.size == (size, size)


@pytest.mark.parametrize(("params", "says"), [
    ({"n": 0}, "n is 0; give 1 or more"),
    ({"size": 31}, "size is 31; give 32 to 4096 pixels"),
    ({"size": 4097}, "size is 4097"),
    ({"language": "bot"}, r"language is 'bot' \(did you mean 'both'\?\)"),
])  # fmt: skip
def test_wrong_parameters(tmp_path: Path, params: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(tmp_path, **params)


def test_choices_depend_on_their_key_alone() -> None:
    one, same, other = Chooser("a", 1), Chooser("a", 1), Chooser("a", 2)
    assert one.share("x") == same.share("x") != other.share("x")
    assert sorted(one.shuffled("s", range(20))) == list(range(20))
    counts = Counter(Chooser("even", k).pick("p", "abcd") for k in range(4000))
    assert all(880 < count < 1120 for count in counts.values())
