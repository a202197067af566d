"""One HTTP exchange: bytes out, bytes in. The seam for other HTTP clients."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from yarl import URL

from sutro_stream.errors import (
    EngineUnavailableError,
    ProtocolError,
    RequestTimeoutError,
    TransportError,
)

# aiohttp warns about larger bodies given as bytes, which it sends in one write.
_PLAIN_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete HTTP response.

    Attributes:
        status: HTTP status.
        headers: Header fields; lookup ignores case.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends request bodies to one address.

    Concurrency: any number of tasks at once.
    """

    async def __aenter__(self) -> Self:
        """Open the connection pool."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""

    async def post(self, body: bytes) -> Reply:
        """Send one POST and read the whole response.

        Cancellation: the connection is closed, which tells the server.

        Raises:
            TransportError: The response did not arrive complete.
            EngineUnavailableError: No attempt can succeed (bad certificate).
            ProtocolError: The response is larger than the limit.
        """


@dataclass(slots=True, kw_only=True)
class AiohttpTransport:
    """`Transport` over aiohttp with pooled keep-alive connections.

    Attributes:
        url: Where requests go.
        headers: Sent with each request.
        connect_timeout_s: Longest wait for a connection, in seconds.
        reply_limit_bytes: Largest body accepted.
    """

    url: URL
    headers: Mapping[str, str]
    connect_timeout_s: float
    reply_limit_bytes: int
    _session: aiohttp.ClientSession | None = None
    _open: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        """See `Transport`."""
        stack = AsyncExitStack()
        # The stage above bounds what is in flight; a second bound here would make
        # `concurrency` a lie.
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0)
        self._session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=dict(self.headers),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.connect_timeout_s
                ),
                auto_decompress=True,
                trust_env=False,
            )
        )
        self._open = stack
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `Transport`."""
        stack, self._open, self._session = self._open, None, None
        if stack is not None:
            await stack.aclose()

    async def post(self, body: bytes) -> Reply:
        """See `Transport`."""
        session = self._session
        if session is None:
            raise EngineUnavailableError("the engine was closed while it was in use")
        data = body if len(body) <= _PLAIN_BODY_BYTES else io.BytesIO(body)
        try:
            async with session.post(
                self.url, data=data, allow_redirects=False
            ) as response:
                return Reply(
                    status=response.status,
                    headers=response.headers,
                    body=await self._body(response),
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _translated(error, self.url) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit, length = self.reply_limit_bytes, response.content_length
        if length is not None and length <= limit:
            return await response.read()
        parts = bytearray()
        async for part in response.content.iter_any():
            parts += part
            if len(parts) > limit:
                response.close()
                message = f"the reply is larger than the limit of {limit:,} bytes"
                raise ProtocolError(message)
        return bytes(parts)


def _translated(error: Exception, url: URL) -> Exception:
    where = f"{url.scheme}://{url.authority.rpartition('@')[2]}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return EngineUnavailableError(
            f"{where}: the TLS certificate is not trusted; check the address, "
            "or the certificates installed on this machine"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TransportError(f"{where}: the host name is not known", connected=False)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return TransportError(f"{where}: no connection in time", connected=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = _os_reason(error.os_error)
        return TransportError(f"{where}: {reason}", connected=False)
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"{where}: no answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return TransportError(f"{where}: the connection was closed before a reply")
    if isinstance(error, aiohttp.ClientPayloadError):
        return TransportError(f"{where}: the connection was cut within the reply")
    if isinstance(error, aiohttp.ClientResponseError):
        return TransportError(f"{where}: the reply is not HTTP")
    reason = _os_reason(error) if isinstance(error, OSError) else type(error).__name__
    return TransportError(f"{where}: the connection broke ({reason})")


def _os_reason(error: OSError) -> str:
    # The event loop writes host and port into `strerror`.
    known = error.errno in errno.errorcode
    text = os.strerror(error.errno) if known and error.errno else error.strerror
    return (text or type(error).__name__).lower()
