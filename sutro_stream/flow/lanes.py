"""The workers of a pool: begun as they are needed, parked while they are not."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup

from sutro_stream.flow.backlog import Task
from sutro_stream.flow.throttle import Ticket


@dataclass(slots=True, eq=False)
class Lane:
    """One worker: what it works on, and the scope that a deadline cancels."""

    task: Task | None = None
    is_probe: bool = False
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
        """No worker yet; each does `work` until there is nothing left to do."""
        self._work = work
        self._most = most
        self._lanes: list[Lane] = []
        self._parked: deque[anyio.Event] = deque()
        self._tasks: TaskGroup | None = None

    def open(self, tasks: TaskGroup) -> None:
        """Begin workers in this group from now on."""
        self._tasks = tasks

    @property
    def has_too_many(self) -> bool:
        """Whether there is one more than there should be, left by a probe."""
        return len(self._lanes) > self._most

    def leave(self, lane: Lane) -> None:
        """Note that a worker ends before the others."""
        self._lanes.remove(lane)

    def oldest_s(self) -> float | None:
        """When the request was sent that has been out longest, `None` without one."""
        starts = [lane.started_s for lane in self._lanes if lane.task is not None]
        return min(starts, default=None)

    def rouse(self, rows: int, *, is_probe: bool = False) -> None:
        """Have so many parked workers look for work, and begin those missing.

        Waking more than there are rows would cost a context switch for each; so one
        is woken for one row, the longest waiting first. For a probe one more than
        usual may be begun, as all others may wait for an endpoint that is silent.
        """
        most = self._most + is_probe
        missing = min(rows - len(self._parked), most - len(self._lanes))
        for _ in range(min(rows, len(self._parked))):
            self._parked.popleft().set()
        if missing > 0 and self._tasks is not None:
            for _ in range(missing):
                lane = Lane()
                self._lanes.append(lane)
                self._tasks.start_soon(self._work, lane)

    def rouse_all(self) -> None:
        """Have every parked worker look."""
        while self._parked:
            self._parked.popleft().set()

    async def park(self) -> None:
        """Wait, as a worker, until there may be work.

        Cancellation: a wake-up that had already been given is passed on.
        """
        event = anyio.Event()
        self._parked.append(event)
        try:
            await event.wait()
        except anyio.get_cancelled_exc_class():
            # A wake-up that nobody takes would leave a row without a worker.
            if not event.is_set():
                self._parked.remove(event)
            elif self._parked:
                self._parked.popleft().set()
            raise

    def end_late(
        self, now_s: float, *, timeout_s: float | None, probe_limit_s: float
    ) -> None:
        """Cancel the attempts that take longer than they may."""
        usual_s = math.inf if timeout_s is None else timeout_s
        for lane in self._lanes:
            limit_s = min(usual_s, probe_limit_s) if lane.is_probe else usual_s
            late = lane.task is not None and now_s - lane.started_s > limit_s
            if late and lane.overdue is None and lane.scope is not None:
                lane.overdue = lane.task
                lane.scope.cancel()
