"""A compiled step that writes a token answers as the plain one does, in batches of one size."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from edit_eval.judges.engines import decoding
from edit_eval.judges.engines.decoding import StaticDecoding, find_static_decoding


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
    assert (find_static_decoding(Model(device), choice, 4, questions) is not None) == compiled


@pytest.mark.models
def test_a_model_that_cannot_be_compiled_says_so_and_is_asked_as_it_comes(capsys):
    for choice in ("auto", "on"):
        assert find_static_decoding(Model("cuda", whole=False), choice, 4, 900) is None
        told = capsys.readouterr().err
        assert told == "the decoding step is not compiled: Model cannot be compiled as a whole\n"
    assert find_static_decoding(Model("cuda", whole=False), "auto", 4, 20) is None
    assert capsys.readouterr().err == ""  # it was not wanted


@pytest.mark.models
def test_what_the_compiler_lacks_is_said_before_it_is_called(capsys, monkeypatch):
    monkeypatch.setattr(decoding, "compiler_lacks", lambda device: f"triton for {device}")
    assert find_static_decoding(Model("cuda"), "auto", 4, 900) is None
    assert capsys.readouterr().err == "the decoding step is not compiled: compiling needs triton for cuda\n"
    assert find_static_decoding(Model("cpu"), "on", 4, 900) is not None  # nothing is compiled there
