"""The embedding engine against an endpoint in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.engines.engine import Responder
from sutro_stream.errors import (
    AuthenticationError,
    ConfigurationError,
    InputTooLongError,
    ProtocolError,
)
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, Usage
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.openai.embeddings import parse_embedding

Route = Callable[[dict[str, Any]], tuple[int, Any]]
Serve = Callable[[Mapping[str, Route]], AbstractAsyncContextManager[str]]

VECTOR = [0.1, -2.5e-7, 1, 0.30000000000000004]
REPLY = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": VECTOR}],
    "model": "e-full",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


class Endpoint:
    """Gives every text the same vector, and remembers what it was asked."""

    def __init__(self, status: int = 200, reply: Any = REPLY) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = status
        self.reply = reply

    def __call__(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.bodies.append(body)
        return self.status, self.reply


@asynccontextmanager
async def bound(
    serve: Serve, endpoint: Endpoint, **arguments: Any
) -> AsyncIterator[Responder]:
    """A responder in front of the endpoint."""
    async with (
        serve({"/v1/embeddings": endpoint}) as address,
        EmbeddingEngine(f"{address}/v1", "e", **arguments) as engine,
    ):
        yield engine.bind(Instructions())


async def test_the_answer_is_the_vector(serve: Serve) -> None:
    """Compact JSON with the endpoint's numbers; only input is counted."""
    async with bound(serve, Endpoint()) as responder:
        answer = await responder.answer("hello", seed=7)
    assert answer == Answer(
        text="[0.1,-2.5e-7,1,0.30000000000000004]",
        finish_reason="stop",
        usage=Usage(input_tokens=3),
        model="e-full",
    )


async def test_the_request(serve: Serve) -> None:
    """One text, numbers instead of base64, and what the user adds."""
    endpoint = Endpoint()
    async with bound(
        serve, endpoint, api_key="k", dimensions=4, extra_body={"user": "u"}
    ) as responder:
        await responder.answer('say "é"')
    assert endpoint.bodies == [
        {
            "key": "Bearer k",
            "model": "e",
            "input": 'say "é"',
            "encoding_format": "float",
            "dimensions": 4,
            "user": "u",
        }
    ]


async def test_the_endpoints_errors_are_those_of_chat(serve: Serve) -> None:
    """They come from the same table."""
    refusing = Endpoint(401, {"error": {"message": "no"}})
    async with bound(serve, refusing) as responder:
        with pytest.raises(AuthenticationError):
            await responder.answer("x")


async def test_llama_cpps_batch_size_is_a_window(serve: Serve) -> None:
    """It refuses long texts with status 500, which must not be tried again."""
    message = (
        "input (701 tokens) is too large to process. increase the physical batch "
        "size (current batch size: 512)"
    )
    refusing = Endpoint(500, {"error": {"message": message, "code": 500}})
    async with bound(serve, refusing) as responder:
        with pytest.raises(InputTooLongError) as caught:
            await responder.answer("x")
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (701, 512)


@pytest.mark.parametrize(
    "body",
    [
        b"no",
        b"[]",
        b'{"data":[]}',
        b'{"data":[{"embedding":[]}]}',
        b'{"data":[{"embedding":"AAAA"}]}',
        b'{"data":[{"embedding":[1.0,null]}]}',
        b'{"data":[{"embedding":[1.0,true]}]}',
    ],
)
def test_what_is_no_vector_is_refused(body: bytes) -> None:
    """An answer is a list of numbers, or there is none."""
    with pytest.raises(ProtocolError):
        parse_embedding(body)


@pytest.mark.parametrize(
    ("instructions", "named"),
    [
        (Instructions(system_prompt="s"), "system prompt"),
        (Instructions(schema=OutputSchema.parse({"type": "object"})), "output schema"),
        (Instructions(sampling=SamplingParams(temperature=0)), "temperature"),
    ],
)
async def test_what_only_chat_models_can_is_refused(
    instructions: Instructions, named: str
) -> None:
    """Before anything is sent, and by name."""
    async with EmbeddingEngine("http://127.0.0.1:1/v1") as engine:
        with pytest.raises(ConfigurationError, match=named):
            engine.bind(instructions)


async def test_it_must_be_open() -> None:
    """As every engine."""
    engine = EmbeddingEngine("http://127.0.0.1:1/v1")
    with pytest.raises(ConfigurationError, match="not open"):
        engine.bind(Instructions())


def test_hosted_endpoints_have_no_tokenizer() -> None:
    """Only servers that have the routes are asked."""
    hosted = EmbeddingEngine("http://127.0.0.1:1/v1", dialect="openai")
    assert hosted.tokenizer() is None
