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
from edit_eval.driver.scratch import keeper_prefix
from edit_eval.worker.processes import kill_marked
from edit_eval.worker.protocol import Channel

__all__ = ["LocalBackend"]

_MARK = "EDIT_EVAL_KEEPER"
_BOOT = """
import sys
sys.path.append(sys.argv.pop(1))
from edit_eval.worker.keeper import main
main()
"""


class _LocalKeeper:
    """One keeper process. `temporary`: where its folder is made, and its hosts' temporary files."""

    def __init__(self, log_folder: Path, temporary: Path | None = None) -> None:
        ours, theirs = socket.socketpair()
        self._token = secrets.token_hex(16)
        self._scratch, own = _folder(temporary)
        root = Path(edit_eval.__file__).resolve().parent.parent
        log_folder.mkdir(parents=True, exist_ok=True)
        with theirs, (log_folder / "keepers.log").open("ab") as log:
            self._process = subprocess.Popen(
                # -S and -I: no site-packages, no user's paths; about 10 MB and 20 ms.
                [sys.executable, "-I", "-S", "-c", _BOOT, str(root), str(theirs.fileno()), self._scratch],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, **own, _MARK: self._token},
            )
        self.channel = Channel(ours)

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
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.lost()
            return False
        self.channel.close()
        return True


def _folder(temporary: Path | None) -> tuple[str, dict[str, str]]:
    """Return a folder for one keeper, and the variables that lead its hosts there. Raises `OSError`."""
    if temporary is None:
        return tempfile.mkdtemp(prefix="edit-eval-"), {}
    folder = tempfile.mkdtemp(prefix=keeper_prefix(), dir=temporary)
    return folder, dict.fromkeys(("TMPDIR", "TMP", "TEMP"), folder)


class LocalBackend:
    """Starts keepers on this machine. `temporary`: for temporary files, where not those of every program."""

    def __init__(self, temporary: Path | None = None) -> None:
        self._temporary = temporary

    def launch(self, device: Device, log_folder: Path) -> _LocalKeeper:
        """Start the keeper of `device`. Raises `OSError`."""
        del device
        return _LocalKeeper(log_folder, self._temporary)
