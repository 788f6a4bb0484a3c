"""Scores of a network on scenes that it has not seen, by the definition of the judge `reference`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edit_eval.benchmarks._scene_edits import CATEGORIES
from edit_eval.editors._tiny_flow import initial_noise, times
from edit_eval.judges.reference import similarity
from training.drawing import Chunk
from training.flow import sample
from training.model import TinyEditor

__all__ = ["LANGUAGES", "Scenes", "Setting", "baselines", "mean_scores", "scene_scores"]

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Setting:
    """How images are sampled.

    Attributes:
        steps: of the flow.
        guidance: on the instruction; 1: none.
        guided_until: time up to which there is guidance.
        shift: of the times; see `edit_eval.editors._tiny_flow.times`.
    """

    steps: int = 20
    guidance: float = 1.5
    guided_until: float = 0.5
    shift: float = 1.0


@dataclass(frozen=True)
class Scenes:
    """Scenes to be scored on.

    Attributes:
        source: (scenes, 3, size, size) in -1..1.
        target: the same.
        tokens: (2, scenes, length), English and Chinese.
        kinds: of each scene, a category.
    """

    source: Tensor
    target: Tensor
    tokens: Tensor
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, chunks: Sequence[Chunk], count: int, device: torch.device) -> Scenes:
        """Take the first `count` scenes of some chunks."""
        pictures = torch.from_numpy(np.concatenate([one.pictures for one in chunks])[:count]).to(device)
        pictures = pictures.permute(1, 0, 4, 2, 3).float() / 127.5 - 1.0
        tokens = torch.from_numpy(np.concatenate([one.tokens for one in chunks])[:count]).to(device)
        kinds = tuple(CATEGORIES[kind] for one in chunks for kind in one.kinds)[:count]
        return cls(
            pictures[0].contiguous(),
            pictures[1].contiguous(),
            tokens.permute(1, 0, 2).long().contiguous(),
            kinds,
        )


def scene_scores(
    model: TinyEditor, scenes: Scenes, setting: Setting, batch: int = 128
) -> dict[str, list[float]]:
    """Return for each language the `similarity` of every scene, 0..10, seeded by the scene's number."""
    at = times(setting.steps, setting.shift)
    size = scenes.source.shape[-1]
    noise = torch.from_numpy(np.stack([initial_noise(number, size) for number in range(len(scenes.kinds))]))
    noise = noise.permute(0, 3, 1, 2).contiguous().to(scenes.source.device)
    scores: dict[str, list[float]] = {}
    for language, tokens in zip(LANGUAGES, scenes.tokens, strict=True):
        made = [
            sample(
                model,
                scenes.source[part],
                tokens[part],
                noise[part],
                at,
                setting.guidance,
                setting.guided_until,
            )
            for part in torch.arange(len(noise), device=noise.device).split(batch)
        ]
        scores[language] = _similarities(torch.cat(made), scenes)
    return scores


def baselines(scenes: Scenes) -> dict[str, list[float]]:
    """Return the scores of an editor that returns the source, and of one that returns noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(scenes.source.shape, generator=generator).to(scenes.source.device) * 2.0 - 1.0
    return {"identity": _similarities(scenes.source, scenes), "random": _similarities(noise, scenes)}


def _similarities(edited: Tensor, scenes: Scenes) -> list[float]:
    """Score images as they are written: in 256 steps."""
    shown = _as_written(edited)
    target, source = _as_written(scenes.target), _as_written(scenes.source)
    edited_errors = (shown - target).square().mean(dim=(1, 2, 3)).sqrt().tolist()
    source_errors = (source - target).square().mean(dim=(1, 2, 3)).sqrt().tolist()
    return [10.0 * similarity(one, other) for one, other in zip(edited_errors, source_errors, strict=True)]


def _as_written(pictures: Tensor) -> Tensor:
    return ((pictures.clamp(-1.0, 1.0) + 1.0) * 127.5).round().double() / 255.0


def mean_scores(scores: dict[str, list[float]], kinds: Sequence[str]) -> dict[str, float]:
    """Return means: over everything, by language, by kind, and by both."""
    everything = [
        (name, kind, one) for name, each in scores.items() for kind, one in zip(kinds, each, strict=True)
    ]
    groups: dict[str, list[float]] = {}
    for name, kind, one in everything:
        for group in ("all", name, kind, f"{kind} {name}"):
            groups.setdefault(group, []).append(one)
    return {group: round(sum(each) / len(each), 3) for group, each in groups.items()}
