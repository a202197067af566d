"""An engine whose capacity several parties share."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sutro_stream.engines.engine import Engine, Responder
from sutro_stream.flow.fair_slots import FairSlots, Party
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


@dataclass(frozen=True, slots=True)
class SharedEngine:
    """One party's share of an engine: each request waits for a slot.

    Neither opens nor closes the engine, which belongs to all parties.

    Attributes:
        engine: Open.
        slots: Requests it is sent at once, whoever asks.
        party: Who asks here.
    """

    engine: Engine
    slots: FairSlots
    party: Party

    @property
    def name(self) -> str:
        """See `Engine`."""
        return self.engine.name

    @property
    def default_concurrency(self) -> int:
        """As many as there are slots: a party that is alone gets them all."""
        return self.slots.capacity

    async def __aenter__(self) -> Self:
        """Nothing: the engine is open."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing: the engine stays open."""

    def bind(self, instructions: Instructions) -> SharedResponder:
        """See `Engine`."""
        return SharedResponder(self.engine.bind(instructions), self.slots, self.party)


@dataclass(frozen=True, slots=True)
class SharedResponder:
    """`Responder` that waits for a slot before each request."""

    responder: Responder
    slots: FairSlots
    party: Party

    @property
    def model(self) -> str | None:
        """See `Responder`."""
        return self.responder.model

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`."""
        slots, party = self.slots, self.party
        if not slots.take(party):
            await slots.wait(party)
        try:
            return await self.responder.answer(prompt, seed=seed)
        finally:
            slots.release()
