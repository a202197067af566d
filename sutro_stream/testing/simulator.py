"""An engine that answers as a simulated endpoint does, on any clock."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Self

import anyio

from sutro_stream.errors import ConfigurationError
from sutro_stream.testing.simulated_endpoint import SimulatedEndpoint, SimulatedReply
from sutro_stream.testing.simulated_trace import Trace
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, Usage


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that is out, and what came back for it."""

    event: anyio.Event
    reply: SimulatedReply | None = None


@dataclass(slots=True, eq=False)
class SimulatedEngine:
    """An `Engine` for tests of control: capacity, rate limits, failures, drift.

    On the virtual clock (`run_virtual`) minutes of traffic pass in a second. Every
    answer is the prompt itself. Time 0 of the endpoint is when the engine is opened
    for the first time.

    Attributes:
        endpoint: How requests are served.
        default_concurrency: As an engine's.
        trace: What the endpoint has seen, in tenths of a second.
    """

    endpoint: SimulatedEndpoint = field(default_factory=SimulatedEndpoint)
    default_concurrency: int = 64
    trace: Trace = field(default_factory=Trace)
    _waiting: dict[int, _Waiting] = field(default_factory=dict)
    _keys: count[int] = field(default_factory=count)
    _news: anyio.Event | None = None
    _started_s: float | None = None
    _stack: AsyncExitStack | None = None

    @property
    def name(self) -> str:
        """See `Engine`."""
        return "the simulated engine"

    @property
    def model(self) -> str | None:
        """See `Responder`."""
        return "simulated"

    async def __aenter__(self) -> Self:
        """See `Engine`."""
        if self._stack is not None:
            raise ConfigurationError(f"{self.name} is open already")
        if self._started_s is None:
            self._started_s = anyio.current_time()
        stack = AsyncExitStack()
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._serve)
        self._stack = stack
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `Engine`."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def bind(self, instructions: Instructions) -> Self:  # noqa: ARG002 - all the same
        """See `Engine`."""
        if self._stack is None:
            raise ConfigurationError(f"{self.name} is not open")
        return self

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:  # noqa: ARG002
        """See `Responder`."""
        key, waiting = next(self._keys), _Waiting(anyio.Event())
        self._waiting[key] = waiting
        self.endpoint.arrive(key, self._now_s())
        self.trace.at(self._now_s()).sent += 1
        self._wake()
        try:
            await waiting.event.wait()
        except BaseException:
            if self._waiting.pop(key, None) is not None:
                self.endpoint.leave(key, self._now_s())
                self._wake()
            raise
        reply = waiting.reply
        if reply is None:
            raise AssertionError
        error = reply.error()
        if error is not None:
            raise error
        tokens = len(prompt.split())
        return Answer(
            text=prompt,
            finish_reason="stop",
            usage=Usage(input_tokens=tokens, output_tokens=tokens),
            model=self.model,
            rate_hint=reply.hint,
        )

    def _now_s(self) -> float:
        return anyio.current_time() - (self._started_s or 0.0)

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()

    async def _serve(self) -> None:
        while True:
            for key, reply in self.endpoint.replies(self._now_s()):
                self._deliver(key, reply)
            self._news = anyio.Event()
            next_s = self.endpoint.next_event_s
            if next_s is None:
                await self._news.wait()
            else:
                with anyio.move_on_after(next_s - self._now_s()):
                    await self._news.wait()

    def _deliver(self, key: int, reply: SimulatedReply) -> None:
        waiting = self._waiting.pop(key)
        moment = self.trace.at(self._now_s())
        if reply.ending == "answered":
            moment.answered += 1
        elif reply.ending == "refused":
            moment.refused += 1
        else:
            moment.failed += 1
        moment.in_flight = len(self._waiting)
        waiting.reply = reply
        waiting.event.set()
