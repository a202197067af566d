"""What the engines of an OpenAI-compatible endpoint share: address, key, requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import orjson
from anyio import to_thread

from sutro_stream.engines.address import (
    base_address,
    below,
    origin,
    proxy_address,
    request_headers,
)
from sutro_stream.engines.api_keys import KeySource
from sutro_stream.engines.endpoint_tokenizer import EndpointTokenizer, has_tokenizer
from sutro_stream.engines.engine import further_fields
from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.engines.transports.certificates import trusted_certificates
from sutro_stream.engines.transports.registry import choose_transport, make_transport
from sutro_stream.engines.transports.transport import Destination, Reply, Transport
from sutro_stream.errors import (
    AuthenticationError,
    ConfigurationError,
    EngineError,
    ProtocolError,
)
from sutro_stream.values.endpoint import DIALECTS, Dialect, Endpoint
from sutro_stream.values.outcomes import Answer
from sutro_stream.wire.openai.dialects import TABLE
from sutro_stream.wire.openai.failures import failure
from sutro_stream.wire.openai.rate_headers import parse_rate_hint, tells_rate

_DEFAULT_CONCURRENCY = 64
_CONNECT_TIMEOUT_S = 10.0
# Shorter ones are no secrets, and stand in many a message.
_LEAST_SECRET_CHARACTERS = 6


class EndpointEngine:
    """Base of `ChatEngine` and `EmbeddingEngine`: all but what is asked.

    Connections are pooled and kept alive. One engine serves any number of
    pipelines between entering and leaving its context.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str | None,
        *,
        route: str,
        reply_limit_bytes: int,
    ) -> None:
        """Describe the endpoint; the engines' own constructors say how.

        Raises:
            ConfigurationError: The address is not an http(s) URL, the key no key, or
                the endpoint cannot be reached in this way.
        """
        base, dialect = base_address(endpoint.url), endpoint.dialect
        if dialect not in DIALECTS:
            message = f"dialect {dialect!r}: choose one of {', '.join(DIALECTS)}"
            raise ConfigurationError(message)
        api_key, proxy = endpoint.api_key, endpoint.proxy
        self._base = base
        self._route = below(base, route)
        self._model = model
        self._endpoint = endpoint
        self._dialect: Dialect = dialect
        self._proxy = None if proxy is None else proxy_address(proxy)
        self._transport_name = choose_transport(
            endpoint.transport, has_proxy=proxy is not None
        )
        self._keys = KeySource(api_key)
        # A key that is to be asked for stands in the same place as a given one.
        given = api_key if api_key is None or isinstance(api_key, str) else "asked-for"
        self._headers = self._headers_with(given)
        self._reply_limit_bytes = reply_limit_bytes
        self._tokenizer: EndpointTokenizer | None = None
        if has_tokenizer(dialect):
            self._tokenizer = EndpointTokenizer(
                base,
                dialect=dialect,
                headers=self._headers,
                model=model,
                is_chat=route.startswith("/chat"),
            )
        self._transport: Transport | None = None
        self._stack: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} model={self._model!r}>"

    @property
    def name(self) -> str:
        """Scheme, host and port of the endpoint."""
        return origin(self._base)

    @property
    def address(self) -> str:
        """What tells the endpoint from others, at the same host as well."""
        return f"{self.name}{self._base.path}"

    @property
    def default_concurrency(self) -> int:
        """Requests in flight when the user says nothing."""
        return _DEFAULT_CONCURRENCY

    @property
    def description(self) -> Endpoint:
        """The endpoint as it was described; holds secrets."""
        return self._endpoint

    @property
    def _closes_connections(self) -> bool:
        return False

    async def __aenter__(self) -> Self:
        """Open the connection pool; no request is sent.

        Raises:
            ConfigurationError: The engine is open already, has no key to be had, or
                its `ca_file` cannot be read.
        """
        if self._stack is not None:
            raise ConfigurationError(f"the engine for {self.name} is open already")
        async with AsyncExitStack() as stack:
            await self._keys.open()
            ca_file, certificates = self._endpoint.ca_file, None
            if ca_file is not None:
                certificates = await to_thread.run_sync(trusted_certificates, ca_file)
            destination = Destination(
                url=self._route,
                headers=self._current_headers(),
                connect_timeout_s=_CONNECT_TIMEOUT_S,
                reply_limit_bytes=self._reply_limit_bytes,
                certificates=certificates,
                proxy=self._proxy,
            )
            transport = make_transport(self._transport_name, destination)
            await stack.enter_async_context(transport)
            if self._tokenizer is not None:
                self._tokenizer.reach_as(destination)
                await stack.enter_async_context(self._tokenizer)
            self._transport, self._stack = transport, stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        stack, self._stack, self._transport = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    def tokenizer(self) -> Tokenizer | None:
        return self._tokenizer

    def _responder(
        self,
        model: str | None,
        parts: tuple[bytes, bytes],
        parse: Callable[[bytes], Answer],
        *,
        further: Mapping[str, Any],
        seed_field: str | None = None,
        encode: Callable[[str], bytes] = orjson.dumps,
    ) -> EndpointResponder:
        """A responder whose requests have these bytes around the encoded prompt."""
        if self._transport is None:
            raise ConfigurationError(
                f"the engine for {self.name} is not open; "
                "use it inside `async with engine:`"
            )
        return EndpointResponder(
            endpoint=self,
            transport=self._transport,
            keys=self._keys,
            model=model,
            prefix=parts[0],
            suffix=parts[1],
            encode=encode,
            parse=parse,
            seed=None if seed_field is None else f'"{seed_field}":'.encode(),
            identity=further_fields(further),
        )

    def _headers_with(self, key: str | None) -> dict[str, str]:
        return request_headers(
            self._base,
            api_key=key,
            further=self._endpoint.headers,
            key_header=TABLE[self._dialect].key_header,
        )

    def _current_headers(self) -> dict[str, str]:
        """The header fields with the key that is valid now, for all who send them."""
        headers = self._headers_with(self._keys.key)
        self._headers = headers
        if self._tokenizer is not None:
            self._tokenizer.use_headers(headers)
        if self._closes_connections:
            headers = {"Connection": "close"} | headers
        return headers

    async def renew_key(self, refused: str | None) -> bool:
        """Ask for the key anew after a refusal; whether there is another one now.

        Raises:
            ConfigurationError: There is no key to be had.
        """
        before = self._keys.key
        is_new = await self._keys.renew(refused)
        if self._keys.key != before and self._transport is not None:
            self._transport.use_headers(self._current_headers())
        return is_new

    def secrets(self) -> tuple[str, ...]:
        """What must be in no message, the longest first."""
        usual = {"Content-Type", "Connection"}
        values = [value for name, value in self._headers.items() if name not in usual]
        for url in filter(None, (self._base, self._proxy)):
            values += [url.user or "", url.password or "", *url.query.values()]
        # Of a header such as `Authorization` the last word alone is one as well.
        words = {word for value in values for word in (value, value.split(" ")[-1])}
        found = [word for word in words if len(word) >= _LEAST_SECRET_CHARACTERS]
        found += filter(None, self._keys.known)
        return tuple(sorted(found, key=len, reverse=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointResponder:
    """`Responder` of an endpoint: prepared bytes around each prompt.

    Attributes:
        endpoint: Whose it is.
        transport: Sends the requests.
        keys: The key that they carry.
        model: The model asked for, `None` for the endpoint's own.
        prefix: What stands before the encoded prompt.
        suffix: What stands behind it, a closing brace at its end.
        encode: Makes a prompt JSON.
        parse: Finds the answer in the body of a reply.
        seed: What stands before a row's seed, `None` where none is sent.
        identity: See `IdentifiesRequests`.
    """

    endpoint: EndpointEngine
    transport: Transport
    keys: KeySource
    model: str | None
    prefix: bytes
    suffix: bytes
    encode: Callable[[str], bytes]
    parse: Callable[[bytes], Answer]
    seed: bytes | None
    identity: Mapping[str, str]

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`: one request, and one more where a new key was needed."""
        suffix = self.suffix
        if seed is not None and self.seed is not None:
            suffix = b"%b,%b%d}" % (suffix[:-1], self.seed, seed)
        body = b"".join((self.prefix, self.encode(prompt), suffix))
        key = self.keys.key
        try:
            return self._read(await self.transport.post(body), prompt)
        except AuthenticationError as error:
            refusal = error
        try:
            is_new = await self.endpoint.renew_key(key)
        except ConfigurationError as error:
            raise _without_key(refusal, error) from error
        if not is_new:
            raise refusal
        try:
            answer = self._read(await self.transport.post(body), prompt)
        except EngineError as error:
            error.requests += 1
            raise
        return replace(answer, requests=2)

    def _read(self, reply: Reply, prompt: str) -> Answer:
        """The answer in a reply.

        Raises:
            EngineError: There is none.
        """
        hint = parse_rate_hint(reply.headers) if tells_rate(reply.names) else None
        found = None
        if 200 <= reply.status < 300:
            try:
                answer = self.parse(reply.body)
            except ProtocolError as error:
                found = error
            else:
                return answer if hint is None else replace(answer, rate_hint=hint)
        endpoint = self.endpoint
        failed = failure(
            *reply.told,
            found,
            endpoint=endpoint.name,
            prompt=prompt,
            secrets=endpoint.secrets(),
        )
        failed.rate_hint = hint
        raise failed


def _without_key(
    refusal: AuthenticationError, reason: ConfigurationError
) -> AuthenticationError:
    return AuthenticationError(
        f"{refusal}; {reason}", status=refusal.status, code=refusal.code
    )
