"""Replies read from bytes, wherever these are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.engines.transports.reply_reader import ReplyReader
from sutro_stream.engines.transports.transport import Reply
from sutro_stream.errors import EngineError, TransportError

LENGTH = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: %d\r\n\r\n%b"
CHUNKED = b"HTTP/1.1 201 Yes\r\nTransfer-Encoding: chunked\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

bodies = st.binary(max_size=40)


def by_length(body: bytes) -> bytes:
    """A reply that says its length."""
    return LENGTH % (len(body), body)


def in_chunks(body: bytes) -> bytes:
    """A reply in chunks of three bytes, after a hint."""
    parts = [body[at : at + 3] for at in range(0, len(body), 3)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return HINT + CHUNKED + chunks + b"0\r\nTrailer: x\r\n\r\n"


def reader() -> ReplyReader:
    """At the start of a connection."""
    return ReplyReader(where="http://host", limit_bytes=1 << 20)


def fed(data: bytes, cuts: list[int], to: ReplyReader) -> Reply | None:
    """The reply after the last piece."""
    places = sorted({0, len(data), *(cut for cut in cuts if 0 < cut < len(data))})
    reply = None
    for start, end in pairwise(places):
        assert reply is None
        reply = to.feed(data[start:end])
    return reply


@given(
    replies=st.lists(
        st.tuples(bodies, st.booleans(), st.lists(st.integers(1, 300))), min_size=1
    )
)
def test_replies_are_the_same_however_they_are_cut(
    replies: list[tuple[bytes, bool, list[int]]],
) -> None:
    """Nothing of one is left for the next."""
    reading = reader()
    for body, is_chunked, cuts in replies:
        data = in_chunks(body) if is_chunked else by_length(body)
        reply = fed(data, cuts, reading)
        assert reply is not None
        assert reply.body == body
        assert reply.status == (201 if is_chunked else 200)
        assert ("a" in reply.headers) is not is_chunked
        assert reading.can_go_on


@given(body=bodies, is_chunked=st.booleans(), at=st.integers(0, 200))
def test_a_beginning_is_no_reply(body: bytes, is_chunked: bool, at: int) -> None:
    """Wherever it ends."""
    data = in_chunks(body) if is_chunked else by_length(body)
    reading = reader()
    assert reading.feed(data[: min(at, len(data) - 1)]) is None
    with pytest.raises(TransportError):
        reading.end()


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_garbage_is_an_error_and_nothing_worse(pieces: list[bytes]) -> None:
    """Of those that are known."""
    reading = reader()
    try:
        for piece in pieces:
            if reading.feed(piece) is not None:
                return
        reading.end()
    except EngineError:
        pass


@pytest.mark.parametrize("rest", [b"garbage", by_length(b"x"), b"HTTP/1.1 200", b"H"])
def test_what_follows_a_reply_spoils_the_connection(rest: bytes) -> None:
    """Not the reply."""
    reading = reader()
    reply = reading.feed(by_length(b"fine") + rest)
    assert reply is not None
    assert reply.body == b"fine"
    assert not reading.can_go_on


def test_another_protocol_is_not_gone_over_to() -> None:
    """Nobody has asked for it."""
    reading = reader()
    reply = reading.feed(
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes of x"
    )
    assert reply is not None
    assert reply.status == 101
    assert not reading.can_go_on


def test_a_body_that_ends_with_its_connection_is_not_completed_by_a_reset() -> None:
    """A part of it may be missing."""
    reading = reader()
    assert reading.feed(b"HTTP/1.1 200 OK\r\n\r\nfine") is None
    assert "cut" in str(reading.failure(ConnectionResetError()))


def test_trailers_without_end_are_not_read_for_ever() -> None:
    """They are no part of any body, and count all the same."""
    reading = ReplyReader(where="http://host", limit_bytes=1 << 10)
    reading.feed(CHUNKED + b"0\r\nX: ")
    with pytest.raises(EngineError):
        for _ in range(1000):
            reading.feed(b"y" * 1000)
