"""An engine that costs nothing, for measuring what everything around it does."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantEngine:
    """An `Engine` that answers every prompt with itself, without waiting.

    Attributes:
        default_concurrency: As an engine's.
    """

    default_concurrency: int = 128

    @property
    def name(self) -> str:
        """See `Engine`."""
        return "the instant engine"

    @property
    def model(self) -> str | None:
        """See `Responder`."""
        return "instant"

    async def __aenter__(self) -> Self:
        """See `Engine`."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `Engine`."""

    def bind(self, instructions: Instructions) -> Self:
        """See `Engine`."""
        del instructions
        return self

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`."""
        del seed
        return Answer(
            text=prompt,
            finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1),
            model="instant",
        )
