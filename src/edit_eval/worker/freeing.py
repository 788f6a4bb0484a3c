"""Memory of a device that nobody uses any more is given back, so that what comes next finds room."""

from __future__ import annotations

import gc
import sys

__all__ = ["free_memory"]


def free_memory() -> None:
    """Give back what torch keeps of memory that is free. A traceback keeps tensors alive: first drop it, or leave the handler."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
