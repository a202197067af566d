"""Engines behind an OpenAI-compatible embeddings endpoint."""

from __future__ import annotations

from collections.abc import Mapping
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
from sutro_stream.wire.openai.embeddings import parse_embedding

_REPLY_LIMIT_BYTES = 16 << 20


class EmbeddingEngine(EndpointEngine):
    """Any OpenAI-compatible `/embeddings` endpoint, as an `Engine`.

    The text of an answer is the vector, a compact JSON array of the endpoint's
    numbers; its usage counts input tokens only. Prompts are embedded as they are,
    one for each request.
    """

    def __init__(  # noqa: PLR0913 - all that an endpoint has
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: ApiKey | None = None,
        dimensions: int | None = None,
        dialect: Dialect = USUAL_DIALECT,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        transport: TransportName | None = None,
        proxy: str | None = None,
        ca_file: str | PathLike[str] | None = None,
    ) -> None:
        """Describe the endpoint; nothing is opened yet.

        Args:
            base_url: Address up to and with the version, usually ending in `/v1`.
            model: Model to ask for; wins over the one the instructions name.
                `None` uses theirs.
            api_key: As for `ChatEngine`.
            dimensions: Length of vectors to ask for, `None` for the model's own.
            dialect: As for `ChatEngine`; says which routes of a tokenizer there are.
            headers: As for `ChatEngine`.
            extra_body: Further fields of each request, sent as they are.
            transport: As for `ChatEngine`.
            proxy: As for `ChatEngine`.
            ca_file: As for `ChatEngine`.

        Raises:
            ConfigurationError: As by `ChatEngine`; or `dimensions` is below 1.
        """
        endpoint = Endpoint(
            url=base_url,
            api_key=api_key,
            dialect=dialect,
            headers=dict(headers or {}),
            extra_body=dict(extra_body or {}),
            transport=transport,
            proxy=proxy,
            ca_file=None if ca_file is None else Path(ca_file),
        )
        super().__init__(
            endpoint, model, route="/embeddings", reply_limit_bytes=_REPLY_LIMIT_BYTES
        )
        if dimensions is not None and dimensions < 1:
            raise ConfigurationError("dimensions must be at least 1")
        self._fields = dict(endpoint.extra_body)
        if dimensions is not None:
            self._fields = {"dimensions": dimensions} | self._fields

    @classmethod
    def of(cls, endpoint: Endpoint, model: str | None = None) -> Self:
        """The engine of an endpoint; as `ChatEngine.of`, streams there are none."""
        return cls(
            endpoint.url,
            model,
            api_key=endpoint.api_key,
            dialect=endpoint.dialect,
            headers=endpoint.headers,
            extra_body=endpoint.extra_body,
            transport=endpoint.transport,
            proxy=endpoint.proxy,
            ca_file=endpoint.ca_file,
        )

    def bind(self, instructions: Instructions) -> EndpointResponder:
        """See `Engine`.

        Raises:
            ConfigurationError: The engine is not open, or the instructions ask for
                what only a chat model can do.
        """
        refused = _beyond_embedding(instructions)
        if refused is not None:
            raise ConfigurationError(f"an embedding model takes no {refused}")
        model = self._model or instructions.model
        opening = {} if model is None else {"model": model}
        fields = opening | {"encoding_format": "float"} | self._fields
        prefix = orjson.dumps(fields)[:-1] + b',"input":'
        return self._responder(
            model,
            (prefix, b"}"),
            parse_embedding,
            further=self._fields,
        )


def _beyond_embedding(instructions: Instructions) -> str | None:
    if instructions.system_prompt is not None:
        return "system prompt"
    if instructions.examples:
        return "examples"
    if instructions.form is not PromptForm.TEXT:
        return "messages or images"
    if instructions.schema is not None:
        return "output schema"
    given = instructions.sampling.given()
    return f"sampling parameters ({', '.join(given)})" if given else None
