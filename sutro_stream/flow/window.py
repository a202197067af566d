"""Concluded rows on their way out: put back in order, or handed on as they come.

Beside them, the input that they keep alive.

No I/O and no waiting: the stage around it asks and acts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """How far work may run ahead of the consumer.

    Attributes:
        span_rows: Most rows between the oldest one not handed on and the newest
            one begun. Bounds what an early straggler can hold back.
        span_bytes: Most bytes of input batches kept alive by rows not handed on;
            checked before another batch is taken in.
        ready_rows: Most concluded rows waiting for the consumer. Bounds what is
            asked for after the consumer has stopped taking.
    """

    span_rows: int
    span_bytes: int
    ready_rows: int


class Window(Generic[ItemT]):
    """The rows between their first request and the consumer.

    Every row gets a ticket, counting from 0, when it is begun. Invariant: a row
    is in exactly one of three places: begun, concluded, taken.

    Concurrency: one event loop; no method waits.
    """

    def __init__(self, limits: WindowLimits, *, ordered: bool) -> None:
        """An empty window.

        Rows are taken in the order in which they were begun if `ordered`, else in the
        order in which they were concluded.
        """
        self._span_rows = limits.span_rows
        self._ready_rows = limits.ready_rows
        self._ordered = ordered
        self._begun = 0
        self._concluded = 0
        self._taken = 0
        self._ready: deque[ItemT] = deque()
        self._held: dict[int, ItemT] = {}

    def __repr__(self) -> str:
        return (
            f"<Window {self._begun} begun, {self._concluded} concluded, "
            f"{len(self._held)} held, {len(self._ready)} ready>"
        )

    @property
    def held(self) -> int:
        """Concluded rows that wait for an earlier one."""
        return len(self._held)

    @property
    def unfinished(self) -> int:
        """Rows begun and not concluded."""
        return self._begun - self._concluded

    @property
    def ready(self) -> int:
        """Rows that can be taken now."""
        return len(self._ready)

    def room(self) -> int:
        """How many more rows may be begun now."""
        span = self._span_rows - (self._begun - self._taken)
        ready = self._ready_rows - len(self._ready)
        return max(0, min(span, ready))

    def begin(self) -> int | None:
        """Register a row and return its ticket, `None` without room for one more."""
        ticket = self._begun
        is_far = ticket - self._taken >= self._span_rows
        if is_far or len(self._ready) >= self._ready_rows:
            return None
        self._begun = ticket + 1
        return ticket

    def conclude(self, ticket: int, item: ItemT) -> bool:
        """Hand in a row's outcome; whether rows became ready by it."""
        self._concluded += 1
        if not self._ordered:
            self._ready.append(item)
            return True
        if ticket != self._taken + len(self._ready):
            self._held[ticket] = item
            return False
        self._ready.append(item)
        following = ticket + 1
        while (held := self._held.pop(following, None)) is not None:
            self._ready.append(held)
            following += 1
        return True

    def take(self) -> list[ItemT]:
        """All rows that are ready; they leave the window."""
        items = list(self._ready)
        self._ready.clear()
        self._taken += len(items)
        return items


class BatchMemory:
    """Bytes of input kept alive by rows not yet handed on.

    Concurrency: one event loop; no method waits.

    Attributes:
        size_bytes: Of all batches of which at least one row is not handed on.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        # By identity: rows that still need it, and its size.
        self._held: dict[int, tuple[int, int]] = {}

    def add(self, batch: object, *, rows: int, size_bytes: int) -> None:
        """Note a batch that came in; one without rows is not held."""
        if rows:
            self._held[id(batch)] = rows, size_bytes
            self.size_bytes += size_bytes

    def release(self, batches: Iterable[object]) -> None:
        """Note rows that were handed on: for each, the batch it belongs to."""
        for identity, handed_on in Counter(map(id, batches)).items():
            rows, size_bytes = self._held.pop(identity)
            if rows > handed_on:
                self._held[identity] = rows - handed_on, size_bytes
            else:
                self.size_bytes -= size_bytes
