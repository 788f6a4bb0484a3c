"""Plugins that do not work: each is named in one line with the reason, and what does not need it goes on."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest
from harness import PYTHONPATH, cli, config_tree, make_benchmark

from edit_eval.core.errors import ConfigError, DataError
from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.registry import find

EDITOR = "from edit_eval.editors import Editor\nclass Mine(Editor):\n    def edit(self, request, step): return request.images[0]\n"
JUDGE = "from edit_eval.judges import Judge\nclass Mine(Judge):\n    def judge(self, requests): return []\n"
BENCHMARK = (
    "from edit_eval.benchmarks import Benchmark\nfrom edit_eval.core.types import Sample\n"
    "class Mine(Benchmark):\n    name = 'mine'\n    needs_path = False\n"
)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return `plugin(text, name)`: write a module that can be imported until the test ends."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(text: str, name: str = "my_plugin") -> str:
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


def path_with(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(folder), PYTHONPATH])}


@pytest.fixture
def install(tmp_path):
    """Return `install(package, group, **points)`: a package's metadata with entry points, for processes with its path."""

    def write(package: str, entry_points: str, metadata: bool = True) -> Path:
        info = tmp_path / "site" / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_bytes(entry_points.encode("utf-8", "surrogateescape"))
        return info.parent

    return write


def tree(tmp_path: Path, kind: str = "editor", **section) -> dict:
    table = make_benchmark(tmp_path / "data", ["ok", "ok"])
    made = config_tree(tmp_path, table, editor={"type": "scripted", "devices": ["cpu:0"]})
    made["judge"] = {"type": "reference", "devices": ["cpu:0"]}
    made[kind] = {"type": "my_plugin:Mine", **section}
    if kind != "benchmark":
        made[kind]["devices"] = ["cpu:0"]
    return made


def problem(made: dict) -> str:
    """Return the one line that a run of this config is refused with."""
    with pytest.raises((ConfigError, DataError)) as caught:
        prepare(check_config(made))
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000
    return text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import sys; sys.exit(3)", "it wants to end the process (SystemExit: 3) (my_plugin.py, line 1)"),
        ("raise SystemExit", "it wants to end the process (SystemExit)"),
        ("raise SystemExit('bye \\x1b[31m')", "bye \\x1b[31m"),
        ("def broken(:", "invalid syntax (my_plugin.py, line 1)"),
        ("x = '\\0'\n\0", "null bytes"),
        ("import a_library_nobody_has", "No module named 'a_library_nobody_has'"),
        ("from json import nothing_there", "cannot import name 'nothing_there'"),
        ("\n\nraise ValueError('what\\never')", "ValueError: what ever (my_plugin.py, line 3)"),
        ("raise KeyError('x' * 10000)", "KeyError: 'xxx"),
        ("raise RecursionError", "RecursionError (my_plugin.py, line 1)"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
        ("raise MemoryError", "MemoryError"),
        ("class E(Exception):\n    def __str__(self): return 3\nraise E", "E"),
        ("Mine = 3", "is no editor: it must subclass Editor"),
        ("def __getattr__(name): raise OSError('no ' + name)", "OSError: no "),
    ],
)
def test_a_plugin_that_fails_at_import(plugin, text, says):
    plugin(text)
    with pytest.raises(ConfigError) as caught:
        find("editor", "my_plugin:Mine")
    [said] = caught.value.problems
    assert said.startswith("editor.type: 'my_plugin:Mine' (my_plugin:Mine) ")
    assert says in said
    assert len(said) < 1000
    assert find("editor", "scripted").name == "scripted"


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("editor", "from edit_eval.editors import Editor\nclass Mine(Editor): pass", "it has no method edit()"),
        ("editor", EDITOR + "    edit = None", "it has no method edit()"),
        ("judge", "from edit_eval.judges import Judge\nclass Mine(Judge): pass", "it has no method judge()"),
        ("benchmark", "from edit_eval.benchmarks import Benchmark\nclass Mine(Benchmark): name = 'x'", "it has no method load()"),
        ("benchmark", BENCHMARK.replace("name = 'mine'", "pass") + "    def load(*_): return []", "its name must be a short text"),
        ("benchmark", BENCHMARK.replace("'mine'", "'../x'") + "    def load(*_): return []", "its name must be a short text"),
        ("editor", EDITOR + "    Params = dict", "its Params must be a dataclass"),
        ("editor", EDITOR + "    Params = None", "its Params must be a dataclass"),
        ("editor", EDITOR + "    from edit_eval.editors import NoParams\n    Params = NoParams()", "its Params must be a dataclass"),
        ("editor", EDITOR + "    version = '1'", "its version must be a whole number, and is '1'"),
        ("editor", EDITOR + "    version = True", "its version must be a whole number"),
        ("editor", EDITOR + "    model_file = None", "its model_file must be a text"),
        ("editor", EDITOR + "    needs = 3", "its needs must be a tuple of texts"),
        ("judge", JUDGE + "    label = None", "its label must be a text"),
        ("judge", JUDGE + "    reads = ('everything',)", "its reads may hold 'reference' and 'target'"),
        ("judge", JUDGE + "    default_rubric = 3", "its default_rubric must be a text or None"),
    ],
)  # fmt: skip
def test_a_class_that_lacks_something(plugin, tmp_path, kind, text, says):
    plugin(text)
    said = problem(tree(tmp_path, kind))
    assert said.startswith(f"{kind}.type: 'my_plugin:Mine' (my_plugin:Mine) is no usable {kind}: ")
    assert says in said


PARAMS = (
    "from dataclasses import dataclass, field\n@dataclass(frozen=True)\nclass P:\n    x: {}\n"
    + EDITOR
    + "    Params = P\n"
)


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("object = object()", "its parameter 'x' has the default <object object"),
        ("float = float('nan')", "its parameter 'x' has the default nan"),
        ("set = field(default_factory=set)", "its parameter 'x' has the default set()"),
        (
            "'dict' = field(default_factory=lambda: {'a': {1, 2}})",
            "its parameter 'x' has the default {'a': {1, 2}}",
        ),
        ("bytes = b''", "its parameter 'x' has the default b''"),
        ("list = field(default_factory=lambda: 1 / 0)", "its Params failed: ZeroDivisionError"),
        ("'NoSuchType' = None", "its Params failed: "),
        ("print = print", "its Params failed: "),
        ("int", "editor.params.x: is missing"),
        ("int = 'text'", None),
    ],
)
def test_parameters_that_are_none(plugin, tmp_path, field, says):
    plugin(PARAMS.format(field))
    made = tree(tmp_path)
    if says is None:  # a default is the plugin's own business
        prepare(check_config(made))
        return
    said = problem(made)
    assert says in said
    assert "my_plugin:Mine" in said or "params.x" in said


def test_parameters_that_refuse_themselves(plugin, tmp_path):
    for raised in ("ValueError('too large')", "TypeError('too large')", "OSError('too large')"):
        plugin(PARAMS.format(f"int = 1\n    def __post_init__(self): raise {raised}"))
        assert "too large" in problem(tree(tmp_path))


@pytest.mark.parametrize(
    "raised", ["ValueError('boo')", "OSError('boo')", "SystemExit('boo')", "KeyError('boo')"]
)
@pytest.mark.parametrize("method", ["resolve", "size_policy", "check", "conditioning"])
def test_methods_that_raise(plugin, tmp_path, method, raised):
    text = EDITOR + f"    @classmethod\n    def {method}(cls, *_):\n        raise {raised}\n"
    made = tree(tmp_path)
    if method == "check":
        text += "    model_file = 'm.json'\n"
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "m.json").write_text("{}")
        made["editor"]["model"] = str(tmp_path / "model")
    plugin(text)
    said = problem(made)
    assert "boo" in said
    assert f"'my_plugin:Mine': {method}() failed" in said


def test_methods_that_are_no_class_methods_or_return_nonsense(plugin, tmp_path):
    plugin(EDITOR + "    def resolve(self, params, model): return params\n")
    assert "'my_plugin:Mine': resolve() failed: TypeError" in problem(tree(tmp_path))
    plugin(EDITOR + "    @classmethod\n    def resolve(cls, params, model): return None\n")
    assert "'my_plugin:Mine': resolve() must return its Params, and returned None" in problem(tree(tmp_path))
    plugin(EDITOR + "    @classmethod\n    def size_policy(cls, params): return 3\n")
    assert "'my_plugin:Mine': size_policy() must return a text, and returned 3" in problem(tree(tmp_path))
    plugin(EDITOR + "    @classmethod\n    def conditioning(cls, params, sample): return [3]\n")
    assert "'my_plugin:Mine': conditioning() failed: TypeError" in problem(tree(tmp_path))


@pytest.mark.parametrize(
    "raised",
    ["ValueError('boo')", "OSError('boo')", "SystemExit('boo')", "FileNotFoundError(2, 'boo', 'x.csv')"],
)
def test_a_benchmark_whose_load_raises(plugin, tmp_path, raised):
    plugin(BENCHMARK + f"    @classmethod\n    def load(cls, *_):\n        yield 1\n        raise {raised}\n")
    said = problem(tree(tmp_path, "benchmark"))
    assert "boo" in said
    assert "'my_plugin:Mine': load() failed" in said or "cannot read x.csv: boo" in said


GOOD = "Sample('a', 'go', ('/x.png',))"


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("3", "sample 1 is no Sample but int"),
        (f"{GOOD}, None", "sample 2 is no Sample but NoneType"),
        ("Sample(3, 'go', ('/x.png',))", "sample 1 has 3 as id"),
        ("Sample('a', None, ('/x.png',))", "sample 1 has None as instruction"),
        ("Sample('a', 'go', '/x.png')", "sample 1 has '/x.png' as images; a tuple of paths is needed"),
        ("Sample('a', 'go', (b'/x.png',))", "as images; a tuple of paths is needed"),
        ("Sample('a', 'go', ('/x.png',), tags={'n': 3})", "as tags; names and values must be texts"),
        ("Sample('a', 'go', ('/x.png',), tags=None)", "sample 1 has None as tags"),
        ("Sample('a', 'go', ('/x.png',), target=3)", "sample 1 has 3 as target"),
        ("Sample('a', '', ('/x.png',))", "the instruction of sample 'a' is blank; say what is to be done"),
        ("Sample('a', ' \\u200b\\x00\\u3000', ('/x.png',))", "the instruction of sample 'a' is blank"),
    ],
)
def test_samples_that_are_none(plugin, tmp_path, made, says):
    plugin(BENCHMARK + f"    @classmethod\n    def load(cls, *_): return [{made}]\n")
    assert says in problem(tree(tmp_path, "benchmark"))


def test_what_a_plugin_prints_stays_out_of_the_results(plugin, tmp_path):
    plugin(
        "print('at import')\n" + EDITOR + "    @classmethod\n    def resolve(cls, params, model):\n"
        "        print('while resolving')\n        return params\n"
    )
    (tmp_path / "c.yaml").write_text(json.dumps(tree(tmp_path)))
    done = cli(
        "run", "c.yaml", "--dry-run", "--display", "json", cwd=tmp_path, env=path_with(tmp_path / "plugins")
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["event"] == "forecast"
    assert "at import" in done.stderr
    assert "while resolving" in done.stderr


# Entry points


def test_every_plugin_that_cannot_be_used_is_named_and_the_others_work(install, tmp_path):
    site = install(
        "some",
        "[edit_eval.editors]\nmissing = no_such_module:Editor\nnothing = json\nno-class = json:Nothing\n"
        "ends = ends:Mine\nslow = slow:Mine\nloud = loud_one:Mine\nbare = bare:Mine\nodd = odd_doc:Mine\n"
        "two = loud_one:Mine\nscripted = loud_one:Mine\nmulti_gpu_qwen_image_edit = loud_one:Mine\n"
        "[edit_eval.judges]\nfine = fine_judge:Mine\n[edit_eval.benchmarks]\nfolder = x:Y\n",
    )
    install("other", "[edit_eval.editors]\ntwo = other_one:Mine\nloud = loud_one:Mine\n")
    install("nameless", "[edit_eval.editors]\nnameless = loud_one:Mine\n", metadata=False)
    files = {
        "ends": "import sys; sys.exit(0)",
        "slow": "import time; time.sleep(1)\n" + EDITOR,
        "loud_one": "print('I am loud')\n"
        + EDITOR.replace("):\n", "):\n    '''Edits loudly. And more.'''\n", 1),
        "bare": "from edit_eval.editors import Editor\nclass Mine(Editor): pass",
        "odd_doc": EDITOR + "    __doc__ = 'red \\x1b[31m text \\u202e'",
        "fine_judge": JUDGE.replace("):\n", "):\n    '''Judges.'''\n", 1),
    }
    for name, text in files.items():
        (site / f"{name}.py").write_text(text)
    done = cli("ls", cwd=tmp_path, env=path_with(site))
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    for name, says in {
        "missing": "unusable: editor.type: 'missing' (no_such_module:Editor) does not import: No module named",
        "nothing": "unusable: editor.type: 'nothing' (json) is no editor",
        "no-class": "unusable: editor.type: 'no-class' (json:Nothing) does not import",
        "ends": "does not import: it wants to end the process",
        "bare": "it has no method edit()",
        "two": "unusable: editor.type: 2 plugins are called 'two': loud_one:Mine and other_one:Mine; uninstall one",
        "loud": "Edits loudly",
        "odd": "red text",
        "fine": "Judges",
        "nameless": "Edits loudly",
    }.items():
        assert says in lines[name], lines[name]
    assert "slow" in lines
    assert "I am loud" not in done.stdout
    shadowed = [line for line in done.stdout.splitlines() if "has the name of a built-in type" in line]
    assert [line.split()[0] for line in shadowed] == ["folder", "multi_gpu_qwen_image_edit", "scripted"]
    make_benchmark(tmp_path / "data", ["ok"])
    made = tree(tmp_path)
    made["editor"] = {"type": "scripted", "devices": ["cpu:0"]}
    (tmp_path / "c.yaml").write_text(json.dumps(made))
    done = cli("run", "c.yaml", "--display", "none", cwd=tmp_path, env=path_with(site))
    assert (done.returncode, done.stderr) == (3, "")  # nothing to compare with: unscored
    for name in ("missing", "ends", "two", "bare"):
        done = cli("run", "c.yaml", "--set", f"editor.type={name}", cwd=tmp_path, env=path_with(site))
        assert done.returncode == 2
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        assert f"'{name}'" in line
