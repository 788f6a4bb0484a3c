"""The editor that comes with its weights: what is shipped, what an edit costs, and that its scores tell what it is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Ran
from PIL import Image, ImageChops

from edit_eval.benchmarks.scenes import render
from edit_eval.core.errors import ConfigError, UserError
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.driver.compare import compare_runs
from edit_eval.driver.comparison import OverallDifference
from edit_eval.driver.telemetry import read_telemetry
from edit_eval.driver.usage import usage
from edit_eval.editors import tiny
from edit_eval.editors.tiny import Tiny, TinyParams

SHIPPED = Path(tiny.__file__).parent / "tiny_weights"
QUICK = TinyParams(steps=3)


@pytest.fixture(scope="module")
def editor() -> Tiny:
    return Tiny(QUICK, HostContext())


def request(index: int = 0, *, size: int = 96, seed: int = 1, instruction: str | None = None) -> EditRequest:
    source, _, english, _, _ = render(7, index, size)
    said = english if instruction is None else instruction
    return EditRequest(Sample(f"s{index}", said, ("s.png",)), said, (source,), seed)


def edited(editor: Tiny, asked: EditRequest) -> Image.Image:
    return editor.edit(asked, lambda step, steps: None)


# What is shipped


def test_the_defaults_are_those_that_training_chose() -> None:
    chosen = json.loads((SHIPPED / "tiny.json").read_text(encoding="utf-8"))["sampling"]
    assert {name: value for name, value in asdict(TinyParams()).items() if name != "weights"} == chosen
    assert [one.name for one in fields(TinyParams)] == [*chosen, "weights"]


def test_the_weights_are_small_and_there_once() -> None:
    sizes = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert sorted(sizes) == ["denoiser.onnx", "encoder.onnx", "tiny.json", "tiny.safetensors"]
    assert sum(sizes.values()) < 8_000_000
    assert sizes["encoder.onnx"] + sizes["denoiser.onnx"] < 300_000


def test_the_whole_benchmark_can_be_read() -> None:
    about = json.loads((SHIPPED / "tiny.json").read_text(encoding="utf-8"))
    reader = tiny.Vocabulary(about["words"], about["length"])
    for index in range(400):
        for said in render(3, index, 32)[2:4]:
            assert reader.unknown(said) == []


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "params", [TinyParams(), TinyParams(steps=2, guidance=3.0)], ids=["default", "guided"]
)
def test_torch_makes_the_same_image_of_the_shipped_weights(params: TinyParams) -> None:
    import torch
    from training.export import load

    from edit_eval.editors._tiny_flow import initial_noise, times
    from training import flow

    network, editor = load(SHIPPED), Tiny(params, HostContext())
    reader = tiny.Vocabulary(
        *(json.loads((SHIPPED / "tiny.json").read_text())[one] for one in ("words", "length"))
    )
    for index in range(2):
        asked = request(index, seed=index)
        ours = np.asarray(edited(editor, asked), np.float32)
        source = np.asarray(asked.images[0], np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
        noise = torch.from_numpy(initial_noise(index, 96).transpose(2, 0, 1)[None].copy())
        words = torch.tensor([reader.tokens(asked.instruction)])
        at = times(params.steps, params.shift)
        theirs = flow.sample(
            network, torch.from_numpy(source), words, noise, at, params.guidance, params.guided_until
        )
        levels = ((theirs[0].numpy().transpose(1, 2, 0) + 1) * 127.5).round()
        assert np.abs(ours - levels).max() <= 2


# An edit


def test_every_step_is_told(editor: Tiny) -> None:
    told: list[tuple[int, int]] = []
    editor.edit(request(), lambda step, steps: told.append((step, steps)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_seed_decides(editor: Tiny) -> None:
    first, again, other = (edited(editor, request(seed=seed)).tobytes() for seed in (1, 1, 2))
    assert first == again != other


def test_the_instruction_decides() -> None:
    told, untold = (
        Tiny(QUICK, HostContext()),
        Tiny(TinyParams(steps=3, guidance=0.0, guided_until=1.0), HostContext()),
    )
    ways = ("Turn the whole picture into a black-and-white photograph.", "Add a red vase on the table.")
    assert len({edited(told, request(instruction=one)).tobytes() for one in ways}) == 2
    assert len({edited(untold, request(instruction=one)).tobytes() for one in ways}) == 1


def test_words_that_it_does_not_know_are_named(editor: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    edited(editor, request(2, instruction="Add a zeppelin 飞艇 on the ground."))
    assert capsys.readouterr().err == "s2: not read: zeppelin 飞 艇\n"
    edited(editor, request(2))
    assert capsys.readouterr().err == ""


def test_a_larger_source_keeps_its_own_pixels_where_nothing_changed(editor: Tiny) -> None:
    kept = []
    for index in range(8):
        asked = request(index, size=240)
        made = edited(editor, asked)
        assert made.size == (240, 240)
        difference = ImageChops.difference(made, asked.images[0]).convert("L")
        kept.append(difference.histogram()[0] / 240**2)
    assert sorted(kept)[3] > 0.5, "half of the kinds change a part only"
    assert min(kept) < 0.95


def test_another_shape_and_a_small_source(editor: Tiny) -> None:
    for size in ((300, 120), (40, 60)):
        source = request().images[0].resize(size)
        asked = EditRequest(Sample("s", "", ("s.png",)), "Add a red vase on the table.", (source,), 1)
        assert edited(editor, asked).size == size


def test_what_it_says_of_itself(editor: Tiny) -> None:
    import onnxruntime

    assert editor.facts() == {"onnxruntime": onnxruntime.__version__}
    assert "96x96" in Tiny.size_policy(TinyParams())
    paths = [Path(path) for path in Tiny.conditioning(TinyParams(), Sample("s", "", ()))]
    assert sorted(path.name for path in paths) == sorted(path.name for path in SHIPPED.iterdir())


def test_what_cannot_be_is_refused_all_at_once(tmp_path: Path) -> None:
    wrong = TinyParams(steps=0, guidance=float("nan"), guided_until=2.0, shift=0.0, weights=str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        Tiny.resolve(wrong, None)
    for said in (
        "steps is 0",
        "guidance is nan",
        "guided_until is 2.0",
        "shift is 0.0",
        "has no tiny.safetensors",
    ):
        assert said in str(caught.value)
    assert Tiny.resolve(TinyParams(), None) == TinyParams()


@pytest.mark.parametrize(
    "told",
    [
        "no json",
        "[]",
        "{}",
        '{"words": 5, "length": 40, "shape": {"size": 96}}',
        '{"words": ["a"], "length": "40", "shape": {"size": 96}}',
        '{"words": ["a"], "length": 40, "shape": {"size": "96"}}',
    ],
)
def test_weights_that_are_not_told_of_are_refused(tmp_path: Path, told: str) -> None:
    for name in ("tiny.safetensors", "encoder.onnx", "denoiser.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "tiny.json").write_text(told)
    with pytest.raises(ConfigError, match=r"has a tiny\.json that cannot be used"):
        Tiny.resolve(TinyParams(weights=str(tmp_path)), None)


@pytest.mark.parametrize(
    ("name", "left"),
    [("encoder.onnx", 0), ("encoder.onnx", 5_000), ("denoiser.onnx", 70_000), ("tiny.safetensors", 0), ("tiny.safetensors", 1_000_000)],
)  # fmt: skip
def test_weights_that_are_cut_short_are_named(tmp_path: Path, name: str, left: int) -> None:
    shutil.copytree(SHIPPED, tmp_path / "mine")
    torn = tmp_path / "mine" / name
    torn.write_bytes(torn.read_bytes()[:left])
    with pytest.raises(
        UserError, match=r"(encoder|denoiser)\.onnx cannot be loaded: it is damaged, or tiny"
    ) as caught:
        Tiny(TinyParams(weights=str(tmp_path / "mine")), HostContext())
    assert "\n" not in str(caught.value)


def test_graphs_that_are_no_graphs_are_named(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "mine")
    (tmp_path / "mine" / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"encoder\.onnx cannot be loaded"):
        Tiny(TinyParams(weights=str(tmp_path / "mine")), HostContext())


def test_weights_of_two_trainings_do_not_go_together(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "mine")
    told = json.loads((SHIPPED / "tiny.json").read_text(encoding="utf-8"))
    told["shape"]["size"] = 64
    (tmp_path / "mine" / "tiny.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(UserError, match=r"do not belong together: tiny\.json tells of 64 pixels a side"):
        Tiny(TinyParams(weights=str(tmp_path / "mine")), HostContext())


def test_weights_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a path that counts from where the command is given; the same bytes are the same edit."""
    shutil.copytree(SHIPPED, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    params = Tiny.resolve(TinyParams(steps=3, weights="mine"), None)
    assert params.weights == str(tmp_path / "mine")
    own = Tiny(params, HostContext())
    assert edited(own, request()).tobytes() == edited(Tiny(QUICK, HostContext()), request()).tobytes()


def test_without_onnxruntime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs onnxruntime .* -m pip install onnxruntime numpy"):
        Tiny(QUICK, HostContext())


COST = r"""
import re, time
from pathlib import Path
from edit_eval.benchmarks.scenes import render
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors.tiny import Tiny, TinyParams

editor = Tiny(TinyParams(steps=20), HostContext())
seconds = []
for index in range(3):
    source, _, said, _, _ = render(0, index, 96)
    began = time.process_time()
    editor.edit(EditRequest(Sample("s", said, ("s.png",)), said, (source,), index), lambda step, steps: None)
    seconds.append(time.process_time() - began)
print(min(seconds), re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_an_edit_of_20_steps_takes_little_time_and_memory() -> None:
    """CPU seconds of one thread: that many on a core that does nothing else."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, check=True, env=env)
    seconds, kibibytes = map(float, done.stdout.split())
    print(f"{seconds:.2f} s, {kibibytes / 1024:.0f} MiB")
    assert seconds <= 1.5
    assert kibibytes * 1024 <= 300_000_000


# Runs


def tree(folder: Path, n: int, devices: int = 2, **params: Any) -> dict[str, Any]:
    cpus = [f"cpu:{slot}" for slot in range(devices)]
    return {
        "benchmark": {"type": "scenes", "params": {"n": n, "size": 96, "language": "both"}},
        "editor": {"type": "tiny", "devices": cpus, "params": params},
        "judge": {"type": "reference", "devices": cpus},
        "output": str(folder),
    }


def test_one_and_three_devices_make_the_same_images(tmp_path: Path) -> None:
    one, three = (Ran(tree(tmp_path / f"{count}", 9, count, steps=6)) for count in (1, 3))
    assert one.canonical() == three.canonical()
    assert len({row.edit["device"] for row in three.rows}) > 1
    assert {row.verdict.overall is not None for row in three.rows} == {True}
    for ran in (one, three):
        used = usage(read_telemetry(ran.run.path))
        assert used is not None
        for device in used.devices:
            assert 0 < device.rss_bytes <= 300_000_000


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return weights as they are before the first step of a training."""
    import torch
    from training.export import about, save, write_graphs
    from training.model import Shape, TinyEditor

    folder = tmp_path_factory.mktemp("untrained")
    told = about(SHIPPED)
    torch.manual_seed(0)
    save(
        TinyEditor(Shape(**told["shape"])),
        folder,
        {name: told[name] for name in ("words", "length", "sampling")},
    )
    write_graphs(folder)
    return folder


def better(folder: Path, n: int, others: Mapping[str, Mapping[str, Any]]) -> dict[str, OverallDifference]:
    """Return how runs with other parameters differ from one with the defaults, on `n` scenes."""
    base = Ran(tree(folder / "base", n))
    found = {}
    for name, params in others.items():
        other = Ran(tree(folder / name, n, **params))
        [pair] = compare_runs([base.run, other.run]).pairs
        found[name] = pair.overall
        print(
            f"{name}: {pair.overall.base:.3f} to {pair.overall.other:.3f}, p {pair.overall.p:.2g}, n {pair.overall.n}"
        )
    return found


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
def test_the_benchmark_notices_fewer_steps_and_no_training(tmp_path: Path, untrained: Path) -> None:
    found = better(
        tmp_path, 10, {"2 steps": {"steps": 2}, "untrained": {"steps": 2, "weights": str(untrained)}}
    )
    for one in found.values():
        assert one.n == 10
        assert one.difference < 0
        assert one.p < 0.01


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
@pytest.mark.long
def test_the_benchmark_notices_a_worse_editor(tmp_path: Path, untrained: Path) -> None:
    """Each with 100 scenes."""
    others = {
        "2 steps": {"steps": 2},
        "no guidance": {"guidance": 1.0},
        "instruction not looked at": {"guidance": 0.0, "guided_until": 1.0},
        "untrained": {"weights": str(untrained)},
    }
    for one in better(tmp_path, 100, others).values():
        assert one.n == 100
        assert one.difference < 0
        assert one.p < 0.01
