"""How many hosts may load at once, and who reads their weights ahead."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.loading import LoadGate, Weights, loading_text, weights_of
from edit_eval.driver.machine import Memory
from edit_eval.driver.models import Model

GIB = 1 << 30
TOTAL = Memory(free=256 * GIB, total=256 * GIB, limited=False)
EDITOR = Weights(("a", "b"), 58 * GIB)


def gate(free=256, cores=64):
    return LoadGate(lambda: replace(TOTAL, free=free * GIB), lambda: cores)


def loading_at_once(one, weights, hosts):
    loading = []
    while len(loading) < hosts and one.admits(weights, loading):
        loading.append(weights)
    return len(loading)


def test_as_many_load_at_once_as_have_room_for_all_their_weights():
    assert loading_at_once(gate(free=1000), EDITOR, 8) == 8
    one = gate(free=256)
    assert loading_at_once(one, EDITOR, 8) == one.at_once(EDITOR) == 3
    assert loading_at_once(gate(free=20), EDITOR, 8) == 1


@given(st.integers(0, 2000), st.integers(0, 500), st.integers(1, 16))
def test_one_always_loads_and_more_only_within_the_memory(free, size, hosts):
    weights = Weights(("w",), size * GIB)
    found = loading_at_once(gate(free=free), weights, hosts)
    assert 1 <= found <= hosts
    assert found == 1 or found * size <= 0.8 * free
    assert found == hosts or (found + 1) * size > 0.8 * free


def test_who_has_no_weights_waits_for_nobody():
    one = gate(free=20)
    assert one.admits(EDITOR, [])
    assert one.admits(Weights(), [EDITOR])
    assert not one.admits(Weights(("w",), GIB), [EDITOR])


def test_a_reading_that_is_not_there_is_not_taken_for_0():
    hosts = [{"load_s": 25.0, "weights_bytes": 50 * 10**9}, {"load_s": 20.0, "weights_bytes": 50 * 10**9}]
    assert "from disk" not in loading_text(hosts)
    assert "from disk" not in loading_text([{**hosts[0], "disk_bytes": 10**9}, hosts[1]])
    assert "0.0 GB from disk by all of them" in loading_text([{**one, "disk_bytes": 0} for one in hosts])


def test_where_memory_cannot_be_told_all_load():
    assert loading_at_once(LoadGate(lambda: None), EDITOR, 8) == 8


def test_the_memory_that_counts_is_what_there_was_before_the_first_began_to_load():
    free = [256 * GIB]
    one = LoadGate(lambda: replace(TOTAL, free=free[0]))
    assert one.admits(EDITOR, [])
    free[0] = 0  # the first one has taken it meanwhile
    assert one.admits(EDITOR, [EDITOR])


def test_one_host_reads_for_all():
    one = gate()
    assert one.ahead(EDITOR) == ["a", "b"]
    assert one.ahead(EDITOR) == []
    assert one.ahead(Weights(("c",), GIB)) == ["c"]


def test_weights_that_do_not_fit_are_not_read_ahead_until_they_do():
    free = [60 * GIB]
    one = LoadGate(lambda: replace(TOTAL, free=free[0]))
    assert one.ahead(EDITOR) == []
    free[0] = 100 * GIB
    assert one.ahead(EDITOR) == ["a", "b"]


def test_a_second_host_needs_a_core_and_memory_to_spare():
    assert gate().may_prepare(8)
    assert not gate(cores=15).may_prepare(8)
    assert not gate(free=31).may_prepare(8)
    assert not LoadGate(lambda: None, lambda: 64).may_prepare(1)


def test_the_files_that_are_loaded_are_found_with_their_bytes(tmp_path):
    part = tmp_path / "transformer"
    part.mkdir()
    for name, size in (("model.safetensors", 5), ("model.bin", 7), ("config.json", 2)):
        (part / name).write_bytes(b"x" * size)
    (tmp_path / "lora.safetensors").write_bytes(b"y" * 3)
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    found = weights_of(
        [
            Model("m", part, {}),
            Model("l", tmp_path / "lora.safetensors", {}),
            Model("g", tmp_path / "gone.safetensors", {}),
        ]
    )
    assert found == Weights((str(part / "model.safetensors"), str(tmp_path / "lora.safetensors")), 8)


def test_seconds_a_gigabyte_stand_beside_what_the_disk_gave():
    hosts = [
        {
            "load_s": 20.0,
            "weights_bytes": 50 * 10**9,
            "disk_bytes": 40 * 10**9,
            "ahead_disk_bytes": 30 * 10**9,
            "ahead_disk_s": 15.0,
        },
        {"load_s": 25.0, "weights_bytes": 50 * 10**9, "disk_bytes": 10**9},
    ]
    assert loading_text(hosts) == (
        "50.0 GB in 25.0 s, 0.50 s a GB (the slowest of 2), 41.0 GB from disk by all of them, "
        "which gave 2.0 GB a second to the one that read ahead"
    )


def test_of_small_weights_and_damaged_records_nothing_is_said():
    assert loading_text([]) == ""
    assert loading_text([{"load_s": 1.0, "weights_bytes": 10**6}]) == ""
    assert loading_text([{"load_s": True, "weights_bytes": "x"}, {}]) == ""
