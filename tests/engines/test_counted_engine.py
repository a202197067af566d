"""Requests counted by how they ended."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from sutro_stream.engines.request_counts import (
    CountedEngine,
    CountedResponder,
    RequestCounts,
)
from sutro_stream.errors import EngineError, RateLimitedError, TransportError
from sutro_stream.testing import ScriptedEngine
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, Usage


class OneEnding:
    """Lets every request end in the same way."""

    model = "m"

    def __init__(self, end: Callable[[], Answer]) -> None:
        self._end = end

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """End as told."""
        del prompt, seed
        return self._end()


async def test_answers_are_counted_with_their_tokens() -> None:
    """What comes back is what the engine said."""
    counts, answer = (
        RequestCounts(),
        Answer(text="a", usage=Usage(input_tokens=5, output_tokens=2)),
    )
    responder = CountedResponder(OneEnding(lambda: answer), counts)
    assert [await responder.answer("p") for _ in range(3)] == [answer] * 3
    assert dict(counts.by_result) == {"answered": 3}
    assert (counts.input_tokens, counts.output_tokens) == (15, 6)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (RateLimitedError("slower", status=429), "rate_limited"),
        (TransportError("cut off"), "failed"),
    ],
)
async def test_errors_are_counted_and_passed_on(
    error: EngineError, result: str
) -> None:
    """By what they are."""

    def fail() -> Answer:
        raise error

    counts = RequestCounts()
    with pytest.raises(type(error)):
        await CountedResponder(OneEnding(fail), counts).answer("p")
    assert dict(counts.by_result) == {result: 1}


async def test_a_request_that_is_given_up_is_dropped() -> None:
    """No error of the engine's."""
    counts = RequestCounts()

    class Silent:
        model = None

        async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
            del seed
            await anyio.sleep_forever()
            return Answer(text=prompt)

    with anyio.move_on_after(0):
        await CountedResponder(Silent(), counts).answer("p")
    assert dict(counts.by_result) == {"dropped": 1}


async def test_the_engine_stays_open() -> None:
    """It belongs to others as well."""
    async with ScriptedEngine() as engine:
        counted = CountedEngine(engine, RequestCounts())
        async with counted:
            pass
        answer = await counted.bind(Instructions()).answer("p")
    assert answer.text
    assert (counted.name, counted.default_concurrency) == (
        engine.name,
        engine.default_concurrency,
    )
