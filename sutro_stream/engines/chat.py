"""Engines behind an OpenAI-compatible chat endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from sutro_stream.engines.api_keys import ApiKey
from sutro_stream.engines.dialects import Dialect, request_fields
from sutro_stream.engines.endpoint import EndpointEngine, EndpointResponder
from sutro_stream.engines.transports.registry import DEFAULT_TRANSPORT, TransportName
from sutro_stream.values.instructions import Instructions, PromptForm
from sutro_stream.wire.openai.completions import parse_completion, parse_events

_REPLY_LIMIT_BYTES = 64 << 20


class ChatEngine(EndpointEngine):
    """Any OpenAI-compatible chat endpoint: vLLM, SGLang, llama.cpp, hosted.

    Connections are pooled and kept alive. One engine serves any number of
    pipelines between entering and leaving its context.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: ApiKey | None = None,
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
            api_key: Sent as bearer token, `None` for none. A function, which may be
                async, is asked for it when the engine is opened, and again when
                the endpoint refuses it (401, 403).
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
        super().__init__(
            base_url,
            model,
            route="/chat/completions",
            api_key=api_key,
            dialect=dialect,
            headers=headers,
            transport=transport,
            reply_limit_bytes=_REPLY_LIMIT_BYTES,
        )
        self._stream = stream
        self._extra_body = dict(extra_body or {})

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
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        rest = orjson.dumps(fields | self._extra_body)
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
