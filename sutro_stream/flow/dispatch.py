"""When the next request goes out, for which row, and what is waited for meanwhile.

A worker takes a row (`Dispatch.take`) if the gate admits one: see `Gate` for what that
depends on. Due rows go before fresh ones; in an outage, probes turn to both. Whoever
takes a row sees to the next one: a worker is set to it if it may go out now, else the
clock is told when to look.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from sutro_stream.errors import BudgetExhaustedError, StopReason
from sutro_stream.flow.backlog import Backlog, Task
from sutro_stream.flow.circuit import Circuit
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.lanes import Lanes
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.throttle import LimitOf
from sutro_stream.flow.waiting import LONG_WAIT_S, Patience, Waiting
from sutro_stream.flow.window import Window
from sutro_stream.flow.work import Concluded, PoolConfig

_LONGEST_SWEEP_S = 1.0
_SWEEPS_PER_TIMEOUT = 20
# A clock that does not move between two looks would be looked at for ever.
_LEAST_WAIT_S = 0.001


class Dispatch:
    """Sets workers to rows as they may be asked.

    Concurrency: one event loop; only `keep_time` waits.

    Attributes:
        backlog: Rows that nobody works on.
        window: Rows between their first request and the consumer.
        lanes: The workers.
        gate: Says whether a request may go out.
        circuit: Says what failures mean.
        out: Requests that are out.
        coarse_now_s: The time at the last look at the clock, a second ago at most.
    """

    def __init__(
        self,
        config: PoolConfig,
        meter: Meter,
        *,
        gate: Gate,
        circuit: Circuit,
        window: Window[Concluded],
        lanes: Lanes,
        let_go: Callable[[], None],
    ) -> None:
        """Nothing to send yet; `let_go` concludes rows that the circuit holds."""
        self.backlog = Backlog()
        self.window = window
        self.lanes = lanes
        self.gate = gate
        self.circuit = circuit
        self.outage = gate.outage
        self.out = 0
        self.coarse_now_s = self.idle_since_s = self._started_s = 0.0
        self._meter = meter
        self._timeout_s = config.timeout_s
        self._patience = Patience(config.patience_s)
        self._let_go = let_go
        self._answers_seen = gate.outage.answers
        self._room_due_s = math.inf
        self._alarm = anyio.Event()
        meter.waiting = self.wait_told

    def begin(self) -> None:
        """Note that the run begins now."""
        self.coarse_now_s = self._started_s = anyio.current_time()
        self.gate.listen(self.rouse_waiting)

    def take(self) -> Task | None:
        """The row to ask for next, `None` while none may be."""
        backlog = self.backlog
        if not self.gate.is_always_open and not self._admits():
            return None
        if self.circuit.held and self.circuit.is_doubtful(self.out):
            return None
        if backlog.delayed:
            due_s, is_probing = anyio.current_time(), self.outage.is_on
            # Probes turn to rows that have failed and to others, by turns.
            is_turn = self.outage.failed_probes % 2 and backlog.fresh
            if is_probing:
                due_s = -math.inf if is_turn and self.window.room() else math.inf
            task = backlog.take_due(due_s)
            if task is not None:
                self._meter.backing_off = backlog.delayed
                self._meter.retries += 1
                self._alarm.set()
                return task
        if not backlog.fresh or (ticket := self.window.begin()) is None:
            return None
        task = backlog.take_fresh()
        if task is not None:
            task.ticket = ticket
        return task

    def _admits(self) -> bool:
        now_s = anyio.current_time()
        reason = self.gate.spent(now_s)
        if reason is not None:
            if not self._meter.in_flight and not self.backlog.drained:
                raise BudgetExhaustedError(reason)
            return False
        if self.gate.room(now_s) > 0:
            return True
        self._look_again(now_s)
        return False

    def rouse(self, rows: int) -> None:
        """Set workers to so many rows, as far as they may be sent now."""
        if rows and not self.gate.is_always_open:
            now_s = anyio.current_time()
            room = self.gate.room(now_s)
            if room < rows:
                self._look_again(now_s)
                rows = room
        self.lanes.rouse(rows, is_probe=self.outage.is_on)

    def rouse_waiting(self) -> None:
        """Set workers to the next rows, if there are any that may be sent now.

        One, as whoever takes a row sees to the next, unless nothing holds them back:
        then nobody does.
        """
        backlog = self.backlog
        if self.gate.is_always_open:
            ready = min(backlog.fresh, self.window.room())
            self.lanes.rouse(ready + backlog.due(anyio.current_time()))
            return
        due_s = backlog.next_due_s
        is_due = due_s is not None and due_s <= anyio.current_time()
        if backlog.fresh or is_due or (self.outage.is_on and due_s is not None):
            self.rouse(1)

    def _look_again(self, now_s: float) -> None:
        """Have the clock look for room when time may have made some."""
        wait_s = self.gate.wait_s(now_s)
        if wait_s is not None:
            due_s = now_s + max(wait_s, _LEAST_WAIT_S)
            if due_s < self._room_due_s:
                self._room_due_s = due_s
                self._alarm.set()

    def postpone(self, task: Task, due_s: float) -> None:
        """Have a row asked again at a time."""
        self.backlog.postpone(task, due_s)
        self._meter.backing_off = self.backlog.delayed
        self._alarm.set()

    async def keep_time(self) -> None:
        """Do what time brings, until cancelled."""
        timeout_s = self._timeout_s
        sweep_s = _LONGEST_SWEEP_S
        if timeout_s is not None:
            sweep_s = min(sweep_s, timeout_s / _SWEEPS_PER_TIMEOUT)
        while True:
            now_s = self.coarse_now_s = anyio.current_time()
            if self.gate.is_always_open:
                self.lanes.rouse(self.backlog.due(now_s))
            else:
                self.rouse_waiting()
            self._look_after(now_s)
            wait_s = sweep_s
            due_s = self.backlog.next_due_s
            # A row that is due already goes to the next worker that looks; whoever
            # takes it rings the alarm for the row behind it.
            if due_s is not None and due_s > now_s:
                wait_s = min(wait_s, due_s - now_s)
            if self._room_due_s <= now_s:
                self._room_due_s = math.inf
                self.rouse_waiting()
            wait_s = min(wait_s, self._room_due_s - now_s)
            self._alarm = anyio.Event()
            with anyio.move_on_after(wait_s):
                await self._alarm.wait()

    def _look_after(self, now_s: float) -> None:
        """End what takes too long, and see who answers at all."""
        outage = self.outage
        self.lanes.end_late(
            now_s, timeout_s=self._timeout_s, probe_limit_s=outage.probe_limit_s
        )
        if outage.answers != self._answers_seen:
            self._answers_seen = outage.answers
            outage.heard(now_s)
        elif self.has_more() and (oldest_s := self.lanes.oldest_s()) is not None:
            outage.silent(now_s, oldest_s=oldest_s)
        is_idle = not self.out and now_s - self.idle_since_s > _LONGEST_SWEEP_S
        if self.circuit.held and (is_idle or outage.is_on):
            self._let_go()
        self._patience.look(self._waiting(now_s), now_s)

    def has_more(self) -> bool:
        """Whether there are other rows that could be asked."""
        backlog = self.backlog
        return bool(backlog.delayed or (backlog.fresh and self.window.room()))

    def _waiting(self, now_s: float) -> Waiting | None:
        """What this run waits for, `None` while it can do something."""
        outage = self.outage
        if outage.is_on and (outage.failed_probes or not self.out):
            until_s = outage.asked_until_s
            return Waiting(
                reason=f"the endpoint ({outage.reason})",
                since_s=max(outage.since_s, self._started_s),
                until_s=until_s if until_s > now_s else None,
            )
        if self.out or self.gate.is_always_open or not self.has_more():
            return None
        reason, wait_s = self.gate.waits_for(now_s), self.gate.wait_s(now_s)
        if reason is None or wait_s is None or wait_s < LONG_WAIT_S:
            return None
        is_given = reason.limit_of is LimitOf.USER
        return Waiting(
            reason=reason.text,
            since_s=now_s,
            until_s=now_s + wait_s,
            ends_run=None if is_given else StopReason.LIMIT,
        )

    def wait_told(self, now_s: float) -> str | None:
        """What is waited for, in words; `None` for nothing, or nothing long."""
        waiting = self._waiting(now_s)
        return None if waiting is None else waiting.told(now_s)
