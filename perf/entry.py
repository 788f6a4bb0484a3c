"""How scripts for GPUs begin: what they need is looked for first, and a mistake of the user's is one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edit_eval.core.errors import DeviceError, UserError
from edit_eval.driver.devices import visible_gpus

__all__ = ["need_gpus", "script"]


def need_gpus(devices: Sequence[str]) -> None:
    """Look for the GPUs among `devices` (`cuda:0` ...; others are left to the run).

    Raises:
        DeviceError: one of them is not here.
    """
    there = [f"cuda:{gpu.index}" for gpu in visible_gpus()]
    if missing := [one for one in devices if one.startswith("cuda") and one not in there]:
        raise DeviceError(
            f"{', '.join(missing)} needed, {', '.join(there) or 'no GPU'} here; --tiny tries the script itself without any"
        )


def script(main: Callable[[], int]) -> None:
    """Run a script and exit with its code; with 2 and one line where its user has to mend something."""
    try:
        code = main()
    except UserError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)
