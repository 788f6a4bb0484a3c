"""What torch's compiler needs of the machine and the interpreter that it runs in."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

__all__ = ["compiler_lacks"]


def compiler_lacks(device: str) -> str:
    """Return what torch.compile needs and has not, in words that follow "compiling needs"; empty if it has all.

    Args:
        device: torch's name of the device, or its type.
    """
    if device.startswith("cuda") and importlib.util.find_spec("triton") is None:
        return f"triton, and {sys.executable} has none: {sys.executable} -m pip install triton"
    if not (os.environ.get("CC") or any(shutil.which(name) for name in ("cc", "gcc", "clang"))):
        return "a C compiler, and there is none (cc, gcc, clang)"
    return ""
