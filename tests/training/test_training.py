"""The training of `tiny`, at a size that a CPU manages in seconds: pairs, loss, export, and the way through all of it."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edit_eval.benchmarks._scene_edits import CATEGORIES, composed
from edit_eval.benchmarks.scenes import render
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors._tiny_flow import initial_noise, sample, times
from edit_eval.editors._tiny_tokens import Vocabulary

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from training.drawing import CHUNK, SERIES, Chunk, Drawing, drawn_chunk  # noqa: E402
from training.export import about, load, save, write_graphs  # noqa: E402
from training.model import Placed, Shape, TinyEditor, gathered, spread  # noqa: E402
from training.muon import Muon  # noqa: E402
from training.plan import Plan, asked_for  # noqa: E402
from training.pool import Intake, Pairs, Pool  # noqa: E402
from training.scoring import Scenes, Setting, baselines, mean_scores, scene_scores  # noqa: E402
from training.train import Training, _optimizers, main  # noqa: E402
from training.vocabulary import LENGTH, vocabulary_words  # noqa: E402

from training import flow  # noqa: E402

SIZE = 24
SMALL = {
    "size": SIZE, "width": 32, "source_channels": 16, "channels": 16, "condition": 16, "encoder_layers": 1,
    "denoiser_layers": 1,
}  # fmt: skip
CPU = torch.device("cpu")
pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def words() -> list[str]:
    return vocabulary_words(SERIES - 2)


@pytest.fixture(scope="module")
def model() -> TinyEditor:
    """A network with weights by chance, none of them zero."""
    torch.manual_seed(0)
    made = TinyEditor(Shape(vocabulary=300, length=LENGTH, **SMALL))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return made.eval()


@pytest.fixture(scope="module")
def folder(model: TinyEditor, words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights")
    save(model, path, {"words": words, "length": LENGTH})
    write_graphs(path)
    return path


def test_every_instruction_is_read_whole(words: list[str]) -> None:
    reader = Vocabulary(words, LENGTH)
    for index in range(800):
        edit = composed(0, index)
        for said in (edit.english, edit.chinese):
            assert not reader.unknown(said)
            assert reader.tokens(said)[-1] == 0, "there was room"
    assert len({tuple(reader.tokens(composed(0, index).english)) for index in range(80)}) > 70


def test_pairs_come_as_they_are_drawn(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(json.dumps(words))
    drawing = Drawing([SERIES, SERIES + 1], CHUNK, SIZE, tmp_path / "words.json", LENGTH)
    try:
        chunks = drawing.everything()
    finally:
        drawing.stop()
    reader = Vocabulary(words, LENGTH)
    assert len(chunks) == 2
    expected = drawn_chunk(SERIES, 0, SIZE, reader)
    for one, other in (
        (chunks[0], expected),
        (Chunk.from_bytes(expected.as_bytes(), SIZE, LENGTH), expected),
    ):
        for name in ("pictures", "tokens", "kinds"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    source, target, english, _, category = render(SERIES, 3, SIZE)
    assert np.array_equal(expected.pictures[3], [np.asarray(source), np.asarray(target)])
    assert expected.tokens[3, 0].tolist() == reader.tokens(english)
    assert CATEGORIES[expected.kinds[3]] == category


def test_a_process_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text("no json")
    drawing = Drawing([SERIES], CHUNK, SIZE, tmp_path / "words.json", LENGTH)
    with pytest.raises(RuntimeError, match="failed"):
        drawing.everything()
    drawing.stop()


def test_a_pool_is_filled_and_drawn_from(words: list[str]) -> None:
    chunk = drawn_chunk(SERIES, 0, SIZE, Vocabulary(words, LENGTH))
    pool = Pool(CHUNK + 10, SIZE, LENGTH, CPU)
    pool.add(Pairs.of([chunk]))
    assert pool.filled == CHUNK
    pool.add(Pairs.of([chunk]))
    assert pool.filled == CHUNK + 10
    source, target, tokens = pool.batch(64)
    assert source.shape == target.shape == (64, 3, SIZE, SIZE)
    assert (source.min() >= -1, source.max() <= 1, source.std() > 0.1) == (True, True, True)
    both = {tuple(one) for pair in chunk.tokens.tolist() for one in pair}
    assert {tuple(one) for one in tokens.tolist()} <= both


def test_kinds_are_drawn_as_often_as_they_are_told(words: list[str]) -> None:
    chunk = drawn_chunk(SERIES, 0, SIZE, Vocabulary(words, LENGTH))
    pool = Pool(2 * CHUNK, SIZE, LENGTH, CPU)
    kind_of = {
        tuple(one): kind
        for pair, kind in zip(chunk.tokens.tolist(), chunk.kinds, strict=True)
        for one in pair
    }
    weights = torch.zeros(len(CATEGORIES))
    weights[CATEGORIES.index("text")], weights[CATEGORIES.index("move")] = 3.0, 1.0
    torch.manual_seed(0)
    for _ in range(2):  # also after more have come
        pool.add(Pairs.of([chunk]))
        _, _, tokens = pool.batch(2000, weights)
        drawn = [CATEGORIES[kind_of[tuple(one)]] for one in tokens.tolist()]
        assert set(drawn) == {"text", "move"}
        assert drawn.count("text") == pytest.approx(1500, abs=100)
        every = {tuple(one) for one in tokens.tolist() if CATEGORIES[kind_of[tuple(one)]] == "text"}
        assert len(every) == 2 * (chunk.kinds == CATEGORIES.index("text")).sum()


def test_pairs_are_taken_in_beside_the_learning(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(json.dumps(words))
    drawing = Drawing([SERIES], 3 * CHUNK, SIZE, tmp_path / "words.json", LENGTH)
    intake, found = Intake(drawing, pinned=False), []
    try:
        end = time.monotonic() + 60
        while sum(len(one.kinds) for one in found) < 3 * CHUNK and time.monotonic() < end:
            found += intake.ready()
            time.sleep(0.02)
    finally:
        intake.stop()
        drawing.stop()
    expected = Pairs.of([drawn_chunk(SERIES, k * CHUNK, SIZE, Vocabulary(words, LENGTH)) for k in range(3)])
    assert torch.equal(torch.cat([one.pictures for one in found]), expected.pictures)
    assert torch.equal(torch.cat([one.tokens for one in found]), expected.tokens)


def test_an_intake_tells_that_nothing_will_come(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text("no list")
    drawing = Drawing([SERIES], CHUNK, SIZE, tmp_path / "words.json", LENGTH)
    intake = Intake(drawing, pinned=False)
    try:
        intake._thread.join(60)
        with pytest.raises(RuntimeError, match="failed"):
            intake.ready()
    finally:
        intake.stop()
        drawing.stop()


def test_pixels_are_put_together_and_spread() -> None:
    picture = torch.arange(2 * 3 * 12 * 12).reshape(2, 3, 12, 12)
    assert torch.equal(gathered(picture, 3), torch.nn.functional.pixel_unshuffle(picture, 3))
    assert torch.equal(spread(gathered(picture, 3), 3), picture)


def test_the_loss_is_of_the_velocity(model: TinyEditor) -> None:
    """Estimates that are the source, for edits of another size: the velocity's error can be told beforehand."""

    class Keeps(torch.nn.Module):
        def forward(self, noisy, time, source, *encoded):
            return source

    kept = TinyEditor(model.shape)
    kept.denoiser = Keeps()
    source = torch.zeros(2, 3, SIZE, SIZE)
    target = source.clone()
    target[:, :, :6] = 1.0
    time = torch.tensor([0.0, 0.5, 0.9, 0.999])
    found = flow.flow_loss(
        kept,
        source,
        target,
        torch.zeros(2, LENGTH, dtype=torch.int64),
        torch.randn(4, 3, SIZE, SIZE),
        time,
        torch.tensor([1.0, 0.5]),
    )
    assert found.tolist() == pytest.approx([0.25, 1.0, 2.0, 2.0], rel=1e-4), "near the image no more"


def test_most_times_to_learn_at_are_near_the_noise() -> None:
    torch.manual_seed(0)
    found = flow.moments(1000, CPU).sort().values
    assert found[0] >= 0.0
    assert found[-1] < 1.0
    assert found[500].item() == pytest.approx(0.125, abs=0.002), "one in every thousandth, cubed"
    assert found[900].item() == pytest.approx(0.729, abs=0.005)


def test_the_way_may_lead_to_an_estimate_of_the_networks_own(model: TinyEditor) -> None:
    """The denoiser first estimates at the earlier times, and then sees what these estimates lead to."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Half(torch.nn.Module):
        def forward(self, noisy, time, source, *encoded):
            seen.append((noisy, time))
            return torch.full_like(source, 0.5)

    looked_at = TinyEditor(model.shape)
    looked_at.denoiser = Half()
    source, target = torch.zeros(2, 3, SIZE, SIZE), torch.ones(2, 3, SIZE, SIZE)
    words, noise = torch.zeros(2, LENGTH, dtype=torch.int64), torch.zeros(2, 3, SIZE, SIZE)
    times, earlier = torch.tensor([0.8, 0.8]), torch.tensor([0.4])
    found = flow.flow_loss(looked_at, source, target, words, noise, times, torch.ones(2), earlier)
    assert [one.tolist() for _, one in seen] == [earlier.tolist(), times.tolist()]
    assert seen[0][0].mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.4])
    assert seen[1][0].mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.8 * 0.5, 0.8])
    assert found.tolist() == pytest.approx([0.25 / 0.25**2] * 2)


def test_what_is_drawn_by_its_place_moves_with_its_anchor() -> None:
    torch.manual_seed(0)
    made = Placed(32, 8, 5, 16)
    torch.nn.init.normal_(made.third.weight)
    with torch.no_grad():
        made.anchor.weight.zero_()
        made.anchor.bias.zero_()
        made.code.weight.zero_()
        picture = torch.zeros(1, 64, 32)
        still = made(picture)
        assert still.shape == (1, 5, 16, 16)
        made.anchor.bias.copy_(torch.atanh(torch.tensor([0.0, 1.0 / 16.0])))  # one cell to the right
        moved = made(picture)
    # Each token's left cell is now as far from its anchor as one cell further left was: what was right of it moved along.
    assert torch.allclose(moved[..., 1::2], still[..., 0::2], atol=1e-4)
    assert not torch.allclose(moved, still, atol=1e-2)


def test_a_network_that_draws_by_place_is_exported_too(words: list[str], tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(0)
    made = TinyEditor(Shape(vocabulary=300, length=LENGTH, **{**SMALL, "placed": 16})).eval()
    torch.nn.init.normal_(made.encoder.placed.third.weight, std=0.3)
    save(made, tmp_path, {"words": words, "length": LENGTH})
    write_graphs(tmp_path)
    again = load(tmp_path)
    assert again.shape == made.shape
    session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"), providers=["CPUExecutionProvider"])
    source, said = torch.rand(1, 3, SIZE, SIZE) * 2 - 1, torch.arange(LENGTH)[None] % 300
    with torch.no_grad():
        wanted = again.encoder(source, said)
    found = session.run(None, {"source": source.numpy(), "words": said.numpy()})
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other.numpy()).max() < 1e-3


def test_an_untaught_gate_leaves_most_of_the_source() -> None:
    model = TinyEditor(Shape(vocabulary=300, length=LENGTH, **SMALL))
    source, noisy = torch.full((1, 3, SIZE, SIZE), 0.5), torch.full((1, 3, SIZE, SIZE), -0.5)
    encoded = model.encoder(source, torch.zeros(1, LENGTH, dtype=torch.int64))
    share = 1 / (1 + math.e)
    kept = model.denoiser(noisy, torch.zeros(1), source, *encoded)
    assert torch.allclose(kept, torch.full_like(kept, 0.5 - 0.5 * share), atol=1e-5), "what is drawn is grey"
    free = TinyEditor(replace(model.shape, gated=0))
    assert torch.allclose(free.denoiser(noisy, torch.zeros(1), source, *encoded), torch.zeros_like(noisy))
    flowing = TinyEditor(replace(model.shape, gated=0, direct=0))
    assert torch.allclose(flowing.denoiser(noisy, torch.zeros(1), source, *encoded), noisy), "it stands still"


def test_matrices_move_together_as_they_would_alone() -> None:
    """Muon of all matrices of a shape at once is that of PyTorch, one after another; kernels are matrices too."""
    torch.manual_seed(0)
    shapes = [(8, 5), (8, 5), (6, 2, 3, 3), (4, 9), (3, 3)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(one.detach().flatten(1).clone()) for one in ours]
    still = torch.nn.Parameter(torch.ones(2, 2))
    together = Muon([*ours, still], 0.01, weight_decay=0.1)
    alone = torch.optim.Muon(theirs, 0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.flatten(1).clone()
        together.step()
        alone.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one.flatten(1), other, atol=1e-6)
    assert torch.equal(still, torch.ones(2, 2)), "it has no gradient"


def test_every_weight_learns_by_one_optimizer(model: TinyEditor) -> None:
    for muon in (False, True):
        optimizers = _optimizers(model, 0.1, CPU, muon=muon)
        assert len(optimizers) == 1 + muon
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        learnt = [id(weight) for group in groups for weight in group["params"]]
        assert sorted(learnt) == sorted(id(weight) for weight in model.parameters())
        assert all(group["highest"] == 0.1 for group in groups)
    assert all(weight.ndim >= 2 for weight in optimizers[0].param_groups[0]["params"])
    assert any(weight is model.encoder.words.weight for weight in groups[2]["params"]), (
        "embeddings do not decay"
    )


def test_what_is_compiled_beforehand_is_what_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second compilation took the first minute of a training, for the first had seen one tensor in two places."""
    from torch._dynamo.testing import CompileCounter

    counted = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counted))
    plan = Plan(batch=4, capacity=100, first=4, workers=1, warm_up=5, shape=SMALL, own=0.5)
    training = Training(plan, tmp_path, CPU)
    learn = training._compiled()
    before = counted.frame_count
    assert before > 0
    training.pool.add(Pairs.of([drawn_chunk(SERIES, 0, SIZE, Vocabulary(training.words, LENGTH))]))
    for _ in range(2):
        training._one_step(learn, 0.5)
    assert counted.frame_count == before


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate")]
)
def test_a_pool_takes_what_memory_there_is(monkeypatch: pytest.MonkeyPatch, error: RuntimeError) -> None:
    """An accelerator says in another way than the host that there is not so much."""
    usual = torch.empty

    def empty(shape, **given):
        if shape[0] > 3000:
            raise error
        return usual(shape, **given)

    monkeypatch.setattr(torch, "empty", empty)
    assert Pool(10_000, SIZE, LENGTH, CPU).capacity == 2500


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *((f"--{name} {value}", "give a share of at least 0 and less than 1") for name, value in (("failed", 1), ("failed", -0.1), ("own", "nan"))),
        *((f"--{name} 0", "give 1 or more") for name in ("batch", "draws", "workers", "capacity", "warm-up", "validation", "test", "most-steps")),
        *((f"--{name} {value}", "give a number above 0") for name in ("minutes", "rate", "every") for value in ("0", "-1", "nan", "inf")),
        *((f"--{name} -1", "give 0 or more") for name in ("seed", "hard", "placed")),
        ("--device tpu", "give cpu, cuda or cuda:1"),
        ("--device cpu:a", "give cpu, cuda or cuda:1"),
        ("--device cuda:99", "there is no such GPU here"),
        ("--minutes soon", "invalid float value"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_line(
    options: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        asked_for(["--output", "x", "--smoke", *options.split()])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert said in last
    assert options.split(maxsplit=1)[0] in last


def test_without_a_gpu_the_whole_training_has_to_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        asked_for(["--output", "x"])
    assert "there is no GPU here that torch can use; add --smoke" in capsys.readouterr().err
    assert asked_for(["--output", "x", "--device", "cpu"])[0] == Plan()
    assert asked_for(["--output", "x", "--smoke"])[2] == CPU


@pytest.mark.parametrize("output", ["a-file", "a-file/below"])
def test_an_output_that_cannot_be_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    (tmp_path / "a-file").touch()
    monkeypatch.setattr(sys, "argv", ["train", "--output", str(tmp_path / output), "--smoke"])
    with pytest.raises(SystemExit, match=r"--output .*: .*; give a folder that can be written to"):
        main()


@pytest.mark.parametrize("start", ["nothing", "no json", "no weights", "other sizes"])
def test_a_start_that_cannot_be_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: TinyEditor, start: str
) -> None:
    folder = tmp_path / "old"
    if start != "nothing":
        save(model, folder, {})
    if start == "no json":
        (folder / "tiny.json").write_text("{")
    if start == "no weights":
        (folder / "tiny.safetensors").write_bytes(b"no weights")
    command = ["train", "--output", str(tmp_path / "new"), "--smoke", "--start", str(folder)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match=r"--start .*: give the output folder of a training") as ended:
        main()
    assert "\n" not in str(ended.value)


def short_training(folder: Path, **differs: int) -> Training:
    """Run a training of a few steps from beginning to end."""
    usual = Plan(
        minutes=4, batch=16, workers=1, first=50, compiled=False, warm_up=5, shape=SMALL,
        validation=2, test=4, ending=0.0, every=2.0, settings=1, noted=20,
    )  # fmt: skip
    training = Training(replace(usual, **differs), folder, CPU)
    try:
        training.run()
    finally:
        training.stop()
    return training


def test_fewer_pairs_than_a_batch_are_enough(tmp_path: Path) -> None:
    """It had waited for ever for pairs that there was no room for."""
    training = short_training(tmp_path, most_steps=2, capacity=5)
    assert training.pool.filled == 5
    assert training.step == 2


def test_as_many_edits_fail_as_were_asked_for(tmp_path: Path) -> None:
    plan = Plan(batch=400, capacity=100, workers=1, shape=SMALL, failed=0.25, own=0.0, compiled=False)
    training = Training(plan, tmp_path, CPU)
    torch.manual_seed(0)
    earlier, failed, share = training._chances(torch.rand(400))
    assert earlier is None
    assert failed is not None
    assert 60 < failed.sum() < 140
    assert share == 0.25
    training.pool.add(Pairs.of([drawn_chunk(SERIES, 0, SIZE, Vocabulary(training.words, LENGTH))]))
    assert training._one_step(flow.flow_loss, 0.5).isfinite()


def test_the_odds_of_failure_are_those_of_bayes() -> None:
    """As computed from both normal densities of x_t, and right as often as they say."""
    torch.manual_seed(0)
    count, share = 4000, 0.2
    source, target = torch.zeros(count, 3, 2, 2), torch.full((count, 3, 2, 2), 0.4)
    noise, time, failed = torch.randn_like(source), 0.9 * torch.rand(count), torch.rand(count) < share
    odds = flow.odds_of_failure(source, target, noise, time, failed, share)
    late = time[:, None, None, None]
    seen = (1 - late) * noise + late * torch.where(failed[:, None, None, None], source, target)
    spread = torch.distributions.Normal(0.0, 1 - late)
    likely = [spread.log_prob(seen - late * end).sum(dim=(1, 2, 3)) for end in (source, target)]
    assert odds.tolist() == pytest.approx((likely[0] - likely[1] + math.log(0.25)).tolist(), abs=1e-3)
    said = torch.sigmoid(odds)
    for low, high in ((0.05, 0.15), (0.15, 0.3), (0.3, 0.6), (0.9, 1.0)):
        there = (said >= low) & (said <= high)
        spread_of_mean = (said[there] * (1 - said[there])).sum().sqrt() / there.sum()
        assert abs(said[there].mean() - failed[there].float().mean()) < 4 * spread_of_mean + 1e-3


def test_where_edits_fail_the_estimate_learns_what_to_expect(model: TinyEditor) -> None:
    """Near the noise a mean of both ends; far from it the end that it was. The path leads where the edit led."""
    seen: list[torch.Tensor] = []

    class Looks(torch.nn.Module):
        def forward(self, noisy, time, source, *encoded):
            seen.append(noisy)
            return torch.full_like(source, 0.8)

    looks = TinyEditor(model.shape)
    looks.denoiser = Looks()
    source, target = torch.zeros(4, 3, SIZE, SIZE), torch.ones(4, 3, SIZE, SIZE)
    words, noise = torch.zeros(4, LENGTH, dtype=torch.int64), torch.zeros(4, 3, SIZE, SIZE)
    times, failed = torch.tensor([0.0, 0.0, 0.9, 0.9]), torch.tensor([True, False, True, False])
    found = flow.flow_loss(looks, source, target, words, noise, times, torch.ones(4), None, failed, 0.2)
    assert seen[0].mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.0, 0.0, 0.0, 0.9])
    assert found.tolist() == pytest.approx([0.0, 0.0, 0.64 / 0.25**2, 0.04 / 0.25**2], abs=1e-6)
    earlier = torch.zeros(3)  # an own estimate knows no more than what it was made from
    found = flow.flow_loss(looks, source, target, words, noise, times, torch.ones(4), earlier, failed, 0.2)
    assert found.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.04 / 0.25**2], abs=1e-6)


def test_weights_are_written_once_and_in_half(model: TinyEditor, folder: Path, words: list[str]) -> None:
    count = sum(weight.numel() for weight in model.parameters())
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert set(sizes) == {"tiny.safetensors", "tiny.json", "encoder.onnx", "denoiser.onnx"}
    assert 2 * count < sizes["tiny.safetensors"] < 2 * count + 20_000
    assert max(sizes["encoder.onnx"], sizes["denoiser.onnx"]) < 100_000
    again = load(folder)
    assert again.shape == model.shape
    assert about(folder)["words"] == words
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].half().float()), name


@pytest.mark.parametrize(("steps", "guidance"), [(1, 1.0), (5, 1.0), (5, 2.0)])
def test_torch_and_onnxruntime_make_the_same_image(folder: Path, steps: int, guidance: float) -> None:
    from edit_eval.editors.tiny import Tiny, TinyParams

    params = TinyParams(steps, guidance, guided_until=0.5, shift=1.0, weights=str(folder))
    editor, network = Tiny(Tiny.resolve(params, None), HostContext()), load(folder)
    reader = Vocabulary(about(folder)["words"], LENGTH)
    for index in range(4):
        source, _, english, chinese, _ = render(0, index, SIZE)
        said = english if index % 2 else chinese
        request = EditRequest(Sample("s", said, ("s.png",)), said, (source,), seed=index)
        made = np.asarray(editor.edit(request, lambda step, steps: None), np.float32)
        given = torch.from_numpy(np.asarray(source, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1)
        noise = torch.from_numpy(initial_noise(index, SIZE).transpose(2, 0, 1)[None].copy())
        tokens = torch.tensor([reader.tokens(said)])
        again = flow.sample(network, given, tokens, noise, times(steps, 1.0), guidance, 0.5)
        again = (again[0].numpy().transpose(1, 2, 0) * 127.5 + 127.5).round()
        assert np.abs(again - made).max() <= 2
        assert np.abs(made - np.asarray(source, np.float32)).max() > 20


def test_the_loop_ends_at_the_last_estimate() -> None:
    seen: list[tuple[float, bool]] = []

    def clean(image, time, guided):
        seen.append((time, guided))
        return np.full_like(image, 0.25), np.full_like(image, 0.5) if guided else None

    steps: list[tuple[int, int]] = []
    at = times(4, 1.0)
    made = sample(clean, initial_noise(0, 4), at, 2.0, 0.5, lambda done, of: steps.append((done, of)))
    assert np.allclose(made, 0.25)
    assert seen == [(0.0, True), (0.25, True), (0.5, False), (0.75, False)]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert times(4, 3.0)[1] < 0.25 < times(4, 0.5)[1]
    assert (times(4, 3.0)[0], times(4, 3.0)[-1]) == (0.0, 1.0)


def test_scores_are_those_of_the_judge(words: list[str]) -> None:
    from edit_eval.judges.reference import _difference, similarity

    scenes = Scenes.of([drawn_chunk(0, 0, SIZE, Vocabulary(words, LENGTH))], 16, CPU)
    fixed = baselines(scenes)
    assert fixed["identity"] == [0.0] * 16
    rng = np.random.default_rng(0)
    from training.scoring import _similarities

    made = (scenes.target + 0.05 * torch.from_numpy(rng.standard_normal(scenes.target.shape))).float()
    for index, score in enumerate(_similarities(made, scenes)):
        pixels = ((made[index].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        source, target, *_ = render(0, index, SIZE)
        errors = _difference(Image.fromarray(pixels), target), _difference(source, target)
        assert score == pytest.approx(10 * similarity(*errors), abs=1e-6)
    means = mean_scores({"en": [1.0, 3.0], "zh": [5.0, 7.0]}, ["add", "text"])
    assert (means["all"], means["en"], means["text"], means["text zh"]) == (4.0, 2.0, 5.0, 7.0)


def test_the_command_line_says_what_differs_from_the_usual_plan() -> None:
    plan, output, _ = asked_for(["--output", "weights", "--device", "cpu"])
    assert (plan, output) == (Plan(), Path("weights"))
    words = "--output w --device cpu --minutes 2.5 --start old --warm-up 7 --without gate --no-compile"
    plan, _, device = asked_for(shlex.split(words))
    assert (plan.minutes, plan.start, plan.warm_up, plan.compiled) == (2.5, "old", 7, False)
    assert plan.shape == {"gated": 0}
    assert device == CPU
    plan, _, _ = asked_for(["--output", "w", "--smoke", "--without", "weights", "--batch", "3"])
    assert (plan.batch, plan.weighted, plan.compiled) == (3, False, False)
    assert plan.shape["width"] < Shape(vocabulary=1, length=1).width


@pytest.mark.long
def test_a_whole_training(tmp_path: Path) -> None:
    """A few steps of it; the loss falls even so."""
    training = short_training(tmp_path, most_steps=60, capacity=200)
    log = json.loads((tmp_path / "log.json").read_text())
    losses = [step["loss"] for step in log["steps"]]
    assert len(losses) >= 2
    assert losses[-1] < losses[0]
    assert log["test"]["scenes"] == 4
    assert log["test"]["baselines"]["identity"]["all"] == 0.0
    assert set(log["test"]) >= {"20 steps", "2 steps", "no guidance"}
    assert about(tmp_path)["sampling"] == log["chosen"]
    assert load(tmp_path).shape == training.shape
    assert mean_scores(
        scene_scores(load(tmp_path), training.validation, Setting(steps=1)), training.validation.kinds
    )
