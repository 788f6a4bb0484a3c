"""Trains the editor `tiny` on drawn scenes: one command, seeded, that ends when its minutes are over.

    python -m training.train --output weights

Writes to the output folder: `tiny.safetensors` and `tiny.json` (again and again, from averaged weights), the two ONNX
graphs, and `log.json` with the loss, the scores on the way, and the scores of the end on 500 scenes that were not
trained on. A CPU does the same with `--smoke`, on a small network and few scenes, to see that everything works.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from edit_eval.benchmarks._scene_edits import CATEGORIES
from edit_eval.core.errors import UserError
from edit_eval.editors._tiny_tokens import Vocabulary
from training.drawing import CHUNK, SERIES, Drawing
from training.export import load, save, write_graphs
from training.flow import edit_weight, flow_loss, moments
from training.model import Shape, TinyEditor
from training.muon import Muon
from training.plan import PROGRAM, Plan, asked_for
from training.pool import Intake, Pool
from training.scoring import Scenes, Setting, baselines, mean_scores, scene_scores
from training.vocabulary import LENGTH, vocabulary_words

__all__ = ["Training", "main"]

_COMPILING_FAILED = (
    RuntimeError, ImportError, OSError, SubprocessError, LookupError, TypeError, ValueError, AttributeError, AssertionError,
)  # fmt: skip
"""What a compiler that does not fit the machine may raise; the network then learns without one."""


_NO_WEIGHTS = (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError)
"""What a folder may raise that is none of weights, or of those of another network."""


class Training:
    """What a training holds between its steps: network, averaged weights, optimizer, pairs and a log."""

    def __init__(self, plan: Plan, output: Path, device: torch.device) -> None:
        self.plan, self.output, self.device = plan, output, device
        self.begun = time.monotonic()
        self.log: dict[str, Any] = {
            "plan": asdict(plan),
            "machine": _machine(device),
            "steps": [],
            "scores": [],
        }
        _make(output)
        words = vocabulary_words(SERIES - 2)
        self.words = words
        (output / "words.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        self.shape = Shape(vocabulary=len(Vocabulary(words, LENGTH)), length=LENGTH, **plan.shape)
        self._drawings: list[Drawing] = []
        torch.manual_seed(plan.seed)
        self.model = TinyEditor(self.shape)
        if plan.start:
            _go_on_from(Path(plan.start), self.model)
        self.model = self.model.to(device)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizers = _optimizers(self.model, plan.rate, device, muon=plan.muon)
        self.pool = Pool(plan.capacity, self.shape.size, LENGTH, device)
        self.kind_weights: Tensor | None = None
        self.step, self.seen = 0, 0

    def _drawing(self, series: list[int], limit: int) -> Drawing:
        per_process = -(-limit // (len(series) * CHUNK)) * CHUNK
        drawing = Drawing(series, per_process, self.shape.size, self.output / "words.json", LENGTH)
        self._drawings.append(drawing)
        return drawing

    def say(self, text: str) -> None:
        """Print a line with the time."""
        print(f"[{time.monotonic() - self.begun:6.1f} s] {text}", flush=True)

    def run(self) -> None:
        """Train, score, write."""
        plan = self.plan
        parameters = sum(one.numel() for one in self.model.parameters())
        self.log["parameters"] = parameters
        self.say(
            f"{parameters:,} parameters, {len(self.words)} words, {plan.workers} processes draw, {self.device}"
        )
        loss_of = self._compiled()  # before anything is drawn, for a compiler wants all cores too
        test, validation = self._drawing([0], plan.test), self._drawing([SERIES - 1], plan.validation)
        series = [SERIES + plan.seed * 1000 + worker for worker in range(plan.workers)]
        drawing = self._drawing(series, plan.capacity)
        self.intake = Intake(drawing, pinned=self.device.type == "cuda")
        try:
            self.validation = Scenes.of(validation.everything(), plan.validation, self.device)
            self._wait_for_pairs()
            self._train(loss_of)
        finally:
            self.intake.stop()
            drawing.stop()
        self._write({})
        self._finish(Scenes.of(test.everything(), plan.test, self.device))

    def stop(self) -> None:
        """End the processes that draw."""
        for drawing in self._drawings:
            drawing.stop()

    def _wait_for_pairs(self) -> None:
        plan = self.plan
        latest = time.monotonic() + 15.0 * plan.minutes
        least, enough = (min(one, self.pool.capacity) for one in (plan.batch, plan.first))
        while self.pool.filled < least or (self.pool.filled < enough and time.monotonic() < latest):
            self._take_in()
            time.sleep(0.05)
        self.say(f"{self.pool.filled:,} pairs; training begins")

    def _compiled(self) -> Any:
        """Return the loss function, compiled where that works, after a step on nothing to have that behind us."""
        plan, size = self.plan, self.shape.size
        source = torch.zeros(plan.batch, 3, size, size, device=self.device)
        target = torch.zeros_like(source)  # one tensor for both would be another graph than learning's
        words = torch.zeros(plan.batch, LENGTH, dtype=torch.int64, device=self.device)
        noise = torch.zeros(plan.batch * plan.draws, 3, size, size, device=self.device)
        times = torch.linspace(0.0, 0.9, len(noise), device=self.device)
        weight = torch.ones(plan.batch, device=self.device)
        chances = self._chances(times)
        if plan.compiled:
            mode = "reduce-overhead" if self.device.type == "cuda" else None  # a GPU would wait for Python
            compiled = torch.compile(flow_loss, dynamic=False, mode=mode)
            try:
                for _ in range(2):
                    with self._autocast():
                        compiled(
                            self.model, source, target, words, noise, times, weight, *chances
                        ).mean().backward()
                    self.model.zero_grad(set_to_none=True)
            except _COMPILING_FAILED as error:
                self.say(f"not compiled: {type(error).__name__}: {str(error)[:300]}")
                self.log["not_compiled"] = f"{type(error).__name__}: {error}"[:2000]
                self.model.zero_grad(set_to_none=True)
            else:
                self.say("compiled")
                return compiled
        return flow_loss

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _take_in(self) -> None:
        if self.pool.filled < self.pool.capacity:
            for pairs in self.intake.ready():
                self.pool.add(pairs)

    def _train(self, loss_of: Any) -> None:
        plan = self.plan
        began = time.monotonic()
        ends = self.begun + 60.0 * plan.minutes - min(plan.ending, 15.0 * plan.minutes)
        scored, noted, kept = began, began, copy.deepcopy(self.averaged.state_dict())
        losses: list[Tensor] = []
        while (now := time.monotonic()) < ends and self.step < plan.most_steps:
            if self.step % 10 == 0:
                self._take_in()
            share = max((now - began) / (ends - began), self.step / plan.most_steps)
            losses.append(self._one_step(loss_of, share))
            if self.step % plan.noted == 0:
                loss = torch.stack(losses).mean().item()
                losses = []
                if not math.isfinite(loss):
                    self.say(f"step {self.step}: the loss is {loss}; back to the averaged weights")
                    self.model.load_state_dict(kept)
                    self.averaged.load_state_dict(kept)
                    self.optimizers = _optimizers(self.model, 0.5 * plan.rate, self.device, muon=plan.muon)
                    continue
                self._note(loss, share)
                if now - noted > 10.0:
                    kept, noted = copy.deepcopy(self.averaged.state_dict()), now
                    self.say(self._progress(loss, now - began))
                if now - scored > plan.every:
                    self._score_on_the_way()
                    scored = time.monotonic()

    def _one_step(self, loss_of: Any, share: float) -> Tensor:
        plan = self.plan
        source, target, words = self.pool.batch(plan.batch, self.kind_weights)
        weight = edit_weight(source, target) if plan.weighted else torch.ones_like(source[:, 0, 0, 0])
        empty = torch.rand(plan.batch, 1, device=self.device) < plan.nulls
        words = words.masked_fill(empty, 0)
        count = plan.batch * plan.draws
        noise = torch.randn(count, *source.shape[1:], device=self.device)
        times = moments(count, self.device)
        for group in (one for optimizer in self.optimizers for one in optimizer.param_groups):
            group["lr"] = group["highest"] * _rate_share(self.step, plan.warm_up, share)
        with self._autocast():
            loss = loss_of(
                self.model, source, target, words, noise, times, weight, *self._chances(times)
            ).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        self.seen += plan.batch
        decay = min(0.999, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1.0 - decay)
        return loss.detach()

    def _chances(self, times: Tensor) -> tuple[Tensor | None, Tensor | None, float]:
        """Return the last three arguments of `flow_loss`."""
        count = round(self.plan.own * len(times))
        earlier = times[:count] * torch.rand_like(times[:count]) if count else None
        share = self.plan.failed
        return earlier, torch.rand_like(times) < share if share else None, share

    def _note(self, loss: float, share: float) -> None:
        seconds = round(time.monotonic() - self.begun, 1)
        self.log["steps"].append(
            {"step": self.step, "seconds": seconds, "loss": round(loss, 5), "pairs_drawn": self.pool.filled,
             "rate_share": round(_rate_share(self.step, self.plan.warm_up, share), 4)}
        )  # fmt: skip

    def _progress(self, loss: float, seconds: float) -> str:
        return (
            f"step {self.step}, {self.step / seconds:.1f} steps/s, {self.pool.filled:,} pairs drawn, "
            f"{self.seen / self.pool.filled:.1f} times each, loss {loss:.4f}"
        )

    def _score_on_the_way(self) -> None:
        means = mean_scores(scene_scores(self.averaged, self.validation, Setting()), self.validation.kinds)
        self.log["scores"].append(
            {"step": self.step, "seconds": round(time.monotonic() - self.begun, 1), **means}
        )
        self.say(f"scores: {_shown(means)}")
        if self.plan.hard:
            lacking = [1.0 - means.get(kind, 10.0) / 10.0 for kind in CATEGORIES]
            self.kind_weights = 1.0 + self.plan.hard * torch.tensor(lacking, device=self.device)
        self._write({})

    def _finish(self, test: Scenes) -> None:
        """Choose how images are sampled by the validation scenes, and score the test scenes so.

        Chosen is the best with 20 steps and with guidance, the two that the editor is there to show.
        """
        model, scenes = self.averaged, self.validation
        tried: list[dict[str, Any]] = []
        last = self.begun + 60.0 * self.plan.minutes - 0.3 * self.plan.ending
        for setting in _settings()[: self.plan.settings]:
            if tried and time.monotonic() > last:
                self.say("no time for further settings")
                break
            mean = mean_scores(scene_scores(model, scenes, setting), scenes.kinds)["all"]
            tried.append({**asdict(setting), "score": mean})
        self.log["settings"] = tried
        usual = [one for one in tried if one["steps"] == 20 and one["guidance"] > 1]
        best = max(usual, key=lambda one: one["score"])
        chosen = Setting(**{name: one for name, one in best.items() if name != "score"})
        self.log["chosen"] = asdict(chosen)
        self.say(f"chosen of {len(usual)}: {best}")
        others = {
            "20 steps": chosen,
            "2 steps": replace(chosen, steps=2),
            "no guidance": replace(chosen, guidance=1.0),
        }
        self.log["test"] = {"scenes": len(test.kinds)}
        for name, setting in others.items():
            means = mean_scores(scene_scores(model, test, setting), test.kinds)
            self.log["test"][name] = means
            self.say(f"test, {name}: {_shown(means)}")
        fixed = baselines(test)
        self.log["test"]["baselines"] = {
            name: mean_scores({name: one}, test.kinds) for name, one in fixed.items()
        }
        self.say(f"test, baselines: {[(name, self.log['test']['baselines'][name]['all']) for name in fixed]}")
        self._write({"sampling": asdict(chosen)})
        write_graphs(self.output)
        self.say("done")

    def _write(self, more: dict[str, Any]) -> None:
        training = {"steps": self.step, "pairs": self.pool.filled, "seed": self.plan.seed}
        save(
            self.averaged, self.output, {**more, "training": training, "length": LENGTH, "words": self.words}
        )
        (self.output / "log.json").write_text(json.dumps(self.log, indent=1) + "\n", encoding="utf-8")


def _make(folder: Path) -> None:
    """Make the output folder. Raises `UserError` where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.json").touch()
    except OSError as error:
        raise UserError(
            f"--output {folder}: {error.strerror}; give a folder that can be written to"
        ) from error


def _go_on_from(folder: Path, model: TinyEditor) -> None:
    """Take over the weights of an earlier training. Raises `UserError` where there are none, or those of another network."""
    try:
        model.load_state_dict(load(folder).state_dict())
    except _NO_WEIGHTS as error:
        said = " ".join(str(error).split())[:160]
        raise UserError(
            f"--start {folder}: give the output folder of a training with a network of this size ({type(error).__name__}: {said})"
        ) from error


def _settings() -> list[Setting]:
    """Return the ways to sample that are compared, the most likely ones first."""
    fewer = [Setting(steps=steps) for steps in (2, 1, 4, 10, 40)]
    guided = [
        Setting(guidance=guidance, shift=shift)
        for shift in (1.0, 2.0, 4.0, 8.0)
        for guidance in (1.0, 1.5, 2.0, 3.0)
    ]
    longer = [Setting(guidance=2.0, guided_until=until, shift=4.0) for until in (0.1, 0.3, 1.0)]
    return [Setting(), *fewer, *guided, *longer]


def _rate_share(step: int, warm_up: int, share: float) -> float:
    """Return the learning rate as a share of the highest: up over the first steps, down by a cosine over the time."""
    return min(1.0, (step + 1) / warm_up) * max(0.01, 0.5 * (1.0 + math.cos(math.pi * min(1.0, share))))


def _optimizers(
    model: TinyEditor, rate: float, device: torch.device, *, muon: bool
) -> list[torch.optim.Optimizer]:
    """Return what the weights learn by: Muon for the matrices between first and last layers, AdamW for the rest.

    Kernels of convolutions are matrices to Muon, a row for each channel that comes out. Biases, scales and embeddings
    do not decay.
    """
    named = list(model.named_parameters())
    still = [one for name, one in named if one.ndim < 2 or name.split(".")[1] in _STILL]
    outer = [one for name, one in named if one.ndim >= 2 and name.split(".")[1] in _OUTER]
    inner = [one for name, one in named if one.ndim >= 2 and name.split(".")[1] not in (*_STILL, *_OUTER)]
    groups = [
        {"params": outer if muon else outer + inner, "weight_decay": 0.02, "highest": rate},
        {"params": still, "weight_decay": 0.0, "highest": rate},
    ]
    usual: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=device.type == "cuda")
    ]
    if not muon:
        return usual
    matrices = Muon(inner, rate)
    matrices.param_groups[0]["highest"] = rate
    return [matrices, *usual]


_OUTER = ("stem", "out")
_STILL = ("words", "places", "grid")


def _machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "cores": os.cpu_count(), "torch": torch.__version__}


def _shown(means: dict[str, float]) -> str:
    return ", ".join(f"{name} {mean:.2f}" for name, mean in means.items() if " " not in name)


def main() -> None:
    """Read the command line and train."""
    plan, output, device = asked_for()
    torch.set_float32_matmul_precision("high")
    try:
        training = Training(plan, output, device)
    except UserError as error:
        raise SystemExit(f"{PROGRAM}: {error}") from None
    try:
        training.run()
    finally:
        training.stop()


if __name__ == "__main__":
    main()
