"""A compiled step that writes a token answers as the plain one does, in batches of one size."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from edit_eval.core.types import HostContext
from edit_eval.judges.engines import Question, Reply, decoding
from edit_eval.judges.engines.decoding import StaticDecoding, find_static_decoding
from edit_eval.judges.engines.transformers import TransformersEngine


@hypothesis.given(strategies.lists(strategies.integers(), min_size=1, max_size=8), strategies.integers(8, 12))
def test_a_batch_is_filled_with_what_is_dropped_later(batch, rows):
    filled = StaticDecoding(rows).filled(batch)
    assert len(filled) == rows
    assert filled[: len(batch)] == batch
    assert set(filled) == set(batch)


@hypothesis.given(strategies.lists(strategies.integers(1, 20_000), min_size=1))
def test_the_cache_holds_every_length_and_seldom_changes_its_size(lengths):
    static = StaticDecoding(4)
    sizes = [static.options(one)["max_cache_len"] for one in lengths]
    assert all(size >= length for size, length in zip(sizes, lengths, strict=True))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) <= 1 + max(lengths) // 1024


def test_less_than_a_row_is_refused():
    static = StaticDecoding(4)
    static.shrink(2)
    assert static.filled(["a"]) == ["a", "a"]
    with pytest.raises(ValueError, match="at least one row, not 0"):
        static.shrink(0)


class Model:
    """As much of a model as deciding needs."""

    def __init__(self, device, *, whole=True):
        self.device = type("Device", (), {"type": device})
        self._can_compile_fullgraph = whole


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("device", "choice", "questions", "compiled"),
    [
        ("cuda", "auto", 900, True),
        ("cuda", "auto", 20, False),
        ("cpu", "auto", 900, False),
        ("cuda", "off", 900, False),
        ("cpu", "on", 0, True),
    ],
)
def test_it_is_compiled_where_that_pays_or_is_asked_for(device, choice, questions, compiled, monkeypatch):
    monkeypatch.setattr(decoding, "compiler_lacks", lambda device: "")
    monkeypatch.setattr("transformers.GenerationConfig.max_cache_len", None, raising=False)  # not in 4.57
    assert (find_static_decoding(Model(device), choice, 4, questions) is not None) == compiled


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
def test_a_model_that_cannot_be_compiled_says_so_and_is_asked_as_it_comes(capsys):
    for choice in ("auto", "on"):
        assert find_static_decoding(Model("cuda", whole=False), choice, 4, 900) is None
        told = capsys.readouterr().err
        assert told == "the decoding step is not compiled: Model cannot be compiled as a whole\n"
    assert find_static_decoding(Model("cuda", whole=False), "auto", 4, 20) is None
    assert capsys.readouterr().err == ""  # it was not wanted


@pytest.mark.models
@pytest.mark.usefixtures("one_thread")
def test_what_the_compiler_lacks_is_said_before_it_is_called(capsys, monkeypatch):
    monkeypatch.setattr(decoding, "compiler_lacks", lambda device: f"triton for {device}")
    monkeypatch.setattr("transformers.GenerationConfig.max_cache_len", None, raising=False)  # not in 4.57
    assert find_static_decoding(Model("cuda"), "auto", 4, 900) is None
    assert capsys.readouterr().err == "the decoding step is not compiled: compiling needs triton for cuda\n"
    assert find_static_decoding(Model("cpu"), "on", 4, 900) is not None  # nothing is compiled there


class Filling(TransformersEngine):
    """An engine whose device has room for two questions, and whose batches are filled up to eight."""

    def __init__(self):
        self._batch_size, self._static = 8, StaticDecoding(8)
        self._shared_prefix = None
        self._context = HostContext(("cpu",), "model")
        self.tried = []

    def _generate(self, batch):
        self.tried.append(len(self._static.filled(batch)))
        if self.tried[-1] > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [Reply("yes") for _ in batch]


@pytest.mark.parametrize("asked", [1, 3, 8])
def test_a_batch_that_was_filled_up_shrinks_by_what_was_computed(asked, capsys):
    engine = Filling()
    assert len(engine.ask([Question((("text", "Nice?"),), 4)] * asked)) == asked
    assert engine.tried[:3] == [8, 4, 2]
    assert engine.window == 2
    assert "out of memory with 8 questions at once; going on with 4" in capsys.readouterr().err
