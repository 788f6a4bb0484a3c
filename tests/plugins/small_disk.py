"""Small, full and read-only disks for tests: a mount namespace of our own, seen from outside through /proc.

As root, or as anybody where user namespaces are allowed; elsewhere `Disks` skips its test. Nothing has to be unmounted:
the file systems go when their holder is killed.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

BALLAST = "ballast"


class Disks:
    """A mount namespace; use as a context manager. Paths given to it are those inside, `seen` says where they are."""

    def __enter__(self) -> Self:
        self._mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
        try:
            self._holder = subprocess.Popen(
                ["unshare", "--mount", *self._mapped, "sh", "-c", "echo there; exec sleep 3600"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except FileNotFoundError:
            pytest.skip("no unshare here")
        if self._holder.stdout.readline() != "there\n":
            self._end()
            pytest.skip("no mount namespaces here")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def seen(self, place: Path) -> Path:
        """Return the path by which everybody sees what lies at `place` in this namespace."""
        return Path(f"/proc/{self._holder.pid}/root{place}")

    def _mount(self, *arguments: str, how: str = "mount") -> None:
        user = ["--user", "--preserve-credentials"] if self._mapped else []
        done = subprocess.run(
            ["nsenter", *user, "--mount", "--target", str(self._holder.pid), how, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")

    def small(self, place: Path, kib: int, inodes: int = 0) -> Path:
        """Mount an empty disk of that size at a folder; return where it is seen."""
        options = f"size={kib}k" + (f",nr_inodes={inodes}" if inodes else "")
        self._mount("-t", "tmpfs", "-o", options, "tmpfs", str(place))
        return self.seen(place)

    def show(self, what: Path, place: Path) -> None:
        """Show the file or folder `what` at `place` as well."""
        self._mount("--bind", str(what), str(place))

    def make_read_only(self, place: Path) -> None:
        """Make the folder `place` and what is below it read-only, as far as it was not opened before."""
        self._mount("--bind", str(place), str(place))
        self._mount("-o", "remount,bind,ro", str(place))

    def unmount(self, place: Path) -> None:
        """Take back what was mounted last at a place."""
        self._mount(str(place), how="umount")

    def remount(self, place: Path, how: str) -> None:
        """Remount a disk with another option: `ro`, `rw`, `nr_inodes=1000` ..."""
        self._mount("-o", f"remount,{how}", str(place))


def fill(disk: Path, leave_kib: int = 0) -> None:
    """Fill a disk, but for so many KiB; a run that writes meanwhile may fill it first."""
    found = os.statvfs(disk)
    left = found.f_bavail * found.f_frsize - leave_kib * 1024
    try:
        with (disk / BALLAST).open("ab", buffering=0) as file:
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 16)))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def make_room(disk: Path) -> None:
    """Take away what `fill` wrote."""
    (disk / BALLAST).unlink(missing_ok=True)


def carry_out(run: Path, place: Path) -> Path:
    """Copy a run off a disk that will go, times included, and return where it is now."""
    shutil.copytree(run, place, symlinks=True)
    return place
