"""The engines of a deployment, opened when they are needed and shared by all jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self, TypeAlias

import anyio
from anyio.abc import TaskGroup

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.confidence import ALTERNATIVES, MORE_ALTERNATIVES
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.group import EngineGroup
from sutro_stream.engines.local import LocalEngine
from sutro_stream.engines.tokenizer import LendsTokenizer, SharedTokenizer, Tokenizer
from sutro_stream.errors import (
    ConfigurationError,
    EngineUnavailableError,
    SutroStreamError,
)
from sutro_stream.flow.groups import single_error
from sutro_stream.values.catalogue import EMBEDDED_CONTEXT_TOKENS, Model, ModelKind
from sutro_stream.values.endpoint import Endpoint

_MOST_EMBEDDED_PARALLEL = 8

EnginesFor: TypeAlias = Callable[[Model], Sequence[Engine]]
"""What serves a model: at least one engine, none of them open."""


def engines_for(model: Model) -> Sequence[Engine]:
    """One engine for each endpoint of a model, none of them open.

    Raises:
        ConfigurationError: The model cannot be served as it is described.
    """
    if model.endpoints:
        return [_remote(model, endpoint) for endpoint in model.endpoints]
    parallel = min(
        _MOST_EMBEDDED_PARALLEL, model.concurrency or _MOST_EMBEDDED_PARALLEL
    )
    return [
        LocalEngine(
            model.gguf,
            parallel=parallel,
            context_tokens=model.context_window or EMBEDDED_CONTEXT_TOKENS,
            embedding=model.kind is ModelKind.EMBEDDING,
        )
    ]


def alternatives(model: Model) -> int:
    """How many alternatives `scoring` may ask a model for."""
    if all(endpoint.dialect == "llama.cpp" for endpoint in model.endpoints):
        return MORE_ALTERNATIVES
    return ALTERNATIVES


def _remote(model: Model, endpoint: Endpoint) -> Engine:
    name = model.served_name or model.name
    if model.kind is ModelKind.EMBEDDING:
        return EmbeddingEngine.of(endpoint, name)
    if endpoint.dialect == "llama.cpp":
        # Without streaming, a busy llama.cpp does not notice a request's end.
        endpoint = replace(endpoint, stream=True)
    return ChatEngine.of(endpoint, name)


@dataclass(slots=True, eq=False)
class _Slot:
    """A model's engine, from the wish for it to its end.

    Attributes:
        engine: What requests are sent through.
        members: The engines behind it.
        settled: Set once it is open, or cannot be opened.
        opening: Around its opening.
        leave: Set when it is to be closed.
        failure: Why it cannot be opened, `None` unless it cannot.
    """

    engine: Engine
    members: Sequence[Engine]
    settled: anyio.Event = field(default_factory=anyio.Event)
    opening: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    leave: anyio.Event = field(default_factory=anyio.Event)
    failure: SutroStreamError | None = None

    @property
    def is_dead(self) -> bool:
        """Whether it was open and will not answer again."""
        return self.settled.is_set() and any(
            isinstance(member, LocalEngine) and not member.is_alive
            for member in self.members
        )


class EnginePool:
    """The open engines of a deployment's models.

    Used as `async with`. An engine is opened when a model is first asked for, and
    closed with the pool. Each lives in a task of its own, so that it is closed by the
    task that opened it, whichever tasks use it.

    Concurrency: one event loop, any number of tasks.
    """

    def __init__(self, *, engines_for: EnginesFor = engines_for) -> None:
        """A pool without engines.

        Args:
            engines_for: What serves a model.
        """
        self._engines_for = engines_for
        self._slots: dict[str, _Slot] = {}
        self._tasks: TaskGroup | None = None
        self._stack: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"<EnginePool {', '.join(self._slots) or 'without engines'}>"

    async def __aenter__(self) -> Self:
        """Make ready; nothing is opened.

        Raises:
            ConfigurationError: It is open already.
        """
        if self._stack is not None:
            raise ConfigurationError("the pool of engines is open already")
        async with AsyncExitStack() as stack:
            stack.enter_context(single_error())
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close all engines; requests that are out fail."""
        stack, self._stack, self._tasks = self._stack, None, None
        slots, self._slots = self._slots, {}
        for slot in slots.values():
            slot.opening.cancel()
            slot.leave.set()
        if stack is None:
            return None
        return await stack.__aexit__(exc_type, exc, traceback)

    async def engine(self, model: Model) -> Engine:
        """The model's engine, open.

        One that has died is replaced; who still uses it keeps getting
        `EngineUnavailableError`. One that could not be opened is tried anew.

        Cancellation: the engine goes on opening, for whoever asks next.

        Raises:
            ConfigurationError: The pool is closed, or the model cannot be served
                as it is described.
            EngineUnavailableError: The engine cannot be opened; says what to do.
        """
        return (await self._open(model)).engine

    def state(self, model: Model) -> str:
        """`"idle"`, `"opening"`, `"open"` or `"dead"`."""
        slot = self._slots.get(model.name)
        if slot is None:
            return "idle"
        if slot.is_dead:
            return "dead"
        return "open" if slot.settled.is_set() else "opening"

    async def tokenizer(self, model: Model) -> Tokenizer | None:
        """The tokenizer of the model's engine, which is opened if need be.

        Returns:
            `None` where no endpoint has one to ask.

        Raises:
            ConfigurationError: As `engine`.
            EngineUnavailableError: As `engine`.
        """
        slot = await self._open(model)
        lent = [
            tokenizer
            for member in slot.members
            if isinstance(member, LendsTokenizer)
            and (tokenizer := member.tokenizer()) is not None
        ]
        return SharedTokenizer(lent) if lent else None

    async def _open(self, model: Model) -> _Slot:
        if self._tasks is None:
            raise ConfigurationError(
                "the pool of engines is not open; use it inside `async with pool:`"
            )
        slot = self._slots.get(model.name)
        if slot is not None and slot.is_dead:
            slot.leave.set()
            slot = None
        if slot is None:
            members = self._engines_for(model)
            engine = members[0] if len(members) == 1 else EngineGroup(members)
            slot = self._slots[model.name] = _Slot(engine, members)
            self._tasks.start_soon(self._own, model.name, slot)
        await slot.settled.wait()
        if slot.failure is not None:
            raise slot.failure
        return slot

    async def _own(self, name: str, slot: _Slot) -> None:
        slot.failure = EngineUnavailableError(
            f"the engine of model {name} was closed before it was open"
        )
        try:
            async with AsyncExitStack() as stack:
                with slot.opening:
                    slot.failure = await self._failure(stack, slot)
                if slot.failure is None:
                    slot.settled.set()
                    await slot.leave.wait()
        finally:
            if slot.failure is not None and self._slots.get(name) is slot:
                del self._slots[name]
            slot.settled.set()

    async def _failure(
        self, stack: AsyncExitStack, slot: _Slot
    ) -> SutroStreamError | None:
        """Open the engine; why that was not possible."""
        try:
            await stack.enter_async_context(slot.engine)
        except SutroStreamError as error:
            return error
        return None
