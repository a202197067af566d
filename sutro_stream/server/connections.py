"""Connections: how many there may be, which make room, and what is no HTTP."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from aiohttp import web

from sutro_stream.server.authentication import Handler
from sutro_stream.server.unread import UnreadWatch
from sutro_stream.wire import replies
from sutro_stream.wire.api_error import ApiError

_JSON = "application/json"


class Connections:
    """All connections of a server.

    A new one above their number takes the place of the one that has waited longest
    for its next request: whoever opens many and says nothing shuts nobody out. Only
    where each of them is at work is a new one refused.

    Concurrency: one event loop.

    Attributes:
        working: Those that a request is answered on.
    """

    def __init__(self, most: int) -> None:
        self.working: set[Connection] = set()
        self._most = most
        self._waiting: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self.working)

    def add(self, connection: Connection) -> bool:
        """Note a new one; whether there is room for it."""
        if len(self) >= self._most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.discard(longest)
            longest.force_close()
        self._waiting[connection] = None
        return True

    def discard(self, connection: Connection) -> None:
        """Forget one that is closed, or about to be."""
        self._waiting.pop(connection, None)
        self.working.discard(connection)

    @contextmanager
    def at_work(self, connection: Connection) -> Iterator[None]:
        """Keep one from being closed for others."""
        if self._waiting.pop(connection, self) is not None:
            # It made room a moment ago, and is closing.
            yield
            return
        self.working.add(connection)
        try:
            yield
        finally:
            if connection in self.working:
                self.working.discard(connection)
                self._waiting[connection] = None


class Connection(web.RequestHandler):
    """One connection; see `Connections`."""

    __slots__ = ("_connections", "_unread", "_unread_s")

    def __init__(
        self,
        manager: web.Server,
        *,
        connections: Connections,
        unread_s: float,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._connections = connections
        self._unread: UnreadWatch | None = None
        self._unread_s = unread_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if self.transport is not None:
            self._unread = UnreadWatch(self.transport, patience_s=self._unread_s)
        if not self._connections.add(self):
            if self.transport is not None:
                self.transport.write(_no_room())
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        self._connections.discard(self)
        if self._unread is not None:
            self._unread.end()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        if self._unread is not None:
            self._unread.begin()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self._unread is not None:
            self._unread.end()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes what was sent
    ) -> web.StreamResponse:
        """Tell of what is no HTTP as everything else is told of."""
        failed = super().handle_error(request, status, exc)
        response = web.Response(
            body=_refusal(_problem(failed.status)),
            status=failed.status,
            content_type=_JSON,
        )
        response.force_close()
        return response


class Runner(web.AppRunner):
    """Runs an application on connections of our own.

    Args:
        app: The application.
        most_connections: At once.
        unread_s: Seconds after which a connection is broken whose client does not
            read.
        options: Of each connection; see `aiohttp.web.RequestHandler`.
        grace_s: Seconds that requests at work get when the server stops.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        most_connections: int,
        unread_s: float,
        grace_s: float,
        **options: Any,
    ) -> None:
        self.connections = Connections(most_connections)
        self._options = {**options, "unread_s": unread_s}
        app.middlewares.insert(0, _notes_work(self.connections))
        super().__init__(app, handler_cancellation=True, shutdown_timeout=grace_s)

    @property
    def server(self) -> Any:
        """What makes a connection."""
        server = super().server
        if server is None:
            return None
        options = {**self._options, "loop": asyncio.get_running_loop()}
        return lambda: Connection(server, connections=self.connections, **options)


def _notes_work(connections: Connections) -> Any:
    @web.middleware
    async def at_work(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, Connection):
            return await handler(request)
        with connections.at_work(connection):
            return await handler(request)

    return at_work


def _problem(status: int) -> ApiError:
    if status == 400:
        return ApiError(
            400,
            "malformed_request",
            "the request is not valid HTTP, or its address or headers are too long",
        )
    return ApiError(500, "internal_error", "the server failed to answer")


def _refusal(problem: ApiError) -> bytes:
    request_id = f"req_{secrets.token_hex(12)}"
    return orjson.dumps(replies.error(problem, request_id=request_id))


def _no_room() -> bytes:
    problem = ApiError(503, "too_many_connections", "too many connections; try later")
    body = _refusal(problem)
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        f"Content-Type: {_JSON}\r\nContent-Length: {len(body)}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
