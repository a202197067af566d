"""A run with stragglers and failures, hedged and not, on virtual time."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import anyio
import pytest

import sutro_stream as ss
from sutro_stream.engines.hedging import Hedge, HedgedResponder, hedged
from sutro_stream.errors import ServiceError
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual
from sutro_stream.values.instructions import Instructions

ROWS = 2000
CONCURRENCY = 256
LATENCY_S = 0.1
STRAGGLER_S = 8.0
FAULT = ServiceError("overloaded", status=500)
# With these no row meets two 500s one after the other: the waits between its
# attempts alone can take as long as the whole run may.
SEEDS = (0, 2, 3, 4, 6)


class HedgedEngine:
    """A scripted engine whose calls are hedged."""

    def __init__(self, engine: ScriptedEngine, hedge: Hedge) -> None:
        self._engine = engine
        self._hedge = hedge
        self._stack = AsyncExitStack()
        self.responder: HedgedResponder | None = None

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def default_concurrency(self) -> int:
        return self._engine.default_concurrency

    async def __aenter__(self) -> Self:
        engine = await self._stack.enter_async_context(self._engine)
        context = hedged(engine.bind(Instructions()), self._hedge)
        self.responder = await self._stack.enter_async_context(context)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)

    def bind(self, _: Instructions) -> HedgedResponder:
        assert self.responder is not None
        return self.responder


def faulty_engine(seed: int) -> ScriptedEngine:
    """2 % of 500s, 0.5 % of stragglers; each request draws for itself."""

    def script(prompt: str, attempt: int) -> ScriptedReply:
        draw = random.Random(f"{seed} {prompt} {attempt}").random()
        if draw < 0.02:
            return ScriptedReply(error=FAULT, latency_s=LATENCY_S)
        is_late = draw < 0.025
        latency_s = STRAGGLER_S if is_late else LATENCY_S
        return ScriptedReply(text=prompt, latency_s=latency_s)

    return ScriptedEngine(script)


async def seconds_of_run(engine: ss.Engine) -> float:
    """How long all rows take; all are answered."""
    rows = [{"text": f"t{index}"} for index in range(ROWS)]
    stage = ss.infer(engine, concurrency=CONCURRENCY)
    pipeline = ss.from_rows(rows) | ss.prompts("text") | stage
    async with pipeline.open() as results:
        outputs = [result.output async for result in results]
    assert outputs == [row["text"] for row in rows]
    return anyio.current_time()


@pytest.mark.parametrize("seed", SEEDS)
def test_hedging_keeps_stragglers_from_ending_the_run_late(seed: int) -> None:
    """All rows within 2.5 seconds, for less than 3 % further requests."""

    async def scenario() -> None:
        engine = faulty_engine(seed)
        async with HedgedEngine(engine, Hedge()) as hedging:
            seconds = await seconds_of_run(hedging)
            assert hedging.responder is not None
            seen = hedging.responder.statistics()
        assert seconds <= 2.5
        assert seen.requests == engine.calls.total()
        assert 0 < seen.requests - seen.calls < 0.03 * seen.calls
        assert seen.hedges_won > 0
        assert (seen.in_flight, engine.in_flight) == (0, 0)

    run_virtual(scenario)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_hedging_the_last_straggler_ends_the_run(seed: int) -> None:
    """Nothing but that one is waited for."""

    async def scenario() -> None:
        async with faulty_engine(seed) as engine:
            assert STRAGGLER_S < await seconds_of_run(engine) <= 9.0

    run_virtual(scenario)
