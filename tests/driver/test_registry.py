"""Names of benchmarks, editors and judges, and what is said of those that are none."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

import edit_eval
from edit_eval.core.errors import ConfigError
from edit_eval.driver.registry import ALIASES, BENCHMARKS, EDITORS, JUDGES, find, names

BUILT_IN = [("benchmark", BENCHMARKS), ("editor", EDITORS), ("judge", JUDGES)]


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return `plugin(text, name)`: write a module that can be imported until the test ends."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str, name: str = "my_plugin") -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize(("kind", "known"), BUILT_IN)
def test_every_built_in_name_imports(kind, known):
    for name, target in known.items():
        found = find(kind, name)
        assert (found.name, found.target) == (name, target)
        assert found.cls.__doc__
        assert found.package == ("edit_eval", Path(edit_eval.__file__).resolve().parent)


def test_every_alias_leads_to_a_type():
    for kind, aliases in ALIASES.items():
        for alias in aliases.values():
            assert alias.type in names(kind)
            assert alias.model.count("/") == 1


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("editor", "qwen_image_edi", "did you mean 'qwen_image_edit'?"),
        ("editor", "multi_gpu_qwen_image", "did you mean 'multi_gpu_qwen_image_edit'?"),
        ("judge", "qwen3-vl", "did you mean 'qwen3_vl'?"),
        ("judge", "zzz", "there are openai, qwen3_vl, reference"),
        ("benchmark", "foldr", "did you mean 'folder'?"),
        ("benchmark", "", "there are folder, gedit, imgedit"),
    ],
)
def test_unknown_names(kind, name, says):
    with pytest.raises(ConfigError) as caught:
        find(kind, name)
    assert f"{kind}.type: no {kind} is called {name!r}" in str(caught.value)
    assert says in str(caught.value)


def test_a_plugin_by_module_and_class(plugin, tmp_path):
    name = plugin("from edit_eval.editors import Editor\nclass Mine(Editor):\n    '''Mine.'''")
    found = find("editor", f"{name}:Mine")
    assert found.cls.__name__ == "Mine"
    assert found.package == ("my_plugin", (tmp_path / "my_plugin.py").resolve())


def test_a_plugin_package_is_seen_as_a_folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_package" / "rooms").mkdir(parents=True)
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "rooms" / "one.py").write_text(
        "from edit_eval.judges import Judge\nclass Mine(Judge): pass\n"
    )
    found = find("judge", "my_package.rooms.one:Mine")
    assert found.package == ("my_package", (tmp_path / "my_package").resolve())
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


def test_a_plugin_by_entry_point(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "entry_plugin.py").write_text(
        "from edit_eval.editors import Editor\nclass Mine(Editor): pass\n"
    )
    info = tmp_path / "entry_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: entry-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[edit_eval.editors]\nmine = entry_plugin:Mine\nscripted = entry_plugin:Mine\n"
    )
    assert names("editor")["mine"] == "entry_plugin:Mine"
    assert find("editor", "mine").name == "mine"
    assert find("editor", "scripted").cls.__name__ == "Scripted"  # a plugin does not take a built-in name
    assert "mine" not in names("judge")
    sys.modules.pop("entry_plugin", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import a_library_nobody_has", "No module named 'a_library_nobody_has'"),
        ("class Mine:", "does not import"),
        ("raise RuntimeError('CUDA said no')", "CUDA said no"),
        ("1 / 0", "division by zero"),
        ("assert False", "AssertionError"),
        ("x = 1", "no attribute 'Mine'"),
    ],
)
def test_a_plugin_that_does_not_import_is_named_with_the_reason(plugin, text, says):
    name = plugin(text)
    with pytest.raises(ConfigError) as caught:
        find("editor", f"{name}:Mine")
    assert f"'{name}:Mine'" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [":Mine", "a:", ":", "no_such_module:Mine", "edit_eval.editors.scripted:Nobody", "..:x", "a b:c"],
)
def test_a_target_that_is_none(target):
    with pytest.raises(ConfigError, match=r"editor\.type: "):
        find("editor", target)


@pytest.mark.parametrize(
    "target", ["json:dumps", "os:path", "pathlib:Path", "edit_eval.judges.reference:Reference"]
)
def test_a_target_of_another_kind(target):
    with pytest.raises(ConfigError, match="is no editor: it must subclass Editor"):
        find("editor", target)


def test_asking_for_names_imports_none_of_them():
    import subprocess

    code = (
        "import sys; from edit_eval.driver.registry import names\n"
        "[names(kind) for kind in ('benchmark', 'editor', 'judge')]\n"
        "print([name for name in sys.modules if name.startswith('edit_eval.') and name.count('.') == 2 "
        "and name.split('.')[1] in ('editors', 'judges', 'benchmarks')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
