"""Rules of the house that no linter knows: what may be imported where, and that no failure becomes a number."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import PLUGINS, PYTHONS, config_tree, make_benchmark, other_python

import edit_eval

SOURCE = Path(edit_eval.__file__).resolve().parent
MODULES = sorted(["edit_eval", *(one.name for one in pkgutil.walk_packages([str(SOURCE)], "edit_eval."))])
HOST_SIDE = [
    name
    for name in MODULES
    if name in ("edit_eval", "edit_eval.core")
    or name.removeprefix("edit_eval.core.") in ("types", "identity", "errors", "expression")
    or name.startswith(("edit_eval.worker", "edit_eval.editors", "edit_eval.judges"))
]
FILES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "diffusers", "transformers", "vllm", "ray")


def python(*arguments: str, **options) -> str:
    """Run this interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# What runs in a host


def test_what_runs_in_a_host_is_what_the_design_says():
    assert {"edit_eval.worker.host", "edit_eval.worker.keeper", "edit_eval.judges.contract"} <= set(HOST_SIDE)
    assert not [
        name
        for name in HOST_SIDE
        if name.startswith(("edit_eval.driver", "edit_eval.views", "edit_eval.cli"))
    ]


IMPORT_ALONE = """
import importlib, json, sys
sys.path.append(sys.argv[1])
before = set(sys.modules)
found = {}
for name in sys.argv[2:]:
    importlib.import_module(name)
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(new - set(sys.stdlib_module_names) - {"edit_eval"})))
print(json.dumps(sorted(name for name in sys.modules if name.startswith(
    ("edit_eval.driver", "edit_eval.views", "edit_eval.cli", "edit_eval.benchmarks")))))
"""


def test_what_runs_in_a_host_imports_the_standard_library_only():
    out = python("-I", "-S", "-c", IMPORT_ALONE, str(SOURCE.parent), *HOST_SIDE)
    assert out.splitlines() == ["[]", "[]"]


@pytest.mark.parametrize("version", PYTHONS)
def test_what_runs_in_a_host_imports_in_other_pythons(version):
    path = other_python(version)
    if path is None:
        pytest.skip(f"no Python {version} here")
    done = subprocess.run(
        [path, "-I", "-S", "-B", "-W", "error", "-c", IMPORT_ALONE, str(SOURCE.parent), *HOST_SIDE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_a_keeper_is_light():
    # Beside one another on a machine with eight devices they must cost nothing.
    code = (
        "import sys; sys.path.append(sys.argv[1]); import edit_eval.worker.keeper\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(status['VmRSS'].split()[0], *(name for name in ('asyncio', 'PIL', 'multiprocessing') if name in sys.modules))"
    )
    kilobytes, *heavy = python("-I", "-S", "-c", code, str(SOURCE.parent)).split()
    assert int(kilobytes) < 25_000
    assert heavy == []


# What the driver imports

RUN = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from harness import Ran
ran = Ran(json.loads(sys.argv[2]))
assert all(row.verdict.overall is not None for row in ran.rows)
print(json.dumps([name for name in json.loads(sys.argv[3]) if name in sys.modules]))
"""


def test_the_driver_imports_no_model_library_during_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["ok"] * 3))
    out = python(
        "-c",
        RUN,
        str(PLUGINS),
        json.dumps(tree),
        json.dumps([*HEAVY, "pandas", "pyarrow", "accelerate", "huggingface_hub"]),
    )
    assert out.splitlines()[-1] == "[]"


def test_naming_every_kind_imports_no_model_library():
    code = (
        "import json, sys; from edit_eval.driver.registry import find, names\n"
        "[find(kind, name) for kind in ('benchmark', 'editor', 'judge') for name in names(kind)]\n"
        "print(json.dumps([name for name in json.loads(sys.argv[1]) if name in sys.modules]))"
    )
    assert python("-c", code, json.dumps(HEAVY)).strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from edit_eval.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numpy', 'scipy', 'pandas', 'PIL', 'pydantic', 'yaml', 'rich', 'jinja2', 'orjson',"
        " 'pynvml', 'torch', 'huggingface_hub', 'modelscope_hub') if name in sys.modules])"
    )
    assert python("-c", code, *arguments).splitlines()[-1] == "[]"


def test_help_is_there_at_once():
    def least_s(*arguments: str) -> float:
        taken = []
        for _ in range(9):  # the least is what it takes where no neighbour is at work
            began = time.perf_counter()
            python(*arguments)
            taken.append(time.perf_counter() - began)
        return min(taken)

    least_s("-m", "edit_eval", "--help")  # once to warm the cache
    assert least_s("-m", "edit_eval", "--help") - least_s("-c", "pass") < 0.15


# The command line


def test_version():
    assert python("-m", "edit_eval", "--version") == f"edit-eval {edit_eval.__version__}\n"


def test_there_are_at_most_25_flags():
    from edit_eval.cli import _parser

    flags: set[str] = set()
    front = [_parser()]
    commands = 0
    while front:
        for action in front.pop()._actions:
            if isinstance(action, argparse._SubParsersAction):
                front += action.choices.values()
                commands += len(action.choices)
            flags.update(action.option_strings)
    flags -= {"-h", "--help"}
    assert commands >= 7
    assert {"--set", "--output", "--version"} <= flags
    assert len(flags) <= 25, sorted(flags)


# Modules


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for_and_exports_what_it_names(name):
    if name == "edit_eval.__main__":
        return
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), "a module's first lines say what it is for"
    exported = getattr(module, "__all__", [])
    assert len(set(exported)) == len(exported)
    missing = [one for one in exported if not hasattr(module, one)]
    assert missing == []
    for one in exported:
        value = getattr(module, one)
        if isinstance(value, type) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{one} has no docstring"


def test_a_module_that_defines_public_things_exports_something():
    for path in FILES:
        tree = tree_of(path)
        public = [
            node.name
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        ]
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert not public or "__all__" in names, path


# Syntax trees: no chance, nothing unpickled, nothing swallowed, no failure turned into a number

BANNED_MODULES = {
    "random", "pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "dbm", "runpy", "pty",
}  # fmt: skip
MAY_SWALLOW = {
    # It turns whatever the model's code raises into a typed failure of one task, or of the load.
    "worker/host.py",
}
SCORE = re.compile(r"score|overall|mean|verdict|quality|similarity|average|rating", re.IGNORECASE)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
            yield from (alias.name.rsplit(".", 1)[-1] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
            yield from (alias.name for alias in node.names)


def is_number(node: ast.AST | None) -> bool:
    if isinstance(node, ast.UnaryOp):
        return is_number(node.operand)
    if isinstance(node, (ast.Tuple, ast.List)):
        return any(map(is_number, node.elts))
    if isinstance(node, ast.Dict):
        return any(map(is_number, node.values))
    if isinstance(node, ast.IfExp):
        return is_number(node.body) or is_number(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("float", "int"):
        return True
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and not isinstance(node.value, bool)
    )


def broad_handlers_that_swallow(tree: ast.AST) -> list[int]:
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(
            kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))
            for kind in kinds
        )
        if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            found.append(node.lineno)
    return found


def suppressed_broadly(tree: ast.AST) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == "suppress"
        and any(isinstance(one, ast.Name) and one.id in ("Exception", "BaseException") for one in node.args)
    ]


def failures_made_numbers(tree: ast.AST, *, returns: bool) -> list[int]:
    """Return lines inside `except` that give a score a number; `returns`: or that return one."""
    found = []
    for handler in (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)):
        for node in (inner for statement in handler.body for inner in ast.walk(statement)):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                named = any(SCORE.search(ast.unparse(target)) for target in targets)
            elif isinstance(node, ast.keyword):
                named = bool(node.arg and SCORE.search(node.arg))
            else:
                named = isinstance(node, (ast.Return, ast.Yield)) and returns
            if named and is_number(node.value):
                found.append(node.lineno)
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "Verdict"
                and any(map(is_number, node.args))
            ):
                found.append(node.lineno)
    return found


def test_the_checks_find_what_they_look_for():
    bad = ast.parse(
        "try: pass\nexcept Exception: score = 0\n"
        "try: pass\nexcept (ValueError, BaseException): pass\n"
        "try: pass\nexcept: return_value = 1\n"
        "try: pass\nexcept ValueError: self.overall = -1.0\n"
        "try: pass\nexcept ValueError: Verdict({'quality': 0.0}, 0.0)\n"
        "try: pass\nexcept ValueError: f(overall=0)\n"
        "def f():\n  try: pass\n  except ValueError: return 0.0\n"
        "with contextlib.suppress(Exception): pass\n"
        "import random; from os import path as p; from numpy import random\n"
    )
    assert broad_handlers_that_swallow(bad) == [2, 4, 6]
    assert failures_made_numbers(bad, returns=False) == [2, 8, 10, 12]
    assert failures_made_numbers(bad, returns=True) == [2, 8, 10, 12, 15]
    assert suppressed_broadly(bad) == [16]
    assert list(imported(bad)).count("random") == 3
    good = ast.parse(
        "try: pass\nexcept Exception as error: raise Typed() from error\n"
        "try: pass\nexcept ValueError: overall = None\n"
        "try: pass\nexcept OSError: Verdict(unscored='error', reply='a 0')\n"
    )
    assert broad_handlers_that_swallow(good) == []
    assert failures_made_numbers(good, returns=True) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_chance_nothing_unpickled_nothing_swallowed(path):
    tree = tree_of(path)
    place = str(path.relative_to(SOURCE))
    assert not set(imported(tree)) & BANNED_MODULES
    assert suppressed_broadly(tree) == []
    if place not in MAY_SWALLOW:
        assert broad_handlers_that_swallow(tree) == []
    scores_pass_here = place.startswith(("judges/", "core/")) or place in (
        "driver/summary.py",
        "views/export.py",
    )
    assert failures_made_numbers(tree, returns=scores_pass_here) == []


NEVER_CALLED = {
    "eval", "exec", "compile", "__import__", "breakpoint", "input",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "tempfile.mktemp", "os.tempnam", "os.tmpnam",
    "torch.hub.load", "hf_hub_download", "snapshot_download", "urlopen", "requests.get",
}  # fmt: skip
UNSAFE_LOADERS = {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "CUnsafeLoader", "CFullLoader"}
NEEDED = {
    "torch.load": ("weights_only", "True"),
    "np.load": ("allow_pickle", "False"),
    "numpy.load": ("allow_pickle", "False"),
}
FORBIDDEN = {
    "trust_remote_code": "False",
    "allow_pickle": "False",
    "weights_only": "True",
    "use_safetensors": "True",
    "autoescape": "True",
}
"""Arguments that may only be left out or be this."""


def unsafe_calls(tree: ast.AST) -> list[int]:
    """Return the lines of calls that could run code out of data, or show a file to others."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in UNSAFE_LOADERS
            and ast.unparse(node.value) == "yaml"
        ):
            found.append(node.lineno)
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
        needed = NEEDED.get(called)
        if (
            called in NEVER_CALLED
            or "shell" in given
            or (needed and given.get(needed[0]) != needed[1])
            or any(given.get(name, value) != value for name, value in FORBIDDEN.items())
        ):
            found.append(node.lineno)
    return sorted(set(found))


def test_the_check_of_calls_finds_what_it_looks_for():
    bad = (
        "eval('1')\nyaml.load(x)\nyaml.parse(x, Loader=yaml.Loader)\nsubprocess.run('x', shell=True)\n"
        "torch.load(x)\ntorch.load(x, weights_only=False)\nnp.load(x)\ntempfile.mktemp()\n"
        "cls.from_pretrained(x, trust_remote_code=True)\ncls.from_pretrained(x, use_safetensors=False)\n"
        "Environment(autoescape=False)\nf(weights_only=flag)\n"
    )
    assert unsafe_calls(ast.parse(bad)) == list(range(1, 13))
    good = "torch.load(x, weights_only=True)\nnp.load(x, allow_pickle=False)\nyaml.parse(x, Loader=yaml.SafeLoader)\n"
    assert unsafe_calls(ast.parse(good)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_was_downloaded_is_executed(path):
    assert unsafe_calls(tree_of(path)) == []


PRINTS = {
    "cli/output.py": "made harmless there",
    "views/doctor.py": "made harmless there",
    "views/fetch.py": "made harmless there",
    "views/outlet.py": "made harmless there",
    "views/screen.py": "made harmless by what it is given",
    "worker/probe.py": "JSON, read by the driver",
    "worker/tryout.py": "JSON, read by the driver",
    "worker/colour.py": "goes to a host's log",
    "worker/images.py": "goes to a host's log",
    "editors/_compile.py": "goes to a host's log",
    "editors/tiny.py": "goes to a host's log",
    "judges/engines/decoding.py": "goes to a host's log",
    "judges/engines/transformers.py": "goes to a host's log",
    "worker/cluster/bridge.py": "a line that the driver reads",
}
"""Where something is written to a stream, and why that is safe for a terminal."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_is_printed_goes_through_the_places_that_make_it_harmless(path):
    calls = {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}
    prints = {"print", "sys.stdout.write", "sys.stderr.write", "self._stream.write"} & calls
    assert not prints or str(path.relative_to(SOURCE)) in PRINTS


def test_what_may_swallow_still_does():
    for place in MAY_SWALLOW:
        assert broad_handlers_that_swallow(tree_of(SOURCE / place)), f"{place} needs no exemption any more"


# Runs lie on network file systems: files are appended to or replaced whole, and nothing else is done to them

LINKED_OR_COPIED = {"driver/taken.py": ["os.link"], "views/thumbs.py": ["os.link"]}
"""Where a hard link is tried first, and a copy made where there can be none."""
NOT_ON_A_NETWORK_DISK = {"sqlite3", "mmap", "dbm", "lmdb", "fileinput", "memmap", "open_memmap"}
"""A data base locks ranges of its file, and a mapped file that another machine changes ends the process by a signal."""


def not_for_network_disks(tree: ast.AST) -> list[str]:
    """Return what maps files, keeps data bases, links files hard, or writes into the middle of one."""
    found = sorted(set(imported(tree)) & NOT_ON_A_NETWORK_DISK)
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("mmap", "mmap_mode", "memory_map"):
            if not (isinstance(node.value, ast.Constant) and node.value.value in (None, False)):
                found.append(f"{node.arg}=")
        elif isinstance(node, ast.Attribute) and node.attr in ("memmap", "hardlink_to", "link_to"):
            found.append(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.link", "fcntl.lockf"):
            found.append(ast.unparse(node.func))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_are_appended_to_or_replaced(path):
    assert not_for_network_disks(tree_of(path)) == LINKED_OR_COPIED.get(str(path.relative_to(SOURCE)), [])


def test_that_check_finds_what_it_looks_for():
    bad = ast.parse(
        "import sqlite3; from mmap import mmap\n"
        "np.load(path, mmap_mode='r'); np.memmap(path); pa.OSFile(memory_map=True)\n"
        "os.link(a, b); Path(a).hardlink_to(b); fcntl.lockf(f, 1)\n"
    )
    assert len(not_for_network_disks(bad)) == 8
    assert not_for_network_disks(ast.parse("np.load(path, mmap_mode=None); os.replace(a, b)")) == []
