"""HTTP exchanges with one deployment: the key, the limits, the errors."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import aiohttp
import anyio
from aiohttp import hdrs
from yarl import URL

from sutro_stream.deployments.address import api_base, origin
from sutro_stream.deployments.failures import refusal_error, transport_error
from sutro_stream.deployments.request_body import RequestBody
from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    ProtocolError,
    ServiceError,
)
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.wire.submission_body import Body

ReturnT = TypeVar("ReturnT")

_CONNECT_TIMEOUT_S = 10.0
_REPLY_TIMEOUT_S = 120.0
_REPLY_LIMIT_BYTES = 512 << 20
_ERROR_LIMIT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request.

    Attributes:
        path: Of the route, below the version, escaped.
        method: Of HTTP.
        query: Names and values.
        body: JSON, `None` for none.
        headers: Beside those that every request has.
        timeout_s: Longest silence of the deployment, in seconds.
    """

    path: str
    method: str = hdrs.METH_GET
    query: Mapping[str, str] | None = None
    body: Body | None = None
    headers: Mapping[str, str] | None = None
    timeout_s: float = _REPLY_TIMEOUT_S


class Exchange:
    """Sends requests to one deployment, while it is open.

    Concurrency: one event loop, any number of tasks.

    Attributes:
        where: Scheme, host and port; how messages call the deployment.
    """

    def __init__(self, api_url: str, api_key: str) -> None:
        """Check address and key; nothing is opened yet.

        Raises:
            ConfigurationError: One of them is none.
        """
        self._base = api_base(api_url)
        self.where = origin(self._base)
        key = api_key.strip()
        if not key:
            raise ConfigurationError(f"{self.where}: an API key is needed")
        if not key.isascii() or not key.isprintable():
            raise ConfigurationError("the API key holds characters no key has")
        self._headers: dict[str, str] = {hdrs.AUTHORIZATION: f"Key {key}"}
        self._stack: AsyncExitStack | None = None
        self._session: aiohttp.ClientSession | None = None
        self._keyless: aiohttp.ClientSession | None = None
        self.rng = random.Random()

    async def open(self) -> None:
        """Make the connection pools; no request is sent.

        Raises:
            ConfigurationError: It is open already.
        """
        if self._stack is not None:
            message = f"the deployment {self.where} is open already"
            raise ConfigurationError(message)
        stack = AsyncExitStack()
        self._session = await stack.enter_async_context(_session(self._headers))
        # Links to files come with their own right; the key is not theirs to see.
        self._keyless = await stack.enter_async_context(_session({}))
        self._stack = stack

    async def close(self) -> None:
        """Close all connections."""
        stack, self._stack, self._session, self._keyless = self._stack, None, None, None
        if stack is not None:
            await stack.aclose()

    async def send(self, call: Call) -> bytes:
        """Send a request once; the body of its answer.

        Cancellation: the connection is closed; whether the deployment acted is open.

        Raises:
            EngineError: There is no answer, or it is none of success.
        """
        async with self.response(call) as response:
            return await self._body(response, limit_bytes=_REPLY_LIMIT_BYTES)

    @asynccontextmanager
    async def response(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request once; its successful answer, whose body is read inside.

        Raises:
            EngineError: As `send`; also for what goes wrong inside.
        """
        url = self._base.with_path(f"{self._base.path}{call.path}", encoded=True)
        if call.query:
            url = url.with_query(call.query)
        headers = dict(call.headers or {})
        data = None if call.body is None else RequestBody(call.body)
        with _errors(self.where):
            async with self._of(self._session).request(
                call.method,
                url,
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=_timeout(call.timeout_s),
            ) as response:
                if response.status // 100 != HTTPStatus.OK // 100:
                    raise await self.refusal(response)
                yield response

    @asynccontextmanager
    async def linked(
        self, url: URL, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Get what a link leads to, without the key; the answer, whatever it is.

        Raises:
            EngineError: There is no answer; also for what goes wrong inside.
        """
        with _errors(self.where):
            async with self._of(self._keyless).get(
                url, headers=headers, timeout=_timeout(_REPLY_TIMEOUT_S)
            ) as response:
                yield response

    async def refusal(self, response: aiohttp.ClientResponse) -> EngineError:
        """The error that an answer stands for."""
        body = await response.content.read(_ERROR_LIMIT_BYTES)
        return refusal_error(response.status, response.headers, body, where=self.where)

    async def _body(
        self, response: aiohttp.ClientResponse, *, limit_bytes: int
    ) -> bytes:
        parts = bytearray()
        async for part in response.content.iter_any():
            parts += part
            if len(parts) > limit_bytes:
                response.close()
                raise ProtocolError(
                    f"{self.where}: the answer is larger than {limit_bytes:,} bytes"
                )
        return bytes(parts)

    def _of(self, session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
        if session is None:
            raise ConfigurationError(
                f"the deployment {self.where} is not open; use it inside "
                "`async with deployment:`"
            )
        return session


@contextmanager
def _errors(where: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Their messages hold addresses, and some addresses are secrets.
        raise transport_error(error, where=where) from None


def is_no_conflict(error: EngineError) -> bool:
    """Whether a failure is another one than a conflict (409), which stays."""
    return not isinstance(error, ServiceError) or error.status != 409


def any_failure(_: EngineError) -> bool:
    """For results, which some deployments are still writing when a job has ended."""
    return True


async def persist(
    attempt: Callable[[], Awaitable[ReturnT]],
    policy: RetryPolicy,
    *,
    rng: random.Random,
    only_if: Callable[[EngineError], bool] = is_no_conflict,
) -> ReturnT:
    """Do something that may be done twice until it succeeds.

    Args:
        attempt: Raises an `EngineError` when it fails.
        policy: How often and how late to try again.
        rng: Source of the jitter.
        only_if: Which failures may pass, of those that the policy lets pass.

    Raises:
        EngineError: The last one.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except EngineError as error:
            delay_s = policy.delay_s(error, attempts=attempts, rng=rng)
            if delay_s is None or not only_if(error):
                raise
        await anyio.sleep(delay_s)


def _session(headers: Mapping[str, str]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=dict(headers),
        # Signed addresses are to be sent as they came.
        requote_redirect_url=False,
        trust_env=False,
    )


def _timeout(silence_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=silence_s
    )
