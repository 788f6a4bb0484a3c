"""Questions that begin alike, read once: one forward over what they share, then a short one over each of their ends.

Knows how a transformers model is asked with a cache of what it has read. Whether a model can be asked so is found out by
asking it: `obstacle` compares with a plain forward. torch is imported inside.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Shared", "SharedPrefix", "common_length"]


@dataclass(frozen=True)
class Shared:
    """One row of a batch: questions with the same images whose texts begin alike.

    Attributes:
        texts: of each question, in the model's chat format; they differ after the last image only.
        images: in the order in which the texts show them.
    """

    texts: tuple[str, ...]
    images: tuple[Image, ...]


def common_length(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all `sequences` begin with, at least one token of each left out."""
    shortest = min(map(len, sequences))
    for place in range(shortest - 1):
        if len({one[place] for one in sequences}) > 1:
            return place
    return max(shortest - 1, 0)


class SharedPrefix:
    """Reads rows of questions with a model: `logits` of what follows each.

    Args:
        model: of transformers, on `device`; pads on the left.
        processor: its processor.
        device: torch's name of it.
        how_images: what the processor is called with besides; see `images.on_device`.
    """

    def __init__(
        self, model: Any, processor: Any, device: str, how_images: Mapping[str, Any] | None = None
    ) -> None:
        self._model = model
        self._processor = processor
        self._how_images = dict(how_images or {})
        self._device = device
        accepted = set(inspect.signature(model.forward).parameters)
        self._cache = "cache" if "cache" in accepted else "past_key_values"  # the older of its two names
        self._lacks = sorted({self._cache, "attention_mask", "position_ids", "logits_to_keep"} - accepted)
        self._rope_index = getattr(getattr(model, "model", None), "get_rope_index", None)

    def obstacle(self, rows: Sequence[Shared], plain: Sequence[Sequence[Any]], tolerance: float) -> str:
        """Return why this model cannot be asked so, or an empty text.

        Args:
            rows: something to try it with.
            plain: of each row, per question, the probabilities (vocabulary size) that a plain forward gives.
            tolerance: how far a probability may be from that.
        """
        if self._lacks:
            return f"its forward takes no {self._lacks[0]}"
        try:
            found = self.logits(rows)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            return f"its forward with a cache fails: {type(error).__name__}"
        if found is None:
            return "its cache cannot be cut, or its processor does not put a text's tokens last"
        apart = max(
            float((one.float().softmax(-1) - other).abs().max())
            for row, wanted in zip(found, plain, strict=True)
            for (one, _), other in zip(row, wanted, strict=True)
        )
        return "" if apart <= tolerance else f"probabilities are {apart:.2g} apart"

    def logits(self, rows: Sequence[Shared]) -> list[list[tuple[Any, int]]] | None:
        """Return for each question of each row the logits (vocabulary size) after it, and its number of tokens.

        None if these rows cannot be read so.

        Raises:
            RuntimeError: out of memory, or any other fault of the model's code.
        """
        import torch

        tails = [self._tails(row) for row in rows]
        inputs = self._processor(
            text=[row.texts[0] for row in rows],
            images=[image for row in rows for image in row.images] or None,
            padding=True,
            return_tensors="pt",
            **self._how_images,
        )
        for ids, (first, *_) in zip(inputs["input_ids"].tolist(), tails, strict=True):
            if ids[len(ids) - len(first) :] != first:
                return None
        head = self._without_tails(inputs, [len(row[0]) for row in tails])
        with torch.inference_mode():
            read = self._model(**head, use_cache=True, logits_to_keep=1)
            cache = getattr(read, self._cache)
            if any(type(layer).__name__ != "DynamicLayer" for layer in getattr(cache, "layers", [None])):
                return None
            after = self._positions_after(head)
            columns = [
                self._read_tails(
                    head["attention_mask"], cache, [row[min(at, len(row) - 1)] for row in tails], after
                )
                for at in range(max(map(len, tails)))
            ]
        heads = head["attention_mask"].sum(dim=1).tolist()
        return [
            [(columns[k][at], heads[at] + len(tail)) for k, tail in enumerate(row)]
            for at, row in enumerate(tails)
        ]

    def _tails(self, row: Shared) -> list[list[int]]:
        """Return the tokens of each text after those that all have."""
        tokens = [list(self._processor.tokenizer(text)["input_ids"]) for text in row.texts]
        common = common_length(tokens)
        return [one[common:] for one in tokens]

    def _without_tails(self, inputs: Any, lengths: Sequence[int]) -> dict[str, Any]:
        """Return `inputs` on the device, with the last `lengths[i]` tokens of row i cut off and padding put before it."""
        import torch

        rows, columns = inputs["input_ids"].shape
        keep = columns - min(lengths)
        cut: dict[str, Any] = {}
        for name, value in inputs.items():
            if not torch.is_tensor(value) or value.shape[:2] != (rows, columns):
                cut[name] = value.to(self._device) if torch.is_tensor(value) else value
                continue
            fill = self._processor.tokenizer.pad_token_id if name == "input_ids" else 0
            shorter = torch.full((rows, keep, *value.shape[2:]), fill, dtype=value.dtype)
            for at, length in enumerate(lengths):
                shorter[at, keep - (columns - length) :] = value[at, : columns - length]
            cut[name] = shorter.to(self._device)
        return cut

    def _positions_after(self, head: Mapping[str, Any]) -> Any:
        """Return the position (rows,) that follows each row's head where images take positions of their own, or None."""
        if self._rope_index is None:
            return None
        wanted = inspect.signature(self._rope_index).parameters
        positions, _ = self._rope_index(**{name: value for name, value in head.items() if name in wanted})
        return positions.amax(dim=(0, 2)) + 1

    def _read_tails(self, mask: Any, cache: Any, tails: Sequence[Sequence[int]], after: Any) -> list[Any]:
        """Return the logits after each row's tail, and leave the cache as it was."""
        import torch

        lengths = [len(one) for one in tails]
        longest = max(lengths)
        pad = self._processor.tokenizer.pad_token_id
        ids = torch.tensor([[*one, *[pad] * (longest - len(one))] for one in tails], device=self._device)
        real = torch.tensor(
            [[at < length for at in range(longest)] for length in lengths], device=self._device
        )
        more = {} if after is None else {"position_ids": self._positions(after, longest)}
        out = self._model(
            input_ids=ids,
            attention_mask=torch.cat([mask, real.to(mask.dtype)], dim=1),
            use_cache=True,
            logits_to_keep=longest - min(lengths) + 1,
            **{self._cache: cache},
            **more,
        )
        cache.crop(-longest)
        return [out.logits[at, length - longest - 1] for at, length in enumerate(lengths)]

    def _positions(self, after: Any, count: int) -> Any:
        """Return positions (3, rows, count): text goes on by one in time, height and width alike."""
        import torch

        text = after[:, None] + torch.arange(count, device=after.device)[None]
        return text.expand(3, -1, -1)
