"""The recipes of images, as far as they can be read without an engine: what they copy, and whom they run as."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
RECIPE = (ROOT / "docker" / "edit-eval.def").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COPIED = {
    name for names in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE) for name in names.split()
}
FILES = dict(re.findall(r"^    (\S+) (/opt/\S+)$", RECIPE, re.MULTILINE))


def section(name: str) -> str:
    found = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", RECIPE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def test_both_copy_what_the_package_is_built_from():
    needed = {
        "pyproject.toml",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
        PROJECT["tool"]["hatch"]["version"]["path"],
        *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
    }
    for copied in (COPIED, set(FILES)):
        assert all((ROOT / name).exists() for name in copied)
        for name in needed:
            assert any(name == one or name.startswith(f"{one}/") for one in copied), name
    assert all(target == f"/opt/edit-eval/{name}" for name, target in FILES.items())


def test_nothing_else_is_sent_to_the_engine():
    """The engine ignores all but what is copied: no run, no model, no token goes into an image."""
    lines = (ROOT / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert allowed == COPIED
    assert fnmatch.fnmatch("src/__pycache__", lines[-1])


def test_it_runs_as_nobody_in_particular():
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user
    assert "0" not in user[-1]
    assert DOCKERFILE.rindex("USER") > DOCKERFILE.rindex("RUN")
    assert not re.search(r"sudo|chmod 777|--privileged", DOCKERFILE + RECIPE)


def test_both_are_of_one_python_and_one_set():
    [image] = set(re.findall(r"^F(?:ROM|rom:) (\S+)$", f"{DOCKERFILE}\n{RECIPE}", re.MULTILINE))
    version = re.fullmatch(r"python:3\.(\d+)-slim", image)
    assert version
    assert int(version[1]) >= 11
    [extras] = {
        tuple(found.split(",")) for found in re.findall(r'\[([\w,]+)\]"', DOCKERFILE + section("post"))
    }
    assert set(extras) < set(PROJECT["project"]["optional-dependencies"])


def test_they_start_edit_eval():
    assert 'ENTRYPOINT ["edit-eval"]' in DOCKERFILE
    assert section("runscript").strip() == 'exec edit-eval "$@"'
    assert "PYTHONNOUSERSITE=1" in section("environment")
