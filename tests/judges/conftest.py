"""What tests of real model code on tiny checkpoints share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", params=["qwen3-vl", "qwen3-vl-moe"])
def folder(request, tiny):
    return tiny(request.param)


@pytest.fixture(scope="module")
def dense(tiny):
    return tiny("qwen3-vl")
