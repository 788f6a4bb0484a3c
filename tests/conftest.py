"""What every test may use: tiny checkpoints of the real model classes, built once per machine."""

from __future__ import annotations

import hashlib
import importlib.util
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["faults.reporting"]

# A machine that does something else beside is slow, and the first example imports libraries: no property is a stopwatch.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

# In the background of a shell script SIGINT is ignored, by every process started from there; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

BUILDER = Path(__file__).with_name("tiny_checkpoints.py")
LIBRARIES = ("torch", "diffusers", "transformers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `models` where this interpreter has not the libraries."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        skip = pytest.mark.skip(reason=f"{sys.executable} has no {', '.join(missing)} (extra: test-models)")
        for item in items:
            if item.get_closest_marker("models"):
                item.add_marker(skip)


_TESTED = pytest.StashKey[list[object]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-compatibility",
        action="store_true",
        help="write docs/compatibility.md from what tests/long/test_versions.py finds",
    )


@pytest.fixture
def tested(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Return `tested(row)`: that versions were tested; rows become docs/compatibility.md."""
    return request.config.stash.setdefault(_TESTED, []).append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write docs/compatibility.md, if asked to."""
    if session.config.getoption("--write-compatibility"):
        import compatibility

        rows = session.config.stash.get(_TESTED, [])
        pythons = [row for row in rows if isinstance(row, compatibility.PythonRow)]
        sets = [row for row in rows if isinstance(row, compatibility.SetRow)]
        compatibility.PAGE.write_text(compatibility.written(pythons, sets), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Path]:
    """Return `tiny(name, seed=0)`: the folder of a checkpoint named in `tiny_checkpoints.BUILDERS`. Do not write there."""
    made_of = [BUILDER.read_text(encoding="utf-8"), *(f"{name} {version(name)}" for name in LIBRARIES)]
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"edit-eval-tiny-{key}"

    def folder(name: str, seed: int = 0) -> Path:
        if name == "qwen-image-edit-plus" and version("diffusers").startswith("0.35."):
            pytest.skip(f"diffusers {version('diffusers')} has no QwenImageEditPlusPipeline")
        label = f"{name}@{seed}"
        if not (cache / label).is_dir():
            cache.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as fresh:
                subprocess.run([sys.executable, BUILDER, fresh, label], check=True, capture_output=True)
                _move(Path(fresh) / label, cache / label)
        return cache / label

    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Have torch use one thread, as on a CPU slot of a run; models this small only lose by more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _move(made: Path, place: Path) -> None:
    """Rename `made` to `place`, unless another process was first."""
    try:
        made.rename(place)
    except OSError:
        if not place.is_dir():
            raise
