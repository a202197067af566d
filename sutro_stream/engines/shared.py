"""An engine whose capacity several parties share."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.engines.lent import LentEngine, LentResponder
from sutro_stream.flow.fair_slots import FairSlots, Party
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


@dataclass(frozen=True, slots=True)
class SharedEngine(LentEngine):
    """One party's share of an engine: each request waits for a slot.

    The engine belongs to all parties.

    Attributes:
        slots: Requests it is sent at once, whoever asks.
        party: Who asks here.
    """

    slots: FairSlots
    party: Party

    @property
    def default_concurrency(self) -> int:
        """As many as there are slots: a party that is alone gets them all."""
        return self.slots.capacity

    def bind(self, instructions: Instructions) -> SharedResponder:
        """See `Engine`."""
        return SharedResponder(self.engine.bind(instructions), self.slots, self.party)


@dataclass(frozen=True, slots=True)
class SharedResponder(LentResponder):
    """`Responder` that waits for a slot before each request."""

    slots: FairSlots
    party: Party

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`."""
        slots, party = self.slots, self.party
        if not slots.take(party):
            await slots.wait(party)
        try:
            return await self.responder.answer(prompt, seed=seed)
        finally:
            slots.release()
