"""The default backend: every keeper is a small process on this machine, in a session of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import edit_eval
from edit_eval.driver.devices import Device
from edit_eval.worker.processes import kill_marked
from edit_eval.worker.protocol import FROM_KEEPER, Channel

__all__ = ["LocalBackend"]

_MARK = "EDIT_EVAL_KEEPER"
_BOOT = """
import sys
sys.path.append(sys.argv.pop(1))
from edit_eval.worker.keeper import main
main()
"""


class _LocalKeeper:
    """One keeper process."""

    def __init__(self, log_folder: Path) -> None:
        self._token = secrets.token_hex(16)
        self._scratch = ""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._scratch = tempfile.mkdtemp(prefix="edit-eval-")
                self._process = self._start(theirs, log_folder)
        except OSError:
            ours.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        self.channel = Channel(ours, FROM_KEEPER)

    def _start(self, theirs: socket.socket, log_folder: Path) -> subprocess.Popen[bytes]:
        root = Path(edit_eval.__file__).resolve().parent.parent
        log_folder.mkdir(parents=True, exist_ok=True)
        with (log_folder / "keepers.log").open("ab") as log:
            return subprocess.Popen(
                # -S and -I: no site-packages, no user's paths; about 10 MB and 20 ms.
                [sys.executable, "-I", "-S", "-c", _BOOT, str(root), str(theirs.fileno()), self._scratch],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, _MARK: self._token},
            )

    def lost(self) -> None:
        """Kill the keeper and everything that carries its mark."""
        self._process.kill()
        self._process.wait()
        kill_marked(_MARK, self._token)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self.channel.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of a keeper that was told to quit."""
        try:
            whole = self._process.wait(timeout_s) == 0
        except subprocess.TimeoutExpired:
            whole = False
        if not whole:  # killed, now or before: it has cleaned nothing up
            self.lost()
            return False
        self.channel.close()
        return True


class LocalBackend:
    """Starts keepers on this machine."""

    def launch(self, device: Device, log_folder: Path) -> _LocalKeeper:
        """Start the keeper of `device`. Raises `OSError`."""
        del device
        return _LocalKeeper(log_folder)
