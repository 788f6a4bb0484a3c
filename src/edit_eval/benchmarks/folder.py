"""The user's own images and instructions: a JSONL, JSON, CSV or Parquet file, alone or in a folder.

Knows the fields of a sample and says precisely what is wrong with them. It opens no image: whether images exist and
ids are unique is checked by the driver, for every benchmark alike.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from edit_eval.benchmarks import Benchmark
from edit_eval.benchmarks._embedded import unpacked
from edit_eval.benchmarks._tables import SUFFIXES, Row, read_rows
from edit_eval.core.errors import DataError, did_you_mean, shown
from edit_eval.core.types import Sample, is_blank

__all__ = ["Folder", "FolderParams"]

_PREFERRED = "samples"
"""A folder may hold several tables if one of them has this name."""

_IMAGES = ("image", "images")
_REFERENCES = ("reference", "references")
_TAG_FIELDS = ("category", "language", "task")
_FIELDS = (
    *_IMAGES, "instruction", "edit_instruction", "id", "tags", *_TAG_FIELDS, *_REFERENCES, "target", "cluster",
)  # fmt: skip
_PLAIN = frozenset({"image", "instruction", "id", "tags"})
_TEXT = frozenset({str})
_SEPARATOR = "|"
_TIDY = re.compile(r"[^./~\0][^/\0]*(?:/[^./\0][^/\0]*)*")
"""A relative path that stays where it begins, without a name that begins with a dot."""
_UNTIDY = re.compile(r"//|/\.?(?:/|\Z)")
_SHOWN_NAMES = 20
_LONGEST_PATH = 4096
_TAGS_EXAMPLE = '{"category": "recolour"}'


@dataclass(frozen=True)
class FolderParams:
    """How to read the table.

    Attributes:
        images: folder that relative image paths count from, itself relative to the table's folder or else to where
            the command was started. Default: the table's folder.
        language: tag `language` of samples that have none of their own.
        fields: our field names to the table's, as in `{image: input_path, instruction: prompt}`.
        outside: whether relative paths may lead out of the table's folder and of `images` (`../photos/a.png`), and
            absolute ones anywhere without a word.
    """

    images: str | None = None
    language: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    outside: bool = False


class Folder(Benchmark):
    """Samples from a table.

    `path` is the table, or a folder that holds exactly one, or one called `samples.*` among several. A table is

    - `.jsonl`: an object a line; `.json`: a list of objects, an object with that list under `samples` or `data`, or
      an object of image file name to instruction;
    - `.csv` and `.tsv` with a header; `.parquet`, whose images may be embedded (Hugging Face's `{bytes, path}`).

    Fields: `image`, or `images` (a list; in CSV separated by `|`), and `instruction` are needed. `id` is by default
    the first image's name without extension; the second sample of that name gets `-2`, the third `-3`, in the
    table's order. `tags` is an object (in CSV: as JSON); `tag.NAME` fields, `category`, `language` and `task` become
    tags too. `reference` or `references`, `target`, `cluster` and `edit_instruction` are as in `Sample`. Other
    fields are left alone.

    A relative path stays in the folder that it counts from or in the table's (links in there may lead anywhere); one
    that climbs out of both is refused unless `outside` says that it may. An absolute path is taken as it is: it names a
    place on this machine on purpose. Which of these lie elsewhere is said at the start.
    """

    Params = FolderParams
    name: ClassVar[str] = "folder"
    version: ClassVar[int] = 1

    @classmethod
    def places(cls, path: Path | None, params: FolderParams) -> Sequence[Path] | None:
        """Return the table's folder and that of the images; None where these may be anywhere."""
        if path is None or params.outside:
            return None
        table = _table(path)
        return table.parent, _base(table, params.images)

    @classmethod
    def load(cls, path: Path | None, params: FolderParams, workspace: Path) -> Sequence[Sample]:
        """Return the samples, in the table's order; none if it holds none.

        Embedded images are written once to `workspace/embedded`, named by their content.

        Raises:
            DataError: the table cannot be found or read, or rows are wrong; names file, line and what is expected.
        """
        if path is None:
            raise DataError(
                "benchmark.path is missing: give a .jsonl, .json, .csv or .parquet file, or its folder"
            )
        given = {"images": params.images, "language": params.language}
        given |= {f"fields.{ours}": theirs for ours, theirs in params.fields.items()}
        for name, value in given.items():
            if value is not None and is_blank(value):
                raise DataError(f"benchmark.params.{name} is blank; write it, or leave it out")
        table = _table(path)
        unknown = [name for name in params.fields if name not in _FIELDS and not name.startswith("tag.")]
        if unknown:
            raise DataError(
                f"benchmark.params.fields: there is no field {shown(unknown[0])}{did_you_mean(unknown[0], _FIELDS)}; "
                f"known: {', '.join(_FIELDS)} and tag.NAME"
            )
        reader = _Reader(params, table.parent, _base(table, params.images), workspace / "embedded")
        drafts = [reader.draft(row) for row in read_rows(table)]
        if drafts:
            reader.check_renames(table)
        reader.problems.raise_first(table)
        return _with_ids([draft for draft in drafts if draft is not None])


def _table(path: Path) -> Path:
    """Return the file to read."""
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{path}: expected one of {', '.join(SUFFIXES)}; rename the file, or give another one"
            )
        return path.absolute()
    if not path.is_dir():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path} does not exist{did_you_mean(path.name, beside)}: set benchmark.path")
    tables = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
    tables = [one for one in tables if not one.name.startswith(".")]
    preferred = [one for one in tables if one.stem == _PREFERRED]
    if len(tables) == 1 or len(preferred) == 1:
        return (preferred or tables)[0].absolute()
    if not tables:
        raise DataError(
            f"{path} holds no table of samples: expected samples.jsonl, or another file in {', '.join(SUFFIXES)}"
        )
    raise DataError(
        f"{path} holds several tables ({', '.join(one.name for one in tables)}): "
        f"give one of them as benchmark.path, or call it {_PREFERRED}{tables[0].suffix}"
    )


def _base(table: Path, images: str | None) -> Path:
    """Return the folder that relative image paths count from."""
    if images is None:
        return table.parent
    given = Path(os.path.expanduser(images))  # noqa: PTH111 - raises nothing for a user who is not there
    tried = [table.parent / given, given.absolute()]
    for folder in tried:
        if os.path.isdir(folder):  # noqa: PTH112 - raises nothing for a name that is too long
            return folder
    if len(images) > _LONGEST_PATH:
        raise DataError(f"benchmark.params.images: {shown(images)} is too long for a path")
    raise DataError(
        f"benchmark.params.images: there is no folder {' or '.join(dict.fromkeys(str(one) for one in tried))}"
    )


class _WrongError(Exception):
    """A row that makes no sample: the kind of fault, and where in the row."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class _Problems:
    """The faults of a table, in its order."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def raise_first(self, table: Path) -> None:
        """Raise the first fault, with the number of others like it and unlike it."""
        if not self.found:
            return
        kind, text = self.found[0]
        alike = sum(other == kind for other, _ in self.found) - 1
        others = len(self.found) - alike - 1
        more = f"; and {alike} more like it" if alike else ""
        more += f"; and {others} of other kinds" if others else ""
        raise DataError(f"{table}, {text}{more}")


class _Draft(NamedTuple):
    """A sample that may still need an id, made from `stem`."""

    id: str | None
    stem: str
    values: Mapping[str, Any]


def _with_ids(drafts: Sequence[_Draft | Sample]) -> list[Sample]:
    """Make samples of drafts; those that have no id are named after their image, past the ids that are taken."""
    taken = {one.id for one in drafts if one.id is not None}
    seen: Counter[str] = Counter()
    samples = []
    for draft in drafts:
        if isinstance(draft, Sample):
            samples.append(draft)
            continue
        name = draft.id
        while name is None:
            seen[draft.stem] += 1
            number = seen[draft.stem]
            candidate = draft.stem if number == 1 else f"{draft.stem}-{number}"
            if candidate not in taken:
                name = candidate
                taken.add(name)
        samples.append(Sample(id=name, **draft.values))
    return samples


class _Reader:
    """Turns rows into drafts of samples, and keeps what was wrong with those that make none."""

    def __init__(self, params: FolderParams, home: Path, base: Path, embedded: Path) -> None:
        self.params = params
        self.base = base
        self.within = tuple(
            os.path.normpath(one).rstrip(os.sep) + os.sep for one in dict.fromkeys((base, home))
        )
        whole = f"{str(base).rstrip(os.sep)}{os.sep}"
        self.prefix = whole if whole in self.within else ""
        self.embedded = embedded
        self.problems = _Problems()
        self.columns: set[str] = set()
        self.plain: dict[tuple[str, ...], bool] = {}

    def draft(self, row: Row) -> _Draft | Sample | None:
        """Return the row's sample, a draft of it, or None where a fault was noted."""
        shape = (*row.values,)
        if shape not in self.plain:
            self.columns.update(shape)
            self.plain[shape] = self._is_plain(row.values.keys())
        try:
            return (self.plain[shape] and not row.flat and self._plain_sample(row.values)) or self._draft(row)
        except _WrongError as wrong:
            self.problems.found.append((wrong.kind, f"{row.where}: {wrong}"))
            return None

    def check_renames(self, table: Path) -> None:
        """Refuse a renamed field that no row has."""
        for ours, theirs in self.params.fields.items():
            if theirs not in self.columns:
                raise DataError(
                    f"{table}: benchmark.params.fields says that {ours!r} is called {shown(theirs)}, but no row has it"
                    f"{did_you_mean(theirs, sorted(self.columns))}; found: {_list(sorted(self.columns), quote=False)}"
                )

    def _is_plain(self, columns: AbstractSet[str]) -> bool:
        """Whether rows with these columns may be read by `_plain_sample`."""
        others = {name for name in columns if name in _FIELDS or name.startswith("tag.")} - _PLAIN
        return {*columns, "tags"} >= _PLAIN and not others and not self.params.fields and bool(self.prefix)

    def _plain_sample(self, values: Mapping[str, Any]) -> Sample | None:
        """Return the sample of a row as nearly all are, in a fifth of the time; None: `_draft` is to be asked."""
        image, instruction, name, tags = (
            values["image"],
            values["instruction"],
            values["id"],
            values.get("tags", {}),
        )
        if not (
            type(image) is type(instruction) is type(name) is str
            and type(tags) is dict
            and _TEXT.issuperset(map(type, tags.values()))
            and instruction[:1].isalnum()
            and name[:1].isalnum()
            and _TIDY.fullmatch(image)
        ):
            return None
        language = self.params.language
        whole = tags if language is None else {"language": language, **tags}
        return Sample(name, instruction, (self.prefix + image,), tags=whole)

    def _draft(self, row: Row) -> _Draft:
        values = self._renamed(row.values)
        has = values.keys()
        given = _listed(values, _IMAGES, flat=row.flat)
        if not given:
            raise self._missing("image", row.values)
        instruction = _text(values, "instruction")
        if instruction is None:
            raise self._missing("instruction", row.values)
        targets = _listed(values, ("target",), flat=row.flat) if "target" in has else ()
        references = () if has.isdisjoint(_REFERENCES) else _listed(values, _REFERENCES, flat=row.flat)
        if len(targets) > 1:
            raise _WrongError("target", "'target' names several images; expected one")
        name = _text(values, "id", numbers=True)
        return _Draft(
            id=name,
            stem=name or _stem(given[0]) or row.where.replace(" ", "-"),
            values={
                "instruction": instruction,
                "images": tuple([self._path(one, "image") for one in given]),
                "edit_instruction": _text(values, "edit_instruction"),
                "tags": self._tags(values),
                "cluster": _text(values, "cluster", numbers=True) or "",
                "references": tuple([self._path(one, "reference") for one in references]),
                "target": self._path(targets[0], "target") if targets else None,
            },
        )

    def _renamed(self, theirs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row under our names. A renamed field takes the place of one that already had our name."""
        if not self.params.fields:
            return theirs
        values = dict(theirs)
        for ours, name in self.params.fields.items():
            for synonym in next((group for group in (_IMAGES, _REFERENCES) if ours in group), (ours,)):
                values.pop(synonym, None)
            if name in theirs:
                values[ours] = theirs[name]
        return values

    def _missing(self, name: str, row: Mapping[str, Any]) -> _WrongError:
        """Say that a needed field is missing, and which field may be meant."""
        for other in row:
            near = "" if other in _FIELDS else did_you_mean(other, [name])
            if near:
                return _WrongError(
                    f"no {name}", f"{name!r} is missing, and {shown(other)} is no known field{near}"
                )
        has = _list(row) or "nothing"
        return _WrongError(
            f"no {name}",
            f"{name!r} is missing; found {has}. Where it has another name, say so: "
            f"benchmark.params.fields: {{{name}: NAME}}",
        )

    def _tags(self, values: Mapping[str, Any]) -> dict[str, str]:
        tags = {} if self.params.language is None else {"language": self.params.language}
        for name, value in _tag_pairs(values):
            if type(value) is str:
                tags[name] = value
            elif isinstance(value, bool):
                tags[name] = str(value).lower()
            elif isinstance(value, (str, int, float)):
                tags[name] = str(value)
            elif value is not None:
                raise _WrongError("tag", f"tag {shown(name)} is {_shown(value)}; expected text or a number")
        return tags

    def _path(self, value: Any, name: str) -> str:
        """Return the absolute path of one image, written first if it is embedded."""
        if isinstance(value, str):
            return self._inside(value, name)
        if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
            return unpacked(value["bytes"], str(value.get("path") or ""), self.embedded)
        if isinstance(value, Mapping) and isinstance(value.get("path"), str):
            return self._inside(value["path"], name)
        raise _WrongError(
            f"type of {name}", f"{name!r} is {_shown(value)}; expected a path in quotes, or a list of them"
        )

    def _joined(self, path: str) -> str:
        """Return `base / path` as text; `Path`, which is slow, is asked only where it has something to tidy."""
        whole = os.path.join(self.base, path)  # noqa: PTH118
        return str(Path(whole)) if _UNTIDY.search(whole) else whole

    def _inside(self, value: str, name: str) -> str:
        """Return the absolute path; refuse a relative one that climbs out of where the images are."""
        if self.prefix and _TIDY.fullmatch(value):
            return self.prefix + value
        path = self._joined(value)
        if self.params.outside or os.path.isabs(value):  # noqa: PTH117 - called 100,000 times
            return path
        if not os.path.normpath(path).startswith(self.within):
            raise _WrongError(
                f"{name} outside",
                f"{name!r} is {_shown(value)}, which leads out of {self.base}; if you trust this table, set "
                "benchmark.params.outside=true",
            )
        return path


def _text(values: Mapping[str, Any], name: str, *, numbers: bool = False) -> str | None:
    """Return a field's text, or None if it is not given."""
    value = values.get(name)
    if value is None or (type(value) is str and value[:1].isalnum()):
        return value
    if numbers and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _WrongError(f"type of {name}", f"{name!r} is {_shown(value)}; expected text in quotes")
    if is_blank(value):
        mend = "say what is to be done" if name == "instruction" else "write it, or leave the field out"
        raise _WrongError(f"blank {name}", f"{name!r} is blank; {mend}")
    return value


def _listed(values: Mapping[str, Any], names: tuple[str, ...], *, flat: bool) -> Sequence[Any]:
    """Return the images under whichever of `names` is given, as they stand in the table."""
    given = [name for name in names if name in values]
    if len(given) > 1:
        raise _WrongError("both", f"both {given[0]!r} and {given[1]!r} are given; keep one")
    if not given:
        return ()
    value = values[given[0]]
    if type(value) is str and value[:1].isalnum() and not flat:
        return (value,)
    if flat:
        return [part.strip() for part in str(value).split(_SEPARATOR) if part.strip()]
    several = value if isinstance(value, list) else [value]
    if not several and given[0] in _IMAGES:
        raise _WrongError("no image", f"{given[0]!r} is an empty list; expected at least one path")
    if any(isinstance(one, str) and is_blank(one) for one in several):
        raise _WrongError(f"blank {given[0]}", f"{given[0]!r} is blank; expected a path")
    return several


def _tag_pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of tags, from the least to the most specific field."""
    tags = values.get("tags", {})
    if isinstance(tags, str):
        try:
            tags = json.loads(tags)
        except (ValueError, RecursionError) as error:
            why = getattr(error, "msg", error)
            raise _WrongError(
                "tags", f"'tags' is not a JSON object: {why}; expected {_TAGS_EXAMPLE}"
            ) from error
    if isinstance(tags, list) and tags and all(isinstance(one, tuple) and len(one) == 2 for one in tags):
        tags = dict(tags)  # a map column of Parquet
    if not isinstance(tags, Mapping):
        raise _WrongError("tags", f"'tags' is {_shown(tags)}; expected an object as in {_TAGS_EXAMPLE}")
    for name, value in tags.items():
        yield str(name), value
    if not values.keys().isdisjoint(_TAG_FIELDS):
        yield from ((name, values[name]) for name in _TAG_FIELDS if name in values)
    for name in values:
        if name[:4] == "tag." and name != "tag.":
            yield name[4:], values[name]


def _list(names: Iterable[str], *, quote: bool = True) -> str:
    """Return names as a list that stays readable, however many and long they are."""
    some = list(names)
    more = f" and {len(some) - _SHOWN_NAMES} more" if len(some) > _SHOWN_NAMES else ""
    return ", ".join(shown(name, 40, quote=quote) for name in some[:_SHOWN_NAMES]) + more


def _stem(image: Any) -> str:
    """Return the name without extension, or an empty text where an embedded image has none."""
    return Path(str((image.get("path") or "") if isinstance(image, Mapping) else image)).stem


def _shown(value: Any) -> str:
    """Return a value as it may stand in a one-line message."""
    if isinstance(value, (list, Mapping)):
        return "a list" if isinstance(value, list) else "an object"
    return shown(value, 40)
