"""Every engine against the suite that all engines inherit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
import pytest_asyncio

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.local import LocalEngine
from sutro_stream.testing import (
    Hang,
    Reply,
    ScriptedChatServer,
    ScriptedEngine,
    ScriptedReply,
    when,
)
from sutro_stream.testing.engine_suite import EngineSuite
from sutro_stream.values.endpoint import TransportName
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer
from sutro_stream.values.sampling import SamplingParams

KEY = "sk-kept-to-itself"
TOKEN = "token-kept-to-itself"


class TestChatEngine(EngineSuite):
    stream = False
    transport: TransportName = "fast"
    secrets = (KEY, TOKEN)

    @asynccontextmanager
    async def make_engine(self) -> AsyncIterator[Engine]:
        """In front of a server that echoes, except where it never answers."""
        script = when(
            lambda request: request.prompt == self.endless_prompt, Reply(fault=Hang())
        )
        async with ScriptedChatServer(script, api_key=KEY) as self.server:
            yield ChatEngine(
                f"{self.server.base_url}?token={TOKEN}",
                "m",
                api_key=KEY,
                stream=self.stream,
                transport=self.transport,
            )

    def check_answer(self, prompt: str, answer: Answer) -> None:
        """Each prompt has its echo."""
        assert answer.text == f"echo: {prompt}"

    async def wait_until_idle(self) -> None:
        """The server sees a cancelled request go."""
        await self.server.wait_until(lambda seen: seen.in_flight == 0)

    async def wait_until_closed(self) -> None:
        """The server sees every connection closed."""
        await self.server.wait_until(lambda seen: seen.connections_open == 0)


class TestStreamingChatEngine(TestChatEngine):
    stream = True


class TestAiohttpChatEngine(TestChatEngine):
    transport = "aiohttp"


class TestAiohttpStreamingChatEngine(TestChatEngine):
    stream = True
    transport = "aiohttp"


class TestScriptedEngine(EngineSuite):
    @asynccontextmanager
    async def make_engine(self) -> AsyncIterator[Engine]:
        """One that echoes, except where it takes a day."""
        self.engine = ScriptedEngine(self.reply)
        yield self.engine

    def reply(self, prompt: str, attempt: int) -> ScriptedReply:  # noqa: ARG002
        """The script."""
        latency_s = 86_400.0 if prompt == self.endless_prompt else 0.0
        return ScriptedReply(text=prompt, latency_s=latency_s)

    def check_answer(self, prompt: str, answer: Answer) -> None:
        """Each prompt has its echo."""
        assert answer.text == prompt

    async def wait_until_idle(self) -> None:
        """A cancelled request is gone at once."""
        assert self.engine.in_flight == 0

    async def wait_until_closed(self) -> None:
        """It knows that it was closed."""
        assert not self.engine.is_open


def small_local_engine() -> LocalEngine:
    """The embedded model, with two places."""
    return LocalEngine(parallel=2, context_tokens=4096, threads=1)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_engine() -> AsyncIterator[LocalEngine]:
    """One that is open, as opening takes a second."""
    async with small_local_engine() as engine:
        yield engine


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(120)
class TestLocalEngine(EngineSuite):
    instructions = Instructions(sampling=SamplingParams(max_tokens=4))
    # Thousands of tokens: many seconds, on any machine.
    endless_instructions = Instructions(sampling=SamplingParams(ignore_eos=True))
    endless_prompt = "Write a book."

    @pytest.fixture(autouse=True)
    def share(self, shared_engine: LocalEngine) -> None:
        """Tests that neither open nor close the engine have the same one."""
        self.shared = shared_engine

    @asynccontextmanager
    async def make_engine(self) -> AsyncIterator[Engine]:
        """A process of its own."""
        self.others = psutil.Process().children()
        yield small_local_engine()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Engine]:
        """The shared one."""
        yield self.shared

    async def wait_until_closed(self) -> None:
        """The process is gone, and collected."""
        assert psutil.Process().children() == self.others
