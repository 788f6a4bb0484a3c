"""The variance split against textbook tables, simulation, and what it cannot tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.stats import mean_interval, split


def drawn(samples, seeds, judgements, sample=2.0, seed=1.0, judge=0.5, generator=None):
    """Scores with these standard deviations by source."""
    generator = generator or np.random.default_rng(0)
    scores = generator.normal(5, sample, samples)[:, None, None]
    scores = scores + generator.normal(0, seed, (samples, seeds))[:, :, None]
    scores = scores + generator.normal(0, judge, (samples, seeds, judgements))
    places = np.indices(scores.shape).reshape(3, -1)
    return scores.ravel().tolist(), places[0].tolist(), places[1].tolist()


def test_by_hand():
    """Two samples of two seeds of two judgements: 1 3 | 5 7 and 2 2 | 4 8.

    Within edits: squares 1 1 1 1 0 0 4 4, sum 12 over 4 degrees: 3. Edit means 2 6 and 2 6, both samples 4: 2 x (4 x 4) = 32 over 2: 16,
    so seeds (16 - 3) / 2 = 6.5. Samples 0 - 16 < 0: 0.
    """
    found = split([1, 3, 5, 7, 2, 2, 4, 8], list("aaaabbbb"), [0, 0, 1, 1, 0, 0, 1, 1])
    assert (found.readings, found.edits, found.samples) == (8, 4, 2)
    assert (found.judge, found.seed, found.sample) == (3, 6.5, 0)
    assert (found.seed_and_judge, found.sample_and_seed) == (9.5, 6.5)
    assert found.standard_error == pytest.approx(math.sqrt((6.5 / 2 + 3 / 4) / 2))
    assert found.doubled == {
        "samples": pytest.approx(math.sqrt((6.5 / 2 + 3 / 4) / 4)),
        "seeds": pytest.approx(math.sqrt((6.5 / 4 + 3 / 8) / 2)),
        "judgements": pytest.approx(math.sqrt((6.5 / 2 + 3 / 8) / 2)),
    }


def test_large_numbers_show_the_variances():
    found = split(*drawn(4_000, 3, 2))
    assert found.sample == pytest.approx(4, rel=0.05)
    assert found.seed == pytest.approx(1, rel=0.05)
    assert found.judge == pytest.approx(0.25, rel=0.05)


def test_balanced_numbers_have_the_standard_error_of_the_samples_means():
    values, samples, seeds = drawn(30, 3, 2)
    means = np.array(values).reshape(30, 6).mean(axis=1)
    assert split(values, samples, seeds).standard_error == pytest.approx(
        mean_interval(means.tolist()).standard_error
    )


def test_unequal_numbers_are_right_on_the_average():
    """Some samples have one seed, some edits one judgement; means of the estimates over many draws are the variances."""
    keep = np.random.default_rng(1).random(25 * 3 * 2) < 0.6
    generator = np.random.default_rng(2)
    found = []
    for _ in range(300):
        columns = drawn(25, 3, 2, generator=generator)
        values, samples, seeds = (
            [one for one, kept in zip(column, keep, strict=True) if kept] for column in columns
        )
        one = split(values, samples, seeds)
        found.append((one.sample, one.seed, one.judge))
    assert np.mean(found, axis=0) == pytest.approx([4, 1, 0.25], rel=0.1)


def test_what_cannot_be_told_apart_is_known_as_a_sum_alone():
    values, samples, seeds = drawn(2_000, 3, 1)
    only_seeds = split(values, samples, seeds)
    assert only_seeds.seed_and_judge == pytest.approx(1.25, rel=0.1)
    assert only_seeds.sample == pytest.approx(4, rel=0.1)
    assert (only_seeds.seed, only_seeds.judge, only_seeds.sample_and_seed) == (None, None, None)
    assert only_seeds.doubled["judgements"] is None
    assert only_seeds.doubled["seeds"] < only_seeds.standard_error
    values, samples, _ = drawn(2_000, 1, 3)
    only_judgements = split(values, samples)
    assert only_judgements.judge == pytest.approx(0.25, rel=0.1)
    assert only_judgements.sample_and_seed == pytest.approx(5, rel=0.1)
    assert (only_judgements.sample, only_judgements.seed, only_judgements.seed_and_judge) == (
        None,
        None,
        None,
    )
    assert only_judgements.doubled["seeds"] is None
    assert only_judgements.doubled["judgements"] < only_judgements.standard_error


readings = st.lists(
    st.tuples(st.integers(0, 10).map(float), st.integers(0, 5), st.integers(0, 2)), min_size=2, max_size=40
)


@given(readings, st.integers(-3, 3), st.sampled_from([0.5, 2.0]), st.randoms(use_true_random=False))
def test_shift_scale_and_order(rows, shift, scale, random):
    mixed = list(rows)
    random.shuffle(mixed)
    one = split(*map(list, zip(*rows, strict=True)))
    other = split(*map(list, zip(*[(scale * v + shift, s, r) for v, s, r in mixed], strict=True)))
    assert (one.readings, one.edits, one.samples) == (other.readings, other.edits, other.samples)
    for name in ("sample", "seed", "judge", "sample_and_seed", "seed_and_judge"):
        before, after = getattr(one, name), getattr(other, name)
        assert after is None if before is None else after == pytest.approx(scale**2 * before, abs=1e-7)


@given(readings)
def test_more_never_raises_the_error_and_more_samples_lower_it_most(rows):
    found = split(*map(list, zip(*rows, strict=True)))
    if found.standard_error is None:
        return
    assert found.doubled["samples"] == pytest.approx(found.standard_error / math.sqrt(2))
    for name in ("seeds", "judgements"):
        if found.doubled[name] is not None:
            assert found.doubled["samples"] - 1e-9 <= found.doubled[name] <= found.standard_error + 1e-9


def test_what_is_undefined_and_what_is_refused():
    for nothing in (split([], []), split([1.0, 2.0], ["a", "b"])):
        assert {nothing.sample, nothing.seed, nothing.judge, nothing.standard_error, nothing.doubled} == {
            None
        }
    one_sample = split([1.0, 2.0, 3.0, 3.0], list("aaaa"), [0, 0, 1, 1])
    assert (one_sample.sample, one_sample.standard_error, one_sample.judge) == (None, None, 0.25)
    with pytest.raises(ValueError, match="2 scores, 1 samples and 2 seeds"):
        split([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="finite"):
        split([1.0, math.nan], ["a", "b"])
