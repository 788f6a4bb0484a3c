"""GELU within the product in front of it: the same up to rounding, and only where the layers are as they were made."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edit_eval.editors._gelu import _is_plain, fused_gelu, linear_gelu

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_operator_gives_gelu_by_tanh(dtype):
    import torch

    torch.manual_seed(0)
    x, weight, bias = (torch.randn(*size).to(getattr(torch, dtype)) for size in ((2, 7, 16), (32, 16), (32,)))
    expected = torch.nn.functional.gelu(torch.nn.functional.linear(x, weight, bias), approximate="tanh")
    rtol = 1e-4 if dtype == "float32" else 2e-2
    torch.testing.assert_close(linear_gelu()(x, weight, bias), expected, rtol=rtol, atol=1e-2)


def test_left_alone_on_a_cpu():
    import torch
    from diffusers.models import activations

    layer = activations.GELU(16, 32, approximate="tanh")
    back = fused_gelu(torch.nn.Sequential(layer))
    assert type(layer) is activations.GELU
    back()
    fused_gelu(torch.nn.Sequential(torch.nn.Linear(2, 2)))()


def test_put_on_one_model_and_taken_back(monkeypatch):
    import torch
    from diffusers.models import activations

    monkeypatch.setattr("edit_eval.editors._gelu._is_plain", lambda linear: True)
    plain = activations.GELU.forward
    ours, others = (activations.GELU(16, 32, approximate="tanh") for _ in range(2))
    x = torch.randn(3, 16)
    before = ours(x)
    back = fused_gelu(torch.nn.Sequential(ours))
    assert type(ours).forward is not plain
    assert type(others).forward is plain
    assert torch.equal(ours(x), before)  # not on a GPU
    back()
    assert type(ours) is activations.GELU


def test_one_graph_serves_all_layers(monkeypatch):
    import torch
    from diffusers.models import activations

    monkeypatch.setattr("edit_eval.editors._gelu._is_plain", lambda linear: True)
    layers = [activations.GELU(16, 32, approximate="tanh") for _ in range(3)]
    fused_gelu(torch.nn.Sequential(*layers))
    graphs = []

    def noted(graph, _inputs):
        graphs.append(graph)
        return graph

    for one in layers:
        one.compile(fullgraph=True, dynamic=True, backend=noted)
        one(torch.randn(3, 16))
    assert len(graphs) == 1


def test_what_is_not_as_it_was_made():
    import torch

    linear = torch.nn.Linear(16, 32, dtype=torch.bfloat16)
    assert not _is_plain(linear)  # on a CPU
    assert not _is_plain(SimpleNamespace())
    assert not _is_plain(torch.nn.Linear(16, 32, bias=False))
