"""What is known of the benchmarks, as lines and as the page docs/benchmarks.md. A pure function of their declarations."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping

from edit_eval.benchmarks import Benchmark, Facts
from edit_eval.views.text import wrapped

__all__ = ["benchmarks_page", "fact_lines"]

_LABEL_COLUMNS = 10

_HEAD = """\
# Public benchmarks

This page is written from the benchmarks' own declarations (`python docs/benchmarks.py`), and a test holds it to them.

A run is scored by the benchmark's own protocol unless `judge.rubric` names another. Its id says what was run: `NAME/v1+official`
only where prompts, judge, images and samples are those of the benchmark's authors and nothing is missing; else every deviation
has a name in it.

| in the id | meaning |
|---|---|
| `own-prompts` | our own rubric; set `benchmark.params.prompts` to your copy of the official prompts |
| `prompts-XXXXXXXX` | prompts that differ from the published ones, by the first digits of their hash |
| `judge-NAME` | another judge than the authors' |
| `limit-N`, `subset-NAME`, `edited-small` | only a part of the samples; other images edited than the authors' |
| `samples-N-of-M` | the data holds N of the benchmark's M samples, or more; N of M where N is M: too many of one kind, too few of another |
| `partial` | in place of `official`: a group, a sample or a score is missing: the number stands with its bounds and the reason |

`edit-eval fetch NAME`, or `edit-eval fetch CONFIG`, brings a benchmark's data and official prompts, on a node with internet:

```
edit-eval fetch gedit
```

Data comes from its hub (`HF_ENDPOINT` names a mirror); a run finds it in the hub's cache while the config gives no
`benchmark.path`. Archives are unpacked beside it: whole or not at all, and none that holds links, devices, paths that lead out
of its folder, or far more than its own size. Prompts (and ImgEdit's lists) come from GitHub at the commit below
(`GITHUB_RAW_ENDPOINT` names a mirror) and are kept only with the hash that they have there. They go to `hub_cache`, or to
`~/.cache/edit-eval/github`, with a record of every file's hash; the command ends with the lines to put into the config. Prompts
that cannot be had are said in one line (exit code 2), and all else is there.

Official prompts are read from that copy, or yours, of the benchmark's repository, as text, and hashed; a Python file is parsed
and never run. Numbers beside the benchmark's own (mean over samples, by tag, by score) are given with n and interval in any case. A reply
that cannot be read is *unscored*: never a zero, never a guess.

Edits go to the authors' tools with `edit-eval export RUN --layout NAME`, and edits that others made are read from the same
layout by `edit-eval score CONFIG --edits FOLDER`; `edit-eval lint CONFIG` says what is missing, doubled or odd in such a folder.
"""


def fact_lines(cls: type[Benchmark], columns: int) -> list[str]:
    """Return what `edit-eval ls benchmarks` says below a benchmark's name; nothing where nothing is declared.

    Args:
        cls: the benchmark.
        columns: of the terminal; longer texts go on below their beginning.
    """
    facts: Facts | None = getattr(cls, "facts", None)
    if facts is None:
        return []
    calls = f"{facts.calls} question{'' if facts.calls == '1' else 's'} a sample"
    said = {
        "samples": f"{facts.samples}; instructions in {facts.languages}; licence {facts.licence}",
        "judging": f"{calls}; {facts.scale}",
        "headline": facts.aggregation,
        "data": facts.data,
        "prompts": facts.prompts,
    }
    lines = []
    for label, text in said.items():
        first, *rest = wrapped(text, columns - _LABEL_COLUMNS)
        lines += [f"{label:<{_LABEL_COLUMNS}}{first}", *(f"{'':<{_LABEL_COLUMNS}}{one}" for one in rest)]
    return lines


def benchmarks_page(benchmarks: Mapping[str, type[Benchmark]]) -> str:
    """Return docs/benchmarks.md, with a final newline; those that declare no facts are left out."""
    public = {name: cls for name, cls in sorted(benchmarks.items()) if cls.facts}
    return "\n".join([_HEAD, *(line for name, cls in public.items() for line in _section(name, cls))])


def _section(name: str, cls: type[Benchmark]) -> Iterator[str]:
    facts = cls.facts
    if facts is None:
        return
    first, *rest = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
    yield f"## `{name}`\n"
    yield f"{_one_line(first)}\n"
    for paragraph in rest:
        yield f"{_one_line(paragraph)}\n"
    yield "| | |\n|---|---|"
    for one in dataclasses.fields(facts):
        yield f"| {one.name} | {getattr(facts, one.name)} |"
    if files := cls.prompt_files:
        yield f"| prompts that are fetched | {', '.join(files.files)} at `{files.revision[:12]}` |"
    if cls.layout:
        yield f"| layout of edits | `{cls.layout}{cls.layout_suffix}` |"
    yield ""
    for field, text in _parameters(cls).items():
        yield f"- `benchmark.params.{field}`: {text}"
    yield ""


def _parameters(cls: type[Benchmark]) -> dict[str, str]:
    """Return what the docstring of `Params` says of each parameter."""
    text = inspect.cleandoc(cls.Params.__doc__ or "").partition("Attributes:")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: _one_line(said) for name, said in found}


def _one_line(text: str) -> str:
    return " ".join(text.split())
