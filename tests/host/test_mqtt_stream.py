"""The socket that reads ahead and writes behind: what goes in comes out, whole and in order, in any pieces."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.links import stream
from headend.links.stream import Stream
from tests.pki import Authority

PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=60)


@contextlib.contextmanager
def pair() -> Iterator[tuple[Stream, socket.socket]]:
    """A stream, and the other end of its socket."""
    near, far = socket.socketpair()
    with far:
        made = Stream(near)
        made.setblocking(False)
        yield made, far
        made.close()


def heard(far: socket.socket) -> bytes:
    """Everything until its end."""
    found = b""
    while some := far.recv(65_536):
        found += some
    return found


@given(PIECES, st.lists(st.integers(1, 500), min_size=1, max_size=20))
@settings(deadline=None)
def test_what_comes_is_read_in_any_portions(said: list[bytes], portions: list[int]) -> None:
    with pair() as (made, far):
        found, turn = b"", 0
        for piece in said:
            far.sendall(piece)
            with contextlib.suppress(BlockingIOError):
                found += made.recv(portions[turn % len(portions)])
            turn += 1
        far.shutdown(socket.SHUT_WR)
        while some := made.recv(portions[turn % len(portions)]):
            found += some
            turn += 1
        assert found == b"".join(said)
        assert made.recv(1) == b"", "the end stays the end"


def test_what_was_read_ahead_is_shown() -> None:
    """Whoever waits for the socket has to know of it."""
    with pair() as (made, far):
        far.sendall(b"abc")
        assert made.pending() == 0 and made.recv(1) == b"a"
        assert made.pending() == 2 and made.recv(5) == b"bc"
        with pytest.raises(BlockingIOError):
            made.recv(1)


@given(PIECES, st.sets(st.integers(0, 59)))
@settings(deadline=None)
def test_what_is_said_arrives_in_order_flushed_or_closed(said: list[bytes], flushed: set[int]) -> None:
    with pair() as (made, far):
        for place, piece in enumerate(said):
            assert made.send(piece) == len(piece)
            if place in flushed:
                made.flush()
                assert made.unsent == 0
        made.close()
        assert heard(far) == b"".join(said)


def test_a_peer_that_reads_nothing_is_not_written_to_without_bound() -> None:
    with pair() as (made, far):
        piece, taken = bytes(range(256)) * 4, 0
        with contextlib.suppress(BlockingIOError):
            while True:
                taken += made.send(piece)
        assert made.full and made.unsent < stream.BEHIND + len(piece)
        found = far.recv(1 << 20)
        while len(found) < taken:
            made.flush()
            found += far.recv(1 << 20)
        assert found == (piece * (taken // len(piece) + 1))[:taken]
        assert made.send(piece) == len(piece) and not made.full


def test_a_peer_that_is_gone_is_told_of_and_closing_is_quiet() -> None:
    with pair() as (made, far):
        far.close()
        made.send(b"word")
        with pytest.raises(OSError, match="pipe"):
            made.flush()


def test_under_tls_what_could_not_be_sent_is_sent_with_what_was_said_since(tmp_path: Path) -> None:
    """OpenSSL takes a write up again that it broke off: with the same bytes, and perhaps more behind them."""
    authority = Authority(tmp_path)
    ours, theirs = ssl.create_default_context(cafile=authority.ca), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*authority.server("localhost"))
    near, far = socket.socketpair()
    said = b"".join(number.to_bytes(4, "big") for number in range(500_000))
    began, found = threading.Event(), bytearray()

    def peer() -> None:
        with theirs.wrap_socket(far, server_side=True) as server:
            began.wait(60)  # nothing is read until the socket is full
            while len(found) < len(said):
                found.extend(server.recv(65_536))
            server.sendall(said[:200_000])

    thread = threading.Thread(target=peer)
    thread.start()
    made = Stream(ours.wrap_socket(near, server_hostname="localhost"))
    made.setblocking(False)
    left = memoryview(said)
    while left:
        try:
            made.send(bytes(left[:300]))
            left = left[300:]
        except BlockingIOError:
            began.set()
            select.select([], [made], [], 60)
    began.set()
    answer = b""
    while len(answer) < 200_000:
        made.flush()
        if not made.pending():
            select.select([made], [made] if made.unsent else [], [], 60)
        with contextlib.suppress(BlockingIOError):
            answer += made.recv(1_000)
    thread.join()
    made.close()
    assert bytes(found) == said and answer == said[:200_000]


class Counting(socket.socket):
    """Counts calls of the system."""

    calls = 0

    def recv(self, *given: int) -> bytes:
        self.calls += 1
        return super().recv(*given)

    def send(self, *given: object) -> int:
        self.calls += 1
        return super().send(*given)  # type: ignore[call-overload]


def test_a_hundred_packets_take_a_call_each_way() -> None:
    plain, far = socket.socketpair()
    with far, Counting(fileno=plain.detach()) as near:
        made = Stream(near)
        far.sendall(b"12345" * 100)
        assert [made.recv(5) for _ in range(100)] == [b"12345"] * 100
        for _ in range(100):
            made.send(b"word")
        made.flush()
        assert near.calls == 2 and far.recv(1_000) == b"word" * 100
