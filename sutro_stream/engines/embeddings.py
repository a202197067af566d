"""Engines behind an OpenAI-compatible embeddings endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import orjson

from sutro_stream.engines.address import (
    base_address,
    below,
    origin,
    request_headers,
)
from sutro_stream.engines.dialects import DIALECTS, Dialect
from sutro_stream.engines.endpoint_tokenizer import EndpointTokenizer, has_tokenizer
from sutro_stream.engines.engine import further_fields
from sutro_stream.engines.failures import failure
from sutro_stream.engines.rate_headers import rate_hint_of
from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.engines.transports.registry import (
    DEFAULT_TRANSPORT,
    TransportName,
    check_transport,
    make_transport,
)
from sutro_stream.engines.transports.transport import Destination, Transport
from sutro_stream.errors import ConfigurationError, ProtocolError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, Usage

_DEFAULT_CONCURRENCY = 64
_CONNECT_TIMEOUT_S = 10.0
_REPLY_LIMIT_BYTES = 16 << 20
_NUMBERS = frozenset({int, float})


class EmbeddingEngine:
    """Any OpenAI-compatible `/embeddings` endpoint, as an `Engine`.

    The text of an answer is the vector, a compact JSON array of the endpoint's
    numbers; its usage counts input tokens only. Prompts are embedded as they are,
    one for each request.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        dimensions: int | None = None,
        dialect: Dialect = "vllm",
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        transport: TransportName = DEFAULT_TRANSPORT,
    ) -> None:
        """Describe the endpoint; nothing is opened yet.

        Args:
            base_url: Address up to and with the version, usually ending in `/v1`.
            model: Model to ask for; wins over the one the instructions name.
                `None` uses theirs.
            api_key: Sent as bearer token, `None` for none.
            dimensions: Length of vectors to ask for, `None` for the model's own.
            dialect: Which tokenizer routes the endpoint has; `"openai"` none.
            headers: Further request headers.
            extra_body: Further fields of each request, sent as they are.
            transport: What speaks HTTP: `"fast"`, a client of our own that does what
                a row needs and no more, or `"aiohttp"`, at four times the processor's
                time.

        Raises:
            ConfigurationError: The address is not an http(s) URL, or the key no key.
        """
        if dialect not in DIALECTS:
            message = f"dialect {dialect!r}: choose one of {', '.join(DIALECTS)}"
            raise ConfigurationError(message)
        check_transport(transport)
        if dimensions is not None and dimensions < 1:
            raise ConfigurationError("dimensions must be at least 1")
        base = base_address(base_url)
        self._url = below(base, "/embeddings")
        self._model = model
        self._fields = dict(extra_body or {})
        if dimensions is not None:
            self._fields = {"dimensions": dimensions} | self._fields
        self._headers = request_headers(base, api_key=api_key, further=headers)
        self._tokenizer: EndpointTokenizer | None = None
        if has_tokenizer(dialect):
            self._tokenizer = EndpointTokenizer(
                base,
                dialect=dialect,
                headers=self._headers,
                model=model,
                is_chat=False,
            )
        self._transport_name: TransportName = transport
        self._transport: Transport | None = None
        self._stack: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"<EmbeddingEngine {self.name} model={self._model!r}>"

    @property
    def name(self) -> str:
        """Scheme, host and port of the endpoint."""
        return origin(self._url)

    @property
    def default_concurrency(self) -> int:
        """Requests in flight when the user says nothing."""
        return _DEFAULT_CONCURRENCY

    async def __aenter__(self) -> Self:
        """Open the connection pool; no request is sent.

        Raises:
            ConfigurationError: The engine is open already.
        """
        if self._stack is not None:
            raise ConfigurationError(f"the engine for {self.name} is open already")
        stack = AsyncExitStack()
        self._transport = await stack.enter_async_context(
            make_transport(
                self._transport_name,
                Destination(
                    url=self._url,
                    headers=self._headers,
                    connect_timeout_s=_CONNECT_TIMEOUT_S,
                    reply_limit_bytes=_REPLY_LIMIT_BYTES,
                ),
            )
        )
        if self._tokenizer is not None:
            await stack.enter_async_context(self._tokenizer)
        self._stack = stack
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

    def bind(self, instructions: Instructions) -> EmbeddingResponder:
        """See `Engine`.

        Raises:
            ConfigurationError: The engine is not open, or the instructions ask for
                what only a chat model can do.
        """
        if self._transport is None:
            raise ConfigurationError(
                f"the engine for {self.name} is not open; "
                "use it inside `async with engine:`"
            )
        refused = _beyond_embedding(instructions)
        if refused is not None:
            raise ConfigurationError(f"an embedding model takes no {refused}")
        model = self._model or instructions.model
        opening = {} if model is None else {"model": model}
        fields = opening | {"encoding_format": "float"} | self._fields
        return EmbeddingResponder(
            endpoint=self.name,
            model=model,
            transport=self._transport,
            prefix=orjson.dumps(fields)[:-1] + b',"input":',
            identity=further_fields(self._fields),
        )

    def tokenizer(self) -> Tokenizer | None:
        """See `LendsTokenizer`."""
        return self._tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingResponder:
    """`Responder` of an embeddings endpoint: prepared bytes before each prompt."""

    endpoint: str
    model: str | None
    transport: Transport
    prefix: bytes
    identity: Mapping[str, str]

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:  # noqa: ARG002
        """See `Responder`; a vector has no use for a seed."""
        reply = await self.transport.post(self.prefix + orjson.dumps(prompt) + b"}")
        hint = rate_hint_of(reply)
        if reply.status != 200:
            error = failure(reply, endpoint=self.endpoint, prompt=prompt)
            error.rate_hint = hint
            raise error
        answer = parse_embedding(reply.body)
        return answer if hint is None else replace(answer, rate_hint=hint)


def parse_embedding(body: bytes) -> Answer:
    """The one vector of an embeddings reply, as an answer's text.

    Raises:
        ProtocolError: The body is no such reply.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ProtocolError("the reply is not JSON") from None
    try:
        vector = data["data"][0]["embedding"]
        usage = data.get("usage") or {}
        tokens = usage.get("prompt_tokens")
        model = data.get("model")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ProtocolError("the reply holds no embedding") from None
    if not isinstance(vector, list) or not vector:
        raise ProtocolError("the reply holds no embedding")
    if not _NUMBERS.issuperset(map(type, vector)):
        raise ProtocolError("the reply's embedding is not a list of numbers")
    return Answer(
        text=orjson.dumps(vector).decode(),
        finish_reason="stop",
        usage=Usage(input_tokens=tokens) if isinstance(tokens, int) else None,
        model=model if isinstance(model, str) else None,
    )


def _beyond_embedding(instructions: Instructions) -> str | None:
    if instructions.system_prompt is not None:
        return "system prompt"
    if instructions.schema is not None:
        return "output schema"
    given = instructions.sampling.given()
    return f"sampling parameters ({', '.join(given)})" if given else None
