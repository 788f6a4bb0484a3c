"""Untrusted text made harmless for a terminal: nothing in it can move a cursor, colour a line or turn its direction.

Standard library only, so that an error line costs nothing. Knows no stream.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["clean", "harmless"]

_REMOVED = frozenset({"Cc", "Cf", "Zl", "Zp"})
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")
"""Terminal escape sequences (ECMA-48): CSI, OSC, and the two-character ones."""


def clean(text: str, limit: int = 2000) -> str:
    """Return `text` as one harmless line: no control or direction characters, white space folded to single spaces.

    Args:
        text: anything, also lone surrogates (they become U+FFFD).
        limit: characters of `text` looked at, so that a judge's megabyte costs nothing.
    """
    return " ".join(harmless(text[:limit]).split())


def harmless(text: str, kept: str = "") -> str:
    """Return `text` without what a terminal obeys: escape sequences, control and direction characters.

    Args:
        text: anything, also lone surrogates (they become U+FFFD).
        kept: control characters that stay, such as a line end.
    """
    if text.isprintable():
        return text
    return "".join(one if one in kept else _harmless(one) for one in _ESCAPES.sub("", text))


def _harmless(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    return "" if category in _REMOVED else character
