"""The scripted editor gives the exact edit, errs as often as it is told, and takes the time that it is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from edit_eval.core.errors import ConfigError
from edit_eval.core.identity import identity_params, sample_seed
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors.scripted import Scripted, ScriptedParams

SOURCE, TARGET = (200, 40, 40), (40, 90, 200)
SIZE = (60, 48)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    for name, colour in (("source", SOURCE), ("target", TARGET)):
        Image.new("RGB", SIZE, colour).save(tmp_path / f"{name}.png")
    return Sample("s", "Make it blue.", (str(tmp_path / "source.png"),), target=str(tmp_path / "target.png"))


def request(sample: Sample, seed: int = 1) -> EditRequest:
    return EditRequest(sample, sample.editor_instruction, (Image.new("RGB", SIZE, SOURCE),), seed)


def edited(sample: Sample, seed: int = 1, **params: object) -> Image.Image:
    editor = Scripted(ScriptedParams(**params), HostContext())
    return editor.edit(request(sample, seed), lambda step, steps: None)


def test_without_mistakes_it_is_the_target(sample: Sample) -> None:
    assert edited(sample).tobytes() == Image.new("RGB", SIZE, TARGET).tobytes()


def test_mistakes_come_at_their_rate_and_in_all_kinds(sample: Sample) -> None:
    source, target = (Image.new("RGB", SIZE, colour).tobytes() for colour in (SOURCE, TARGET))
    blended = Image.blend(Image.new("RGB", SIZE, SOURCE), Image.new("RGB", SIZE, TARGET), 0.5).tobytes()
    kinds = {"right": 0, "ignored": 0, "half": 0, "damaged": 0}
    for k in range(1000):
        data = edited(sample, sample_seed(0, f"s{k}", 0), error_rate=0.4).tobytes()
        kinds[{target: "right", source: "ignored", blended: "half"}.get(data, "damaged")] += 1
    assert 550 < kinds["right"] < 650
    assert 160 < kinds["ignored"] < 240
    assert min(kinds["half"], kinds["damaged"]) > 60


def test_every_edit_is_wrong_at_rate_one(sample: Sample) -> None:
    right = Image.new("RGB", SIZE, TARGET).tobytes()
    assert all(edited(sample, seed, error_rate=1.0).tobytes() != right for seed in range(100))


def test_the_same_seed_gives_the_same_bytes(sample: Sample) -> None:
    for seed in range(30):
        assert (
            edited(sample, seed, error_rate=0.9).tobytes() == edited(sample, seed, error_rate=0.9).tobytes()
        )


@pytest.mark.parametrize("colour", [(128, 128, 128), (0, 255, 0), (127, 127, 127)])
def test_damage_is_visible_on_every_colour(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    from edit_eval.editors.scripted import _damaged

    clean = Image.new("RGB", SIZE, colour)
    for seed in range(20):
        lows_highs = ImageChops.difference(clean, _damaged(clean, seed)).getextrema()
        assert max(high for _, high in lows_highs) >= 127


def test_without_a_target_the_source_is_tinted(tmp_path: Path) -> None:
    bare = Sample("s", "Make it blue.", ("unused.png",))
    tinted = {edited(bare, seed).tobytes() for seed in range(8)}
    assert Image.new("RGB", SIZE, SOURCE).tobytes() not in tinted
    assert len(tinted) > 4
    assert edited(bare, 3).tobytes() == edited(bare, 3).tobytes()
    assert list(Scripted.conditioning(ScriptedParams(), bare)) == []


def test_a_target_of_another_size_can_be_half_done(tmp_path: Path, sample: Sample) -> None:
    Image.new("RGB", (30, 30), TARGET).save(tmp_path / "target.png")
    assert {edited(sample, seed, error_rate=1.0).size for seed in range(40)} == {SIZE, (30, 30)}


def test_a_missing_target_fails_the_sample(sample: Sample) -> None:
    Path(sample.target or "").unlink()
    with pytest.raises(FileNotFoundError):
        edited(sample)


def test_the_target_decides_the_key_and_the_time_does_not(sample: Sample) -> None:
    assert list(Scripted.conditioning(ScriptedParams(), sample)) == [sample.target]
    params = ScriptedParams(error_rate=0.1, seconds=3, steps=4, spread=1)
    assert identity_params(params) == {"error_rate": 0.1}


def test_steps_are_reported_over_the_time(sample: Sample) -> None:
    editor = Scripted(ScriptedParams(seconds=0.2, steps=4), HostContext())
    began, seen = time.monotonic(), []
    editor.edit(request(sample), lambda step, steps: seen.append((step, steps, time.monotonic() - began)))
    assert [one[:2] for one in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(at >= 0.05 * step - 0.001 for step, _, at in seen)


def test_no_steps_no_report(sample: Sample) -> None:
    seen: list[object] = []
    editor = Scripted(ScriptedParams(seconds=0.01), HostContext())
    editor.edit(request(sample), lambda step, steps: seen.append(step))
    assert seen == []


def test_spread_keeps_the_mean_and_has_a_tail() -> None:
    from edit_eval.editors.scripted import _time_factor

    assert _time_factor(5, 0.0) == 1.0
    factors = sorted(_time_factor(seed, 1.0) for seed in range(4000))
    assert 0.9 < sum(factors) / len(factors) < 1.1
    assert factors[-40] > 5
    assert factors[0] > 0


def test_wrong_parameters_are_all_named() -> None:
    wrong = ScriptedParams(error_rate=1.5, seconds=float("nan"), steps=-1, spread=-0.1)
    with pytest.raises(ConfigError) as caught:
        Scripted.resolve(wrong, None)
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        f"editor.params.{name}" for name in ("error_rate", "seconds", "steps", "spread")
    ]
    assert Scripted.resolve(ScriptedParams(error_rate=1.0), None) == ScriptedParams(error_rate=1.0)
