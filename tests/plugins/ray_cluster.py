"""A Ray cluster of several nodes on this machine, in a process of its own; also a script that is that process.

Every node has `slot: 2`. As a script it prints the cluster's address, then obeys lines: `add NAME`, `kill NAME`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import ours

IMPATIENT = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A node that was killed is known to be after two seconds, and not after twenty."""

STORE_BYTES = 80 << 20
_CLONE_NEWNS = 0x00020000


class RayCluster:
    """Use as a context manager; leaves no process and no file.

    Args:
        names: of the nodes; the first is the head.
        apart: a folder that the last of them does not see: it has another one, empty, in its place, and `apart: 2`.
        environment: of all nodes.
    """

    def __init__(self, *names: str, apart: Path | None = None, **environment: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="ray")  # short: a socket's path may have 107 bytes
        (Path(self._folder) / "ray").mkdir()  # where Ray says that there is a cluster, and does not make
        with (Path(self._folder) / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, __file__, self._folder, str(apart or ""), *names],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={
                    **os.environ,
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "RAY_TMPDIR": self._folder,
                    "EDIT_EVAL_CLUSTER": self._folder,
                    **environment,
                },
                start_new_session=True,
            )
        self.address = self._answer()

    def add(self, name: str) -> None:
        self._ask(f"add {name}")

    def kill(self, name: str) -> None:
        self._ask(f"kill {name}")

    def _ask(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        answer = self._process.stdout.readline().decode().strip()
        if not answer:
            said = (Path(self._folder) / "said").read_text(errors="replace")
            self.close()
            raise AssertionError(said)
        return answer

    def close(self) -> None:
        """End everything, orphans too."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for _ in range(100):
            left = ours(self._folder)
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue
            time.sleep(0.1)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hide(folder: str) -> None:
    """Have this thread, and what it starts from now on, see an empty folder there. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "no mount namespaces here")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)


def _main(folder: str, apart: str, *names: str) -> None:
    from ray.cluster_utils import Cluster

    what: dict[str, Any] = {"num_cpus": 1, "resources": {"slot": 2}, "object_store_memory": STORE_BYTES}
    head = {**what, "node_name": names[0], "include_dashboard": False, "temp_dir": folder}
    head |= {"no_monitor": True, "include_log_monitor": False}
    cluster = Cluster(
        initialize_head=True, head_node_args={**head, "_system_config": IMPATIENT}, shutdown_at_exit=False
    )
    nodes = {names[0]: cluster.head_node}
    elsewhere = ThreadPoolExecutor(1)  # lives as long as the node that it starts
    for name in names[1:]:
        if apart and name == names[-1]:
            elsewhere.submit(_hide, apart).result()
            has = {**what, "resources": {**what["resources"], "apart": 2}, "node_name": name}
            nodes[name] = elsewhere.submit(cluster.add_node, wait=False, **has).result()
        else:
            nodes[name] = cluster.add_node(wait=False, **what, node_name=name)
    cluster.wait_for_nodes(120)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        order, name = line.split()
        if order == "add":
            nodes[name] = cluster.add_node(**what, node_name=name)
        else:
            cluster.remove_node(nodes.pop(name), allow_graceful=False)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _main(*sys.argv[1:])
