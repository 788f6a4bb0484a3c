"""Pairs on the accelerator, as bytes, drawn from by chance while more come in."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.drawing import Chunk

__all__ = ["Pool"]


class Pool:
    """Pairs on the accelerator.

    Args:
        capacity: pairs that fit; fewer where there is not so much memory.
        size: pixels across a picture.
        length: tokens of an instruction.
        device: where.
    """

    def __init__(self, capacity: int, size: int, length: int, device: torch.device) -> None:
        self.filled, self.device = 0, device
        self._pictures = _bytes(capacity, size, device)
        self.capacity = capacity = len(self._pictures)
        self._tokens = torch.zeros((capacity, 2, length), dtype=torch.int16, device=device)

    def add(self, chunk: Chunk) -> None:
        """Put pairs in, as far as there is room."""
        count = min(len(chunk.kinds), self.capacity - self.filled)
        if count:
            place = slice(self.filled, self.filled + count)
            self._pictures[place].copy_(self._at_hand(chunk.pictures[:count]), non_blocking=True)
            self._tokens[place].copy_(self._at_hand(chunk.tokens[:count]), non_blocking=True)
            self.filled += count

    def _at_hand(self, values: NDArray[np.generic]) -> Tensor:
        """Return values from where an accelerator fetches them by itself, so that nothing waits for what it does now."""
        copied = torch.from_numpy(values.copy())
        return copied.pin_memory() if self.device.type == "cuda" else copied

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return so many pairs by chance: sources and targets in -1..1, and tokens in a language by chance."""
        chosen = torch.randint(self.filled, (count,), device=self.device)
        language = torch.randint(2, (count,), device=self.device)
        pictures = self._pictures[chosen].permute(1, 0, 4, 2, 3).float() / 127.5 - 1.0
        return pictures[0].contiguous(), pictures[1].contiguous(), self._tokens[chosen, language].long()


def _bytes(capacity: int, size: int, device: torch.device) -> Tensor:
    """Return room for pairs, for half as many as often as there is not enough memory."""
    while capacity > 1000:
        try:
            return torch.empty((capacity, 2, size, size, 3), dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError:
            capacity //= 2
    return torch.empty((capacity, 2, size, size, 3), dtype=torch.uint8, device=device)
