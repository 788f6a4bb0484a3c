"""Whether a device resizes images itself: only where it gives the same values as the host."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from edit_eval.judges.engines.images import on_device  # noqa: E402

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]


class Far:
    """A tensor as it lies on a device that this machine has not."""

    def __init__(self, values, device):
        self.values, self.device, self.shape = values, device, values.shape

    def float(self):
        return self

    def cpu(self):
        return self.values


def processor(change=0.0, lands_on="cuda:0", more=0, error=None, name="pixel_values"):
    """An image processor that knows `device`, and is so far from itself there."""

    def process(images, return_tensors, device=None):
        values = torch.linspace(-1, 1, 48).reshape(12, 4)
        if device is None:
            return {name: values}
        if error is not None:
            raise error
        return {name: Far(torch.cat([values + change, torch.zeros(more, 4)]), lands_on)}

    return SimpleNamespace(image_processor=process)


def test_the_device_resizes_where_it_gives_the_same_values():
    wanted = {"images_kwargs": {"device": "cuda:0"}}
    assert on_device(processor(), "cuda:0") == wanted
    assert (
        on_device(processor(change=2 / 255 - 1e-4), "cuda:0") == wanted
    )  # the next of 256 levels, by rounding
    assert on_device(processor(), "cpu") == {}


@pytest.mark.parametrize(
    "other",
    [
        processor(change=0.02),
        processor(more=1),
        processor(lands_on="cpu"),
        processor(name="patches"),
        processor(error=TypeError("process() got an unexpected keyword argument 'device'")),
        processor(error=RuntimeError("Found no NVIDIA driver on your system")),
        processor(error=ValueError("device")),
    ],
    ids=["other values", "other shape", "stays on the host", "no pixels", "unknown", "no device", "refused"],
)
def test_the_host_resizes_where_the_device_does_not_do_so(other):
    assert on_device(other, "cuda:0") == {}
