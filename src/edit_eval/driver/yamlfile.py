"""YAML as users write it: read with care, refused in one line that names the key.

Only texts, numbers, true, false, null, lists and mappings come out, so no tag constructs anything. Refused are aliases,
depth and size, with which a small file costs a lot; doubled keys, which YAML drops silently; and what YAML reads as
something else than what is written: dates, octal and sexagesimal numbers. Knows nothing of what a file is about.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from edit_eval.core.errors import ConfigError, shown

__all__ = ["parse_yaml", "read_yaml"]

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 50
_MAX_VALUES = 20_000
"""More than any config or rubric has, and read in a second."""

_TAG = "tag:yaml.org,2002:"
_TEXTS = frozenset({f"{_TAG}str", f"{_TAG}value", f"{_TAG}merge"})
"""`=` and `<<` are texts where they are values."""

_NUMBERS = frozenset({f"{_TAG}int", f"{_TAG}float"})
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_yaml(path: Path, where: str) -> Any:
    """Return what a YAML file says; `where` names it in messages.

    Raises:
        ConfigError: it cannot be read, is larger than 1 MiB, is no UTF-8 text or no YAML; see also the module.
        FileNotFoundError: there is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ConfigError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{where} is larger than {_MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"it looks like {_MARKS[data[:2]]}" if data[:2] in _MARKS else f"byte {error.start}"
        raise ConfigError(f"cannot read {where}: not UTF-8 text ({found}); save it as UTF-8") from error
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> Any:
    """Return the plain data that YAML `text` says.

    Raises:
        ConfigError: see the module; one line, with the key or the line's number.
    """
    loader: _Loader | None = None
    try:
        loader = _Loader(text, where)
        node = loader.get_single_node()
        return None if node is None else _Reader(loader, where).plain(node, "")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}: line {line} is not YAML: the control character {_code(error.character)} is in it; take it out"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}:{_reason(error)}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _code(character: Any) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"


def _reason(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f" line {mark.line + 1}" if mark else ""
    said = [getattr(error, name, None) for name in ("context", "problem")]
    reason = " ".join(str(part) for part in said if part) or " ".join(str(error).split())
    if "another document" in reason:
        return f"{line} begins a second document (---); keep one"
    tab = "; indent with spaces, not with tabs" if "'\\t'" in reason else ""
    return f"{line} is not YAML: {reason}{tab}"


class _Loader(yaml.SafeLoader):
    """Composes nodes within bounds, and constructs nothing."""

    def __init__(self, text: str, where: str) -> None:
        super().__init__(text)
        self._where = where
        self._count = 0
        self._above: list[str] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            name = shown(self.peek_event().anchor, quote=False)  # type: ignore[no-untyped-call]
            raise self._refused(index, f"YAML aliases (*{name}) are not allowed; write the value out")
        self._count += 1
        if len(self._above) > _MAX_DEPTH:
            raise ConfigError(f"{self._where} is nested too deeply: more than {_MAX_DEPTH} levels")
        if self._count > _MAX_VALUES:
            raise ConfigError(f"{self._where} holds more than {_MAX_VALUES} values")
        self._above.append(_step(index))
        node = super().compose_node(parent, index)
        self._above.pop()
        return node

    def _refused(self, index: Any, why: str) -> ConfigError:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        path = "".join([*self._above, _step(index)]).removeprefix(".")
        return ConfigError(f"{self._where}: line {line}: {path}{': ' if path else ''}{why}")


def _step(index: Any) -> str:
    """Return the part of a dotted key that a value adds, by what PyYAML says of its place."""
    if isinstance(index, yaml.ScalarNode):
        return f".{shown(index.value, quote=False)}"
    return f"[{index}]" if isinstance(index, int) else ""


class _Reader:
    """Turns nodes into plain data, and knows the keys that lead to each."""

    def __init__(self, loader: _Loader, where: str) -> None:
        self._loader = loader
        self._where = where

    def plain(self, node: Any, path: str) -> Any:
        """Return the data of `node`; `path` is the dotted key that leads to it. Raises `ConfigError`."""
        if isinstance(node, yaml.MappingNode):
            self._expect(node, "map", path)
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._expect(node, "seq", path)
            return [self.plain(one, f"{path}[{index}]") for index, one in enumerate(node.value)]
        return self._scalar(node, path)

    def _expect(self, node: Any, kind: str, path: str) -> None:
        if node.tag != _TAG + kind:
            raise self._refused(node, path, f"the tag {_tag(node)} is not allowed; leave it out")

    def _mapping(self, node: Any, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                raise self._refused(key, path, "merge keys (<<) are not allowed; write the keys out")
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _TEXTS:
                written = shown(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise self._refused(key, path, f"the key {written} is no text; put it in quotes")
            name = _joined(key.value)
            if name in found:
                place = f" in {path}" if path else ""
                raise self._refused(key, "", f"the key {shown(name)} stands twice{place}; keep one")
            inner = shown(name, quote=False)
            found[name] = self.plain(value, f"{path}.{inner}" if path else inner)
        return found

    def _scalar(self, node: Any, path: str) -> Any:
        if node.tag in _TEXTS:
            return _joined(node.value)
        if node.tag == f"{_TAG}null":
            return None
        if node.tag in _NUMBERS:
            return self._number(node, path)
        if node.tag == f"{_TAG}timestamp":
            raise self._refused(
                node, path, f"{shown(node.value, quote=False)} is a date to YAML; put it in quotes"
            )
        if node.tag != f"{_TAG}bool":
            raise self._refused(node, path, f"the tag {_tag(node)} is not allowed; leave it out")
        try:
            return self._loader.construct_yaml_bool(node)
        except KeyError as error:
            raise self._refused(node, path, f"{shown(node.value)} is neither true nor false") from error

    def _number(self, node: Any, path: str) -> int | float:
        text = node.value
        whole = node.tag == f"{_TAG}int"
        try:
            value = (
                self._loader.construct_yaml_int(node) if whole else self._loader.construct_yaml_float(node)
            )
            number: int | float = value
            odd = ":" in text or (whole and _OCTAL.fullmatch(text))
            reads = f"{number}"  # raises for what has thousands of digits
        except (ValueError, IndexError, OverflowError) as error:
            raise self._refused(
                node, path, f"{shown(text, quote=False)} cannot be read as a number"
            ) from error
        if odd:
            text = shown(text, quote=False)
            raise self._refused(
                node, path, f"{text} is the number {reads} to YAML; write {reads}, or put it in quotes"
            )
        return number

    def _refused(self, node: Any, path: str, why: str) -> ConfigError:
        line = node.start_mark.line + 1
        return ConfigError(
            f"{self._where}: line {line}: {path}: {why}" if path else f"{self._where}: line {line}: {why}"
        )


def _tag(node: Any) -> str:
    return shown(node.tag.replace(_TAG, "!!"), quote=False)


def _joined(text: str) -> str:
    r"""Return `text` with halves of characters joined: JSON writes 🙂 as `"\ud83d\ude42"`, and JSON is YAML."""
    if not any("\ud800" <= one <= "\udfff" for one in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
