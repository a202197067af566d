"""Engines behind an OpenAI-compatible chat endpoint."""

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
from sutro_stream.engines.completions import parse_completion, parse_events
from sutro_stream.engines.dialects import DIALECTS, Dialect, request_fields
from sutro_stream.engines.endpoint_tokenizer import EndpointTokenizer, has_tokenizer
from sutro_stream.engines.engine import further_fields
from sutro_stream.engines.failures import error_for, failure
from sutro_stream.engines.rate_headers import rate_hint_of
from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.engines.transports.registry import (
    DEFAULT_TRANSPORT,
    TransportName,
    check_transport,
    make_transport,
)
from sutro_stream.engines.transports.transport import Destination, Reply, Transport
from sutro_stream.errors import ConfigurationError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer

_DEFAULT_CONCURRENCY = 64
_CONNECT_TIMEOUT_S = 10.0
_REPLY_LIMIT_BYTES = 64 << 20
_STREAM_ERROR_STATUS = 500


class ChatEngine:
    """Any OpenAI-compatible chat endpoint: vLLM, SGLang, llama.cpp, hosted.

    Connections are pooled and kept alive. One engine serves any number of
    pipelines between entering and leaving its context.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        dialect: Dialect = "vllm",
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        transport: TransportName = DEFAULT_TRANSPORT,
    ) -> None:
        """Describe the endpoint; nothing is opened yet.

        Args:
            base_url: Address up to and with the version, usually ending in `/v1`.
            model: Model to ask for; wins over the one a Function names. `None`
                uses the Function's, and leaves the field out when it has none.
            api_key: Sent as bearer token, `None` for none.
            dialect: Which sampling parameters the endpoint knows: `"openai"` its
                official ones, `"vllm"` all (SGLang takes them too), `"llama.cpp"`.
            stream: Ask for streamed replies, for servers that only notice a
                closed connection while they are writing to it.
            headers: Further request headers.
            extra_body: Further fields of each request, sent as they are.
            transport: What speaks HTTP: `"fast"`, a client of our own that does what
                a row needs and no more, or `"aiohttp"`, at four times the processor's
                time.

        Raises:
            ConfigurationError: The address is not an http(s) URL, or the key no key.
        """
        base = base_address(base_url)
        self._url = below(base, "/chat/completions")
        if dialect not in DIALECTS:
            message = f"dialect {dialect!r}: choose one of {', '.join(DIALECTS)}"
            raise ConfigurationError(message)
        check_transport(transport)
        self._model = model
        self._dialect: Dialect = dialect
        self._stream = stream
        self._extra_body = dict(extra_body or {})
        self._headers = request_headers(base, api_key=api_key, further=headers)
        self._tokenizer: EndpointTokenizer | None = None
        if has_tokenizer(dialect):
            self._tokenizer = EndpointTokenizer(
                base, dialect=dialect, headers=dict(self._headers), model=model
            )
        if dialect == "llama.cpp" and stream:
            # It closes each connection after a streamed reply, although it
            # announces the opposite: reusing one fails now and then.
            self._headers.setdefault("Connection", "close")
        self._transport_name: TransportName = transport
        self._transport: Transport | None = None
        self._stack: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"<ChatEngine {self.name} model={self._model!r}>"

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

    def bind(self, instructions: Instructions) -> ChatResponder:
        """See `Engine`."""
        if self._transport is None:
            raise ConfigurationError(
                f"the engine for {self.name} is not open; "
                "use it inside `async with engine:`"
            )
        prefix, suffix = self._body_parts(instructions)
        return ChatResponder(
            endpoint=self.name,
            model=self._model or instructions.model,
            transport=self._transport,
            stream=self._stream,
            prefix=prefix,
            suffix=suffix,
            identity=further_fields(self._extra_body),
        )

    def tokenizer(self) -> Tokenizer | None:
        """See `LendsTokenizer`."""
        return self._tokenizer

    def _body_parts(self, instructions: Instructions) -> tuple[bytes, bytes]:
        """What stands before and after the encoded prompt in every request."""
        model = self._model or instructions.model
        opening: dict[str, Any] = {} if model is None else {"model": model}
        messages = []
        if instructions.system_prompt is not None:
            messages = [{"role": "system", "content": instructions.system_prompt}]
        prefix = orjson.dumps(opening | {"messages": messages})[:-2]
        prefix += b"," if messages else b""
        prefix += b'{"role":"user","content":'
        fields = request_fields(instructions.sampling, self._dialect)
        if instructions.schema is not None:
            fields["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "output",
                    "schema": instructions.schema.definition,
                    "strict": True,
                },
            }
        if self._stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        rest = orjson.dumps(fields | self._extra_body)
        return prefix, b"}]" + (b"," + rest[1:] if rest != b"{}" else rest[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResponder:
    """`Responder` of a chat endpoint: prepared bytes around each prompt."""

    endpoint: str
    model: str | None
    transport: Transport
    stream: bool
    prefix: bytes
    suffix: bytes
    identity: Mapping[str, str]

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`."""
        suffix = self.suffix
        if seed is not None:
            suffix = b'%b,"seed":%d}' % (suffix[:-1], seed)
        reply = await self.transport.post(
            b"".join((self.prefix, orjson.dumps(prompt), suffix))
        )
        hint = rate_hint_of(reply)
        if reply.status != 200:
            error = failure(reply, endpoint=self.endpoint, prompt=prompt)
            error.rate_hint = hint
            raise error
        if self.stream:
            answer = self._streamed_answer(reply, prompt)
        else:
            answer = parse_completion(reply.body)
        return answer if hint is None else replace(answer, rate_hint=hint)

    def _streamed_answer(self, reply: Reply, prompt: str) -> Answer:
        answer, error = parse_events(reply.body)
        if answer is None:
            detail = error or {}
            code = detail.get("code")
            status = code if isinstance(code, int) else _STREAM_ERROR_STATUS
            raise error_for(
                detail, status=status, endpoint=self.endpoint, prompt=prompt
            )
        return answer
