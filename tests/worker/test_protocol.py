"""Messages over a real socket: whole, in order, and nothing that is none."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.core.types import EditFailureKind
from edit_eval.worker.protocol import FAILURES, FROM_HOST, FROM_KEEPER, TO_HOST, TO_KEEPER, VERSION, Channel

texts = st.text(max_size=50)
fields = st.dictionaries(
    st.text("abcxyz", min_size=2, max_size=6),
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


@pytest.fixture
def channels():
    with connected() as pair:
        yield pair


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    yield Channel(left), right
    left.close()
    right.close()


@contextlib.contextmanager
def connected():
    left, right = socket.socketpair()
    with left, right:
        yield Channel(left), Channel(right)


@given(st.lists(fields, min_size=1, max_size=10))
def test_what_is_sent_is_received_in_order(messages):
    with connected() as (sender, receiver):
        for message in messages:
            sender.send("task", **message)
        received = receiver.receive()
        assert received == [{"v": VERSION, "type": "task", **message} for message in messages]
        sender.close()
        assert not receiver.closed
        assert receiver.receive() == []
        assert receiver.closed


@settings(max_examples=50)
@given(fields, st.data())
def test_messages_may_arrive_in_any_pieces(message, data):
    left, right = socket.socketpair()
    with left, right:
        line = json.dumps({"v": VERSION, "type": "done", **message}).encode() + b"\n"
        stream = line * 3
        channel = Channel(right)
        received = []
        at = 0
        while at < len(stream):
            size = data.draw(st.integers(1, len(stream) - at))
            left.sendall(stream[at : at + size])
            at += size
            received += channel.receive()
            assert len(received) == stream[:at].count(b"\n")
        assert received == [{"v": VERSION, "type": "done", **message}] * 3


def test_line_breaks_and_lone_surrogates_stay_inside_a_message(pair):
    channel, other = pair
    channel.send("done", reply="a\nb\r\u2028c\0\ud800</script>")
    data = other.recv(1 << 16)
    assert data.count(b"\n") == 1
    assert json.loads(data)["reply"] == "a\nb\r\u2028c\0\ud800</script>"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"Loading checkpoint shards: 100%\n", "not JSON"),
        (b"\n", "not JSON"),
        (b"\x80\x04\x95pickle\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"[1]\n", "not a message"),
        (b"null\n", "not a message"),
        (b'{"v": 1}\n', "not a message"),
        (b'{"v": 1, "type": 3}\n', "not a message"),
        (b'{"type": "done"}\n', "protocol version None, expected 1"),
        (b'{"v": 2, "type": "done"}\n', "protocol version 2, expected 1"),
    ],
)
def test_what_is_no_message_is_an_error(pair, line, says):
    channel, other = pair
    Channel(other).send("hello")
    other.sendall(line)
    assert [message["type"] for message in channel.receive()] == ["hello"]  # what came before is not lost
    assert says in str(channel.broken)
    assert channel.closed


def test_half_a_line_is_no_message_and_no_error(pair):
    channel, other = pair
    other.sendall(b'{"v": 1, "type": "done"')
    assert channel.receive() == []
    other.close()
    assert channel.receive() == []
    assert channel.closed


def _receive_all(channel: Channel) -> None:
    while not channel.closed:
        channel.receive()


def test_a_line_without_end_is_refused(pair):
    channel, other = pair

    def flood():
        chunk = b"x" * (1 << 20)
        try:
            for _ in range(80):
                other.sendall(chunk)
        except OSError:
            return

    thread = threading.Thread(target=flood)
    thread.start()
    _receive_all(channel)
    assert "64 MiB" in str(channel.broken)
    channel.close()
    thread.join(10)
    assert not thread.is_alive()


def test_sending_never_blocks_and_loses_nothing(channels):
    sender, receiver = channels
    count, text = 200, "x" * 50_000  # 10 MB, far more than a socket holds
    for index in range(count):
        sender.send("task", index=index, text=text)
    assert sender.unsent
    received = []
    while len(received) < count:
        received += receiver.receive()
        sender.flush()
    assert [message["index"] for message in received] == list(range(count))
    assert all(message["text"] == text for message in received)
    assert not sender.unsent


def test_a_peer_that_is_gone_closes_the_channel_without_raising(pair):
    channel, other = pair
    other.close()
    for _ in range(3):
        channel.send("task", text="x" * 100_000)
    assert channel.closed


def test_blocking_send_waits_for_a_slow_reader(channels):
    sender, receiver = channels
    messages = [{"type": "done", "id": str(index), "text": "y" * 100_000} for index in range(40)]
    thread = threading.Thread(target=sender.send_blocking, args=(messages,))
    thread.start()
    received = []
    while len(received) < len(messages):
        received += receiver.receive_blocking()
    thread.join(10)
    assert [message["id"] for message in received] == [message["id"] for message in messages]
    assert all(message["v"] == VERSION for message in received)


def test_blocking_receive_sees_the_end(channels):
    sender, receiver = channels
    sender.send("stop")
    assert [message["type"] for message in receiver.receive_blocking()] == ["stop"]
    sender.close()
    assert receiver.receive_blocking() == []
    assert receiver.closed


def test_a_received_message_is_forwarded_as_it_was():
    with connected() as (host, keeper_below), connected() as (keeper_above, driver):
        host.send("done", id="k", outcome={"sha256": "a" * 64, "unknown": [1, None, "红"]}, seconds=0.25)
        [message] = keeper_below.receive()
        keeper_above.forward(message)
        assert driver.receive() == [message]


# What each side may say

GOOD = {
    "ready": {
        "window": 2,
        "load_s": 0.5,
        "facts": {"python": "3.11", "batch_size": 4, "shared_prefix": True},
    },
    "refused": {"kind": "user", "reason": "no such model"},
    "begun": {"ids": ["a", "b"]},
    "progress": {"id": "a", "step": 0, "steps": 30},
    "done": {"id": "a", "outcome": {}, "seconds": 3},
    "failed": {"id": "a", "kind": "error", "reason": ""},
    "recalled": {"ids": []},
    "window": {"window": 1},
    "fatal": {"path": "e.png", "errno": 28, "reason": "full"},
    "hello": {"pid": 7},
    "started": {"pid": 7},
    "exited": {"code": None, "reason": "crash", "why": "", "tail": "", "seconds": 0.0},
    "beat": {},
    "start": {"host": {}, "load": {}},
    "task": {"tasks": [{"id": "a", "payload": {}}]},
    "recall": {"ids": ["a"]},
    "stop": {"grace_s": 2.0},
    "kill": {},
    "quit": {},
    "load": {"role": "m:R"},
}


def test_a_host_may_report_every_failure_that_is_not_the_drivers_word():
    undone = {"changed", "altered"}  # these are no failures
    assert {*FAILURES, "crash", "timeout"} - undone == {*get_args(EditFailureKind)}
    assert undone < {*FAILURES}


def heard(hears, line: bytes) -> Channel:
    """Return the channel that was sent `line`; `messages` are what it made of it."""
    left, right = socket.socketpair()
    with left, right:
        channel = Channel(right, hears)
        left.sendall(line)
        channel.messages = channel.receive()
        return channel


def line_of(kind: str, fields: dict) -> bytes:
    return json.dumps({"v": VERSION, "type": kind, **fields}).encode() + b"\n"


@pytest.mark.parametrize("hears", [FROM_HOST, FROM_KEEPER, TO_KEEPER, TO_HOST])
@pytest.mark.parametrize("kind", sorted(GOOD))
def test_each_side_may_say_what_is_written_down_and_nothing_else(hears, kind):
    channel = heard(hears, line_of(kind, GOOD[kind] | {"more": 1} if kind != "stop" else GOOD[kind]))
    if kind in hears:
        assert [message["type"] for message in channel.messages] == [kind]
        assert channel.broken is None
    else:
        assert str(channel.broken) == f"unknown message {kind!r}"


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind in sorted(FROM_KEEPER) for field in sorted(FROM_KEEPER[kind])]
)
@pytest.mark.parametrize(
    "value", [None, True, -1, 1.5, float("nan"), 10**400, "", [1], {"a": 1}, [{}], "x" * 500]
)
def test_a_field_that_is_missing_or_of_another_kind_ends_the_conversation(kind, field, value):
    rest = {name: one for name, one in GOOD[kind].items() if name != field}
    if field != "code":
        channel = heard(FROM_KEEPER, line_of(kind, rest))
        assert str(channel.broken).startswith(f"{kind}.{field} is missing, expected ")
    channel = heard(FROM_KEEPER, line_of(kind, rest | {field: value}) + line_of("beat", {}))
    if channel.broken:
        assert channel.messages == []
        assert channel.closed
        assert len(str(channel.broken)) < 200
    else:
        assert type(value) in {type(GOOD[kind][field]), int if value == -1 else float, str, type(None)}


@given(
    st.sampled_from(sorted(FROM_HOST)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    st.data(),
)
def test_whatever_a_host_says_is_heard_or_named(kind, value, data):
    """And what is heard can be worked with as the driver does it."""
    fields = {
        field: data.draw(st.just(GOOD[kind][field]) | st.just(value), field)
        for field in FROM_HOST[kind]
        if data.draw(st.booleans(), f"has {field}")
    }
    channel = heard(FROM_HOST, line_of(kind, fields))
    for message in channel.messages:
        assert set(FROM_HOST[kind]) <= set(message)
        assert all(isinstance(one, str) for one in message.get("ids", []))
        assert message.get("window", 1) >= 1
        assert 0 <= float(message.get("load_s", 0)) + float(message.get("seconds", 0)) < float("inf")
        assert isinstance(message.get("reason", ""), str)
        assert all(isinstance(one, str | int | float) for one in message.get("facts", {}).values())
    assert channel.messages or channel.broken
