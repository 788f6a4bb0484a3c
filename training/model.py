"""The network of the editor `tiny`: an encoder that reads source and instruction once, a denoiser that runs each step.

Pictures are (batch, 3, SIZE, SIZE) in -1..1. Both halves look at 3 x 3 pixels as one cell of a 32 x 32 grid in
convolutions, and at 2 x 2 cells as one token of a 16 x 16 grid in attention. Knows no data, no loss and no sampler.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Encoded", "Shape", "TinyEditor"]

Encoded = tuple[Tensor, Tensor, Tensor]
"""What the encoder hands to the denoiser: on the grid of cells, on the grid of tokens, and for the whole picture."""

CELL = 3
"""Pixels across a cell."""


@dataclass(frozen=True)
class Shape:
    """How large the network is.

    Attributes:
        vocabulary: tokens, padding included.
        length: tokens of an instruction.
        size: pixels across a picture; a multiple of 6.
        width: channels of a token; a multiple of 32.
        source_channels: of a cell in the encoder.
        channels: of a cell in the denoiser.
        condition: of what is said to the denoiser about the whole picture and the time.
        encoder_layers: of attention in the encoder.
        denoiser_layers: of attention in the denoiser.
        ratio: hidden channels of a perceptron, in widths.
        gated: 1 if the denoiser has a gate that keeps the source; 0 to see what it is worth.
        direct: 1 if the denoiser draws the new picture itself; 0 if it draws the velocity of the flow, from which the
            noise has to be taken away exactly.
        placed: hidden channels of what is drawn by its place beside an anchor (see `Placed`); 0: nothing is.
    """

    vocabulary: int
    length: int
    size: int = 96
    width: int = 192
    source_channels: int = 96
    channels: int = 64
    condition: int = 96
    encoder_layers: int = 5
    denoiser_layers: int = 2
    ratio: int = 3
    gated: int = 1
    direct: int = 1
    placed: int = 128

    def as_dict(self) -> dict[str, int]:
        """Return what a file of weights keeps."""
        return asdict(self)


class TinyEditor(nn.Module):
    """Encoder and denoiser."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.denoiser = Denoiser(shape)


class Encoder(nn.Module):
    """Reads source and instruction, and says what is to be where."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, side = shape.width, shape.size // (2 * CELL)
        self.words = nn.Embedding(shape.vocabulary, width)
        self.places = nn.Parameter(0.3 * _waves(shape.length, width))
        self.grid = nn.Parameter(_plane_waves(side, width))
        self.stem = nn.Conv2d(3 * CELL * CELL, shape.source_channels, 3, padding=1)
        self.cells = Residual(shape.source_channels)
        self.down = nn.Conv2d(4 * shape.source_channels, width, 1)
        self.layers = nn.ModuleList(Layer(width, shape.ratio) for _ in range(shape.encoder_layers))
        self.norm = nn.LayerNorm(width)
        self.tokens = nn.Linear(width, width)
        self.whole = nn.Linear(width, shape.condition)
        self.up = nn.Linear(width, 4 * shape.channels)
        self.across = nn.Conv2d(shape.source_channels, shape.channels, 1)
        self.placed = Placed(width, side, shape.channels, shape.placed) if shape.placed else None
        self.fine = Residual(shape.channels, shape.condition)
        nn.init.normal_(self.words.weight, std=0.5)

    def forward(self, source: Tensor, words: Tensor) -> Encoded:
        """Encode pictures and instructions.

        Args:
            source: (batch, 3, size, size) in -1..1.
            words: (batch, length) tokens; all padding where there is no instruction.
        """
        cells = self.cells(self.stem(gathered(source, CELL)))
        picture = as_tokens(self.down(gathered(cells, 2))) + self.grid
        said = self.words(words) + self.places
        together = torch.cat([picture, said], dim=1)
        for layer in self.layers:
            together = layer(together)
        together = self.norm(together)
        count = picture.shape[1]
        picture, said = together[:, :count], together[:, count:]
        real = (words > 0).to(said.dtype)[:, :, None]
        whole = self.whole((said * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0))
        fine = spread(as_grid(self.up(picture)), 2) + self.across(cells)
        if self.placed is not None:
            fine = fine + self.placed(picture)
        return self.fine(fine, functional.silu(whole)), as_grid(self.tokens(picture)), whole


class Placed(nn.Module):
    """Draws on cells by where they are beside an anchor that each token names, and by what the token says is there.

    The same shape at another place is then the same function of a shifted argument, and is learnt once.
    """

    def __init__(self, width: int, side: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.side = side
        self.anchor = nn.Linear(width, 2)
        self.code = nn.Linear(width, 2 * hidden)
        self.first = nn.Linear(2 + 4 * _OCTAVES, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.third = _zeroed(nn.Linear(hidden, channels))

    def forward(self, picture: Tensor) -> Tensor:
        """Return (batch, channels, 2 side, 2 side) for tokens (batch, side * side, width)."""
        with torch.autocast(picture.device.type, enabled=False):  # half precision would be a tenth of a pixel
            anchor = (
                2.0 * self.side * torch.tanh(self.anchor(picture.float()))
            )  # in cells, from the token's middle
        corners = torch.tensor([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]], device=picture.device)
        beside = corners[None, None] - anchor[:, :, None, :]
        rates = 4.0 * math.pi / 2.0 ** torch.arange(_OCTAVES, device=picture.device, dtype=torch.float32)
        angles = (beside[..., None] * rates).flatten(3)
        features = torch.cat([beside / self.side, angles.sin(), angles.cos()], dim=3)
        scale, shift = self.code(picture)[:, :, None].chunk(2, dim=3)
        made = functional.silu(self.first(features.to(picture.dtype)) * (1.0 + scale) + shift)
        made = self.third(functional.silu(self.second(made)))
        tokens = made.permute(0, 1, 3, 2).flatten(2)  # channels first, as `spread` wants it
        return spread(as_grid(tokens), 2)


_OCTAVES = 7
"""Wavelengths of 1/2, 1, 2, 4 ... cells."""


class Denoiser(nn.Module):
    """Estimates the edited picture from a noisy one, the source and what the encoder says.

    It does so pixel by pixel in two ways and in between: a gate of 0 keeps the source, a gate of 1 takes what is drawn.
    So what an edit leaves alone stays as it is without being drawn. What is drawn is the picture and not the velocity
    (Li and He 2025): a cell has fewer channels than would carry noise through, and of noise nothing has to remain.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, channels, condition = shape.width, shape.channels, shape.condition
        self.gated, self.direct = bool(shape.gated), bool(shape.direct)
        self.time = nn.Sequential(nn.Linear(64, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.stem = nn.Conv2d(6 * CELL * CELL, channels, 3, padding=1)
        self.first = Residual(channels, condition)
        self.down = nn.Conv2d(4 * channels, width, 1)
        self.layers = nn.ModuleList(
            Layer(width, shape.ratio, condition) for _ in range(shape.denoiser_layers)
        )
        self.up = nn.Linear(width, 4 * channels)
        self.join = nn.Conv2d(2 * channels, channels, 1)
        self.second = Residual(channels, condition)
        self.third = Residual(channels, condition)
        self.scale = nn.Parameter(torch.ones(channels))
        self.out = nn.Conv2d(channels, 4 * CELL * CELL, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.bias[3 * CELL * CELL :] = -1.0

    def forward(
        self, noisy: Tensor, time: Tensor, source: Tensor, fine: Tensor, coarse: Tensor, whole: Tensor
    ) -> Tensor:
        """Return the estimate of the edited picture, (batch, 3, size, size).

        Args:
            noisy: x_t.
            time: (batch,) in 0..1; 0 is noise.
            source: as the encoder got it.
            fine: from the encoder, on the grid of cells.
            coarse: from the encoder, on the grid of tokens.
            whole: from the encoder, for the whole picture.
        """
        said = functional.silu(self.time(_rhythms(time)) + whole)
        cells = self.stem(gathered(torch.cat([noisy, source], dim=1), CELL)) + fine
        cells = self.first(cells, said)
        tokens = as_tokens(self.down(gathered(cells, 2)) + coarse)
        for layer in self.layers:
            tokens = layer(tokens, said)
        wide = spread(as_grid(self.up(tokens)), 2)
        cells = self.third(self.second(self.join(torch.cat([wide, cells], dim=1)), said), said)
        with torch.autocast(noisy.device.type, enabled=False):
            made = spread(self.out(functional.silu(_normed(cells.float(), self.scale))), CELL)
            changed, gate = made[:, :3], torch.sigmoid(made[:, 3:])
            if not self.direct:
                changed = noisy + (1.0 - time)[:, None, None, None] * changed
            if not self.gated:
                return changed
            return source + gate * (changed - source)


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity, scaled and shifted by a condition where there is one."""

    def __init__(self, channels: int, condition: int = 0) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.ones(channels))
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = _zeroed(nn.Linear(condition, 2 * channels)) if condition else None
        nn.init.normal_(self.second.weight, std=0.2 / math.sqrt(9 * channels))

    def forward(self, cells: Tensor, said: Tensor | None = None) -> Tensor:
        inner = self.first(functional.silu(_normed(cells, self.before)))
        if self.film is not None and said is not None:
            scale, shift = self.film(said)[:, :, None, None].chunk(2, dim=1)
            inner = inner * (1.0 + scale) + shift
        return cells + self.second(functional.silu(inner))


class Layer(nn.Module):
    """Attention and a perceptron, each after a norm, which a condition scales and shifts where there is one."""

    def __init__(self, width: int, ratio: int, condition: int = 0) -> None:
        super().__init__()
        self.heads = width // 32
        plain = condition == 0
        self.norm = nn.LayerNorm(width, elementwise_affine=plain)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.query_scale = nn.Parameter(torch.ones(32))
        self.key_scale = nn.Parameter(torch.ones(32))
        self.attended = nn.Linear(width, width)
        self.norm_again = nn.LayerNorm(width, elementwise_affine=plain)
        self.hidden = nn.Linear(width, ratio * width)
        self.shown = nn.Linear(ratio * width, width)
        self.film = None if plain else _zeroed(nn.Linear(condition, 4 * width))
        for out in (self.attended, self.shown):
            nn.init.normal_(out.weight, std=0.5 / math.sqrt(out.in_features))
            nn.init.zeros_(out.bias)

    def forward(self, tokens: Tensor, said: Tensor | None = None) -> Tensor:
        if self.film is None or said is None:
            tokens = tokens + self._attention(self.norm(tokens))
            return tokens + self._perceptron(self.norm_again(tokens))
        parts = self.film(said)[:, None, :].chunk(4, dim=2)
        tokens = tokens + self._attention(self.norm(tokens) * (1.0 + parts[0]) + parts[1])
        return tokens + self._perceptron(self.norm_again(tokens) * (1.0 + parts[2]) + parts[3])

    def _attention(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        split = self.query_key_value(tokens).reshape(batch, count, 3, self.heads, 32).permute(2, 0, 3, 1, 4)
        query = _normed_last(split[0], self.query_scale).to(split.dtype)
        key = _normed_last(split[1], self.key_scale).to(split.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, split[2])
        return self.attended(mixed.transpose(1, 2).reshape(batch, count, width))

    def _perceptron(self, tokens: Tensor) -> Tensor:
        return self.shown(functional.silu(self.hidden(tokens)))


def gathered(picture: Tensor, factor: int) -> Tensor:
    """Put `factor` x `factor` pixels into one, with as many times the channels."""
    batch, channels, height, width = picture.shape
    split = picture.reshape(batch, channels, height // factor, factor, width // factor, factor)
    return split.permute(0, 1, 3, 5, 2, 4).reshape(
        batch, channels * factor * factor, height // factor, width // factor
    )


def spread(picture: Tensor, factor: int) -> Tensor:
    """Undo `gathered`."""
    batch, channels, height, width = picture.shape
    split = picture.reshape(batch, channels // (factor * factor), factor, factor, height, width)
    return split.permute(0, 1, 4, 2, 5, 3).reshape(
        batch, channels // (factor * factor), height * factor, width * factor
    )


def as_tokens(grid: Tensor) -> Tensor:
    """Turn (batch, channels, side, side) into (batch, side * side, channels)."""
    return grid.flatten(2).transpose(1, 2)


def as_grid(tokens: Tensor) -> Tensor:
    """Undo `as_tokens`."""
    batch, count, channels = tokens.shape
    side = math.isqrt(count)
    return tokens.transpose(1, 2).reshape(batch, channels, side, side)


def _normed(cells: Tensor, scale: Tensor) -> Tensor:
    """Divide each cell by the root mean square of its channels (Zhang and Sennrich 2019)."""
    return cells * torch.rsqrt(cells.square().mean(dim=1, keepdim=True) + 1e-5) * scale[:, None, None]


def _normed_last(parts: Tensor, scale: Tensor) -> Tensor:
    return parts * torch.rsqrt(parts.square().mean(dim=-1, keepdim=True) + 1e-5) * scale


def _rhythms(time: Tensor) -> Tensor:
    """Return sines and cosines of 32 frequencies for each time."""
    rates = torch.exp(torch.arange(32, device=time.device, dtype=torch.float32) * (math.log(1000.0) / 31))
    angles = time[:, None] * rates[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _waves(count: int, width: int) -> Tensor:
    """Return (count, width) sines and cosines of the place in a row, from which training goes on."""
    rates = torch.exp(-torch.arange(width // 2) * (math.log(100.0) / (width // 2)))
    angles = torch.arange(count)[:, None] * rates[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _plane_waves(side: int, width: int) -> Tensor:
    """Return (side * side, width): half of it tells the row, half the column."""
    one = _waves(side, width // 2)
    rows = one[:, None, :].expand(side, side, -1)
    columns = one[None, :, :].expand(side, side, -1)
    return 0.5 * torch.cat([rows, columns], dim=2).reshape(side * side, width)


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
