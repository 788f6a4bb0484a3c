"""The loss that the network learns from, and the sampling loop in torch, many edits at once.

The loop is that of `edit_eval.editors._tiny_flow`; a test holds them together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from training.model import TinyEditor

__all__ = ["edit_weight", "flow_loss", "moments", "odds_of_failure", "sample"]

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
    failed: Tensor | None = None,
    share: float = 0.0,
) -> Tensor:
    """Return the loss of each pair: squared error of the velocity.

    On the path x_t = (1 - t) noise + t target (Lipman et al. 2023; Liu et al. 2023) the velocity's error is that of
    the estimated image over 1 - t. Where edits may have failed, the path may lead to the source as well, and the
    estimate is compared with what to expect at its end, given x_t: see `odds_of_failure`.

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
        failed: (batch * draws,) true where the edit failed and the path leads to the source; None: nowhere.
        share: of edits that fail, above 0 and below 1 where `failed` is given.

    Returns:
        (batch * draws,).
    """
    draws = len(noise) // len(source)
    encoded = model.encoder(source, words)
    source, target = source.repeat_interleave(draws, 0), target.repeat_interleave(draws, 0)
    fine, coarse, whole = (part.repeat_interleave(draws, 0) for part in encoded)
    late, left = time[:, None, None, None], (1.0 - time).clamp(min=_SHARPEST)
    end = target if failed is None else torch.where(failed[:, None, None, None], source, target)
    if failed is not None:
        told_at = time if earlier is None else torch.cat([earlier, time[len(earlier) :]])
        odds = odds_of_failure(source, target, noise, told_at, failed, share)
        target = target + torch.sigmoid(odds)[:, None, None, None] * (source - target)
    if earlier is not None:
        own = slice(0, len(earlier))
        with torch.no_grad():
            before = earlier[:, None, None, None]
            noisy = (1.0 - before) * noise[own] + before * end[own]
            seen = model.denoiser(noisy, earlier, source[own], fine[own], coarse[own], whole[own])
        end = torch.cat([seen.clamp(-1.0, 1.0), end[len(earlier) :]])
    noisy = (1.0 - late) * noise + late * end
    estimate = model.denoiser(noisy, time, source, fine, coarse, whole)
    error = (estimate - target).square().mean(dim=(1, 2, 3)) / left.square()
    return error * weight.repeat_interleave(draws)


def odds_of_failure(
    source: Tensor, target: Tensor, noise: Tensor, time: Tensor, failed: Tensor, share: float
) -> Tensor:
    """Return the logarithm of the odds that a path leads to the source and not to the target, given its x_t.

    By Bayes' rule for normal noise: log(share / (1 - share)) + (|x_t - t target|^2 - |x_t - t source|^2) / (2 (1 - t)^2).
    To learn from the mean that these odds give is to learn the same as from ends drawn by chance, since that mean is what
    a squared error leads to in either case (the law of total expectation), but without the chance in every gradient.

    Args:
        source: (batch, 3, size, size).
        target: the same.
        noise: the same; x_t = (1 - t) noise + t end.
        time: (batch,) in 0..1.
        failed: (batch,) true where the end is the source, false where it is the target.
        share: of paths that lead to the source, above 0 and below 1.

    Returns:
        (batch,).
    """
    change = (target - source).float()
    rate = time / (1.0 - time).clamp(min=1e-3)
    told = 0.5 * rate.square() * change.square().sum(dim=(1, 2, 3))
    chance = rate * (noise * change).sum(dim=(1, 2, 3))
    return math.log(share / (1.0 - share)) + torch.where(failed, told, -told) - chance


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
