"""A stage's parameters, made from what a config says of them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

__all__ = ["validated"]


def validated(hints: TypeAdapter[Any], written: dict[str, str]) -> Any:
    """Return the parameters that `written` (JSON by name) makes.

    YAML reads `on` and `off` as true and false: where a parameter has such a word, the word was meant.

    Args:
        hints: of the class of the parameters.
        written: what was given; a word that was meant is put in.

    Raises:
        ValidationError: a value is not of its parameter's type.
    """
    while True:
        try:
            # As JSON, so that lists may become tuples and yet nothing is coerced.
            text = f"{{{', '.join(f'{json.dumps(key)}: {value}' for key, value in written.items())}}}"
            return hints.validate_json(text, strict=True)
        except ValidationError as error:
            words: dict[str, str] = {}
            for one in error.errors():
                word = "on" if one["input"] is True else "off"
                meant = isinstance(one["input"], bool) and f"'{word}'" in one.get("ctx", {}).get(
                    "expected", ""
                )
                if meant and len(one["loc"]) == 1:
                    words[str(one["loc"][0])] = json.dumps(word)
            if not words:
                raise
            written |= words
