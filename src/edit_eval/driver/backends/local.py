"""The default backend: every keeper is a small process on this machine, in a session of its own."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import edit_eval
from edit_eval.core.errors import RunError
from edit_eval.driver.devices import Device
from edit_eval.driver.refusals import cannot_write
from edit_eval.driver.scratch import keeper_prefix
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
    """One keeper process. `temporary`: where its folder is made, and its hosts' temporary files."""

    def __init__(self, log_folder: Path, temporary: Path | None = None) -> None:
        self._token = secrets.token_hex(16)
        self._scratch = ""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._scratch, own = _folder(temporary)
                self._process = self._start(theirs, log_folder, own)
        except (OSError, RunError):
            ours.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        self.channel = Channel(ours, FROM_KEEPER)

    def _start(
        self, theirs: socket.socket, log_folder: Path, own: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        root = Path(edit_eval.__file__).resolve().parent.parent
        with _log(log_folder) as log:
            return subprocess.Popen(
                # -S and -I: no site-packages, no user's paths; about 10 MB and 20 ms.
                [sys.executable, "-I", "-S", "-c", _BOOT, str(root), str(theirs.fileno()), self._scratch],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, **own, _MARK: self._token},
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


def _folder(temporary: Path | None) -> tuple[str, dict[str, str]]:
    """Return a folder for one keeper, and the variables that lead its hosts there. Raises `RunError`."""
    try:
        if temporary is None:
            return tempfile.mkdtemp(prefix="edit-eval-"), {}
        folder = tempfile.mkdtemp(prefix=keeper_prefix(), dir=temporary)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        instead = "set TMPDIR to another one" if temporary is None else "set scratch to another one"
        raise cannot_write("a temporary folder", error, instead=instead) from error
    return folder, dict.fromkeys(("TMPDIR", "TMP", "TEMP"), folder)


def _log(folder: Path) -> BinaryIO:
    """Return the file that keepers' own last words go to; a disk that is full costs the log, not the run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / "keepers.log").open("ab")
    except OSError:
        return Path(os.devnull).open("ab")


class LocalBackend:
    """Starts keepers on this machine. `temporary`: for temporary files, where not those of every program."""

    def __init__(self, temporary: Path | None = None) -> None:
        self._temporary = temporary

    def launch(self, device: Device, log_folder: Path) -> _LocalKeeper:
        """Start the keeper of `device`. Raises `RunError` where no temporary folder can be made."""
        del device
        return _LocalKeeper(log_folder, self._temporary)
