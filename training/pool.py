"""Pairs on the accelerator, as bytes, drawn from by chance while more come in.

They come through a thread that reads files and puts pairs where the accelerator fetches them by itself, so that learning
waits for neither.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edit_eval.benchmarks._scene_edits import CATEGORIES
from training.drawing import Chunk, Drawing

__all__ = ["Intake", "Pairs", "Pool"]

_AT_ONCE = 20
"""Chunks that are handed over together."""


@dataclass(frozen=True)
class Pairs:
    """Pairs as tensors on the host; `pictures`, `tokens` and `kinds` as in `Chunk`."""

    pictures: Tensor
    tokens: Tensor
    kinds: Tensor

    @classmethod
    def of(cls, chunks: Sequence[Chunk], *, pinned: bool = False) -> Pairs:
        """Join chunks; `pinned`: in memory that an accelerator reads without the host's help."""
        parts = (
            torch.from_numpy(np.concatenate([getattr(one, name) for one in chunks]))
            for name in ("pictures", "tokens", "kinds")
        )
        return cls(*(one.pin_memory() if pinned else one for one in parts))


class Intake:
    """Takes in what processes draw, in a thread of its own.

    Args:
        drawing: the processes.
        pinned: see `Pairs.of`.
    """

    def __init__(self, drawing: Drawing, *, pinned: bool) -> None:
        self._drawing, self._pinned = drawing, pinned
        self._here: queue.Queue[Pairs] = queue.Queue(maxsize=8)
        self._ended = threading.Event()
        self._error: RuntimeError | None = None
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def ready(self) -> list[Pairs]:
        """Return the pairs that have come since, without waiting.

        Raises:
            RuntimeError: every process has failed.
        """
        found = []
        while not self._here.empty():
            found.append(self._here.get())
        if not found and self._error is not None:
            raise self._error
        return found

    def stop(self) -> None:
        """Take in no more."""
        self._ended.set()
        self._thread.join()

    def _take(self) -> None:
        while not self._ended.is_set():
            try:
                chunks = self._drawing.ready(_AT_ONCE)
            except RuntimeError as error:
                self._error = error
                return
            if chunks:
                self._hand_over(Pairs.of(chunks, pinned=self._pinned))
            else:
                self._ended.wait(0.05)

    def _hand_over(self, pairs: Pairs) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._here.put(pairs, timeout=0.1)
                return


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
        self._kinds = torch.zeros(capacity, dtype=torch.uint8, device=device)
        self._order = self._counts = self._starts = torch.zeros(0, dtype=torch.int64, device=device)

    def add(self, pairs: Pairs) -> None:
        """Put pairs in, as far as there is room."""
        count = min(len(pairs.kinds), self.capacity - self.filled)
        if count:
            place = slice(self.filled, self.filled + count)
            self._pictures[place].copy_(pairs.pictures[:count], non_blocking=True)
            self._tokens[place].copy_(pairs.tokens[:count], non_blocking=True)
            self._kinds[place].copy_(pairs.kinds[:count], non_blocking=True)
            self.filled += count

    def batch(self, count: int, weights: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return so many pairs by chance: sources and targets in -1..1, and tokens in a language by chance.

        Args:
            count: of pairs.
            weights: (categories,), how often each kind of edit is drawn beside the others; None: as often as it is here.
        """
        chosen = torch.randint(self.filled, (count,), device=self.device)
        if weights is not None:
            chosen = self._of_kinds(torch.multinomial(weights, count, replacement=True))
        language = torch.randint(2, (count,), device=self.device)
        pictures = self._pictures[chosen].permute(1, 0, 4, 2, 3).float() / 127.5 - 1.0
        return pictures[0].contiguous(), pictures[1].contiguous(), self._tokens[chosen, language].long()

    def _of_kinds(self, kinds: Tensor) -> Tensor:
        """Return places of pairs of these kinds, by chance among those of one kind."""
        if len(self._order) != self.filled:
            known = self._kinds[: self.filled].long()
            self._order = known.argsort(stable=True)
            self._counts = torch.zeros(len(CATEGORIES), dtype=torch.int64, device=self.device)
            self._counts.scatter_add_(0, known, torch.ones_like(known))
            self._starts = self._counts.cumsum(0) - self._counts
        within = torch.rand(len(kinds), device=self.device) * self._counts[kinds]
        return self._order[(self._starts[kinds] + within.long()).clamp(max=self.filled - 1)]


def _bytes(capacity: int, size: int, device: torch.device) -> Tensor:
    """Return room for pairs, for half as many as often as there is not enough memory."""
    while capacity > 1000:
        try:
            return torch.empty((capacity, 2, size, size, 3), dtype=torch.uint8, device=device)
        except RuntimeError:  # of an accelerator a kind of its own, of the host this one
            capacity //= 2
    return torch.empty((capacity, 2, size, size, 3), dtype=torch.uint8, device=device)
