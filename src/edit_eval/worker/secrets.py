"""What counts as a secret, and how it is kept out of what is written and shown. Standard library only.

A secret is the value of a variable that is named like one (`HF_TOKEN`, `OPENAI_API_KEY`, `PGPASSWORD` ...), or that
holds an address with a password in it. The keeper takes these values out of logs and reasons, the driver out of
run.json, the command line out of what it prints. Knows no file and no process.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

__all__ = ["HIDDEN", "Redactor", "holds_password", "is_secret", "is_secret_parameter", "ours", "secrets_of"]

HIDDEN = "***"

_NAME = re.compile(
    r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|_PASS|_PWD|_AUTH|AUTHORIZATION|BEARER|COOKIE)S?(_|$)"
    r"|^(PASS|AUTH)$",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"(api|access|secret|private|auth)_?key|passw(or)?d|passphrase|secret|credentials?"
    r"|((api|access|auth|bearer|hf|hub|refresh)_?)?token",
    re.IGNORECASE,
)
"""Narrower than for variables: `max_new_tokens` and `pad_token` are no secrets."""

_WITH_PASSWORD = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)")
_WITH_USER = re.compile(r"(?<=://)[^/\s@]+(?=@)")

_SHORTEST = 6
"""Characters: a shorter value is no secret worth the name, and stands in too many innocent words."""


def is_secret(name: str, value: str) -> bool:
    """Whether a variable's value is for nobody who reads a run directory."""
    return bool(_NAME.search(name)) or holds_password(value)


def is_secret_parameter(name: str) -> bool:
    """Whether a parameter of that name holds a secret (`api_key`, `hf_token`)."""
    return bool(_PARAMETER.fullmatch(name))


def holds_password(text: str) -> bool:
    """Whether `text` holds an address with a password, `scheme://name:password@host`."""
    return bool(_WITH_PASSWORD.search(text))


def secrets_of(variables: Mapping[str, str | None]) -> set[str]:
    """Return the secret values among environment variables, in the forms they are usually written in."""
    found = set()
    for name, value in variables.items():
        if value is None:
            continue
        if _NAME.search(name):
            found.add(value.strip())
        found |= {
            part for match in _WITH_PASSWORD.findall(value) for part in (match, match.partition(":")[2])
        }
    return {form for value in found if len(value) >= _SHORTEST for form in _forms(value)}


def _forms(value: str) -> set[str]:
    """Return a secret as it is, and as Python, JSON and an address write it."""
    return {
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        quote(value, safe="", errors="surrogateescape"),
    }


class Redactor:
    """Takes secrets out of texts, and out of bytes that come in pieces.

    Args:
        secrets: values, from `secrets_of`.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        ordered = sorted(set(secrets), key=lambda one: (-len(one), one))
        encoded = [one.encode("utf-8", "surrogateescape") for one in ordered]
        self._text = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._bytes = re.compile(b"|".join(map(re.escape, encoded))) if ordered else None
        self._encoded = encoded
        self._held = b""

    def text(self, text: str) -> str:
        """Return `text` without secrets, and without the user and password of any address."""
        if self._text is not None:
            text = self._text.sub(HIDDEN, text)
        return _WITH_USER.sub(HIDDEN, text) if "://" in text else text

    def data(self, value: Any) -> Any:
        """Return JSON data whose texts are without secrets; addresses in them stay as they are."""
        if self._text is None:
            return value
        if isinstance(value, str):
            return self._text.sub(HIDDEN, value)
        if isinstance(value, dict):
            return {key: self.data(one) for key, one in value.items()}
        return [self.data(one) for one in value] if isinstance(value, list) else value

    def piece(self, data: bytes) -> bytes:
        """Return what of the bytes so far can be passed on; what may be the beginning of a secret is held back."""
        if self._bytes is None:
            return data
        clean = self._bytes.sub(HIDDEN.encode(), self._held + data)
        keep = max((_overlap(clean, one) for one in self._encoded), default=0)
        self._held = clean[len(clean) - keep :]
        return clean[: len(clean) - keep]

    def rest(self) -> bytes:
        """Return what was held back, at the end of the stream: hidden too if it is much of a secret."""
        held, self._held = self._held, b""
        return held if len(held) < _SHORTEST else HIDDEN.encode()


def ours() -> Redactor:
    """Return what takes the secrets of this process's environment out."""
    return Redactor(secrets_of(os.environ))


def _overlap(data: bytes, secret: bytes) -> int:
    """Return how many bytes at the end of `data` are the beginning of `secret`."""
    for count in range(min(len(data), len(secret) - 1), 0, -1):
        if data.endswith(secret[:count]):
            return count
    return 0
