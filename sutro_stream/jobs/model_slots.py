"""The slots of each model, which all who ask it share."""

from __future__ import annotations

from sutro_stream.engines.engine import Engine
from sutro_stream.flow.fair_slots import FairSlots
from sutro_stream.flow.loop_lag import LoopThrottle
from sutro_stream.values.catalogue import Model


class ModelSlots:
    """Slots by model; a model has as many as it takes requests at once.

    Fewer are given while the event loop cannot keep up with the answers.

    Concurrency: one event loop.
    """

    def __init__(self) -> None:
        self._slots: dict[str, FairSlots] = {}
        self._easing = LoopThrottle()

    def of(self, model: Model, engine: Engine) -> FairSlots:
        """The slots of a model that `engine` answers for."""
        found = self._slots.get(model.name)
        if found is None:
            found = FairSlots(model.concurrency or engine.default_concurrency)
            self._slots[model.name] = found
            self._ease(found)
        return found

    def known(self, name: str) -> FairSlots | None:
        """The slots of a model by its name, `None` while it was not asked."""
        return self._slots.get(name)

    def ease(self, late_s: float) -> None:
        """Take in how late the event loop's own work has just made it, in seconds."""
        if self._easing.note(late_s):
            for slots in self._slots.values():
                self._ease(slots)

    def _ease(self, slots: FairSlots) -> None:
        slots.limit_to(round(self._easing.share * slots.capacity))
