"""A transport that does nothing but what a row needs: HTTP/1.1 over asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread

from sutro_stream.engines.transports import faults
from sutro_stream.engines.transports.certificates import trusted_certificates
from sutro_stream.engines.transports.connect import Connector
from sutro_stream.engines.transports.connection import Connection
from sutro_stream.engines.transports.request_head import request_head
from sutro_stream.engines.transports.transport import Destination, Reply

# Larger bodies are sent in pieces, so that the loop's buffer does not hold a copy.
_ONE_WRITE_BYTES = 256 << 10
# Endpoints close connections that idle, and a request that is sent at that moment
# fails: those that idle for one to two of these are closed here.
_SWEEP_S = 7.5
_CLOSING_S = 1.0
# Sending wakes the endpoint, which costs more than the sending: requests that are made
# in one turn of the loop leave together, so that one wakes it for all. In portions, so
# that none waits for more than about a millisecond's work.
_MOST_UNSENT = 16


class FastTransport:
    """`Transport` over its own connections, kept alive.

    Asks for replies without compression, and reads gzip and deflate all the same.
    """

    def __init__(self, destination: Destination) -> None:
        """A transport that is not open."""
        self._destination = destination
        self._where = faults.place(destination.url)
        self._head = request_head(destination)
        self._keeps = destination.keeps_connections
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dialler: Connector | None = None
        self._connections: set[Connection] = set()
        # A set that knows its order: the last one in is the first one out.
        self._idle: dict[Connection, None] = {}
        self._unsent: list[Connection] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._all_closed = anyio.Event()

    async def __aenter__(self) -> Self:
        certificates = self._destination.certificates
        if self._destination.url.scheme != "https":
            certificates = None
        elif certificates is None:
            # Reading all the certificates of the machine takes a while.
            certificates = await to_thread.run_sync(trusted_certificates)
        self._loop = asyncio.get_running_loop()
        self._all_closed = anyio.Event()
        self._dialler = Connector(
            self._destination, loop=self._loop, certificates=certificates
        )
        self._drop_rested()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dialler = None
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        if not self._connections:
            return
        for connection in self._connections:
            connection.close()
        with anyio.move_on_after(_CLOSING_S, shield=True):
            await self._all_closed.wait()

    def use_headers(self, headers: Mapping[str, str]) -> None:
        self._head = request_head(replace(self._destination, headers=headers))

    async def post(self, body: bytes) -> Reply:
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.is_free:
                break
        else:
            connection = await self._made()
        try:
            if len(body) <= _ONE_WRITE_BYTES:
                request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
                waiter = connection.ask(request)
                self._flush_soon(connection)
                reply = await waiter
            else:
                head = b"%b%d\r\n\r\n" % (self._head, len(body))
                reply = await connection.send_large(head, body)
        except BaseException:
            # Whatever ends it, a cancellation too: what comes on it from now on would
            # be the reply to something else.
            connection.abort()
            raise
        if connection.is_free and self._keeps:
            idle[connection] = None
        else:
            connection.abort()
        return reply

    def _flush_soon(self, connection: Connection) -> None:
        unsent = self._unsent
        unsent.append(connection)
        if len(unsent) == _MOST_UNSENT:
            self._flush()
        elif len(unsent) == 1:
            assert self._loop is not None  # noqa: S101 - there is a connection
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        for connection in self._unsent:
            connection.flush()
        self._unsent.clear()

    def _drop_rested(self) -> None:
        """Close what has not been used since the last time."""
        for connection in list(self._idle):
            if connection.is_rested:
                del self._idle[connection]
                connection.abort()
            connection.is_rested = True
        assert self._loop is not None  # noqa: S101 - whose timer this is
        self._sweep = self._loop.call_later(_SWEEP_S, self._drop_rested)

    async def _made(self) -> Connection:
        dialler = self._dialler
        if dialler is None:
            raise faults.closed()
        connection = await dialler.dial(self._new)
        if self._dialler is None:
            connection.abort()
            raise faults.closed()
        if not connection.is_free:
            raise faults.silent(self._where)
        return connection

    def _new(self) -> Connection:
        assert self._loop is not None  # noqa: S101 - there is a dialler
        return Connection(
            where=self._where,
            limit_bytes=self._destination.reply_limit_bytes,
            loop=self._loop,
            on_made=self._connections.add,
            on_lost=self._lost,
        )

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if self._dialler is None and not self._connections:
            self._all_closed.set()
