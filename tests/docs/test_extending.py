"""The code of docs/extending.md does what the page says: as `module:Class`, as built-in, and as a plugin."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from PIL import Image

import edit_eval
from edit_eval.driver.registry import EDITORS

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COLOURS = {"blue": (30, 60, 200), "red": (220, 40, 20)}


def blocks() -> dict[str, str]:
    """Return the page's code by the name in its first line (`# sepia.py`)."""
    found = {}
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        first, _, rest = text.partition("\n")
        name = first.removeprefix("# ") if first.startswith("# ") else language
        assert name not in found, name
        found[name] = rest if first.startswith("# ") else text
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with the benchmark's two photographs."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (48, 32), colour).save(photos / f"{name}.png")
        (photos / f"{name}.txt").write_text("Make it look like an old print.\n", encoding="utf-8")
    return tmp_path


def write(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(blocks()[name], encoding="utf-8")


def command(
    place: Path, *arguments: str, path: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "edit_eval", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(path), **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def scores(place: Path, output: str) -> dict[str, float]:
    """Return the overall score by sample id, as `edit-eval export` tells it."""
    exported = command(place, "export", output, "--canonical", path=place)
    assert exported.returncode == 0, exported.stderr
    rows = [json.loads(line) for line in exported.stdout.splitlines()]
    return {row["sample"]: row["overall"] for row in rows}


def warmth_of(colour: tuple[int, int, int], strength: float) -> float:
    """Return what the page's judge must measure on the page's edit of an image of one colour."""
    from PIL import ImageOps

    source = Image.new("RGB", (1, 1), colour)
    toned = ImageOps.colorize(source.convert("L"), "#2e1a08", "#ffedcc")
    red, _, blue = Image.blend(source, toned, strength).getpixel((0, 0))
    return 5 + 5 * (red - blue) / 255


def assert_measured(found: Mapping[str, float], strength: float) -> None:
    assert found == pytest.approx({name: warmth_of(colour, strength) for name, colour in COLOURS.items()})


def test_module_and_class(place):
    write(place, "sepia.py", "warmth.py", "warmth.yaml", "pairs.py", "sepia.yaml")
    assert "PYTHONPATH=. edit-eval run sepia.yaml" in blocks()["sh"]
    done = command(place, "run", "sepia.yaml", "--display", "plain", path=Path())
    assert done.returncode == 0, done.stderr + done.stdout
    assert "[Warmth Scoring] Completed!" in done.stdout
    assert_measured(scores(place, "runs/sepia"), 0.8)

    again = command(place, "run", "sepia.yaml", "--display", "plain", path=Path())
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout

    refused = command(place, "run", "sepia.yaml", "--set", "editor.params.strenght=0.5", path=Path())
    assert refused.returncode == 2
    assert "did you mean 'strength'?" in refused.stderr
    refused = command(place, "run", "sepia.yaml", "--set", "editor.params.strength=2.0", path=Path())
    assert refused.returncode == 2
    assert refused.stderr.strip() == "edit-eval: editor.params.strength is 2.0; give 0 to 1"


def test_plugin(place):
    site = place / "site"
    package = site / "edit_eval_warm"
    site.mkdir()
    write(package, "sepia.py", "warmth.py", "warmth.yaml", "pairs.py")
    (package / "__init__.py").touch()
    project = tomllib.loads(blocks()["pyproject.toml"])["project"]
    installed = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    installed.mkdir()  # what an installer would leave there
    (installed / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (installed / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
            for group, points in project["entry-points"].items()
        )
    )
    config = yaml.safe_load(blocks()["sepia.yaml"])
    for section, name in (("benchmark", "pairs"), ("editor", "sepia"), ("judge", "warmth")):
        config[section]["type"] = name
    (place / "plugin.yaml").write_text(yaml.safe_dump(config))
    done = command(place, "run", "plugin.yaml", "--display", "plain", path=site)
    assert done.returncode == 0, done.stderr + done.stdout
    assert_measured(scores(place, "runs/sepia"), 0.8)
    listed = command(place, "ls", "editors", path=site)
    assert re.search(r"^  sepia +Tones the source image", listed.stdout, re.MULTILINE)


def test_built_in(place):
    """One file and one line in a copy of the package make a built-in editor."""
    copy = place / "copy"
    shutil.copytree(
        Path(edit_eval.__file__).parent, copy / "edit_eval", ignore=shutil.ignore_patterns("__pycache__")
    )
    write(copy / "edit_eval" / "editors", "sepia.py")
    registry = copy / "edit_eval" / "driver" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    table = text.index("EDITORS: Mapping")
    end = text.index("\n}", table) + 1
    registry.write_text(text[:end] + blocks()["registry.py, EDITORS"] + text[end:], encoding="utf-8")

    write(place, "warmth.py", "warmth.yaml", "pairs.py", "sepia.yaml")
    path = Path(f"{copy}{os.pathsep}{place}")
    done = command(place, "run", "sepia.yaml", "--set", "editor.type=sepia", "--display", "plain", path=path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert_measured(scores(place, "runs/sepia"), 0.8)
    mistyped = command(place, "run", "sepia.yaml", "--set", "editor.type=sepai", path=path)
    assert mistyped.returncode == 2
    assert "did you mean 'sepia'?" in mistyped.stderr
    assert "sepia" not in EDITORS, "the page's example has become a real editor; choose another one"


@pytest.mark.parametrize("name", ["sepia.py", "warmth.py", "pairs.py"])
def test_each_is_under_forty_lines(name):
    code = [line for line in blocks()[name].splitlines() if line.strip()]
    assert len(code) < 40
