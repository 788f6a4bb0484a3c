"""Which shard a text means, and which samples are its."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.shards import MOST, Shard


@given(st.integers(1, MOST), st.data())
def test_what_it_is_written_as_is_read_back(count, data):
    one = Shard(data.draw(st.integers(0, count - 1)), count)
    assert Shard.parse(str(one)) == one
    assert one.folder(Path("runs/x")) == Path(f"runs/x/shards/{one.index}-of-{count}")


@given(st.integers(1, MOST), st.data())
def test_its_folder_names_it(count, data):
    one = Shard(data.draw(st.integers(0, count - 1)), count)
    assert Shard.of_folder(one.folder(Path("runs/x"))) == one


@pytest.mark.parametrize(
    "name", ["x/0-of-2", "shards/2-of-2", "shards/0-of-2-2", "shards/0-of-0", "shards", ""]
)
def test_other_folders_name_none(name):
    assert Shard.of_folder(Path(name)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2/2", "counted from 0, so the last of 2 is 1/2"),
        ("1", "is no shard; write 0/4 for the first of four, 3/4 for the last"),
        ("-1/2", "is no shard"),
        ("0/0", "a run has 1 to 100000 shards"),
        ("0/999999", "a run has 1 to 100000 shards"),
        ("x/2", "is no shard"),
        ("0/2/3", "is no shard"),
        ("", "is no shard"),
        ("٠/٢", "is no shard"),
    ],
)
def test_what_is_none_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        Shard.parse(text)


@given(st.lists(st.text(), unique=True, max_size=50), st.integers(1, 9))
def test_every_cluster_falls_to_one_shard(clusters, count):
    for cluster in clusters:
        assert sum(Shard(index, count).has(cluster) for index in range(count)) == 1


def test_shares_are_what_they_were():
    """A shard that is gone on with after an update has the same samples."""
    assert [next(i for i in range(5) if Shard(i, 5).has(f"c{k}")) for k in range(12)] == SHARES


def test_shares_are_about_equal():
    sizes = [sum(Shard(index, 8).has(f"source {k}") for k in range(4000)) for index in range(8)]
    assert max(sizes) < 1.15 * 500
    assert min(sizes) > 0.85 * 500


SHARES = [4, 4, 0, 2, 3, 0, 3, 1, 1, 3, 4, 1]
