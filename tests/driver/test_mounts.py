"""Which file system a run lies on, and whether other machines see its locks."""

from __future__ import annotations

from pathlib import Path

import pytest

from edit_eval.driver.mounts import Mount, local_locks, mount_of

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:50 / /nfs rw,relatime shared:20 - nfs4 server:/export rw,vers=4.2,hard,local_lock=none
41 22 0:51 / /old rw shared:21 - nfs server:/old rw,vers=3,nolock,local_lock=all
42 22 0:52 / /lustre rw - lustre 10.0.0.1@tcp:/fs rw,flock,lazystatfs
43 22 0:53 / /lustre/local rw - lustre 10.0.0.1@tcp:/fs rw,localflock
44 22 0:54 / /with\040space rw - tmpfs tmpfs rw
45 22 0:55 / /over rw - ext4 /dev/a rw
46 22 0:56 / /over rw - nfs4 server:/over rw,local_lock=flock

a line of something else
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("path", "kind", "option"),
    [
        ("/home/me/run", "ext4", ""),
        ("/nfs/me/run", "nfs4", ""),
        ("/nfsx/run", "ext4", ""),
        ("/old/run", "nfs", "local_lock=all"),
        ("/lustre/run", "lustre", ""),
        ("/lustre/local/run", "lustre", "localflock"),
        ("/with space/run", "tmpfs", ""),
        ("/over/run", "nfs4", "local_lock=flock"),
    ],
)
def test_the_nearest_and_latest_mount(table, path, kind, option):
    mount = mount_of(Path(path), table)
    assert mount is not None
    assert mount.kind == kind
    assert local_locks(mount) == option


def test_a_kernel_that_tells_nothing(tmp_path):
    assert mount_of(tmp_path, tmp_path / "none") is None
    assert local_locks(None) == ""


def test_this_machine(tmp_path):
    mount = mount_of(tmp_path / "not" / "there")
    assert isinstance(mount, Mount)
    assert tmp_path.resolve().is_relative_to(mount.point)
    assert "rw" in mount.options
