"""A number of slots that several tenants share, each by its weight.

Who is next is decided for every slot that comes free, so that a small tenant is
served at once beside a huge one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from sutro_stream.errors import ConfigurationError


@dataclass(slots=True, eq=False)
class Tenant:
    """Those who share one weight; made and written by `FairSlots` alone.

    Attributes:
        name: What tells it from others.
        weight: Its share, relative to those of the others.
        served: Slots it was given, each divided by its weight; never below what
            the others had when it last joined them.
        members: How many have joined and not left.
        waiting: Who waits, first come first served.
    """

    name: Hashable
    weight: float
    served: float = 0.0
    members: int = 0
    waiting: deque[anyio.Event] = field(default_factory=deque)


class FairSlots:
    """Slots given by weighted fair queueing (start-time, virtual time in slots).

    A tenant that asks for nothing saves nothing up: when it comes back it is as far
    as those that are being served.

    Concurrency: one event loop, any number of tasks.

    Attributes:
        capacity: Slots there are.
        limit: Slots that may be taken at present, at most `capacity`.
        used: Slots taken now.
    """

    def __init__(self, capacity: int) -> None:
        """All free.

        Raises:
            ConfigurationError: `capacity` is below 1.
        """
        if capacity < 1:
            raise ConfigurationError("there must be at least 1 slot")
        self.capacity = capacity
        self.limit = capacity
        self.used = 0
        self._time = 0.0
        self._tenants: dict[Hashable, Tenant] = {}

    def limit_to(self, limit: int) -> None:
        """Give only so many slots from now on, of 1 to all; none is taken back."""
        self.limit = max(1, min(limit, self.capacity))
        while self._give_next():
            pass

    @property
    def waiting(self) -> int:
        """Who waits for one now."""
        return sum(len(tenant.waiting) for tenant in self._tenants.values())

    @contextmanager
    def joined(self, name: Hashable, *, weight: float = 1.0) -> Iterator[Tenant]:
        """Belong to a tenant while the context is entered.

        All who join by the same name are one; the weight of the last counts.

        Raises:
            ConfigurationError: `weight` is not above 0.
        """
        if not weight > 0:
            raise ConfigurationError("a weight must be above 0")
        tenant = self._tenants.setdefault(name, Tenant(name, weight))
        tenant.weight = weight
        tenant.members += 1
        try:
            yield tenant
        finally:
            tenant.members -= 1
            if not tenant.members:
                del self._tenants[name]

    def take(self, tenant: Tenant) -> bool:
        """Take a slot, to be given back by `release`, if one is free."""
        if self.used >= self.limit:
            return False
        self._give(tenant)
        return True

    async def wait(self, tenant: Tenant) -> None:
        """Wait for a slot, to be given back by `release`.

        Cancellation: the place in the queue is given up.
        """
        event = anyio.Event()
        tenant.waiting.append(event)
        try:
            await event.wait()
        except anyio.get_cancelled_exc_class():
            # A slot that was given meanwhile must not be lost.
            if event.is_set():
                self.release()
            else:
                tenant.waiting.remove(event)
            raise

    def _give(self, tenant: Tenant) -> None:
        self.used += 1
        self._time = max(tenant.served, self._time)
        tenant.served = self._time + 1.0 / tenant.weight

    def release(self) -> None:
        """Give a slot back, to whoever is next."""
        self.used -= 1
        self._give_next()

    def _give_next(self) -> bool:
        """Give a free slot to who is next; whether there are both."""
        waiting = [tenant for tenant in self._tenants.values() if tenant.waiting]
        if not waiting or self.used >= self.limit:
            return False
        following = min(waiting, key=lambda one: max(one.served, self._time))
        event = following.waiting.popleft()
        self._give(following)
        event.set()
        return True
