"""Messages over a real socket: whole, in order, and nothing that is none."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.worker.protocol import VERSION, Channel

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
