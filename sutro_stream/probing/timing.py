"""An engine whose answers are timed."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from sutro_stream.engines.wrapper import EngineWrapper, ResponderWrapper
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One answer.

    Attributes:
        ended_s: When it was there, by the event loop's clock.
        seconds: Since its request was sent.
        input_tokens: As counted by the engine, 0 where it does not count.
        output_tokens: As `input_tokens`.
    """

    ended_s: float
    seconds: float
    input_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Timings:
    """What is known of the requests of one run.

    Concurrency: written from one event loop.
    """

    answers: list[Timing] = field(default_factory=list)
    failures_s: list[float] = field(default_factory=list)
    in_flight: int = 0
    peak_in_flight: int = 0


@dataclass(frozen=True, slots=True)
class TimedEngine(EngineWrapper):
    """An engine whose requests are timed; neither opens nor closes it.

    Attributes:
        timings: Where they are kept.
    """

    timings: Timings

    def bind(self, instructions: Instructions) -> TimedResponder:
        """See `Engine`."""
        return TimedResponder(self.engine.bind(instructions), self.timings)


@dataclass(frozen=True, slots=True)
class TimedResponder(ResponderWrapper):
    """`Responder` that is timed."""

    timings: Timings

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`."""
        timings = self.timings
        timings.in_flight += 1
        timings.peak_in_flight = max(timings.peak_in_flight, timings.in_flight)
        started_s = anyio.current_time()
        is_answered = False
        try:
            answer = await self.responder.answer(prompt, seed=seed)
            is_answered = True
        finally:
            timings.in_flight -= 1
            ended_s = anyio.current_time()
            if not is_answered:
                timings.failures_s.append(ended_s)
        usage = answer.usage
        timings.answers.append(
            Timing(
                ended_s=ended_s,
                seconds=ended_s - started_s,
                input_tokens=0 if usage is None else usage.input_tokens,
                output_tokens=0 if usage is None else usage.output_tokens,
            )
        )
        return answer
