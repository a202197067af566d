"""Requests to an engine, counted by how they ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sutro_stream.engines.wrapper import EngineWrapper, ResponderWrapper
from sutro_stream.errors import EngineError, RateLimitedError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer

ANSWERED = "answered"
RATE_LIMITED = "rate_limited"
FAILED = "failed"
DROPPED = "dropped"
RESULTS = (ANSWERED, RATE_LIMITED, FAILED, DROPPED)


@dataclass(slots=True)
class RequestCounts:
    """What became of requests.

    Concurrency: written from one event loop.

    Attributes:
        by_result: Requests by how they ended, one of `RESULTS`; `DROPPED` is for
            those that took too long or that nobody waited for any longer.
        input_tokens: Of answers, as counted by the engine.
        output_tokens: As `input_tokens`.
    """

    by_result: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0

    def answered(self, answer: Answer) -> None:
        """Count an answer and its tokens."""
        self.by_result[ANSWERED] += 1
        if answer.usage is not None:
            self.input_tokens += answer.usage.input_tokens
            self.output_tokens += answer.usage.output_tokens


@dataclass(frozen=True, slots=True)
class CountedEngine(EngineWrapper):
    """An engine whose requests are counted; neither opens nor closes it.

    Attributes:
        counts: Where they are counted.
    """

    counts: RequestCounts

    def bind(self, instructions: Instructions) -> CountedResponder:
        return CountedResponder(self.engine.bind(instructions), self.counts)


@dataclass(frozen=True, slots=True)
class CountedResponder(ResponderWrapper):
    """`Responder` that counts."""

    counts: RequestCounts

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        try:
            answer = await self.responder.answer(prompt, seed=seed)
        except BaseException as error:
            self.counts.by_result[_result(error)] += 1
            raise
        self.counts.answered(answer)
        return answer


def _result(error: BaseException) -> str:
    if isinstance(error, RateLimitedError):
        return RATE_LIMITED
    return FAILED if isinstance(error, EngineError) else DROPPED
