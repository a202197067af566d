"""Requests that wait for the end of the loop's turn before they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import anyio
import pytest

from sutro_stream.engines.transports.connection import Connection
from sutro_stream.engines.transports.transport import Transport
from sutro_stream.errors import TransportError
from sutro_stream.testing.raw_server import Peer, raw_server

Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[Transport]]

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
fast_only = pytest.mark.parametrize("opened", ["fast"], indirect=True)


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See the base class."""
        assert not self.is_closed
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        """See the base class."""
        return 0

    def is_closing(self) -> bool:
        """See the base class."""
        return self.is_closed

    def abort(self) -> None:
        """See the base class."""
        self.is_closed = True


def standing() -> tuple[Connection, Wire]:
    """A connection that stands, over a wire that does nothing."""
    wire = Wire()
    connection = Connection(
        where="http://127.0.0.1:9",
        limit_bytes=1 << 20,
        loop=asyncio.get_running_loop(),
        on_made=lambda _: None,
        on_lost=lambda _: None,
    )
    connection.connection_made(wire)
    return connection, wire


async def test_a_request_is_written_by_the_flush_and_once() -> None:
    """Not when it is taken."""
    connection, wire = standing()
    waiter = connection.ask(b"POST")
    assert wire.written == []
    connection.flush()
    connection.flush()
    assert wire.written == [b"POST"]
    connection.data_received(PLAIN)
    assert (await waiter).body == b"fine"


async def test_nothing_is_written_once_nobody_waits() -> None:
    """A cancelled request was never sent."""
    connection, wire = standing()
    connection.ask(b"POST")
    connection.abort()
    connection.flush()
    assert wire.written == []


async def test_nothing_is_written_to_what_is_being_closed() -> None:
    """Whoever waits is told by the loss that follows."""
    connection, wire = standing()
    waiter = connection.ask(b"POST")
    wire.abort()
    connection.flush()
    assert wire.written == []
    connection.connection_lost(None)
    with pytest.raises(TransportError, match="closed before a reply"):
        await waiter


async def test_bytes_before_the_request_are_no_reply_to_it() -> None:
    """They end the connection, and the request may be sent on another."""
    connection, wire = standing()
    waiter = connection.ask(b"POST")
    connection.data_received(PLAIN)
    with pytest.raises(TransportError, match="a reply came before the request"):
        await waiter
    connection.flush()
    assert wire.written == []
    assert not connection.is_free


@fast_only
async def test_requests_of_one_turn_are_all_sent(opened: Opened) -> None:
    """As many as leave together, fewer, and one more."""

    async def conduct(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            await peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )

    answered: list[bytes] = []

    async def ask(transport: Transport, body: bytes) -> None:
        answered.append((await transport.post(body)).body)

    async with raw_server(conduct) as server, opened(server.port) as transport:
        # The first round makes the connections, and the second uses them in one turn.
        for size in (40, 40, 1, 15, 16, 17):
            answered.clear()
            bodies = [b"%d" % number for number in range(size)]
            async with anyio.create_task_group() as tasks:
                for body in bodies:
                    tasks.start_soon(ask, transport, body)
            assert sorted(answered) == sorted(bodies)
        assert server.connections == 40
