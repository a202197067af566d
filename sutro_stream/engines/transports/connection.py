"""One connection: a request out, its reply in, then the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from sutro_stream.engines.transports.reply_reader import ReplyReader
from sutro_stream.engines.transports.transport import Reply
from sutro_stream.errors import EngineError

_PIECE_BYTES = 256 << 10


class Connection(asyncio.Protocol):
    """A connection that the event loop has made, or is about to make.

    Concurrency: one request at a time.

    Attributes:
        is_free: Whether a request may be sent.
        is_rested: Set by its owner; cleared when it is used.
    """

    __slots__ = (
        "_loop",
        "_on_lost",
        "_on_made",
        "_reader",
        "_room",
        "_transport",
        "_unsent",
        "_waiter",
        "is_free",
        "is_rested",
    )

    def __init__(
        self,
        *,
        where: str,
        limit_bytes: int,
        loop: asyncio.AbstractEventLoop,
        on_made: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        """A connection for `create_connection`.

        Args:
            where: How messages call the endpoint.
            limit_bytes: Largest body of a reply.
            loop: Whose connection it is.
            on_made: Told once, when it stands.
            on_lost: Told once after that, when it is closed by whichever side.
        """
        self.is_free = False
        self.is_rested = False
        self._loop = loop
        self._on_made = on_made
        self._on_lost = on_lost
        self._reader = ReplyReader(where=where, limit_bytes=limit_bytes)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._room: asyncio.Future[None] | None = None
        self._unsent: bytes | None = None

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        """Take a request that the next `flush` sends; the future is its reply.

        Only while it `is_free`. Who no longer waits calls `abort`.
        """
        self.is_free = self.is_rested = False
        self._waiter = waiter = self._loop.create_future()
        self._unsent = request
        return waiter

    def flush(self) -> None:
        """Send the request that was taken, unless the connection is closed by now."""
        request, self._unsent = self._unsent, None
        transport = self._transport
        if request is None or transport is None or transport.is_closing():
            # Whoever waits is told by what closes it.
            return
        transport.write(request)

    async def send_large(self, head: bytes, body: bytes) -> Reply:
        """Send a request in pieces, as fast as they are taken, and wait for its reply.

        What is left of it is not sent when there is a reply before.

        Cancellation: call `abort`.

        Raises:
            EngineError: As from `Transport.post`.
        """
        waiter = self.ask(head)
        self.flush()
        rest = memoryview(body)
        while rest and not waiter.done() and self._transport is not None:
            self._transport.write(rest[:_PIECE_BYTES])
            rest = rest[_PIECE_BYTES:]
            if self._room is not None:
                await self._room
        reply = await waiter
        if rest:
            self.abort()
        return reply

    def abort(self) -> None:
        """Close it at once; nobody waits for a reply any more."""
        self._waiter = None
        self.close()

    def close(self) -> None:
        """Close it at once; who waits for a reply is told that there is none."""
        self.is_free = False
        self._unsent = None
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        # uvloop's are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.is_free = True
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """A part of a reply, or all of it."""
        waiter, reader = self._waiter, self._reader
        if waiter is None:
            # Nothing was asked: whatever it is, it is no answer to what comes next.
            self.abort()
            return
        if self._unsent is not None:
            self._failed(waiter, reader.unasked())
            return
        try:
            reply = reader.feed(data)
        except EngineError as error:
            self._failed(waiter, error)
            return
        if reply is None:
            return
        self._waiter = None
        transport = self._transport
        if (
            reader.can_go_on
            and transport is not None
            and not transport.get_write_buffer_size()
        ):
            self.is_free = True
        else:
            self.abort()
        if self._room is not None:
            self.resume_writing()
        if not waiter.done():
            waiter.set_result(reply)

    def eof_received(self) -> None:
        """The other side has no more to say."""
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._transport = None
        self._ended(exc)
        self._on_lost(self)

    def pause_writing(self) -> None:
        """The other side does not keep up."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _ended(self, error: Exception | None) -> None:
        waiter = self._waiter
        if waiter is None:
            self.abort()
            return
        if error is not None:
            self._failed(waiter, self._reader.failure(error))
            return
        try:
            reply = self._reader.end()
        except EngineError as failure:
            self._failed(waiter, failure)
        else:
            self.abort()
            self.resume_writing()
            if not waiter.done():
                waiter.set_result(reply)

    def _failed(self, waiter: asyncio.Future[Reply], error: EngineError) -> None:
        self.abort()
        self.resume_writing()
        if not waiter.done():
            waiter.set_exception(error)
