"""Which row is worked on next: fresh ones in order, and those due for a retry.

No I/O and no clock: the time comes as an argument.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.quick import quick


@quick
@dataclass(slots=True, eq=False, kw_only=True)
class Task:
    """One row on its way; mutable, and owned by whoever works on it.

    Attributes:
        batch: The batch it belongs to.
        offset: Its place in the batch.
        payload: What an attempt needs, as `Backlog.add` was given it.
        ticket: Its place in the order of beginning, given by the window.
        attempts: Attempts made at it so far that count.
        extra_requests: Requests beyond one for each attempt that counts.
        failed_at: How many answers there were when an attempt at it failed last
            (`Outage.answers`), -1 when none has.
        failures: Attempts that failed at that number of answers.
        is_suspect: Whether it has failed while others were answered.
        refused_s: Since when it is refused for the rate, `None` when it is not.
    """

    batch: PromptBatch
    offset: int
    payload: Any
    ticket: int = -1
    attempts: int = 0
    extra_requests: int = 0
    failed_at: int = -1
    failures: int = 0
    is_suspect: bool = False
    refused_s: float | None = None

    @property
    def index(self) -> int:
        """0-based position of the row in the stream."""
        return self.batch.first_index + self.offset


class Backlog:
    """Rows not being worked on at the moment.

    Concurrency: one event loop; no method waits.

    Attributes:
        fresh: Rows never begun; to be read only.
    """

    def __init__(self) -> None:
        self._batches: deque[Iterator[Task]] = deque()
        # Looked at for every row: see `Gate.is_always_open`.
        self.fresh = 0
        self._delayed: list[tuple[float, int, Task]] = []
        self._order = count()
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open"
        return f"<Backlog {state}, {self.fresh} fresh, {len(self._delayed)} delayed>"

    @property
    def delayed(self) -> int:
        """Rows waiting for their next attempt."""
        return len(self._delayed)

    @property
    def next_due_s(self) -> float | None:
        """Time at which the first delayed row is due, `None` without any."""
        return self._delayed[0][0] if self._delayed else None

    @property
    def drained(self) -> bool:
        """Whether there is nothing left to take, now or later."""
        return self._ended and not self.fresh and not self._delayed

    def add(self, batch: PromptBatch, payloads: list[Any]) -> None:
        """Append a batch, with one payload for each of its rows."""
        self.fresh += len(payloads)
        self._batches.append(
            Task(batch=batch, offset=offset, payload=payload)
            for offset, payload in enumerate(payloads)
        )

    def end(self) -> None:
        """Say that no more batches will come."""
        self._ended = True

    def postpone(self, task: Task, due_s: float) -> None:
        """Give a begun row back until `due_s`."""
        heapq.heappush(self._delayed, (due_s, next(self._order), task))

    def due(self, now_s: float) -> int:
        """How many delayed rows are due."""
        if not self._delayed or self._delayed[0][0] > now_s:
            return 0
        return sum(due_s <= now_s for due_s, _, _ in self._delayed)

    def take_due(self, now_s: float) -> Task | None:
        """The delayed row that has been due the longest, `None` without any."""
        if self._delayed and self._delayed[0][0] <= now_s:
            return heapq.heappop(self._delayed)[2]
        return None

    def take_fresh(self) -> Task | None:
        """The next fresh row in order, `None` without any."""
        while self._batches:
            task = next(self._batches[0], None)
            if task is not None:
                self.fresh -= 1
                return task
            self._batches.popleft()
        return None
