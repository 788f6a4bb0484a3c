"""What the public benchmarks have in common: their tables, and the official prompts in the user's own copy.

Official prompts are read as text, by path, and hashed; a Python file that holds them is parsed and never run.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edit_eval.benchmarks._embedded import unpacked
from edit_eval.benchmarks._tables import Row, read_json, read_rows
from edit_eval.core.errors import DataError, did_you_mean
from edit_eval.core.types import Call, ReplyForm

__all__ = [
    "Official",
    "beside",
    "column",
    "constants",
    "existing",
    "given",
    "image",
    "items_of",
    "json_texts",
    "missing_column",
    "only_json",
    "question",
    "read_text",
    "rows_of",
    "sourced",
    "table_of",
    "text_of",
]

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz")


class Official:
    """Official prompts, and what they say of the protocol's id.

    Args:
        texts: by name, as used.
        known: sha256 (first 8 hex digits and more) of the texts that the authors published.
    """

    def __init__(self, texts: Mapping[str, str], known: Sequence[str]) -> None:
        self.texts = texts
        joined = json.dumps(dict(sorted(texts.items())), ensure_ascii=False)
        self.sha256 = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
        self._known = known

    @property
    def deviations(self) -> tuple[str, ...]:
        """Nothing where the texts are those that the authors published, else their hash."""
        return () if self.sha256 in self._known else (f"prompts-{self.sha256[:8]}",)


def constants(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the texts that a Python file assigns to `names` at its top level; the file is never run.

    Raises:
        DataError: it cannot be read, is no Python, or lacks a name.
    """
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: this is no Python file: {error}") from error
    found: dict[str, str] = {}
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            found |= {one.id: node.value.value for one in node.targets if isinstance(one, ast.Name)}
    return _chosen(path, found, names)


def json_texts(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the texts under `names` of a JSON object. Raises `DataError` as `constants` does."""
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: this is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected an object of prompts")
    return _chosen(path, {key: text for key, text in value.items() if isinstance(text, str)}, names)


def read_text(path: Path) -> str:
    """Return an official file's text. Raises `DataError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"benchmark.params.prompts: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: this is not UTF-8") from error


def _chosen(path: Path, found: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{path} holds no prompt {missing[0]!r}{did_you_mean(missing[0], sorted(found))}; "
            "give the file of the benchmark's own repository"
        )
    return {name: found[name] for name in names}


@contextmanager
def sourced(where: str) -> Iterator[None]:
    """Have a `DataError` about the data end with `where` to get it, if it does not say so already."""
    try:
        yield
    except DataError as error:
        if where in str(error):
            raise
        raise DataError(f"{error}; {where}") from error


def table_of(
    name: str,
    path: Path | None,
    *,
    tables: Sequence[str],
    image_column: str,
    folders: Sequence[str],
    images: str | None,
    where: str,
) -> tuple[list[tuple[Path, Row]], Path]:
    """Return the rows of a benchmark's only table, each with its file, and the folder that image paths count from.

    Args:
        name: of the benchmark.
        path: the config's `benchmark.path`.
        tables: as `names` of `only_json`.
        image_column: holds the path of a row's image.
        folders: as in `beside`.
        images: as in `beside`.
        where: to get the data.

    Raises:
        DataError: there is no path, no table, no column or no image; with `where`.
    """
    if path is None:
        raise DataError(f"benchmark.path: {name} needs the path of its data; {where}")
    file = only_json(path, tables, where)
    rows = list(rows_of([file]))
    if not rows:
        return [], file.parent
    return rows, beside(file, text_of(*rows[0], image_column), folders, images, where)


def rows_of(files: Sequence[Path]) -> Iterator[tuple[Path, Row]]:
    """Yield the rows of several tables, one after the other, each with its file. Raises `DataError`."""
    for path in files:
        for row in read_rows(path):
            yield path, row


def column(path: Path, row: Row, *names: str) -> Any:
    """Return what stands under the first of `names` that the row has. Raises `DataError` naming them."""
    for name in names:
        if name in row.values:
            return row.values[name]
    raise missing_column(path, row, names)


def missing_column(path: Path, row: Row, names: Sequence[str]) -> DataError:
    """Return what is said where none of `names` is there."""
    wanted = " or ".join(repr(name) for name in names)
    has = ", ".join(sorted(row.values)) or "nothing"
    hint = did_you_mean(names[0], sorted(row.values))
    return DataError(f"{path}, {row.where}: no column {wanted}{hint}; found {has}")


def text_of(path: Path, row: Row, *names: str) -> str:
    """Return the text under the first of `names` that the row has. Raises `DataError`: none, blank or no text."""
    value = column(path, row, *names)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise DataError(f"{path}, {row.where}: {names[0]!r} is no text")
    text = str(value)
    if not text.strip():
        raise DataError(f"{path}, {row.where}: {names[0]!r} is blank")
    return text


def image(path: Path, row: Row, value: Any, base: Path, embedded: Path) -> str:
    """Return the absolute path of an image that a table names below `base`, or holds (then written to `embedded`).

    Raises:
        DataError: neither.
        OSError: it cannot be written.
    """
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return unpacked(value["bytes"], str(value.get("path") or ""), embedded)
    if isinstance(value, Mapping) and isinstance(value.get("path"), str):
        value = value["path"]
    if isinstance(value, bytes):
        return unpacked(value, "", embedded)
    if isinstance(value, str) and value.strip():
        return str((base / value).absolute())
    raise DataError(f"{path}, {row.where}: expected an image or its path")


def existing(path: Path, names: Sequence[str], otherwise: str) -> Path:
    """Return `path` if it is a file, or the first of `names` that is a file below it.

    Raises:
        DataError: `PATH: OTHERWISE`.
    """
    if path.is_dir():
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise DataError(f"{path}: {otherwise}")
        return found.absolute()
    return path.absolute()


def items_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return the items of a JSON object of objects, in its order. Raises `DataError`, also where a key stands twice."""
    value = read_json(path)
    if not isinstance(value, dict) or not value or not all(isinstance(one, dict) for one in value.values()):
        raise DataError(f"{path}: expected an object of items by key")
    return value


def given(row: Row, name: str) -> Any:
    """Return what stands under `name`, or None where it is absent, null, not a number (NaN) or blank."""
    value = row.values.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return None if isinstance(value, str) and not value.strip() else value


def only_json(path: Path, names: Sequence[str], where: str) -> Path:
    """Return `path` if it is a file, else the first of `names` below it, else the only JSON file in it.

    Raises:
        DataError: there is none, or several; with `where` to get the data.
    """
    if not path.is_dir():
        return path.absolute()
    found = [path / name for name in names if (path / name).is_file()]
    found = found or sorted(one for one in path.iterdir() if one.suffix.lower() in (".json", ".jsonl"))
    if not found:
        raise DataError(f"{path} holds no {names[0]}; {where}")
    if (
        len(found) > 1
        and not (path / names[0]).is_file()
        and found[0].name not in {Path(one).name for one in names}
    ):
        raise DataError(f"{path} holds several JSON files ({found[0].name} ...): give one as benchmark.path")
    return found[0].absolute()


def beside(file: Path, first: str, folders: Sequence[str], images: str | None, where: str) -> Path:
    """Return the folder that image paths count from.

    Args:
        file: the table.
        first: the first image's path in it.
        folders: where to look, from the table's folder and from the one above.
        images: `benchmark.params.images`, in which it is looked for first; taken as it is where the image is nowhere.
        where: to get the data.

    Raises:
        DataError: the first image is in none of them.
    """
    if images is not None:
        given = Path(images).expanduser().absolute()
        return next((one for one in (given, *map(given.joinpath, folders)) if (one / first).is_file()), given)
    for folder in [base / name for base in (file.parent, file.parent.parent) for name in (".", *folders)]:
        if (folder / first).is_file():
            return folder.absolute()
    packed = sorted(one.name for one in file.parent.iterdir() if one.suffix.lower() in _ARCHIVES)
    mend = (
        f"unpack {', '.join(packed)} there"
        if packed
        else "set benchmark.params.images to the folder that holds it"
    )
    raise DataError(
        f"{file}: the images are not beside it ({first} is in none of its folders): {mend}; {where}"
    )


def question(
    name: str,
    text: str,
    dimensions: Sequence[str],
    images: Sequence[str],
    reply: ReplyForm,
    *,
    fill: Mapping[str, str] | None = None,
    keys: Sequence[str] = (),
    labels: Sequence[str] = (),
    after: str = "",
    images_first: bool = False,
) -> Call:
    """Return an official question: its text with the benchmark's own marks, and its images after (or before) it.

    Args:
        name: of the call.
        text: as published.
        dimensions: that the reply scores.
        images: roles, in the order shown.
        reply: form of the reply.
        fill: as in `Call`, for what is in the text.
        keys: as in `Call`.
        labels: a text before each image; none by default.
        after: a text after the last image.
        images_first: whether images come before the text.
    """
    marks = {f"<image:{role}>": f"image:{role}" for role in images}
    shown = "".join(label + mark for label, mark in zip(labels or [""] * len(marks), marks, strict=True))
    whole = shown + text + after if images_first else text + shown + after
    return Call(name, whole, tuple(dimensions), tuple(images), reply, tuple(keys), {**(fill or {}), **marks})
