"""A number of slots that several parties share, each by its weight.

Who is next is decided for every slot that comes free, so that a small party is
served at once beside a huge one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio

from sutro_stream.errors import ConfigurationError


@dataclass(slots=True, eq=False)
class Party:
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

    A party that asks for nothing saves nothing up: when it comes back it is as far
    as those that are being served.

    Concurrency: one event loop, any number of tasks.
    """

    def __init__(self, capacity: int) -> None:
        """All free.

        Raises:
            ConfigurationError: `capacity` is below 1.
        """
        if capacity < 1:
            raise ConfigurationError("there must be at least 1 slot")
        self.capacity = capacity
        self._limit = capacity
        self._used = 0
        self._time = 0.0
        self._parties: dict[Hashable, Party] = {}

    @property
    def used(self) -> int:
        """Slots taken now."""
        return self._used

    @property
    def limit(self) -> int:
        """Slots that may be taken at present, at most `capacity`."""
        return self._limit

    def limit_to(self, limit: int) -> None:
        """Give only so many slots from now on; those taken are not taken back.

        Args:
            limit: At least 1; more than the capacity is the capacity.
        """
        self._limit = max(1, min(limit, self.capacity))
        while self._give_next():
            pass

    @property
    def waiting(self) -> int:
        """Who waits for one now."""
        return sum(len(party.waiting) for party in self._parties.values())

    @contextmanager
    def joined(self, name: Hashable, *, weight: float = 1.0) -> Iterator[Party]:
        """Belong to a party while the context is entered.

        Args:
            name: All who join by the same name are one party.
            weight: Its share; that of the last who joined counts.

        Raises:
            ConfigurationError: `weight` is not above 0.
        """
        if not weight > 0:
            raise ConfigurationError("a weight must be above 0")
        party = self._parties.setdefault(name, Party(name, weight))
        party.weight = weight
        party.members += 1
        try:
            yield party
        finally:
            party.members -= 1
            if not party.members:
                del self._parties[name]

    @asynccontextmanager
    async def slot(self, party: Party) -> AsyncIterator[None]:
        """Wait for a slot and hold it.

        Cancellation: while waiting, the place in the queue is given up.
        """
        if not self.take(party):
            await self.wait(party)
        try:
            yield
        finally:
            self.release()

    def take(self, party: Party) -> bool:
        """Take a slot, to be given back by `release`, if one is free.

        `slot` in parts, of which this one is enough most of the time: for those who
        do so for every row.
        """
        if self._used >= self._limit:
            return False
        self._give(party)
        return True

    async def wait(self, party: Party) -> None:
        """Wait for a slot, to be given back by `release`; see `slot`."""
        event = anyio.Event()
        party.waiting.append(event)
        try:
            await event.wait()
        except BaseException:
            # Cancelled: a slot that was given meanwhile must not be lost.
            if event.is_set():
                self.release()
            else:
                party.waiting.remove(event)
            raise

    def _give(self, party: Party) -> None:
        self._used += 1
        start = max(party.served, self._time)
        self._time = start
        party.served = start + 1.0 / party.weight

    def release(self) -> None:
        """Give a slot back, to whoever is next."""
        self._used -= 1
        self._give_next()

    def _give_next(self) -> bool:
        """Give a free slot to who is next; whether there are both."""
        if self._used >= self._limit:
            return False
        waiting = [party for party in self._parties.values() if party.waiting]
        if not waiting:
            return False
        following = min(waiting, key=self._start)
        event = following.waiting.popleft()
        self._give(following)
        event.set()
        return True

    def _start(self, party: Party) -> float:
        return max(party.served, self._time)
