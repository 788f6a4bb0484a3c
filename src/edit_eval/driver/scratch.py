"""Where hosts put what no run keeps: what libraries compile, and temporary files.

By default libraries decide (`~/.cache`, `~/.triton`, `/tmp` ...). With `scratch: FOLDER` everything goes there; with a
home that cannot be written, what would go there goes to the folder for temporary files. Inside, each user has a folder
that is private: compiled code is loaded from it, so nobody else may write there. Nothing of this is in a key.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ConfigError
from edit_eval.core.identity import digest
from edit_eval.driver.machine import size_text

__all__ = ["Scratch", "find_scratch", "home_folder", "keeper_prefix"]

_LEAST_BYTES = 1 << 30
"""A compiled model's kernels take hundreds of megabytes."""

_CACHES: Mapping[str, str] = {
    "CUDA_CACHE_PATH": "cuda",
    "CUPY_CACHE_DIR": "cupy",
    "DG_JIT_CACHE_DIR": "deep-gemm",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    "NUMBA_CACHE_DIR": "numba",
    "PYTORCH_KERNEL_CACHE_PATH": "torch-kernels",
    "TILELANG_CACHE_DIR": "tilelang",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TORCH_EXTENSIONS_DIR": "torch-extensions",
    "TRITON_CACHE_DIR": "triton",
    "VLLM_CACHE_ROOT": "vllm",
    "XDG_CACHE_HOME": "",
}
"""Variable -> folder below `cache`, for what is compiled or derived, and can be made again."""

_DOWNLOADS: Mapping[str, str] = {"HF_HOME": "huggingface", "TORCH_HOME": "torch"}
"""Variable -> folder below `XDG_CACHE_HOME`, for what was downloaded: it stays where it is when that one moves."""

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_NAMES_OF_A_USER = ("LOGNAME", "USER", "LNAME", "USERNAME")
_KEEPERS = re.compile(r"([0-9a-f]{4})-(\d+)-\w+")
_ABANDONED_S = 30 * 86_400.0

DiskUsage = Callable[[Path], Any]


@dataclass(frozen=True)
class Scratch:
    """A private folder for caches and temporary files.

    Attributes:
        folder: ours alone; None: libraries decide.
        asked: whether the config names it. Else it stands in for a home that cannot be written.
    """

    folder: Path | None
    asked: bool

    @property
    def temporary(self) -> Path | None:
        """Where keepers make their folders, and hosts in these theirs; None: where every program does."""
        return self.folder if self.asked else None

    @property
    def hashes(self) -> Path | None:
        """Where hashes of files are remembered; None: in the user's cache folder."""
        if self.folder is None or _home_is_writable():
            return None
        return self.folder / "file-hashes.tsv"

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that lead a host's libraries here.

        Args:
            inherited: what it has besides. Its caches give way to a folder that was asked for; else those that can be
                written stay.
        """
        result = {} if _has_name(inherited) else dict.fromkeys(("LOGNAME", "USER"), f"uid{os.getuid()}")
        if self.folder is None:
            return result
        for variable, name in _CACHES.items():
            if self.asked or not _usable(inherited.get(variable, "")):
                result[variable] = str(self.folder / "cache" / name) if name else str(self.folder / "cache")
        home = home_folder()
        if (cache := inherited.get("XDG_CACHE_HOME") or (home and str(home / ".cache"))) is not None:
            result |= {
                variable: os.path.join(cache, name)  # noqa: PTH118 - as it was given
                for variable, name in _DOWNLOADS.items()
                if not inherited.get(variable)
            }
        if home is None or not home.is_dir():
            result["HOME"] = str(self.folder / "home")
        return result

    def make(self) -> None:
        """Create the folders, and remove what keepers that were killed left in them.

        Raises:
            ConfigError: they cannot be written, or others can.
        """
        if self.folder is None:
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _make_private(self.folder)
            for name in ("home", "cache", *(f"cache/{one}" for one in _CACHES.values() if one)):
                (self.folder / name).mkdir(mode=0o700, exist_ok=True)
            _remove_abandoned(self.folder)
        except OSError as error:
            raise ConfigError(f"scratch: cannot write {self.folder}: {error.strerror}; {_MEND}") from error


_MEND = "set scratch to another folder"


def find_scratch(given: str | None, disk_usage: DiskUsage = shutil.disk_usage) -> Scratch:
    """Return where caches and temporary files go; writes nothing.

    Args:
        given: the config's `scratch`; `$VARIABLES` and `~` are expanded.
        disk_usage: as `shutil.disk_usage`.

    Raises:
        ConfigError: a variable is not set, or the folder is no folder, not writable, or has no room.
    """
    if given is None:
        return Scratch(None if _home_is_writable() else _private(_temporary_folder()), asked=False)
    base = _expanded(given)
    place = _nearest(base)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            f"scratch: {place} is {'not writable' if place.is_dir() else 'not a folder'}; {_MEND}"
        )
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        raise ConfigError(
            f"scratch: {place} is mounted noexec, so compiled code cannot be loaded from it; {_MEND}"
        )
    if (free := int(disk_usage(place).free)) < _LEAST_BYTES:
        raise ConfigError(f"scratch: {size_text(free)} free at {place}, and 1 GiB is needed; {_MEND}")
    return Scratch(_private(base), asked=True)


def home_folder() -> Path | None:
    """Return the user's home; None for one who has none: no `HOME`, and no entry in the list of users."""
    home = os.path.expanduser("~")  # noqa: PTH111 - raises nothing
    return None if home.startswith("~") else Path(home)


def _home_is_writable() -> bool:
    """Whether what libraries keep can be written: the home, and the cache folder if one is named."""
    home, cache = home_folder(), os.environ.get("XDG_CACHE_HOME")
    return home is not None and os.access(home, os.W_OK | os.X_OK) and (not cache or _usable(cache))


def _usable(cache: str) -> bool:
    """Whether a folder can be written, or made."""
    return bool(cache) and os.access(_nearest(Path(cache).absolute()), os.W_OK | os.X_OK)


def _nearest(path: Path) -> Path:
    """Return `path`, or the nearest above it that there is, be it a link to nothing."""
    return next(one for one in (path, *path.parents) if os.path.lexists(one))


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ConfigError(
            "scratch: neither the home folder nor one for temporary files can be written; set scratch or TMPDIR"
        ) from error


def _expanded(given: str) -> Path:
    for match in _VARIABLE.finditer(given):
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise ConfigError(
                f"scratch: the variable {name} is not set here; set it, or name the folder itself"
            )
    text = os.path.expanduser(os.path.expandvars(given))  # noqa: PTH111 - raises nothing
    if not text.strip() or text.startswith("~") or "\0" in text:
        raise ConfigError(f"scratch: {given!r} names no folder")
    return Path(text).absolute()


def _private(base: Path) -> Path:
    return base / f"edit-eval-{os.getuid()}"


def _has_name(environ: Mapping[str, str]) -> bool:
    """Whether `getpass.getuser` will find a name; torch asks it."""
    import pwd

    if any(environ.get(name) for name in _NAMES_OF_A_USER):
        return True
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _make_private(folder: Path) -> None:
    """Create `folder`, or see to it that it is ours alone. Raises `ConfigError`, `OSError`."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"\0")
        probe.flush()
        owner = os.fstat(probe.fileno()).st_uid  # ours, also where the file system maps users
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
        raise ConfigError(f"scratch: {folder} is a link or somebody else's; remove it, or {_MEND}")
    if found.st_mode & 0o077:
        raise ConfigError(f"scratch: {folder} is open to others; chmod 700 it, or {_MEND}")


# Keepers' folders


def keeper_prefix() -> str:
    """Return how the names of keepers' folders begin: of which machine, and of which driver."""
    return f"{_here()}-{os.getpid()}-"


def _here() -> str:
    """Return a mark of this machine since it was started, and of our list of processes."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return digest(facts)[:4]  # short: a socket's path may have 107 bytes


def _remove_abandoned(folder: Path) -> None:
    """Remove keepers' folders whose driver has ended; of another machine, those that nothing touched for 30 days."""
    here = _here()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not (found := _KEEPERS.fullmatch(entry.name)):
                continue
            if found[1] == here:
                is_over = not Path("/proc", found[2]).exists()
            else:
                is_over = time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S
            if is_over:
                shutil.rmtree(entry.path, ignore_errors=True)
