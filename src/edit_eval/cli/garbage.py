"""When Python looks for garbage: not while records are read, as long as it likes while a run goes on.

A command reads hundreds of thousands of samples and records that live as long as it does. To look through them again
and again for cycles that are not there takes a third of its time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collected", "uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def collected() -> Iterator[None]:
    """Look for garbage, as a run may go on for days, but not among what is there already."""
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.enable()
    try:
        yield
    finally:
        gc.unfreeze()
        if not was_enabled:
            gc.disable()
