"""GELU within the product in front of it: the same up to rounding, and only where the layers are as they were made."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edit_eval.editors._gelu import _is_plain, fused_gelu, linear_gelu

pytestmark = pytest.mark.models


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

    plain = activations.GELU.forward
    back = fused_gelu(torch.nn.Sequential(activations.GELU(16, 32, approximate="tanh")))
    assert activations.GELU.forward is plain
    back()
    fused_gelu(torch.nn.Sequential(torch.nn.Linear(2, 2)))()
    assert activations.GELU.forward is plain


def test_put_on_and_taken_back(monkeypatch):
    import torch
    from diffusers.models import activations

    monkeypatch.setattr("edit_eval.editors._gelu._is_plain", lambda linear: True)
    plain = activations.GELU.forward
    layer = activations.GELU(16, 32, approximate="tanh")
    x = torch.randn(3, 16)
    before = layer(x)
    back = fused_gelu(torch.nn.Sequential(layer))
    assert activations.GELU.forward is not plain
    assert torch.equal(layer(x), before)  # not on a GPU
    back()
    assert activations.GELU.forward is plain


def test_what_is_not_as_it_was_made():
    import torch

    linear = torch.nn.Linear(16, 32, dtype=torch.bfloat16)
    assert not _is_plain(linear)  # on a CPU
    assert not _is_plain(SimpleNamespace())
    assert not _is_plain(torch.nn.Linear(16, 32, bias=False))
