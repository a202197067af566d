"""A second request with more room, for an answer that was cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sutro_stream.engines.engine import Responder
from sutro_stream.engines.wrapper import ResponderWrapper
from sutro_stream.errors import EngineError
from sutro_stream.values.outcomes import Answer, Usage


@dataclass(frozen=True, slots=True)
class RetryTruncatedResponder(ResponderWrapper):
    """`Responder` that asks once more, with more room, where an answer was cut off.

    The second answer takes the place of the first, whatever it is; tokens and requests
    of both are counted, as both are paid for.

    Attributes:
        roomier: Asked when the first answer was cut off.
        is_cut: Whether an answer is useless without more room.
    """

    roomier: Responder
    is_cut: Callable[[Answer], bool]

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`; an error of the second request is raised."""
        cut = await self.responder.answer(prompt, seed=seed)
        if not self.is_cut(cut):
            return cut
        try:
            answer = await self.roomier.answer(prompt, seed=seed)
        except EngineError as error:
            error.requests += cut.requests
            raise
        return replace(
            answer,
            usage=sum_usage(cut.usage, answer.usage),
            requests=cut.requests + answer.requests,
        )


def sum_usage(first: Usage | None, second: Usage | None) -> Usage | None:
    """The tokens of two answers together, as far as they are known."""
    if first is None or second is None:
        return first or second
    return Usage(
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        cached_tokens=first.cached_tokens + second.cached_tokens,
    )
