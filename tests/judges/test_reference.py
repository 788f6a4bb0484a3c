"""The judge that measures against an exact target."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from edit_eval.benchmarks.scenes import render
from edit_eval.core.errors import UserError
from edit_eval.core.identity import identity_params
from edit_eval.core.types import HostContext, JudgeRequest, Sample
from edit_eval.driver.rubrics import load_rubric
from edit_eval.judges.reference import Reference, ReferenceParams, _difference, similarity


def picture(*, box=None, size=(96, 64), shift=0):
    """A gradient with, if wanted, a red box: the edit."""
    image = (
        Image.linear_gradient("L").resize(size).point(lambda value: min(255, value + shift)).convert("RGB")
    )
    if box:
        ImageDraw.Draw(image).rectangle(box, fill="red")
    return image


RUBRIC = load_rubric("reference-v1")


@pytest.fixture
def judge():
    return Reference(ReferenceParams(), HostContext(), [RUBRIC])


@pytest.fixture
def ask(judge, tmp_path):
    def ask(edited, target, source=None):
        path = None
        if target is not None:
            path = str(tmp_path / "target.png")
            target.save(path)
        sample = Sample("s", "add a box", ("source.png",), target=path)
        (verdict,) = judge.judge([JudgeRequest(sample, RUBRIC, (), (source or picture(),), edited, (), 0)])
        return verdict

    return ask


TARGET = picture(box=(10, 10, 30, 30))


def test_the_exact_target_scores_ten(ask):
    verdict = ask(TARGET, TARGET)
    assert verdict.scores == {"similarity": 10}
    assert verdict.overall == 10
    assert verdict.reasons == {"similarity": "The edited image is identical to the target."}
    assert verdict.reply == verdict.reasons["similarity"]


@pytest.mark.parametrize("box", [(10, 10, 30, 30), (10, 10, 11, 11), (0, 0, 95, 63)])
def test_an_untouched_source_scores_nothing_however_small_the_edit(ask, box):
    verdict = ask(picture(), picture(box=box))
    assert verdict.overall == 0
    assert "the untouched source by" in verdict.reply


def test_a_nearer_edit_scores_higher(ask):
    scores = [
        ask(one, TARGET).overall
        for one in (
            TARGET,
            picture(box=(10, 10, 30, 30), shift=1),
            picture(box=(10, 10, 30, 29)),
            picture(box=(10, 10, 30, 20)),
            picture(),
        )
    ]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 5


def test_damage_elsewhere_costs(ask):
    damaged = picture(box=(10, 10, 30, 30), shift=200)
    assert ask(damaged, TARGET).overall == 0


def test_where_nothing_was_to_change_the_source_is_right(ask):
    assert ask(picture(), picture()).overall == 10
    verdict = ask(picture(shift=20), picture())
    assert 0 < verdict.overall < 10
    assert "although nothing was to be changed" in verdict.reply


def test_another_size_is_resized_first(ask):
    larger = TARGET.resize((192, 128), Image.Resampling.LANCZOS)
    assert 7 < ask(larger, TARGET).overall < 10
    assert ask(picture(size=(40, 40)), TARGET, source=picture(size=(40, 40))).overall == 0


def test_without_a_target_the_edit_is_unscored(ask):
    verdict = ask(TARGET, None)
    assert (verdict.unscored, verdict.overall) == ("error", None)
    assert "no exact target" in verdict.reply


def test_an_unreadable_target_fails_its_sample(judge):
    sample = Sample("s", "", ("a.png",), target="/nowhere/target.png")
    with pytest.raises(FileNotFoundError):
        judge.judge([JudgeRequest(sample, RUBRIC, (), (picture(),), picture(), (), 0)])


def test_takes_no_other_rubric():
    with pytest.raises(UserError, match="rubric 'general-v1' wants instruction, preservation, quality"):
        Reference(ReferenceParams(), HostContext(), [load_rubric("general-v1")])


def test_simulated_time_is_no_part_of_what_was_asked_for():
    assert identity_params(ReferenceParams(seconds=3)) == {}


def test_the_window_is_the_batch_size():
    rubric = load_rubric("reference-v1")
    assert Reference(ReferenceParams(), HostContext(), [rubric]).window == 1
    assert Reference(ReferenceParams(), HostContext(options={"batch_size": 4}), [rubric]).window == 4


ERROR = st.floats(0, 1)


@given(ERROR, ERROR, ERROR)
def test_never_rises_with_the_error(first, second, source):
    low, high = sorted((first, second))
    assert 1 >= similarity(low, source) >= similarity(high, source) >= 0
    assert similarity(0, source) == 1
    assert source == 0 or math.isclose(similarity(source, source), 0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_difference_is_that_of_arithmetic_on_arrays(width, height, seed):
    """To the last bit, so that it is the same where there is no numpy."""
    import numpy as np

    made = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    first, second = made.astype(np.float32)
    expected = math.sqrt(float(np.mean(np.square(first - second), dtype=np.float64))) / 255.0
    assert _difference(*(Image.fromarray(one) for one in made)) == expected


def _noise(size):
    import numpy as np

    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))


def _cheats(source, target, elsewhere):
    """Return what an editor might give that follows no instruction, by name."""
    mean = source.resize((1, 1), Image.Resampling.BOX).resize(source.size)
    blanks = {name: Image.new("RGB", source.size, name) for name in ("white", "grey", "black")}
    return {
        "source": source,
        "source blurred": source.filter(ImageFilter.GaussianBlur(2)),
        **blanks,
        "mean colour": mean,
        "noise": _noise(source.size),
        "source and white": Image.blend(source, blanks["white"], 0.1),
        "source and mean colour": Image.blend(source, mean, 0.5),
        "source and another target": Image.blend(source, elsewhere, 0.5),
        "another target": elsewhere,
        "half done": Image.blend(source, target, 0.5),
    }


def test_it_cannot_be_gamed():
    """On drawn scenes: the source scores nothing, blanks and blends hardly anything, half an edit less than half."""
    scores: dict[str, list[float]] = {}
    for index in range(48):
        source, target, *_ = render(0, index, 96)
        between = _difference(source, target)
        for name, cheat in _cheats(source, target, render(0, index + 1, 96)[1]).items():
            scores.setdefault(name, []).append(10 * similarity(_difference(cheat, target), between))
    means = {name: sum(each) / len(each) for name, each in scores.items()}
    print({name: round(mean, 2) for name, mean in means.items()})
    assert max(scores["source"]) == 0
    assert 3 < means.pop("half done") < 5
    assert max(means.values()) < 0.1
    assert max(max(scores[name]) for name in means) < 3
