"""One file that one process at a time may write: a lock that is given back when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edit_eval.driver.hubs import Watch

__all__ = ["locked"]

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def locked(path: Path, watch: Watch, waiting: str) -> Iterator[None]:
    """Hold a lock that the hub's own library respects; where the file system has none, go on without.

    Two processes that write one file without locks spoil it, and the hash tells.

    Args:
        path: of the lock file; it is never deleted.
        watch: paused while another process holds it.
        waiting: said once, if another process holds it.

    Raises:
        OSError: the file cannot be made.
        Stopped: the watch was stopped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        said = False
        while not _try_lock(file):
            if not said:
                watch.say(waiting)
                said = True
            watch.pause(0.2)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
