"""Tokenizers over HTTP, against servers that read two characters as one token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from yarl import URL

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.endpoint_tokenizer import EndpointTokenizer
from sutro_stream.engines.tokenizer import SharedTokenizer, Tokenizer
from sutro_stream.errors import (
    ConfigurationError,
    NotFoundError,
    ProtocolError,
    TransportError,
)
from sutro_stream.values.endpoint import Dialect

Route = Callable[[dict[str, Any]], tuple[int, Any]]
Serve = Callable[[Mapping[str, Route]], AbstractAsyncContextManager[str]]

LENGTH = 2
TEMPLATE = "<|user|>"


class ByteTokens:
    """A server's routes: a token is two bytes of UTF-8, so characters get split."""

    def __init__(self, *, text: str, written: str) -> None:
        self.text = text
        self.written = written
        self.longest = 0
        self.lower = False

    def tokenize(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Text, or (vLLM) messages."""
        if "messages" in body:
            return 200, {"count": len(self.tokens(self.chat(body)))}
        text = body[self.text]
        self.longest = max(self.longest, len(text))
        special = body.get("add_special", body.get("add_special_tokens"))
        return 200, {"tokens": self.tokens(text) + [0] * bool(special)}

    def detokenize(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Whatever the bytes are, as text."""
        raw = b"".join(
            number.to_bytes(3, "big").lstrip(b"\1") for number in body["tokens"]
        )
        return 200, {self.written: raw.decode(errors="replace")}

    def input_tokens(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Messages, as llama.cpp counts them."""
        return 200, {"input_tokens": len(self.tokens(self.chat(body)))}

    def chat(self, body: dict[str, Any]) -> str:
        """The chat template."""
        return "".join(TEMPLATE + each["content"] for each in body["messages"])

    def tokens(self, text: str) -> list[int]:
        """One number for two bytes."""
        raw = (text.lower() if self.lower else text).encode()
        return [
            int.from_bytes(b"\1" + raw[at : at + LENGTH], "big")
            for at in range(0, len(raw), LENGTH)
        ]


LLAMA = ByteTokens(text="content", written="content")
VLLM = ByteTokens(text="prompt", written="prompt")


@asynccontextmanager
async def opened(
    serve: Serve, dialect: Dialect, server: ByteTokens | None = None, **arguments: Any
) -> AsyncIterator[Tokenizer]:
    """A tokenizer in front of such a server."""
    server = server or (LLAMA if dialect == "llama.cpp" else VLLM)
    routes = {
        "/tokenize": server.tokenize,
        "/detokenize": server.detokenize,
        "/v1/chat/completions/input_tokens": server.input_tokens,
    }
    async with (
        serve(routes) as address,
        EndpointTokenizer(
            URL(f"{address}/v1"),
            dialect=dialect,
            headers={"Content-Type": "application/json"},
            model="m",
            **arguments,
        ) as tokenizer,
    ):
        yield tokenizer


@pytest.mark.parametrize("dialect", ["llama.cpp", "vllm"])
async def test_count(serve: Serve, dialect: Dialect) -> None:
    """As many as the server says, nothing around the text."""
    async with opened(serve, dialect) as tokenizer:
        assert await tokenizer.count("abcde") == 3


@pytest.mark.parametrize("dialect", ["llama.cpp", "vllm"])
async def test_cut_to_the_token(serve: Serve, dialect: Dialect) -> None:
    """The longest beginning that has no more tokens."""
    async with opened(serve, dialect) as tokenizer:
        assert [await tokenizer.cut("abcdef", tokens) for tokens in range(5)] == [
            "",
            "ab",
            "abcd",
            "abcdef",
            "abcdef",
        ]


async def test_a_character_is_never_split(serve: Serve) -> None:
    """Where a token ends within one, it is left out."""
    text = "a漢字\N{REPLACEMENT CHARACTER}😀b"
    async with opened(serve, "vllm") as tokenizer:
        for tokens in range(9):
            cut = await tokenizer.cut(text, tokens)
            assert text.startswith(cut)
            assert len(cut.encode()) <= LENGTH * tokens
            following = text[len(cut) : len(cut) + 1]
            assert len((cut + following).encode()) > LENGTH * tokens or cut == text


async def test_the_end_of_a_long_text_is_not_sent(serve: Serve) -> None:
    """A cut costs what the beginning costs."""
    server = ByteTokens(text="prompt", written="prompt")
    async with opened(serve, "vllm", server) as tokenizer:
        assert await tokenizer.cut("ab" * 100_000, 10) == "ab" * 10
    assert server.longest < 1000


async def test_a_tokenizer_that_changes_the_text(serve: Serve) -> None:
    """What it gives back is not the text, so the place is searched."""
    server = ByteTokens(text="prompt", written="prompt")
    server.lower = True
    async with opened(serve, "vllm", server) as tokenizer:
        assert await tokenizer.cut("ABCDEFGH", 3) == "ABCDEF"


@pytest.mark.parametrize("dialect", ["llama.cpp", "vllm"])
async def test_overhead_is_system_prompt_and_template(
    serve: Serve, dialect: Dialect
) -> None:
    """Everything that is not the prompt."""
    async with opened(serve, dialect) as tokenizer:
        assert await tokenizer.overhead(None) == 4
        assert await tokenizer.overhead("12345678") == 4 + 4 + 4


@pytest.mark.parametrize("dialect", ["llama.cpp", "vllm"])
async def test_overhead_of_embeddings_is_what_the_model_adds(
    serve: Serve, dialect: Dialect
) -> None:
    """There is no chat template."""
    async with opened(serve, dialect, is_chat=False) as tokenizer:
        assert await tokenizer.overhead(None) == 1


async def test_an_endpoint_without_the_routes(serve: Serve) -> None:
    """It says that it does not know them."""
    async with (
        serve({}) as address,
        ChatEngine(f"{address}/v1", "m") as engine,
    ):
        tokenizer = engine.tokenizer()
        assert tokenizer is not None
        with pytest.raises(NotFoundError):
            await tokenizer.count("x")


async def test_replies_that_are_none(serve: Serve) -> None:
    """They are told from counts."""
    async with (
        serve({"/tokenize": lambda _: (200, {"tokens": 7})}) as address,
        ChatEngine(f"{address}/v1", "m") as engine,
    ):
        tokenizer = engine.tokenizer()
        assert tokenizer is not None
        with pytest.raises(ProtocolError):
            await tokenizer.count("x")


async def test_it_is_closed_with_its_engine() -> None:
    """A mistake of the program, and named as such."""
    tokenizer = ChatEngine("http://127.0.0.1:1/v1").tokenizer()
    assert tokenizer is not None
    with pytest.raises(ConfigurationError, match="not open"):
        await tokenizer.count("x")


def test_hosted_endpoints_have_none() -> None:
    """OpenAI's interface has no such routes."""
    assert ChatEngine("http://127.0.0.1:1/v1", dialect="openai").tokenizer() is None


class WordTokens:
    """A tokenizer that reads words, or cannot be reached."""

    def __init__(self, *, is_up: bool) -> None:
        self.is_up = is_up

    async def count(self, text: str) -> int:
        """Words."""
        return len((await self.cut(text, len(text))).split())

    async def cut(self, text: str, tokens: int) -> str:
        """The first words."""
        if not self.is_up:
            raise TransportError("down")
        return " ".join(text.split()[:tokens])

    async def overhead(self, system_prompt: str | None) -> int:
        """Words of the system prompt."""
        return await self.count(system_prompt or "")


async def test_endpoints_of_one_model_stand_in_for_each_other() -> None:
    """The first that answers counts."""
    shared = SharedTokenizer([WordTokens(is_up=False), WordTokens(is_up=True)])
    assert await shared.count("a b c") == 3
    assert await shared.cut("a b c", 2) == "a b"
    assert await shared.overhead("a") == 1


async def test_when_no_endpoint_counts() -> None:
    """The last one's error says why."""
    shared = SharedTokenizer([WordTokens(is_up=False), WordTokens(is_up=False)])
    with pytest.raises(TransportError):
        await shared.count("a")
