"""The transport over aiohttp."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypedDict

import aiohttp
from yarl import URL

from sutro_stream.engines.transports import faults
from sutro_stream.engines.transports.request_head import basic_credentials
from sutro_stream.engines.transports.transport import (
    Destination,
    Reply,
    lower_names,
)
from sutro_stream.errors import EngineError, RequestTimeoutError

_PROXY_REFUSES = 407

# aiohttp warns about larger bodies given as bytes, which it sends in one write.
_PLAIN_BODY_BYTES = 1 << 20


class _Through(TypedDict, total=False):
    proxy: URL
    headers: Mapping[str, str]
    proxy_headers: Mapping[str, str]


_DIRECTLY: _Through = {}


class AiohttpTransport:
    """`Transport` over aiohttp with pooled keep-alive connections."""

    def __init__(self, destination: Destination) -> None:
        """A transport that is not open."""
        self._destination = destination
        self._where = faults.place(destination.url)
        self._proxy: _Proxy | None = None
        if destination.proxy is not None:
            self._proxy = _Proxy(destination.proxy, destination.url.scheme)
            self._proxy.use_headers(destination.headers)
            self._where += f" through {self._proxy.name}"
        self._session: aiohttp.ClientSession | None = None
        self._stack: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        to = self._destination
        stack = AsyncExitStack()
        # The stage above bounds what is in flight; a second bound here would make
        # `concurrency` a lie.
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=0,
            ssl=to.certificates or True,
            force_close=not to.keeps_connections,
        )
        self._session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=dict(to.headers) if self._proxy is None else None,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=to.connect_timeout_s
                ),
                auto_decompress=True,
                trust_env=False,
            )
        )
        self._stack = stack
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stack, self._stack, self._session = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    def use_headers(self, headers: Mapping[str, str]) -> None:
        if self._proxy is not None:
            self._proxy.use_headers(headers)
        elif self._session is not None:
            self._session.headers.clear()
            self._session.headers.update(headers)

    async def post(self, body: bytes) -> Reply:
        session = self._session
        if session is None:
            raise faults.closed()
        url, proxy = self._destination.url, self._proxy
        through = _DIRECTLY if proxy is None else proxy.arguments
        data = body if len(body) <= _PLAIN_BODY_BYTES else io.BytesIO(body)
        try:
            async with session.post(
                url, data=data, allow_redirects=False, **through
            ) as response:
                if proxy is not None and response.status == _PROXY_REFUSES:
                    raise faults.refused_by_proxy(proxy.name, response.status)
                fields = dict(reversed(response.raw_headers))
                return Reply(
                    status=response.status,
                    fields=fields,
                    names=lower_names(fields),
                    body=await self._body(response),
                )
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            if proxy is not None and (found := proxy.failure(error)) is not None:
                raise found from error
            raise _translated(error, self._where) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit, length = self._destination.reply_limit_bytes, response.content_length
        # The length is that of a compressed body.
        is_plain = "Content-Encoding" not in response.headers
        if length is not None and length <= limit and is_plain:
            return await response.read()
        parts = bytearray()
        async for part in response.content.iter_any():
            parts += part
            if len(parts) > limit:
                response.close()
                raise faults.too_large(limit)
        return bytes(parts)


class _Proxy:
    """What requests go through, and what goes wrong with it.

    Attributes:
        name: How messages call it.
        arguments: What each request is told.
    """

    def __init__(self, url: URL, scheme: str) -> None:
        """A proxy towards endpoints of this scheme."""
        self.name = f"proxy {faults.place(url)}"
        self.arguments: _Through = {"proxy": url.with_user(None), "headers": {}}
        self._of_requests: dict[str, str] = {}
        if url.user is None:
            return
        field = {"Proxy-Authorization": basic_credentials(url)}
        if scheme == "https":
            self.arguments["proxy_headers"] = field
        else:
            # aiohttp would send it with the first request of a connection only.
            self._of_requests = field

    def use_headers(self, headers: Mapping[str, str]) -> None:
        """Send these with each request.

        As those of a session, aiohttp would show them to the proxy as well.
        """
        self.arguments["headers"] = {**headers, **self._of_requests}

    def failure(self, error: Exception) -> EngineError | None:
        """The error that is the proxy's, `None` for the endpoint's."""
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return faults.refused_by_proxy(self.name, error.status)
        # What has a connection is the proxy, and its name alone is looked up here.
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return None
        if isinstance(error, (aiohttp.ClientConnectorDNSError, UnicodeError)):
            return faults.unknown_host(self.name)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return faults.not_in_time(self.name)
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return faults.unreachable(self.name, error.os_error)
        return None


def _translated(error: Exception, where: str) -> Exception:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return faults.untrusted(where)
    # The latter of a name that cannot even be asked for.
    if isinstance(error, (aiohttp.ClientConnectorDNSError, UnicodeError)):
        return faults.unknown_host(where)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return faults.not_in_time(where)
    if isinstance(error, aiohttp.ClientConnectorError):
        return faults.unreachable(where, error.os_error)
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"{where}: no answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return faults.silent(where)
    if isinstance(error, aiohttp.ClientPayloadError):
        return faults.cut(where)
    if isinstance(error, aiohttp.ClientResponseError):
        return faults.not_http(where)
    return faults.broken(where, error)
