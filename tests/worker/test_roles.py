"""Roles: payload to outcome, and whose fault it is when there is none."""

from __future__ import annotations

import hashlib
import threading
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from edit_eval.core.identity import file_sha256
from edit_eval.core.types import Dimension, EditFailureKind, Rubric, Sample, Verdict
from edit_eval.worker.beforehand import Beforehand
from edit_eval.worker.host import _failure
from edit_eval.worker.images import UnreadableImageError, open_image, open_rgb
from edit_eval.worker.inputs import ChangedInputError, Inputs
from edit_eval.worker.protocol import FROM_HOST, _check
from edit_eval.worker.returned import UnusableEditError
from edit_eval.worker.roles import AlteredImageError, CannotWriteError, EditRole, JudgeRole

RUBRIC = Rubric(
    "r", (Dimension("a", 0, 10), Dimension("b", 1, 5, integer=True)), (), "min(a, b)", low=0, high=10
)


def inputs_of(sample: Sample) -> list[list[str]]:
    return [[path, file_sha256(path)] for path in sample.images]


def editing(tmp_path, edited, sources=("source.png",), thumbs: str = "out", **more) -> dict:
    source = tmp_path / "source.png"
    Image.new("RGB", (8, 6), "red").save(source)
    role = EditRole.around(SimpleNamespace(**{"edit": lambda request, step: edited, **more}))
    sample = Sample("s", "make it blue", tuple(str(tmp_path / name) for name in sources))
    payload = {
        "sample": sample.to_json(),
        "inputs": inputs_of(sample),
        "seed": 1,
        "repeat": 0,
        "image": str(tmp_path / "out" / "e.png"),
        "thumbnail": str(tmp_path / thumbs / "e.webp"),
        "source_thumbnail": str(tmp_path / thumbs / "s.webp"),
    }
    return role.run([payload], lambda step, steps: None)[0]


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "F", "I"])
def test_an_edit_of_another_mode_is_written_as_rgb(tmp_path, mode):
    outcome = editing(tmp_path, Image.new(mode, (8, 6)))
    with Image.open(tmp_path / "out" / "e.png") as image:
        assert (image.mode, image.size) == ("RGB", (outcome["width"], outcome["height"]))


@pytest.mark.parametrize("returned", [None, ["a.png"], Image.new("RGB", (0, 6)), np.zeros((4, 4))])
def test_what_is_no_picture_is_said_in_plain_words(tmp_path, returned):
    with pytest.raises(UnusableEditError, match=r"^the editor returned "):
        editing(tmp_path, returned)
    assert not (tmp_path / "out").exists()


def test_flags_are_part_of_the_outcome(tmp_path):
    assert editing(tmp_path, Image.new("RGB", (8, 6)))["flags"] == ["blank"]
    assert editing(tmp_path, Image.new("RGB", (8, 6), "red"))["flags"] == ["blank", "no_op"]
    assert editing(tmp_path, np.full((3, 4, 3), np.nan))["flags"] == ["blank", "nan", "resized"]
    colours = Image.linear_gradient("L").convert("RGB")
    assert editing(tmp_path, colours, edit_size=lambda request: None)["flags"] == []
    assert editing(tmp_path, colours, edit_size=lambda request: (256, 256))["flags"] == []
    assert editing(tmp_path, colours, edit_size=lambda request: (256, 255))["flags"] == ["resized"]


def test_the_first_frame_of_several_is_noted(tmp_path):
    assert editing(tmp_path, Image.new("RGB", (8, 6)))["first_frames"] == []
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "source.gif", save_all=True, append_images=frames[1:])
    again = editing(tmp_path, Image.new("RGB", (8, 6)), sources=("source.png", "source.gif"))
    assert again["first_frames"] == [1]


def test_a_source_that_cannot_be_read_is_said_by_name(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UnreadableImageError, match=r"/text\.png is a text file"):
        editing(tmp_path, Image.new("RGB", (8, 6)), sources=("source.png", "text.png"))


def test_kinds_of_failures():
    assert _failure(UnreadableImageError("/a.png is a text file")) == {
        "kind": "unreadable",
        "reason": "/a.png is a text file",
    }
    assert _failure(UnusableEditError("the editor returned None")) == {
        "kind": "error",
        "reason": "the editor returned None",
    }
    assert _failure(ValueError("no"))["reason"] == "ValueError: no"


def test_every_kind_that_a_host_may_tell_is_heard_by_the_driver():
    errors = [UnreadableImageError("a"), UnusableEditError("b"), ValueError("c"), MemoryError("d")]
    told = {_failure(error)["kind"] for error in errors}
    assert told == set(get_args(EditFailureKind)) - {"missing", "crash", "timeout"}
    undone = {_failure(error)["kind"] for error in (ChangedInputError("e"), AlteredImageError("f"))}
    assert undone == {"changed", "altered"}  # never in a ledger
    for kind in (*told, "missing", *undone):
        _check({"type": "failed", "id": "x", "kind": kind, "reason": "why"}, FROM_HOST)


def test_only_writing_is_the_disks_fault(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(CannotWriteError, match="cannot write"):
        editing(tmp_path, Image.new("RGB", (8, 6)))


def test_an_edit_counts_without_its_thumbnails(tmp_path):
    (tmp_path / "thumbs").write_text("in the way")
    outcome = editing(tmp_path, Image.new("RGB", (8, 6)), thumbs="thumbs")
    assert (tmp_path / "out" / "e.png").exists()
    assert outcome["no_thumbnail"] == f"{tmp_path / 'thumbs'}: File exists"
    (tmp_path / "thumbs").unlink()
    assert editing(tmp_path, Image.new("RGB", (8, 6)), thumbs="thumbs")["no_thumbnail"] is None


def judging(tmp_path, verdicts, altered=False, removed=False, meanwhile=lambda path: None) -> list[dict]:
    source = tmp_path / "source.png"
    Image.new("RGB", (8, 6), "red").save(source)
    role = JudgeRole.__new__(JudgeRole)
    role._rubrics = {"": RUBRIC}
    role._progress = threading.local()
    role._judge = SimpleNamespace(judge=lambda requests: meanwhile(source) or verdicts)
    role._inputs, role._requests = Inputs(), Beforehand(role._request)
    sample = Sample("s", "make it blue", (str(source),))
    sha = "0" * 64 if altered else hashlib.sha256(source.read_bytes()).hexdigest()
    payload = {
        "rubric": "",
        "sample": sample.to_json(),
        "inputs": inputs_of(sample),
        "edited": str(tmp_path / "gone.png" if removed else source),
        "edited_sha256": sha,
        "prompts": [],
        "seed": 1,
    }
    return role.run([payload], lambda step, steps: None)


@pytest.mark.parametrize(
    ("scores", "overall", "says"),
    [
        ({}, 5000.0, "dimensions"),
        ({"a": 1.0}, 1.0, "dimensions"),
        ({"a": 1.0, "b": 2, "c": 1.0}, 1.0, "dimensions"),
        ({"a": 11.0, "b": 2}, 2.0, "the score 11 of a"),
        ({"a": 1.0, "b": 2.5}, 1.0, "whole number from 1 to 5"),
        ({"a": 1.0, "b": 2}, -0.1, "overall score"),
    ],
)
def test_a_verdict_is_held_against_the_rubric(tmp_path, scores, overall, says):
    with pytest.raises(ValueError, match=says):
        judging(tmp_path, [Verdict(scores, overall)])


def test_numbers_of_other_kinds_become_floats(tmp_path):
    import numpy as np

    outcome = judging(tmp_path, [Verdict({"b": np.int64(2), "a": np.float32(4)}, np.float32(2))])[0]
    assert outcome["scores"] == {"a": 4.0, "b": 2.0}
    assert [type(one) for one in (*outcome["scores"].values(), outcome["overall"])] == [float] * 3


def test_an_unscored_verdict_has_a_kind_that_there_is(tmp_path):
    assert judging(tmp_path, [Verdict(unscored="refused", reply="no")])[0]["unscored"] == "refused"
    with pytest.raises(ValueError, match="no kind"):
        judging(tmp_path, [Verdict(unscored="tired")])


@pytest.mark.parametrize("texts", [{"reply": {1, 2}}, {"reply": None}, {"reasons": {"a": 3}}])
def test_a_reply_or_reason_that_is_no_text_is_refused(tmp_path, texts):
    with pytest.raises(ValueError, match="no text"):
        judging(tmp_path, [Verdict({"a": 4.0, "b": 2.0}, 2.0, **texts)])


def test_an_altered_or_removed_edit_has_an_error_of_its_own(tmp_path):
    with pytest.raises(AlteredImageError, match="was altered"):
        judging(tmp_path, [], altered=True)
    with pytest.raises(AlteredImageError, match="was removed"):
        judging(tmp_path, [], removed=True)
    (tmp_path / "gone.png").mkdir()
    with pytest.raises(AlteredImageError, match="cannot be read: Is a directory"):
        judging(tmp_path, [], removed=True)


def replaced(path) -> None:
    Image.new("RGB", (8, 6), "green").save(path)


def test_what_was_made_of_a_source_that_changed_meanwhile_is_no_outcome(tmp_path):
    def edit(request, step):
        replaced(request.sample.images[0])
        return Image.new("RGB", (8, 6))

    with pytest.raises(ChangedInputError, match=r"/source\.png changed while the run went on"):
        editing(tmp_path, None, edit=edit)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ChangedInputError, match=r"/source\.png changed while the run went on"):
        judging(tmp_path, [Verdict({"a": 4.0, "b": 2.0}, 2.0)], meanwhile=replaced)


def test_a_failure_of_a_source_that_changed_meanwhile_is_not_the_samples(tmp_path):
    def edit(request, step):
        replaced(request.sample.images[0])
        raise ValueError("half a picture")

    with pytest.raises(ChangedInputError):
        editing(tmp_path, None, edit=edit)


@pytest.mark.parametrize("window", [0, -1, None, "4", 2.5, True])
def test_a_window_that_is_none_is_named(window):
    role = JudgeRole.__new__(JudgeRole)
    role._judge = SimpleNamespace(window=window)
    with pytest.raises(ValueError, match=f"window is {window!r}; it must be a whole number"):
        _ = role.window


def ahead(tmp_path):
    """A role that edits nothing, and the payload of a task of it."""
    Image.new("RGB", (8, 6), "red").save(tmp_path / "source.png")
    role = EditRole.around(SimpleNamespace(edit=lambda request, step: request.images[0]))
    sample = Sample("s", "make it blue", (str(tmp_path / "source.png"),))
    names = ("image", "thumbnail", "source_thumbnail")
    return role, {
        "sample": sample.to_json(),
        "inputs": inputs_of(sample),
        "seed": 1,
        "repeat": 0,
        **{name: str(tmp_path / "out" / name) for name in names},
    }


def test_sources_are_opened_ahead_once(tmp_path, monkeypatch):
    role, payload = ahead(tmp_path)
    opened = []
    monkeypatch.setattr(
        "edit_eval.worker.roles.open_image", lambda path: opened.append(path) or open_image(path)
    )
    role.look_ahead(payload)
    role.look_ahead(payload)
    assert role.run([payload], lambda step, steps: None)[0]["source_size"] == [8, 6]
    assert len(opened) == 1
    role.run([payload], lambda step, steps: None)
    assert len(opened) == 2


def test_a_source_replaced_after_it_was_opened_ahead_makes_no_edit(tmp_path):
    role, payload = ahead(tmp_path)
    role.look_ahead(payload)
    role._opened._expected[id(payload)][1].result(10)
    Image.new("RGB", (8, 6), "blue").save(tmp_path / "source.png")
    with pytest.raises(ChangedInputError):
        role.run([payload], lambda step, steps: None)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_opened_ahead_fails_its_own_task(tmp_path):
    role, payload = ahead(tmp_path)
    (tmp_path / "source.png").write_text("hello")
    payload["inputs"] = inputs_of(Sample.from_json(payload["sample"]))
    role.look_ahead(payload)
    with pytest.raises(UnreadableImageError, match="is a text file"):
        role.run([payload], lambda step, steps: None)


def test_what_is_got_beforehand_is_bounded_and_got_once():
    got = []
    beforehand = Beforehand(lambda payload: got.append(payload["n"]) or payload["n"], threads=2, most=3)
    payloads = [{"n": number} for number in range(10)]
    for payload in payloads:
        beforehand.expect(payload)
        beforehand.expect(payload)
    assert [one["n"] for one, _ in beforehand._expected.values()] == [7, 8, 9]
    assert [beforehand.take(payload) for payload in payloads] == list(range(10))
    assert not beforehand._expected
    assert all(got.count(number) == 1 for number in (7, 8, 9))
    equal = {"n": 9}
    beforehand.expect(payloads[9])
    assert beforehand.take(equal) == 9  # another task, though it says the same
    assert len(beforehand._expected) == 1


def test_a_task_may_be_taken_while_another_one_is_expected():
    """Expecting lets the oldest go; a thread that works may have taken that one a moment before."""

    class Taken(dict):
        def pop(self, key, *default):
            super().pop(key)  # by the other thread
            return super().pop(key, *default)

    beforehand = Beforehand(lambda payload: payload["n"], most=1)
    beforehand._expected = Taken()
    first, second = {"n": 1}, {"n": 2}
    beforehand.expect(first)
    beforehand.expect(second)
    assert [one["n"] for one, _ in beforehand._expected.values()] == [2]


def judge_ahead(tmp_path, wanted, threads=1):
    """A role that judges by nothing, what its judge was asked, and payloads of four tasks of it."""
    payloads = []
    for number in range(4):
        Image.new("RGB", (8, 6), "red").save(tmp_path / f"source-{number}.png")
        Image.new("RGB", (8, 6), "blue").save(tmp_path / f"edited-{number}.png")
        sample = Sample(f"s{number}", "make it blue", (str(tmp_path / f"source-{number}.png"),))
        edited = tmp_path / f"edited-{number}.png"
        payloads.append(
            {
                "sample": sample.to_json(),
                "inputs": inputs_of(sample),
                "edited": str(edited),
                "edited_sha256": hashlib.sha256(edited.read_bytes()).hexdigest(),
                "rubric": RUBRIC.name,
                "prompts": [],
                "seed": number,
            }
        )
    role, batches = JudgeRole.__new__(JudgeRole), []

    def judge(requests):
        batches.append([one.sample.id for one in requests])
        return [Verdict({"a": 4.0, "b": 2.0}, 2.0)] * len(requests)

    role._judge = SimpleNamespace(window=wanted, judge=judge)
    role.threads, role._inputs, role._rubrics = threads, Inputs(), {RUBRIC.name: RUBRIC}
    role._progress = threading.local()
    role._requests = Beforehand(role._request, 2, role.window)
    return role, batches, payloads


def test_images_of_the_next_verdicts_are_opened_beside_these(tmp_path, monkeypatch):
    role, batches, payloads = judge_ahead(tmp_path, 2)
    assert (role.batch, role.window) == (2, 4)
    opened = []
    monkeypatch.setattr("edit_eval.worker.roles.open_rgb", lambda path: opened.append(path) or open_rgb(path))
    for payload in payloads[2:]:
        role.look_ahead(payload)
    for _, future in list(role._requests._expected.values()):
        future.result(10)
    assert len(opened) == 4
    role.run(payloads[:2], lambda step, steps: None)
    assert len(opened) == 8
    role.run(payloads[2:], lambda step, steps: None)
    assert len(opened) == 8
    assert batches == [["s0", "s1"], ["s2", "s3"]]


def test_where_threads_judge_each_opens_its_own_images(tmp_path):
    role, _, payloads = judge_ahead(tmp_path, 3, threads=3)
    assert (role.batch, role.window) == (1, 3)
    role.look_ahead(payloads[0])
    assert not role._requests._expected


@pytest.mark.parametrize("name", ["source-1.png", "edited-1.png"])
def test_an_image_replaced_before_it_is_opened_ahead_fails_its_own_verdict(tmp_path, name):
    role, batches, payloads = judge_ahead(tmp_path, 2)
    Image.new("RGB", (9, 9), "green").save(tmp_path / name)
    for payload in payloads[:2]:
        role.look_ahead(payload)
    with pytest.raises((ChangedInputError, AlteredImageError)):
        role.run(payloads[:2], lambda step, steps: None)
    role.run(payloads[:1], lambda step, steps: None)  # as the host tries again, one at a time
    with pytest.raises((ChangedInputError, AlteredImageError)):
        role.run(payloads[1:2], lambda step, steps: None)
    assert batches == [["s0"]]


def test_a_source_replaced_after_it_was_opened_ahead_gives_no_verdict(tmp_path):
    role, _, payloads = judge_ahead(tmp_path, 2)
    role.look_ahead(payloads[0])
    role._requests._expected[id(payloads[0])][1].result(10)
    Image.new("RGB", (8, 6), "green").save(tmp_path / "source-0.png")
    with pytest.raises(ChangedInputError):
        role.run(payloads[:1], lambda step, steps: None)
