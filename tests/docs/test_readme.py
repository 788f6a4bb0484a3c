"""Both READMEs say the same, their links lead somewhere, and they name every key and no other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from edit_eval.cli import commands
from edit_eval.driver import registry
from edit_eval.driver.config import BenchmarkConfig, Config, DeadlinesConfig, EditorConfig, JudgeConfig
from edit_eval.driver.rubrics import builtin_rubrics
from edit_eval.views.benchmarks import benchmarks_page

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
)
PUBLIC = sorted(registry.BENCHMARKS.keys() - {"folder", "scenes"})
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def headings(name: str) -> list[str]:
    """Return the marks (`##`) of the headings outside code."""
    return re.findall(r"^(#+) ", FENCE.sub("", read(name)), re.MULTILINE)


def _code(name: str) -> str:
    """Return what stands in code, in a line or in a block."""
    text = read(name)
    blocks = [block for _, block in FENCE.findall(text)]
    return "\n".join([*blocks, *re.findall(r"`[^`\n]+`", FENCE.sub("", text))])


def test_same_shape():
    first, second = READMES
    assert headings(first) == headings(second)
    assert len(headings(first)) > 8


def test_same_code():
    """Blocks of commands and configs are equal but for instructions and comments in words."""

    def code(name: str) -> list[str]:
        return [text for language, text in FENCE.findall(read(name)) if language]

    assert code(READMES[0]) == code(READMES[1])


def test_same_rows_and_keys():
    def first_cells(name: str) -> list[str]:
        cells = re.findall(r"^\| ([^|]*) \|", read(name), re.MULTILINE)
        return [" ".join(re.findall(r"`[^`]+`|\d+", cell)) for cell in cells]

    assert first_cells(READMES[0]) == first_cells(READMES[1])


@pytest.mark.parametrize("name", READMES)
def test_two_commands(name):
    """The first block of the page is the quick start: these two commands and nothing else."""
    language, text = FENCE.findall(read(name))[0]
    assert language == "sh"
    assert text.splitlines() == ["make demo", "make test"]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name):
    for target in re.findall(r"\]\(([^)#\s]+)", FENCE.sub("", read(name))):
        if not target.startswith(("http:", "https:")):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


@pytest.mark.parametrize(
    "name", [name for name in PAGES if name != "docs/benchmarks.md"]
)  # it names the authors' files
def test_named_files_exist(name):
    for file in re.findall(r"`(?:\./)?([\w./-]+\.(?:sh|yaml|md|py|toml))`", read(name)):
        places = [ROOT / file, ROOT / "src" / "edit_eval" / file, ROOT / "examples" / "bench" / file]
        if file not in ("my.yaml", "judge.yaml", "other.yaml", "utils.py"):
            assert any(place.exists() for place in places), f"{name}: {file}"


@pytest.mark.parametrize("name", READMES)
def test_every_key_is_explained(name):
    table = read(name)
    sections = {"": Config, "benchmark.": BenchmarkConfig, "editor.": EditorConfig, "judge.": JudgeConfig}
    for prefix, model in sections.items():
        for key in model.model_fields:
            if prefix or key not in ("benchmark", "editor", "judge"):
                assert f"`{prefix}{key}`" in table, prefix + key
    for key in DeadlinesConfig.model_fields:
        assert f"`{key}`" in table, key


@pytest.mark.parametrize("name", READMES)
def test_every_type_and_parameter_is_explained(name):
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", read(name), re.MULTILINE))
    tables = {"benchmark": registry.BENCHMARKS, "editor": registry.EDITORS, "judge": registry.JUDGES}
    for kind, table in tables.items():
        for type_name in table:
            if type_name in PUBLIC:
                assert f"`{type_name}`" in rows_of_public(name)
                continue
            for field in dataclasses.fields(registry.find(kind, type_name).cls.Params):
                assert f"`{field.name}`" in rows[type_name], f"{type_name}: {field.name}"
    for rubric in builtin_rubrics():
        assert f"`{rubric}`" in read(name) or "-own-" in rubric


def rows_of_public(name: str) -> str:
    """Return the row that lists the public benchmarks, which docs/benchmarks.md explains."""
    return next(line for line in read(name).splitlines() if line.startswith("| ") and "`wiseedit`" in line)


def test_the_page_of_benchmarks_is_what_they_declare():
    classes = {name: registry.find("benchmark", name).cls for name in registry.BENCHMARKS}
    assert read("docs/benchmarks.md") == benchmarks_page(classes)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_page_of_benchmarks_explains_every_parameter(name):
    section = read("docs/benchmarks.md").partition(f"## `{name}`\n")[2].partition("\n## ")[0]
    for field in dataclasses.fields(registry.find("benchmark", name).cls.Params):
        assert f"`benchmark.params.{field.name}`" in section


@pytest.mark.parametrize("name", READMES)
def test_commands_exist(name):
    used = set(re.findall(r"(?:`|; do |^)edit-eval ([a-z]+)\b", _code(name), re.MULTILINE))
    assert used
    assert used <= set(commands.COMMANDS)


@pytest.mark.parametrize("name", READMES)
def test_every_run_file_is_real(name):
    """What the page says a run directory holds is what the code writes there."""
    listing = next(text for language, text in FENCE.findall(read(name)) if not language)
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    for part in re.findall(r"[\w-]+\.jsonl?|index\.html|by-id|images|thumbs|logs", listing):
        assert part in source, part
