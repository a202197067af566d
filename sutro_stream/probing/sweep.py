"""Measures an endpoint at one number of requests in flight after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio

from sutro_stream.engines.engine import Engine
from sutro_stream.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    RunStoppedError,
)
from sutro_stream.flow.budget import Budget
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.pipeline.infer import Concurrency, Infer
from sutro_stream.pipeline.limits import Limits
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.probing.levels import Level, is_past_knee, level_of, percentile
from sutro_stream.probing.timing import TimedEngine, Timings
from sutro_stream.rendering.columns import Prompts
from sutro_stream.sources.memory import RowsSource
from sutro_stream.values.instructions import Instructions

_SECONDS_PER_MINUTE = 60
# A level must last for some answers of each slot, or it measures how it began.
_ANSWERS_PER_SLOT = 4
_TOO_SHORT = 1.5
_LONGEST_S = 120.0
# The search needs its time before what it found can be measured.
_SEARCH_TIMES = 3
# What is in flight when the time is over, and whatever the endpoint queues behind it.
_GRACE_S = 120.0
# Of an endpoint that answers nobody there is nothing to measure.
_PATIENCE_S = 5.0
_CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What to measure.

    Attributes:
        prompts: Sent in turn, again from the start behind the last.
        instructions: What all requests share.
        seconds: Length of each level; slow answers make it longer.
        most_in_flight: Last level, if none before shows the end.
        with_auto: Whether to find out what `concurrency="auto"` finds.
    """

    prompts: Sequence[str] = field(repr=False)
    instructions: Instructions
    seconds: float = 10.0
    most_in_flight: int = 256
    with_auto: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not self.prompts:
            raise ConfigurationError("there is no prompt to send")
        if not self.seconds > 0:
            raise ConfigurationError("a level must last longer than 0 seconds")
        if self.most_in_flight < 1:
            raise ConfigurationError("at least 1 request must be in flight")

    @property
    def steps(self) -> Iterator[int]:
        """Requests in flight, level by level: powers of two, and the most."""
        step = 1
        while step < self.most_in_flight:
            yield step
            step *= 2
        yield self.most_in_flight


async def sweep(
    engine: Engine,
    wanted: Sweep,
    *,
    on_level: Callable[[Level], None] = lambda _: None,
) -> Sequence[Level]:
    """Measure level after level until more requests in flight bring no more.

    Args:
        engine: Open.
        wanted: What to measure.
        on_level: Called with each level when it is over.

    Returns:
        The levels in order; last the one that was found, where it was asked for.

    Cancellation: requests in flight are dropped.

    Raises:
        EngineError: No request can be answered (key, model, nobody there), also
            with one at a time.
    """
    numbers = count()
    levels: list[Level] = []
    for step in wanted.steps:
        try:
            levels.append(await _lasting_level(engine, wanted, step, levels, numbers))
        except EngineError:
            # What answered fewer at once and nothing of this many has shown its end.
            if not levels:
                raise
            break
        on_level(levels[-1])
        if is_past_knee(levels):
            break
    if wanted.with_auto:
        seconds = _SEARCH_TIMES * _lasting(wanted.seconds, levels)
        levels.append(await _measured(engine, wanted, "auto", seconds, numbers))
        on_level(levels[-1])
    return levels


async def _lasting_level(
    engine: Engine,
    wanted: Sweep,
    concurrency: int,
    before: Sequence[Level],
    numbers: Iterator[int],
) -> Level:
    """A level that lasted long enough for its answers, at the second try if need be."""
    seconds = _lasting(wanted.seconds, before)
    level = await _measured(engine, wanted, concurrency, seconds, numbers)
    longer = _lasting(seconds, [level])
    if longer < _TOO_SHORT * seconds:
        return level
    return await _measured(engine, wanted, concurrency, longer, numbers)


def _lasting(seconds: float, levels: Sequence[Level]) -> float:
    """How long a level behind these should be."""
    needed = [_ANSWERS_PER_SLOT * level.p95_s for level in levels[-1:]]
    return max([seconds, *(min(each, _LONGEST_S) for each in needed)])


async def _measured(
    engine: Engine,
    wanted: Sweep,
    concurrency: Concurrency,
    seconds: float,
    numbers: Iterator[int],
) -> Level:
    is_found = concurrency == "auto"
    timings = Timings()
    stage = Infer(
        engine=TimedEngine(engine, timings),
        concurrency=concurrency,
        ordered=False,
        patience_s=min(seconds, _PATIENCE_S),
        retry=RetryPolicy(attempts=1) if not is_found else RetryPolicy(),
        limits=Limits(budget=Budget(minutes=seconds / _SECONDS_PER_MINUTE)),
    )
    rows = RowsSource(rows=_endless(wanted.prompts, numbers), chunk_rows=_CHUNK_ROWS)
    prompting = Prompts(column=("prompt",), instructions=wanted.instructions)
    pipeline: Pipeline[Any] = Pipeline(rows) | prompting | stage
    started_s = anyio.current_time()
    in_flight = await _run(pipeline, seconds)
    ended_s = min(started_s + seconds, anyio.current_time())
    if isinstance(concurrency, int):
        in_flight = concurrency
    return level_of(
        timings.answers,
        timings.failures_s,
        from_s=_steady_from(timings, started_s, ended_s, is_found=is_found),
        to_s=ended_s,
        in_flight=in_flight,
        peak_in_flight=timings.peak_in_flight,
        is_found=is_found,
    )


async def _run(pipeline: Pipeline[Any], seconds: float) -> int:
    """Send requests for so long, and wait for those that are out.

    Returns:
        Requests in flight that the run allowed itself at the end.
    """
    in_flight = 0
    with anyio.move_on_after(seconds + _GRACE_S):
        try:
            async with pipeline.open() as results:
                async for _ in results:
                    in_flight = results.statistics().concurrency or in_flight
        except BudgetExhaustedError:
            # The time is over; it is how every level ends.
            pass
        except RunStoppedError as error:
            raise EngineUnavailableError(str(error)) from error
    return in_flight


def _steady_from(
    timings: Timings, started_s: float, ended_s: float, *, is_found: bool
) -> float:
    """From when on the level is what it will stay.

    All slots begin at once, so the first answers of each say how a burst is taken;
    a search is over in the last third, if ever.
    """
    if is_found:
        return ended_s - (ended_s - started_s) / _SEARCH_TIMES
    usual_s = percentile(sorted(each.seconds for each in timings.answers), 0.5)
    return min(started_s + 2 * usual_s, started_s + (ended_s - started_s) / 2)


async def _endless(
    prompts: Sequence[str], numbers: Iterator[int]
) -> AsyncIterator[str]:
    # Asynchronous, so that reading ahead leaves the loop to the answers.
    for number in numbers:
        yield prompts[number % len(prompts)]
