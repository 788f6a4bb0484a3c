"""The doctor's look at what surrounds every run: room for temporary files, shared memory, caches, proxies."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from edit_eval.driver.findings import Finding, bad, ok, warn
from edit_eval.driver.machine import nearest_folder, size_text

__all__ = ["examine_surroundings"]

_SHM = Path("/dev/shm")  # noqa: S108 - only looked at
_LOW_SHM_BYTES = 1 << 30
"""Containers have 64 MiB by default, which engines and data loaders fill at once."""

_LOW_TEMPORARY_BYTES = 1 << 30
_NO_TEMPORARY_BYTES = 1 << 20
_STAND_IN = (
    "hashes of weights and compiled kernels go to the folder for temporary files, which may be emptied"
)
_LOCAL = ("localhost", "127.0.0.1")


def examine_surroundings(shm: Path = _SHM) -> Iterator[Finding]:
    """Yield what was found; `shm` is where shared memory is."""
    yield _temporary()
    yield _shared_memory(shm)
    yield _cache()
    yield from _proxy()


def _temporary() -> Finding:
    what, mend = "temporary", "make room there, or set TMPDIR to a folder with room on a local disk"
    try:
        place = Path(tempfile.gettempdir())
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
        free = shutil.disk_usage(place).free
    except OSError as error:
        return bad(what, f"no temporary file can be written: {error.strerror or error}", mend)
    text = f"{size_text(free)} free in {place}"
    if free < _NO_TEMPORARY_BYTES:
        return bad(what, text, mend)
    return ok(what, text) if free >= _LOW_TEMPORARY_BYTES else warn(what, text, mend)


def _shared_memory(shm: Path) -> Finding:
    what, mend = "shared memory", "give a container more (docker run --shm-size=8g, or --ipc=host)"
    try:
        total = shutil.disk_usage(shm).total
    except OSError as error:
        return warn(what, f"{shm} cannot be used: {error.strerror or error}", mend)
    text = f"{size_text(total)} at {shm}"
    return ok(what, text) if total >= _LOW_SHM_BYTES else warn(what, text, mend)


def _cache() -> Finding:
    """Look whether hashes of weights, and what libraries compile, can be kept."""
    what, mend = "cache", "set XDG_CACHE_HOME to a folder of yours that can be written"
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        return warn(what, f"this user has no home folder: {_STAND_IN}", mend)
    place = nearest_folder(folder)
    if os.access(place, os.W_OK | os.X_OK) and not folder.is_file():
        return ok(what, str(folder))
    return warn(what, f"{place} is not writable: {_STAND_IN}", mend)


def _proxy() -> Iterator[Finding]:
    """Look whether a proxy would stand between processes of this machine."""
    from urllib.request import getproxies_environment, proxy_bypass

    # What is found is `scheme -> URL`, and `no` for what goes past the proxy.
    proxies = {
        name: url for name, url in getproxies_environment().items() if name in ("http", "https", "all")
    }
    if not proxies:
        return
    through = [host for host in _LOCAL if not proxy_bypass(host)]
    name, url = next(iter(proxies.items()))
    text = f"{name}_proxy is {urlsplit(url).hostname or 'set'}"
    if through:
        mend = f"export no_proxy={','.join([*_LOCAL, '::1'])} (add them to what it holds)"
        text += f", also for {' and '.join(through)}: models' processes go past it, other programs do not"
        yield warn("proxy", text, mend)
    else:
        yield ok("proxy", f"{text}; not for this machine itself")
