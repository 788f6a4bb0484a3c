"""The keeper between a prepared host and the driver; what it does in processes is in `tests/driver`."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest

from edit_eval.worker import keeper as module
from edit_eval.worker.keeper import Keeper, _Host
from edit_eval.worker.protocol import FROM_HOST, FROM_KEEPER, NOT_PREPARED, TO_HOST, Channel

SPEC, LOAD = {"python": "python"}, {"role": "a:B"}


class Stage:
    """A keeper whose hosts are no processes; `hosts` are their ends of the sockets, in the order of their start."""

    def __init__(self, tmp_path, monkeypatch):
        ours, theirs = socket.socketpair()
        self.driver = Channel(ours, FROM_KEEPER)
        self.keeper = Keeper(theirs, tmp_path)
        self.hosts = []
        monkeypatch.setattr(self.keeper, "_spawn", self.spawn)
        monkeypatch.setattr(module, "reap_children", dict)
        monkeypatch.setattr(module, "_kill", lambda host: None)

    def spawn(self, spec):
        ours, theirs = socket.socketpair()
        self.hosts.append(Channel(theirs, TO_HOST))
        output = os.open(os.devnull, os.O_RDONLY)
        log = SimpleNamespace(write=len, tail=lambda count: b"", close=lambda: None)
        process = SimpleNamespace(pid=len(self.hosts), returncode=None)
        host = _Host(spec, process, Channel(ours, FROM_HOST), output, log, redactor=None, output_open=False)
        self.keeper._selector.register(host.channel, 1, (host, "channel"))
        return host

    def told(self):
        return [(one["type"], one.get("pid", one.get("code"))) for one in self.driver.receive_blocking()]

    def close(self):
        for host in self.keeper._hosts():
            self.keeper._forget(host)
        for one in (self.driver, self.keeper._driver, self.keeper._selector, *self.hosts):
            one.close()


@pytest.fixture
def stage(tmp_path, monkeypatch):
    stage = Stage(tmp_path, monkeypatch)
    yield stage
    stage.close()


def test_a_prepared_host_that_fails_once_it_is_to_load_is_replaced(stage):
    stage.keeper._prepare(SPEC, LOAD)
    stage.keeper._start(SPEC, LOAD)
    assert [one["type"] for one in stage.hosts[0].receive_blocking()] == ["prepare", "load"]
    stage.keeper._end(stage.keeper._host, NOT_PREPARED)
    [load] = stage.hosts[1].receive_blocking()
    assert (load["type"], load["role"]) == ("load", "a:B")
    stage.keeper._end(stage.keeper._host, NOT_PREPARED)  # what was not prepared is told as it is
    assert stage.told() == [("started", 1), ("started", 2), ("exited", NOT_PREPARED)]


@pytest.mark.parametrize("how", ["another code", "heard", "told to stop"])
def test_whatever_else_ends_a_prepared_host_is_told(stage, how):
    stage.keeper._prepare(SPEC, LOAD)
    stage.keeper._start(SPEC, LOAD)
    if how == "heard":
        stage.hosts[0].send_blocking([{"type": "begun", "ids": []}])
    elif how == "told to stop":
        stage.keeper._order("stop", 1.0)
    code = 1 if how == "another code" else NOT_PREPARED
    stage.keeper._end(stage.keeper._host, code)
    assert len(stage.hosts) == 1
    assert ("exited", code) in stage.told()


def test_a_prepared_host_that_has_ended_is_not_told_to_load(stage, monkeypatch):
    stage.keeper._prepare(SPEC, LOAD)
    ended = [{1: 0}]
    monkeypatch.setattr(module, "reap_children", lambda: ended.pop() if ended else {})
    stage.keeper._start(SPEC, LOAD)
    assert stage.told() == [("started", 2)]
