"""Engines behind an OpenAI-compatible chat endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self

import orjson

from sutro_stream.engines.endpoint import EndpointEngine, EndpointResponder
from sutro_stream.errors import ConfigurationError
from sutro_stream.values.endpoint import (
    USUAL_DIALECT,
    ApiKey,
    Dialect,
    Endpoint,
    TransportName,
)
from sutro_stream.values.instructions import Instructions, PromptForm
from sutro_stream.wire.openai.completions import parse_completion, parse_events
from sutro_stream.wire.openai.dialects import TABLE, request_fields, seed_field

_REPLY_LIMIT_BYTES = 64 << 20
# What a request has in any case, and would have twice.
_NOT_EXTRA = {
    "messages": "made of the rows; leave it out",
    "model": "given apart; use model (--model)",
    "stream": "given apart; use stream (--stream)",
}


class ChatEngine(EndpointEngine):
    """Any OpenAI-compatible chat endpoint: vLLM, SGLang, llama.cpp, hosted.

    Connections are pooled and kept alive. One engine serves any number of
    pipelines between entering and leaving its context.
    """

    def __init__(  # noqa: PLR0913 - all that an endpoint has
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: ApiKey | None = None,
        dialect: Dialect = USUAL_DIALECT,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        transport: TransportName | None = None,
        proxy: str | None = None,
        ca_file: str | PathLike[str] | None = None,
    ) -> None:
        """Describe the endpoint; nothing is opened yet.

        Args:
            base_url: Address up to and with the version, usually ending in `/v1`.
            model: Model to ask for; wins over the one a Function names. `None`
                uses the Function's, and leaves the field out when it has none.
            api_key: Sent as bearer token, or as the dialect has it; `None` for none.
                A function, which may be async, is asked for it when the engine is
                opened, and again when the endpoint refuses it (401, 403).
            dialect: Whose parameters the endpoint knows, one of `Dialect`.
            stream: Ask for streamed replies, for servers that only notice a
                closed connection while they are writing to it.
            headers: Further request headers; secrets, all of them.
            extra_body: Further fields of each request, sent as they are.
            transport: What speaks HTTP: `"fast"`, a client of our own that does what
                a row needs and no more, or `"aiohttp"`, at four times the processor's
                time; `None` for the first, or for the second behind a proxy.
            proxy: Address of an HTTP proxy to go through, with user and password if
                it asks for them; `None` for none, whatever the environment says.
            ca_file: Certificate authorities to trust beside those of this machine
                (PEM), read when the engine is opened; `None` for no others.

        Raises:
            ConfigurationError: The address is not an http(s) URL, the key no key, or
                the parts do not go together.
        """
        endpoint = Endpoint(
            url=base_url,
            api_key=api_key,
            dialect=dialect,
            stream=stream,
            headers=dict(headers or {}),
            extra_body=dict(extra_body or {}),
            transport=transport,
            proxy=proxy,
            ca_file=None if ca_file is None else Path(ca_file),
        )
        super().__init__(
            endpoint,
            model,
            route="/chat/completions",
            reply_limit_bytes=_REPLY_LIMIT_BYTES,
        )
        self._stream = stream
        self._extra_body = endpoint.extra_body
        for name, instead in _NOT_EXTRA.items():
            if name in self._extra_body:
                raise ConfigurationError(f"extra_body: {name} is {instead}")

    @classmethod
    def of(cls, endpoint: Endpoint, model: str | None = None) -> Self:
        """The engine of an endpoint.

        Args:
            endpoint: As it is described.
            model: As for the constructor.

        Raises:
            ConfigurationError: As by the constructor.
        """
        return cls(
            endpoint.url,
            model,
            api_key=endpoint.api_key,
            dialect=endpoint.dialect,
            stream=endpoint.stream,
            headers=endpoint.headers,
            extra_body=endpoint.extra_body,
            transport=endpoint.transport,
            proxy=endpoint.proxy,
            ca_file=endpoint.ca_file,
        )

    @property
    def _closes_connections(self) -> bool:
        # llama.cpp closes each connection after a streamed reply, although it
        # announces the opposite: reusing one fails now and then.
        return self._stream and self._dialect == "llama.cpp"

    def bind(self, instructions: Instructions) -> EndpointResponder:
        return self._responder(
            self._model or instructions.model,
            self._body_parts(instructions),
            parse_events if self._stream else parse_completion,
            further=self._extra_body,
            seed_field=seed_field(self._dialect),
            encode=_ENCODINGS[instructions.form],
        )

    def _body_parts(self, instructions: Instructions) -> tuple[bytes, bytes]:
        """What stands before and after the encoded prompt in every request."""
        model = self._model or instructions.model
        opening: dict[str, Any] = {} if model is None else {"model": model}
        messages = list(_shared_messages(instructions))
        prefix = orjson.dumps(opening | {"messages": messages})[:-2]
        prefix += b"," if messages else b""
        suffix = b"]"
        if instructions.form is not PromptForm.MESSAGES:
            prefix += b'{"role":"user","content":'
            suffix = b"}]"
        fields = request_fields(instructions.sampling, self._dialect)
        fields |= _response_format(instructions)
        if self._stream:
            fields["stream"] = True
            if TABLE[self._dialect].has_stream_options:
                fields["stream_options"] = {"include_usage": True}
        rest = orjson.dumps({**fields, **self._extra_body})
        return prefix, suffix + (b"," + rest[1:] if rest != b"{}" else rest[1:])


def _inside(array: str) -> bytes:
    """The elements of a JSON array, with the commas between them."""
    return array.strip().encode()[1:-1]


# What is JSON already becomes a part of the body as it is.
_ENCODINGS: Mapping[PromptForm, Callable[[str], bytes]] = {
    PromptForm.TEXT: orjson.dumps,
    PromptForm.CONTENT: str.encode,
    PromptForm.MESSAGES: _inside,
}


def _shared_messages(instructions: Instructions) -> Iterator[dict[str, str]]:
    """The messages before those of a row."""
    if instructions.system_prompt is not None:
        yield {"role": "system", "content": instructions.system_prompt}
    for example in instructions.examples:
        yield {"role": "user", "content": example.prompt}
        yield {"role": "assistant", "content": example.answer}


def _response_format(instructions: Instructions) -> dict[str, Any]:
    """How the endpoint is told of the schema; empty where it is not."""
    schema, form = instructions.schema, instructions.response_format
    if schema is None or form == "none":
        return {}
    told: dict[str, Any] = {"type": form}
    if form == "json_schema":
        told["json_schema"] = {
            "name": "output",
            "schema": schema.definition,
            "strict": instructions.strict,
        }
    return {"response_format": told}
