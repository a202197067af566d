"""The workers of a pool: begun as they are needed, parked while they are not."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup

from sutro_stream.flow.backlog import Task
from sutro_stream.flow.throttle import Ticket
from sutro_stream.flow.wait_queue import WaitQueue


@dataclass(slots=True, eq=False)
class Lane:
    """One worker: what it works on, and the scope that a deadline cancels."""

    task: Task | None = None
    overdue: Task | None = None
    ticket: Ticket | None = None
    started_s: float = 0.0
    scope: anyio.CancelScope | None = None


class Lanes:
    """At most so many workers, none of which exists before there is work for it.

    Concurrency: one event loop.
    """

    def __init__(
        self, work: Callable[[Lane], Coroutine[Any, Any, None]], *, most: int
    ) -> None:
        """No worker yet.

        Args:
            work: What each does until there is nothing left to do.
            most: Most of them; at least 1.
        """
        self._work = work
        self._most = most
        self._lanes: list[Lane] = []
        self._waiting = WaitQueue()
        self._tasks: TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._lanes)

    def open(self, tasks: TaskGroup) -> None:
        """Begin workers in this group from now on."""
        self._tasks = tasks

    def rouse(self, rows: int) -> None:
        """Have so many parked workers look for work, and begin those missing."""
        missing = min(rows - len(self._waiting), self._most - len(self._lanes))
        self._waiting.wake(rows)
        if missing > 0 and self._tasks is not None:
            for _ in range(missing):
                lane = Lane()
                self._lanes.append(lane)
                self._tasks.start_soon(self._work, lane)

    def rouse_all(self) -> None:
        """Have every parked worker look."""
        self._waiting.wake_all()

    async def park(self) -> None:
        """Wait, as a worker, until there may be work."""
        await self._waiting.wait()

    def end_late(self, *, started_before_s: float) -> None:
        """Cancel the attempts that began before a time."""
        for lane in self._lanes:
            late = lane.task is not None and lane.started_s < started_before_s
            if late and lane.overdue is None and lane.scope is not None:
                lane.overdue = lane.task
                lane.scope.cancel()
