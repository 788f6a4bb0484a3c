"""How long code may take, in processor time: what else the machine does counts for nothing."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["within"]


@contextmanager
def within(cpu_s: float) -> Iterator[None]:
    """Assert that the body takes less than `cpu_s` seconds of this process's processor time.

    What earlier tests have left in memory is not looked through for garbage meanwhile: with thousands of tests before
    it, that alone takes a second.
    """
    gc.freeze()
    try:
        began = time.process_time()
        yield
        took = time.process_time() - began
    finally:
        gc.unfreeze()
    assert took < cpu_s
