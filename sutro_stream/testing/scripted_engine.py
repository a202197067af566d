"""An engine without a network: answers as a function says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import anyio

from sutro_stream.errors import ConfigurationError, EngineUnavailableError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedReply:
    """What the engine does with one request.

    Attributes:
        text: The answer.
        latency_s: Seconds until it comes.
        error: Raised instead of answering, `None` to answer.
        finish_reason: As the engine reports it.
    """

    text: str = "ok"
    latency_s: float = 0.0
    error: Exception | None = None
    finish_reason: str | None = "stop"


EngineScript = Callable[[str, int], ScriptedReply]
"""From a prompt and its attempt, counting from 1, to the reply."""


def echo_prompt(prompt: str, attempt: int) -> ScriptedReply:  # noqa: ARG001
    """Answer at once with the prompt itself."""
    return ScriptedReply(text=prompt)


@dataclass(slots=True)
class ScriptedEngine:
    """An `Engine` for tests, in memory and on any clock.

    Attributes:
        script: Decides every reply.
        default_concurrency: As an engine's.
        calls: Requests by prompt.
        seeds: Seed of the last request by prompt.
        in_flight: Requests being answered.
        peak_in_flight: Most at any moment.
        cancelled: Requests dropped before their reply.
        is_open: Whether it is inside its context.
    """

    script: EngineScript = echo_prompt
    default_concurrency: int = 8
    calls: Counter[str] = field(default_factory=Counter)
    seeds: dict[str, int | None] = field(default_factory=dict)
    in_flight: int = 0
    peak_in_flight: int = 0
    cancelled: int = 0
    is_open: bool = False
    instructions: Instructions | None = None

    @property
    def name(self) -> str:
        """See `Engine`."""
        return "the scripted engine"

    @property
    def model(self) -> str | None:
        """See `Responder`."""
        return "scripted"

    async def __aenter__(self) -> Self:
        """See `Engine`."""
        if self.is_open:
            raise ConfigurationError(f"{self.name} is open already")
        self.is_open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `Engine`."""
        self.is_open = False

    def bind(self, instructions: Instructions) -> Self:
        """See `Engine`."""
        if not self.is_open:
            raise ConfigurationError(f"{self.name} is not open")
        self.instructions = instructions
        return self

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`."""
        if not self.is_open:
            raise EngineUnavailableError(f"{self.name} was closed while in use")
        self.calls[prompt] += 1
        self.seeds[prompt] = seed
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            reply = self.script(prompt, self.calls[prompt])
            await anyio.sleep(reply.latency_s)
            if reply.error is not None:
                raise reply.error
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        return Answer(
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=Usage(
                input_tokens=len(prompt.split()), output_tokens=len(reply.text.split())
            ),
            model="scripted",
        )
