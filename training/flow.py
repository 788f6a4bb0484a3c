"""The loss that the network learns from, and the sampling loop in torch, many edits at once.

The loop is that of `edit_eval.editors._tiny_flow`; a test holds them together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from training.model import TinyEditor

__all__ = ["edit_weight", "flow_loss", "moments", "sample"]

_SHARPEST = 0.25
"""Distance from the image, 1 - t, below which errors do not weigh more: nearer, x_t tells what the target is."""


def flow_loss(
    model: TinyEditor,
    source: Tensor,
    target: Tensor,
    words: Tensor,
    noise: Tensor,
    time: Tensor,
    weight: Tensor,
    earlier: Tensor | None = None,
) -> Tensor:
    """Return the loss of each pair: squared error of the velocity.

    On the path x_t = (1 - t) noise + t target (Lipman et al. 2023; Liu et al. 2023) the velocity's error is that of
    the estimated image over 1 - t.

    Args:
        model: the network.
        source: (batch, 3, size, size) in -1..1.
        target: the same.
        words: (batch, length).
        noise: (batch * draws, 3, size, size); each pair is encoded once and denoised `draws` times.
        time: (batch * draws,) in 0..1.
        weight: (batch,), what each pair's loss is multiplied by; see `edit_weight`.
        earlier: (some,) times at which the network first estimates the image, each before the time at its place; for as
            many of the first noises x_t leads to that estimate and not to the target, as it does when an image is
            sampled, so that mistakes of earlier steps are mended (the exposure bias of Ning et al. 2024).

    Returns:
        (batch * draws,).
    """
    draws = len(noise) // len(source)
    encoded = model.encoder(source, words)
    source, target = source.repeat_interleave(draws, 0), target.repeat_interleave(draws, 0)
    fine, coarse, whole = (part.repeat_interleave(draws, 0) for part in encoded)
    late, end, left = time[:, None, None, None], target, (1.0 - time).clamp(min=_SHARPEST)
    if earlier is not None:
        own = slice(0, len(earlier))
        with torch.no_grad():
            before = earlier[:, None, None, None]
            noisy = (1.0 - before) * noise[own] + before * target[own]
            seen = model.denoiser(noisy, earlier, source[own], fine[own], coarse[own], whole[own])
        end = torch.cat([seen.clamp(-1.0, 1.0), target[len(earlier) :]])
    noisy = (1.0 - late) * noise + late * end
    estimate = model.denoiser(noisy, time, source, fine, coarse, whole)
    error = (estimate - target).square().mean(dim=(1, 2, 3)) / left.square()
    return error * weight.repeat_interleave(draws)


def moments(count: int, device: torch.device) -> Tensor:
    """Return times to learn at, (count,) in 0..1: most of them near the noise (cubes of evenly spread numbers).

    Only very near the noise does the instruction decide anything: many pixels together tell what was edited as soon as
    a few hundredths of the image are in x_t (the reason for the shift of Esser et al. 2024, section 5.3.2).
    """
    even = (torch.randperm(count, device=device) + torch.rand(count, device=device)) / count
    return even**3


def edit_weight(source: Tensor, target: Tensor) -> Tensor:
    """Return (batch,): about 1 where few pixels change, 0.1 where all do.

    An edit of a few pixels weighs more than one of the whole picture, since editors are judged by what is left of the
    difference that there was.
    """
    change = 0.5 * (source - target).square().mean(dim=(1, 2, 3)).sqrt()
    return (0.06 / (change + 0.015)) ** 1.5


@torch.no_grad()
def sample(
    model: TinyEditor,
    source: Tensor,
    words: Tensor,
    noise: Tensor,
    at: Sequence[float],
    guidance: float,
    guided_until: float,
) -> Tensor:
    """Return edited images, (batch, 3, size, size) in -1..1; see `edit_eval.editors._tiny_flow.sample`."""
    told = model.encoder(source, words)
    untold = model.encoder(source, torch.zeros_like(words)) if guidance != 1.0 else told
    image = noise
    for now, then in itertools.pairwise(at):
        time = torch.full((len(noise),), now, device=noise.device)
        estimate = model.denoiser(image, time, source, *told)
        if guidance != 1.0 and now < guided_until:
            without = model.denoiser(image, time, source, *untold)
            estimate = without + guidance * (estimate - without)
        image = image + (then - now) / (1.0 - now) * (estimate.clamp(-1.0, 1.0) - image)
    return image
