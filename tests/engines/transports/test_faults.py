"""Servers that break off, lie and flood, through every transport."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from sutro_stream.engines.transports.transport import Transport
from sutro_stream.errors import (
    EngineError,
    EngineUnavailableError,
    ProtocolError,
    TransportError,
)
from sutro_stream.flow.retry import is_retryable
from sutro_stream.testing.raw_server import Conduct, Peer, raw_server

Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[Transport]]
Ending: TypeAlias = Literal["close", "reset", "hold"]

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"Content-Length: 4\r\n\r\nfine"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = zlib.compress(bytes(64 << 20))

NOT_HTTP = {
    "words": b"hello, who is there?\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "zeros": bytes(64),
    "a request": b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a short status": b"HTTP/1.1 20\r\n\r\n",
    "a long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a negative status": b"HTTP/1.1 -20 OK\r\n\r\n",
    "no version": b"HTTP/ 200 OK\r\n\r\n",
    "an odd version": b"HTTP/7.7 200 OK\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "a header without colon": OK + b"Content-Length 4\r\n\r\nfine",
    "a header without name": OK + b": 4\r\n\r\n",
    "a space in a name": OK + b"X Y: 4\r\nContent-Length: 0\r\n\r\n",
    "a zero in a name": OK + b"X\x00Y: 4\r\nContent-Length: 0\r\n\r\n",
    "a length of words": OK + b"Content-Length: four\r\n\r\nfine",
    "a negative length": OK + b"Content-Length: -4\r\n\r\nfine",
    "a length with a sign": OK + b"Content-Length: +4\r\n\r\nfine",
    "a broken length": OK + b"Content-Length: 4.0\r\n\r\nfine",
    "a length in hex": OK + b"Content-Length: 0x4\r\n\r\nfine",
    "an endless length": OK + b"Content-Length: 99999999999999999999999\r\n\r\nfine",
    "two lengths": OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nfine!",
    "the same length twice": OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nfine",
    "lengths in one line": OK + b"Content-Length: 4, 4\r\n\r\nfine",
    "length, then chunked": OK
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
    "chunked, then length": OK
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
    "too many headers": OK
    + b"".join(b"X-%d: y\r\n" % number for number in range(100_000))
    + b"Content-Length: 0\r\n\r\n",
    "a header too long": OK + b"X: " + b"y" * (2 << 20) + b"\r\n\r\n",
    "a name too long": OK + b"X" * (2 << 20) + b": y\r\n\r\n",
    "a status line too long": b"HTTP/1.1 200 " + b"y" * (2 << 20) + b"\r\n\r\n",
}
BROKEN_BODIES = {
    "a chunk size of words": CHUNKED + b"four\r\nfine\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-4\r\nfine\r\n0\r\n\r\n",
    "an endless chunk size": CHUNKED + b"f" * 17 + b"\r\nfine",
    "a chunk too long": CHUNKED + b"2\r\nfine\r\n0\r\n\r\n",
    "gzip of garbage": OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nfine",
    "deflate of garbage": OK
    + b"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\nfine",
}
CUT = {
    "nothing": (b"", "closed before a reply"),
    "half a status line": (b"HTTP/1.1 2", "closed before a reply"),
    "half a head": (OK + b"Content-Le", "closed before a reply"),
    "a hint alone": (b"HTTP/1.1 100 Continue\r\n\r\n", "closed before a reply"),
    "a head alone": (OK + b"Content-Length: 4\r\n\r\n", "cut within the reply"),
    "half a body": (OK + b"Content-Length: 40\r\n\r\nfine", "cut within the reply"),
    "half a chunk": (CHUNKED + b"a\r\nfine", "cut within the reply"),
    "no last chunk": (CHUNKED + b"4\r\nfine\r\n", "cut within the reply"),
    "half a trailer": (CHUNKED + b"4\r\nfine\r\n0\r\nX: ", "cut within the reply"),
}
TOO_LARGE = {
    "by its length": OK + b"Content-Length: 9999999\r\n\r\n" + bytes(9_999_999),
    "in one chunk": CHUNKED + b"989680\r\n" + bytes(10_000_000),
    "in small chunks": CHUNKED + (b"400\r\n" + bytes(1024) + b"\r\n") * 2000,
    "up to its end": OK + b"\r\n" + bytes(2 << 20),
    "when unpacked": OK
    + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(BOMB)
    + BOMB,
    "by a byte": OK
    + b"Content-Length: %d\r\n\r\n" % ((1 << 20) + 1)
    + bytes((1 << 20) + 1),
}


def ending(data: bytes, how: Ending) -> Conduct:
    """A server that sends this to its first request, and ends so."""

    async def conduct(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if how == "hold":
            await peer.until_closed()
        elif how == "reset":
            peer.reset()

    return conduct


async def error_of(opened: Opened, conduct: Conduct) -> EngineError:
    """What comes of a request, after which no connection is left."""
    async with raw_server(conduct) as server, opened(server.port) as transport:
        with pytest.raises(EngineError) as caught:
            await transport.post(b"{}")
        await server.wait_until_closed()
        assert server.connections == 1
    return caught.value


def check_passing(error: EngineError, text: str) -> None:
    """It may be tried again: somebody was there."""
    assert type(error) is TransportError
    assert error.connected
    assert text in str(error)
    assert is_retryable(error)


@pytest.mark.parametrize("shape", NOT_HTTP)
async def test_what_is_not_http_is_told(opened: Opened, shape: str) -> None:
    """The connection is closed here, without waiting for the server."""
    error = await error_of(opened, ending(NOT_HTTP[shape], "hold"))
    check_passing(error, "the reply is not HTTP")


@pytest.mark.parametrize("shape", BROKEN_BODIES)
async def test_a_body_that_cannot_be_read_is_told(opened: Opened, shape: str) -> None:
    """The head alone is no reply."""
    error = await error_of(opened, ending(BROKEN_BODIES[shape], "hold"))
    check_passing(error, "the ")


@pytest.mark.parametrize("shape", CUT)
async def test_a_reply_that_is_cut_is_told(opened: Opened, shape: str) -> None:
    """At whatever point of it."""
    data, text = CUT[shape]
    check_passing(await error_of(opened, ending(data, "close")), text)


@pytest.mark.parametrize("shape", CUT)
async def test_a_reset_is_no_end_of_a_reply(opened: Opened, shape: str) -> None:
    """At whatever point of it."""
    error = await error_of(opened, ending(CUT[shape][0], "reset"))
    check_passing(error, "the connection ")


@pytest.mark.parametrize("shape", TOO_LARGE)
async def test_a_body_beyond_the_limit_is_refused(opened: Opened, shape: str) -> None:
    """However it says, or does not say, how long it is."""
    error = await error_of(opened, ending(TOO_LARGE[shape], "close"))
    assert type(error) is ProtocolError
    assert "larger than the limit of 1,048,576 bytes" in str(error)


@pytest.mark.parametrize(
    "piece", [b"X: " + b"y" * 4000 + b"\r\n", b"y" * 4096, b"\r\n x" * 999]
)
async def test_a_head_without_end_is_not_read_for_ever(
    opened: Opened, piece: bytes
) -> None:
    """In lines, in one line, or folded."""

    async def conduct(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"X: y")
        while True:
            await peer.send(piece)

    check_passing(await error_of(opened, conduct), "the reply is not HTTP")


# Between two requests.


async def turns_of_the_loop() -> None:
    """What has been sent on loopback is read in one of the next turns of the loop."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_what_follows_a_reply_is_not_the_next_one(opened: Opened) -> None:
    """A second reply in the same breath belongs to no request."""
    other = PLAIN.replace(b"fine", b"evil")

    async def conduct(peer: Peer) -> None:
        await peer.request()
        await peer.send(PLAIN + other if peer.number == 0 else PLAIN)
        await peer.until_closed()

    async with raw_server(conduct) as server, opened(server.port) as transport:
        for _ in range(2):
            assert (await transport.post(b"{}")).body == b"fine"
        assert server.connections == 2


async def test_garbage_between_replies_ends_the_connection(opened: Opened) -> None:
    """The next request has another."""
    await check_surplus(opened, b"garbage")


@pytest.mark.parametrize("surplus", [PLAIN, b"HTTP/1.1 200 OK\r\nX: "])
@pytest.mark.parametrize("opened", ["fast"], indirect=True)
async def test_a_reply_to_nothing_is_not_the_next_one(
    opened: Opened, surplus: bytes
) -> None:
    """With aiohttp it is: its idle connections go on reading."""
    await check_surplus(opened, surplus)


async def check_surplus(opened: Opened, surplus: bytes) -> None:
    """What comes while a connection is idle ends it."""
    answered, sent = anyio.Event(), anyio.Event()

    async def conduct(peer: Peer) -> None:
        await peer.request()
        await peer.send(PLAIN)
        if peer.number == 0:
            await answered.wait()
            await peer.send(surplus)
            sent.set()
        await peer.until_closed()

    async with raw_server(conduct) as server, opened(server.port) as transport:
        assert (await transport.post(b"{}")).body == b"fine"
        answered.set()
        await sent.wait()
        await turns_of_the_loop()
        assert (await transport.post(b"{}")).body == b"fine"
        assert server.connections == 2


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_was_closed_while_idle_is_not_used(
    opened: Opened, how: Ending
) -> None:
    """Nobody notices."""
    async with (
        raw_server(ending(PLAIN, how)) as server,
        opened(server.port) as transport,
    ):
        for number in range(3):
            assert (await transport.post(b"{}")).body == b"fine"
            await server.wait_until_closed()
            await turns_of_the_loop()
            assert server.connections == number + 1


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_request_that_meets_the_end_of_a_kept_connection_is_sent_once(
    opened: Opened, how: Ending
) -> None:
    """It may have been worked on: asking again is for who counts requests."""
    seen = 0

    async def conduct(peer: Peer) -> None:
        nonlocal seen
        await peer.request()
        await peer.send(PLAIN)
        await peer.request()
        seen += 1
        if how == "reset":
            peer.reset()

    async with raw_server(conduct) as server, opened(server.port) as transport:
        assert (await transport.post(b"{}")).body == b"fine"
        with pytest.raises(TransportError) as caught:
            await transport.post(b"{}")
        check_passing(caught.value, "the connection ")
        assert (seen, server.connections) == (1, 1)


async def test_a_reply_before_the_whole_request_is_taken(opened: Opened) -> None:
    """The rest is not sent, and the connection is of no more use."""
    refused = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"

    async def conduct(peer: Peer) -> None:
        await peer.head()
        await peer.send(refused)
        await anyio.sleep_forever()

    async with raw_server(conduct) as server, opened(server.port) as transport:
        for number in range(2):
            reply = await transport.post(bytes(32 << 20))
            assert (reply.status, reply.body) == (413, b"no")
            assert server.connections == number + 1


# Ends from this side.


async def hanging(peer: Peer) -> None:
    """Take a request and say nothing."""
    await peer.request()
    await peer.until_closed()


async def starting(peer: Peer) -> None:
    """Begin a reply, and never end it."""
    await peer.request()
    await peer.send(OK + b"Content-Length: 99\r\n\r\nfine")
    await peer.until_closed()


async def deaf(peer: Peer) -> None:
    """Read a request's head, and what follows only when it is too late."""
    await peer.head()
    await anyio.wait_all_tasks_blocked()
    await peer.until_closed()


@pytest.mark.parametrize("conduct", [hanging, starting, deaf])
async def test_cancelling_closes_the_connection_at_once(
    opened: Opened, conduct: Conduct
) -> None:
    """Before, within and after a request."""
    async with raw_server(conduct) as server, opened(server.port) as transport:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(transport.post, bytes(2 << 20))
            await server.wait_for_connections(5)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await server.wait_until_closed()


async def test_after_cancelling_others_are_answered(opened: Opened) -> None:
    """A connection with a reply to come is not used again."""

    async def conduct(peer: Peer) -> None:
        _, body = await peer.request()
        if body == b"late":
            await peer.until_closed()
        await peer.send(PLAIN)
        await peer.until_closed()

    async with raw_server(conduct) as server, opened(server.port) as transport:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transport.post, b"late")
            await server.wait_for_connections(1)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert (await transport.post(b"{}")).body == b"fine"


async def test_closing_ends_what_is_out(opened: Opened) -> None:
    """Who waits is told, and no connection is left."""
    errors: list[EngineError] = []

    async def ask(transport: Transport) -> None:
        try:
            await transport.post(b"{}")
        except EngineError as error:
            errors.append(error)

    async with raw_server(hanging) as server, anyio.create_task_group() as tasks:
        async with opened(server.port) as transport:
            for _ in range(3):
                tasks.start_soon(ask, transport)
            await server.wait_for_connections(3)
            await anyio.wait_all_tasks_blocked()
        await server.wait_until_closed()
    assert [type(error) for error in errors] == [TransportError] * 3


async def test_a_closed_transport_says_so(opened: Opened) -> None:
    """No attempt can succeed any more."""
    async with raw_server(hanging) as server:
        async with opened(server.port) as transport:
            pass
        with pytest.raises(EngineUnavailableError, match="was closed"):
            await transport.post(b"{}")
        assert server.connections == 0
