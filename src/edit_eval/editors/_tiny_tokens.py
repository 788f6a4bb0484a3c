"""How the editor `tiny` reads an instruction: words of a fixed vocabulary, English and Chinese, the longest first.

Knows no model. A word that is not in the vocabulary is left out; `unknown` says which those are.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["PADDING", "Vocabulary"]

PADDING = 0
"""The token that fills up an instruction; an instruction of padding alone is the empty one that guidance compares with."""


class Vocabulary:
    """Numbers the words that a model was trained on.

    Args:
        words: in the order of their tokens, which begin with 1.
        length: tokens of an instruction, at most; what is longer is cut off.
    """

    def __init__(self, words: Sequence[str], length: int) -> None:
        self.length = length
        self._tokens = {word: number for number, word in enumerate(words, start=1)}
        self._longest = max(map(len, words), default=0)

    def __len__(self) -> int:
        """Return the number of tokens, padding included."""
        return len(self._tokens) + 1

    def tokens(self, instruction: str) -> list[int]:
        """Return `length` tokens."""
        found = [self._tokens[word] for word in self._pieces(instruction) if word in self._tokens]
        return (found + [PADDING] * self.length)[: self.length]

    def unknown(self, instruction: str) -> list[str]:
        """Return the words that the model will not read, in their order."""
        return [word for word in self._pieces(instruction) if word not in self._tokens]

    def _pieces(self, text: str) -> list[str]:
        pieces, at = [], 0
        while at < len(text):
            piece = self._piece(text, at)
            at += len(piece)
            if not piece.isspace():
                pieces.append(piece)
        return pieces

    def _piece(self, text: str, at: int) -> str:
        """Return the piece that begins here: a word in Latin letters or digits is never cut."""
        end = at
        while end < len(text) and _latin(text[end]):
            end += 1
        if end > at:
            return text[at:end]
        for size in range(min(self._longest, len(text) - at), 1, -1):
            if text[at : at + size] in self._tokens:
                return text[at : at + size]
        return text[at]


def _latin(letter: str) -> bool:
    return letter.isascii() and (letter.isalnum() or letter == "-")
