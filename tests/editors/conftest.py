"""What several tests of editors share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Have Qwen's pipeline look at sources of 64 x 64 pixels in area, not of 1024 x 1024."""
    module = pytest.importorskip("diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VAE_IMAGE_SIZE", 64 * 64)
        patch.setattr(module, "CONDITION_IMAGE_SIZE", 56 * 56)
        yield
