"""Replies as servers send them, in all their shapes, through every transport."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import anyio
import pytest

from sutro_stream.engines.transports.transport import Transport
from sutro_stream.testing.raw_server import Conduct, Peer, raw_server

Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[Transport]]

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"Content-Length: 4\r\n\r\nfine"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def encoded(encoding: bytes, body: bytes) -> bytes:
    """A reply whose body is compressed."""
    return OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        encoding,
        len(body),
        body,
    )


def deflated(body: bytes, wbits: int) -> bytes:
    """The body in one of zlib's envelopes."""
    squeezing = zlib.compressobj(wbits=wbits)
    return squeezing.compress(body) + squeezing.flush()


KEPT = {
    "length": PLAIN,
    "length with spaces": OK + b"Content-Length:   4  \r\n\r\nfine",
    "names in any case": OK + b"cOnTeNt-LeNgTh: 4\r\n\r\nfine",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nfine",
    "a long reason": b"HTTP/1.1 200 %b\r\nContent-Length: 4\r\n\r\nfine"
    % (b"ok " * 99),
    "chunked": CHUNKED + b"1\r\nf\r\n3\r\nine\r\n0\r\n\r\n",
    "chunk extensions": CHUNKED + b"4;a=b;c\r\nfine\r\n0;d\r\n\r\n",
    "trailers": CHUNKED + b"4\r\nfine\r\n0\r\nX-Sum: 1\r\nX-End: 2\r\n\r\n",
    "spaces after chunk sizes": CHUNKED + b"4 \r\nfine\r\n0 \r\n\r\n",
    "leading zeros": CHUNKED + b"0004\r\nfine\r\n000\r\n\r\n",
    "bare line feeds": PLAIN.replace(b"\r\n", b"\n"),
    "a folded header": OK + b"X-Long: a\r\n  b\r\nContent-Length: 4\r\n\r\nfine",
    "line breaks before": b"\r\n\r\n" + PLAIN,
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + PLAIN,
    "several hints": b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + PLAIN,
    "old but kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nfine"
    ),
    "gzip": encoded(b"gzip", deflated(b"fine", 31)),
    "deflate": encoded(b"deflate", deflated(b"fine", 15)),
    "deflate without envelope": encoded(b"deflate", deflated(b"fine", -15)),
    "identity": encoded(b"identity", b"fine"),
    "an unknown encoding": encoded(b"zip", b"fine"),
}
CLOSED = {
    "no length": OK + b"\r\nfine",
    "old": b"HTTP/1.0 200 OK\r\n\r\nfine",
    "old with length": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine",
    "close": OK + b"Connection: close\r\nContent-Length: 4\r\n\r\nfine",
    "close without length": OK + b"Connection: close\r\n\r\nfine",
    "close and chunked": CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    + b"4\r\nfine\r\n0\r\n\r\n",
    "gzip without length": OK
    + b"Content-Encoding: gzip\r\n\r\n"
    + deflated(b"fine", 31),
}
EMPTY = {
    "length of nothing": (200, OK + b"Content-Length: 0\r\n\r\n"),
    "no chunk": (200, CHUNKED + b"0\r\n\r\n"),
    "no content": (204, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": (304, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    "gzip of nothing": (200, encoded(b"gzip", b"")),
}


def always(data: bytes, *, drip: bool = False) -> Conduct:
    """A server that gives each request the same reply."""

    async def conduct(peer: Peer) -> None:
        while True:
            await peer.request()
            await (peer.drip(data) if drip else peer.send(data))

    return conduct


def once(data: bytes) -> Conduct:
    """A server that closes after its first reply."""

    async def conduct(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)

    return conduct


@pytest.mark.parametrize("drip", [False, True])
@pytest.mark.parametrize("shape", KEPT)
async def test_a_complete_reply_leaves_the_connection_for_the_next(
    opened: Opened, shape: str, drip: bool
) -> None:
    """Whole or in pieces of a byte."""
    async with (
        raw_server(always(KEPT[shape], drip=drip)) as server,
        opened(server.port) as transport,
    ):
        for _ in range(3):
            reply = await transport.post(b"{}")
            assert (reply.status, reply.body) == (200, b"fine")
        assert server.connections == 1


@pytest.mark.parametrize("shape", CLOSED)
async def test_a_reply_may_be_the_last_of_its_connection(
    opened: Opened, shape: str
) -> None:
    """Because the server closes it."""
    async with raw_server(once(CLOSED[shape])) as server:
        async with opened(server.port) as transport:
            for _ in range(2):
                reply = await transport.post(b"{}")
                assert (reply.status, reply.body) == (200, b"fine")
        assert server.connections == 2


@pytest.mark.parametrize("shape", ["old with length", "close", "close and chunked"])
async def test_a_connection_that_is_not_to_be_kept_is_closed_here(
    opened: Opened, shape: str
) -> None:
    """Though the server leaves it open."""
    async with raw_server(always(CLOSED[shape])) as server:
        async with opened(server.port) as transport:
            for _ in range(2):
                assert (await transport.post(b"{}")).body == b"fine"
            await server.wait_until_closed()
        assert server.connections == 2


@pytest.mark.parametrize("shape", EMPTY)
async def test_some_replies_have_no_body(opened: Opened, shape: str) -> None:
    """Which is their end, and the connection goes on."""
    status, data = EMPTY[shape]
    async with raw_server(always(data)) as server, opened(server.port) as transport:
        for _ in range(2):
            reply = await transport.post(b"{}")
            assert (reply.status, reply.body) == (status, b"")
        assert server.connections == 1


@pytest.mark.parametrize("status", [301, 307, 308, 400, 429, 500, 599, 999])
async def test_any_status_is_a_reply(opened: Opened, status: int) -> None:
    """Redirects too: nobody follows them with a prompt and a key."""
    data = b"HTTP/1.1 %d X\r\nLocation: /other\r\nContent-Length: 2\r\n\r\nno"
    async with (
        raw_server(always(data % status)) as server,
        opened(server.port) as transport,
    ):
        reply = await transport.post(b"{}")
    assert (reply.status, reply.body) == (status, b"no")


async def test_headers_are_found_by_their_names_in_lower_case(opened: Opened) -> None:
    """Of several of one name, the first."""
    data = (
        OK
        + b"X-RateLimit-Remaining-Requests: 7\r\nRetry-After: 3\r\n"
        + b"Retry-After: 9\r\nX-Latin: \xe9\r\nContent-Length: 0\r\n\r\n"
    )
    async with raw_server(always(data)) as server, opened(server.port) as transport:
        reply = await transport.post(b"{}")
    assert reply.headers["x-ratelimit-remaining-requests"] == "7"
    assert reply.headers["retry-after"] == "3"
    assert reply.headers["x-latin"] == "\xe9"
    assert b"x-ratelimit-remaining-requests" in reply.names


async def test_headers_of_one_reply_are_not_those_of_the_next(opened: Opened) -> None:
    """Each has its own, also when it is looked at later."""

    async def conduct(peer: Peer) -> None:
        for number in range(2):
            await peer.request()
            await peer.send(b"%bX-%d: y\r\nContent-Length: 0\r\n\r\n" % (OK, number))

    async with raw_server(conduct) as server, opened(server.port) as transport:
        first = await transport.post(b"{}")
        second = await transport.post(b"{}")
    assert set(first.headers) == {"x-0", "content-length"}
    assert set(second.headers) == {"x-1", "content-length"}


@pytest.mark.parametrize("size", [1 << 10, 300 << 10, 8 << 20])
async def test_bodies_of_any_size_go_out_as_they_are(opened: Opened, size: int) -> None:
    """However slowly they are taken."""
    body = bytes(range(256)) * (size // 256)
    seen = []

    async def conduct(peer: Peer) -> None:
        while True:
            head, received = await peer.request()
            seen.append(
                (b"\r\ncontent-length: %d\r\n" % size in head.lower(), received)
            )
            await peer.send(PLAIN)

    async with raw_server(conduct) as server, opened(server.port) as transport:
        for _ in range(2):
            assert (await transport.post(body)).body == b"fine"
        assert server.connections == 1
    assert seen == [(True, body)] * 2


@pytest.mark.parametrize("size", [0, 1, 70_000, 1 << 20])
async def test_bodies_up_to_the_limit_come_back_as_they_are(
    opened: Opened, size: int
) -> None:
    """With a length, in chunks, and up to the end of the connection."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part)
        for part in (body[at : at + 999] for at in range(0, size, 999))
    )
    shapes = (
        OK + b"Content-Length: %d\r\n\r\n%b" % (size, body),
        CHUNKED + chunks + b"0\r\n\r\n",
        OK + b"Connection: close\r\n\r\n" + body,
    )
    for data in shapes:
        async with raw_server(once(data)) as server, opened(server.port) as transport:
            assert (await transport.post(b"{}")).body == body


async def test_as_many_connections_as_requests_at_once(opened: Opened) -> None:
    """None waits for another."""
    together = 100
    arrived, all_there = 0, anyio.Event()

    async def conduct(peer: Peer) -> None:
        nonlocal arrived
        while True:
            await peer.request()
            arrived += 1
            if arrived == together:
                all_there.set()
            await all_there.wait()
            await peer.send(PLAIN)

    async with raw_server(conduct) as server, opened(server.port) as transport:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(together):
                    tasks.start_soon(transport.post, b"{}")
        assert server.connections == together
