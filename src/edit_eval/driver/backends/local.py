"""The default backend: every keeper is a small process on this machine, in a session of its own."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import edit_eval
from edit_eval.driver.backends import Change, DevicesAsked
from edit_eval.driver.devices import Device, Gpu, GpuMemory, default_devices, parse_devices
from edit_eval.driver.refusals import cannot_write
from edit_eval.driver.scratch import keeper_prefix
from edit_eval.worker.launch import KeeperProcess, keepers_log
from edit_eval.worker.protocol import FROM_KEEPER, Channel

__all__ = ["LocalBackend"]


class _LocalKeeper:
    """One keeper process. `temporary`: where its folder is made, and its hosts' temporary files."""

    def __init__(self, log_folder: Path, temporary: Path | None = None) -> None:
        root = Path(edit_eval.__file__).resolve().parent.parent
        scratch, own = _folder(temporary)
        try:
            with keepers_log(log_folder) as log:
                self._process = KeeperProcess(root, scratch, log, {**os.environ, **own})
        except OSError:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        self.channel = Channel(self._process.socket, FROM_KEEPER)

    def why_lost(self) -> tuple[str, bool]:
        """Return that nothing is known: it was killed, most likely."""
        return "", False

    def lost(self) -> None:
        """Kill the keeper and everything that carries its mark."""
        self._process.lost()
        self.channel.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of a keeper that was told to quit."""
        whole = self._process.wait(timeout_s)
        self.channel.close()
        return whole


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


class LocalBackend:
    """Starts keepers on this machine.

    Args:
        temporary: for temporary files, where not those of every program.
        gpus: that this process may use.
    """

    connects = False

    def __init__(self, temporary: Path | None = None, gpus: Sequence[Gpu] = ()) -> None:
        self._temporary = temporary
        self._gpus = gpus

    def devices(self, asked: DevicesAsked) -> list[Device]:
        """Return the devices that a stage's config names, defaults included; `auto` is one, free if any is.

        Raises:
            DeviceError: unknown or doubled devices, or more GPUs than there are.
        """
        gpus, devices = self._gpus, asked.devices
        if asked.remote and devices in (None, "auto", ["auto"]):
            devices = ["cpu:0"]
        if devices is None:
            devices = default_devices(accelerated=asked.accelerated)
        if devices in ("auto", ["auto"]):
            devices = _one_device(gpus) if gpus else ["cuda:0" if asked.accelerated else "cpu:0"]
        return parse_devices(devices, f"{asked.where}.devices", gpus)

    def launch(self, device: Device, log_folder: Path) -> _LocalKeeper:
        """Start the keeper of `device`. Raises `RunError` where no temporary folder can be made."""
        del device
        return _LocalKeeper(log_folder, self._temporary)

    def changes(self) -> Sequence[Change]:
        """Return nothing: the devices of this machine stay what they are."""
        return ()

    def hopes(self) -> bool:
        """Return that no device will come."""
        return False

    def close(self) -> None:
        """Do nothing: nothing is held."""


def _one_device(gpus: Sequence[Gpu]) -> list[str]:
    """Return the first GPU whose memory nobody else holds; the first of all where every one is held."""
    asks = GpuMemory()
    every = [Device("cuda", (gpu.index,), (gpu.token,)) for gpu in gpus]
    free = [device for device in every if not asks.taken([device])]
    return [f"cuda:{(free or every)[0].indices[0]}"]
