"""A server on loopback that answers with whatever bytes a test wants."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSListener

_READ_BYTES = 256 << 10
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Peer:
    """The server's end of one connection.

    Attributes:
        number: Which connection it is, from 0 in the order of their beginnings.
    """

    def __init__(self, stream: ByteStream, number: int) -> None:
        """An end of a connection that has just begun."""
        self.number = number
        self._stream = stream
        self._rest = b""

    async def head(self) -> bytes:
        """The next request's head, with the empty line at its end.

        Raises:
            EndOfStream: The client has closed the connection.
        """
        while b"\r\n\r\n" not in self._rest:
            self._rest += await self._stream.receive(_READ_BYTES)
        head, end, self._rest = self._rest.partition(b"\r\n\r\n")
        return head + end

    async def request(self) -> tuple[bytes, bytes]:
        """The next request: its head, and its body.

        Raises:
            EndOfStream: The client has closed the connection.
        """
        head = await self.head()
        return head, await self.body(head)

    async def body(self, head: bytes) -> bytes:
        """The body of the request that has this head."""
        _, _, after = head.lower().partition(b"content-length:")
        length = int(after.split(b"\r\n")[0])
        body = bytearray(self._rest[:length])
        self._rest = self._rest[length:]
        while len(body) < length:
            body += await self._stream.receive(length - len(body))
        return bytes(body)

    async def receive(self) -> bytes:
        """What comes next, of whatever it is a part.

        Raises:
            EndOfStream: The client has closed the connection.
        """
        rest, self._rest = self._rest, b""
        return rest or await self._stream.receive(_READ_BYTES)

    async def send(self, data: bytes) -> None:
        """Answer with this."""
        await self._stream.send(data)

    async def drip(self, data: bytes) -> None:
        """Answer with this, a byte at a time."""
        for at in range(len(data)):
            await self._stream.send(data[at : at + 1])

    async def until_closed(self) -> None:
        """Return when the client has closed the connection, and read all it sends."""
        try:
            while True:
                await self._stream.receive(_READ_BYTES)
        except _GONE:
            pass

    def reset(self) -> None:
        """Have the end of the connection be a reset instead of an orderly one."""
        sock = self._stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not SQL
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Conduct: TypeAlias = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Counts its connections; made by `raw_server`.

    Attributes:
        port: Where it listens, on 127.0.0.1 unless told otherwise.
        connections: How many there have been.
    """

    def __init__(self, conduct: Conduct, port: int) -> None:
        """A server that conducts itself like this on every connection."""
        self.port = port
        self.connections = 0
        self._conduct = conduct
        self._open = 0
        self._changed = anyio.Condition()

    async def wait_until_closed(self) -> None:
        """Return when no connection is open."""
        async with self._changed:
            while self._open:
                await self._changed.wait()

    async def wait_for_connections(self, count: int) -> None:
        """Return when there have been so many."""
        async with self._changed:
            while self.connections < count:
                await self._changed.wait()

    async def handle(self, stream: ByteStream) -> None:
        """Serve one connection."""
        peer = Peer(stream, self.connections)
        await self._count(1)
        try:
            async with stream:
                await self._conduct(peer)
        except _GONE:
            pass  # a client may go at any time
        finally:
            with anyio.CancelScope(shield=True):
                await self._count(-1)

    async def _count(self, change: int) -> None:
        async with self._changed:
            self._open += change
            self.connections += change > 0
            self._changed.notify_all()


@asynccontextmanager
async def raw_server(
    conduct: Conduct,
    *,
    host: str = "127.0.0.1",
    certificate: ssl.SSLContext | None = None,
) -> AsyncIterator[RawServer]:
    """A server that conducts itself as told, and closes when `conduct` returns.

    Args:
        conduct: What it does with each connection.
        host: Where it listens.
        certificate: What it shows, `None` for plain TCP.
    """
    listener: Listener[ByteStream] = await anyio.create_tcp_listener(local_host=host)
    port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not SQL
    if certificate is not None:
        listener = TLSListener(listener, certificate, standard_compatible=False)
    server = RawServer(conduct, port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.handle)
        yield server
        tasks.cancel_scope.cancel()
