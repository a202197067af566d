"""The tokenizers of llama.cpp and vLLM, over their HTTP routes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
from yarl import URL

from sutro_stream.engines.address import below, beside, origin
from sutro_stream.engines.transports.aiohttp import AiohttpTransport
from sutro_stream.engines.transports.transport import Destination, Transport
from sutro_stream.errors import ConfigurationError, ProtocolError
from sutro_stream.values.endpoint import Dialect
from sutro_stream.wire.openai.failures import failure

_CONNECT_TIMEOUT_S = 10.0
_REPLY_LIMIT_BYTES = 256 << 20
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CHARACTERS_PER_TOKEN = 32
_PROBE = "x"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    """Where an endpoint tokenizes, and in which words.

    Attributes:
        tokenize: From text to numbers.
        detokenize: Back.
        chat: From messages to their count.
        text: Name of the text in requests and replies of the first two.
        special: Name of the flag that adds what the model wants around a text.
        counted: Name of the count in the reply of `chat`.
    """

    tokenize: URL
    detokenize: URL
    chat: URL
    text: str
    special: str
    counted: str


def has_tokenizer(dialect: Dialect) -> bool:
    """Whether endpoints of this dialect may have a tokenizer to ask."""
    return dialect in {"vllm", "llama.cpp"}


class EndpointTokenizer:
    """`Tokenizer` behind the address of a llama.cpp or vLLM server.

    Used as `async with`; opening sends nothing. An endpoint without these routes
    fails every call with `NotFoundError`.
    """

    def __init__(
        self,
        base: URL,
        *,
        dialect: Dialect,
        headers: Mapping[str, str],
        model: str | None,
        is_chat: bool = True,
    ) -> None:
        """Describe the endpoint; nothing is opened yet.

        Args:
            base: Address up to and with the version.
            dialect: One that `has_tokenizer`.
            headers: Sent with each request.
            model: Sent to endpoints that serve several, `None` for none.
            is_chat: Whether prompts are messages; embeddings' are plain text.
        """
        self._endpoint = origin(base)
        self._routes = _routes(base, dialect)
        self._headers = headers
        self._common = {} if model is None else {"model": model}
        self._is_chat = is_chat
        self._certificates: ssl.SSLContext | None = None
        self._proxy: URL | None = None
        self._transports: dict[URL, Transport] = {}
        self._stack: AsyncExitStack | None = None

    def use_headers(self, headers: Mapping[str, str]) -> None:
        """Send these from now on instead of those before."""
        self._headers = headers
        for transport in self._transports.values():
            transport.use_headers(headers)

    def reach_as(self, destination: Destination) -> None:
        """Trust the same certificates and use the same proxy, once it is opened."""
        self._certificates = destination.certificates
        self._proxy = destination.proxy

    async def __aenter__(self) -> Self:
        """Open connection pools."""
        stack = AsyncExitStack()
        routes = self._routes
        for url in {routes.tokenize, routes.detokenize, routes.chat}:
            self._transports[url] = await stack.enter_async_context(
                AiohttpTransport(
                    Destination(
                        url=url,
                        headers=self._headers,
                        connect_timeout_s=_CONNECT_TIMEOUT_S,
                        reply_limit_bytes=_REPLY_LIMIT_BYTES,
                        certificates=self._certificates,
                        proxy=self._proxy,
                    )
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
        """Close all connections."""
        stack, self._stack = self._stack, None
        self._transports = {}
        if stack is not None:
            await stack.aclose()

    async def count(self, text: str) -> int:
        return len(await self._tokens(text))

    async def cut(self, text: str, tokens: int) -> str:
        if tokens <= 0:
            return ""
        # The end of a book has no say in how its first page is read.
        start = text[: tokens * _CHARACTERS_PER_TOKEN]
        numbers = await self._tokens(start)
        if len(numbers) <= tokens:
            if len(start) == len(text):
                return text
            numbers = await self._tokens(text)
            if len(numbers) <= tokens:
                return text
        return await self._beginning(text, numbers[:tokens])

    async def overhead(self, system_prompt: str | None) -> int:
        bare = await self.count(_PROBE)
        if not self._is_chat:
            return len(await self._tokens(_PROBE, special=True)) - bare
        messages = [{"role": "user", "content": _PROBE}]
        if system_prompt is not None:
            messages.insert(0, {"role": "system", "content": system_prompt})
        reply = await self._ask(self._routes.chat, {"messages": messages})
        counted = reply.get(self._routes.counted)
        if not isinstance(counted, int):
            raise self._nonsense()
        return counted - bare

    async def _tokens(self, text: str, *, special: bool = False) -> list[int]:
        routes = self._routes
        reply = await self._ask(
            routes.tokenize, {routes.text: text, routes.special: special}, text
        )
        numbers = reply.get("tokens")
        if not isinstance(numbers, list):
            raise self._nonsense()
        return numbers

    async def _beginning(self, text: str, numbers: list[int]) -> str:
        """What of the text its first tokens are."""
        routes = self._routes
        reply = await self._ask(routes.detokenize, {"tokens": numbers}, text)
        written = reply.get("content" if "content" in reply else routes.text)
        if not isinstance(written, str):
            raise self._nonsense()
        # The last character may be one whose bytes are spread over several tokens; in
        # its place stands one that the text may hold as well.
        while written.endswith(_REPLACEMENT) and (
            not text.startswith(written) or await self.count(written) > len(numbers)
        ):
            written = written[:-1]
        # Some tokenizers put a space before the text.
        if text.startswith(written):
            return written
        if text.startswith(written.removeprefix(" ")):
            return written.removeprefix(" ")
        return await self._searched(text, len(numbers))

    async def _searched(self, text: str, tokens: int) -> str:
        """The longest beginning by trial, for tokenizers that change the text."""
        fits, too_long = 0, min(len(text), tokens * _CHARACTERS_PER_TOKEN) + 1
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if await self.count(text[:middle]) <= tokens:
                fits = middle
            else:
                too_long = middle
        return text[:fits]

    async def _ask(
        self, url: URL, body: Mapping[str, Any], text: str = ""
    ) -> dict[str, Any]:
        transport = self._transports.get(url)
        if transport is None:
            raise ConfigurationError(
                f"the tokenizer of {self._endpoint} is not open; use it while its "
                "engine is"
            )
        reply = await transport.post(orjson.dumps(self._common | dict(body)))
        if reply.status != 200:
            raise failure(*reply.told, endpoint=self._endpoint, prompt=text)
        try:
            data = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            raise self._nonsense() from None
        if not isinstance(data, dict):
            raise self._nonsense()
        return data

    def _nonsense(self) -> ProtocolError:
        return ProtocolError(f"{self._endpoint}: the tokenizer's reply is not one")


def _routes(base: URL, dialect: Dialect) -> _Routes:
    tokenize = beside(base, "/tokenize")
    if dialect == "llama.cpp":
        return _Routes(
            tokenize=tokenize,
            detokenize=beside(base, "/detokenize"),
            chat=below(base, "/chat/completions/input_tokens"),
            text="content",
            special="add_special",
            counted="input_tokens",
        )
    return _Routes(
        tokenize=tokenize,
        detokenize=beside(base, "/detokenize"),
        chat=tokenize,
        text="prompt",
        special="add_special_tokens",
        counted="count",
    )
