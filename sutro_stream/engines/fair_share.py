"""An engine whose capacity several tenants share."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.engines.wrapper import EngineWrapper, ResponderWrapper
from sutro_stream.flow.fair_slots import FairSlots, Tenant
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


@dataclass(frozen=True, slots=True)
class FairShareEngine(EngineWrapper):
    """One tenant's share of an engine: each request waits for a slot.

    The engine belongs to all tenants.

    Attributes:
        slots: Requests it is sent at once, whoever asks.
        tenant: Who asks here.
    """

    slots: FairSlots
    tenant: Tenant

    @property
    def default_concurrency(self) -> int:
        """As many as there are slots: a tenant that is alone gets them all."""
        return self.slots.capacity

    def bind(self, instructions: Instructions) -> FairShareResponder:
        return FairShareResponder(
            self.engine.bind(instructions), self.slots, self.tenant
        )


@dataclass(frozen=True, slots=True)
class FairShareResponder(ResponderWrapper):
    """`Responder` that waits for a slot before each request."""

    slots: FairSlots
    tenant: Tenant

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        slots, tenant = self.slots, self.tenant
        if not slots.take(tenant):
            await slots.wait(tenant)
        try:
            return await self.responder.answer(prompt, seed=seed)
        finally:
            slots.release()
