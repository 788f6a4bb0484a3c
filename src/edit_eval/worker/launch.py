"""Starting a keeper: the process, the socket to it, and the end of both. The same on this machine and on a cluster's nodes.

Standard library only; knows nothing of devices.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from edit_eval.worker.processes import kill_marked

__all__ = ["KeeperProcess", "keepers_log"]

_MARK = "EDIT_EVAL_KEEPER"
_BOOT = """
import sys
sys.path.append(sys.argv.pop(1))
from edit_eval.worker.keeper import main
main()
"""


class KeeperProcess:
    """One keeper, in a session of its own, on this process's Python.

    Args:
        root: the folder that holds the package `edit_eval`.
        scratch: a folder for the keeper alone, which removes it at its end.
        log: what it says itself goes there.
        environment: of the keeper, and changed by the driver's word of its hosts.

    Attributes:
        socket: our end of the connection to it.

    Raises:
        OSError: it cannot be started; `scratch` is left alone.
    """

    def __init__(self, root: Path, scratch: str, log: BinaryIO, environment: Mapping[str, str]) -> None:
        self._token = secrets.token_hex(16)
        self._scratch = scratch
        self.socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    # -S and -I: no site-packages, no user's paths; about 10 MB and 20 ms.
                    [sys.executable, "-I", "-S", "-c", _BOOT, str(root), str(theirs.fileno()), scratch],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env={**environment, _MARK: self._token},
                )
        except OSError:
            self.socket.close()
            raise

    def lost(self) -> None:
        """Kill the keeper and everything that carries its mark."""
        self._process.kill()
        self._process.wait()
        kill_marked(_MARK, self._token)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of a keeper that was told to quit; say whether it came. One that has not ended is killed."""
        try:
            whole = self._process.wait(timeout_s) == 0
        except subprocess.TimeoutExpired:
            whole = False
        if not whole:  # killed, now or before: it has cleaned nothing up
            self.lost()
        return whole


def keepers_log(folder: Path) -> BinaryIO:
    """Return the file that keepers' own last words go to; a disk that is full costs the log, not the run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / "keepers.log").open("ab")
    except OSError:
        return Path(os.devnull).open("ab")
