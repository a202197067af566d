"""N workers over one stream of rows: retries, deadlines, order, backpressure.

Batches come in on a stream; workers pull single rows from them, because a hop
of a stream for each row would cost more than everything else done for it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import EngineError, RequestTimeoutError, is_fatal
from sutro_stream.flow.backlog import Backlog, Task
from sutro_stream.flow.circuit import Circuit
from sutro_stream.flow.holdings import Holdings
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.parking import Parking
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.flow.window import Window, WindowLimits
from sutro_stream.values.outcomes import Outcome

InT = TypeVar("InT")
OutT = TypeVar("OutT")
OutT_co = TypeVar("OutT_co", covariant=True)

_LONGEST_SWEEP_S = 1.0
_SWEEPS_PER_TIMEOUT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded(Generic[InT]):
    """A row and its final outcome."""

    batch: InT
    offset: int
    outcome: Outcome


class Work(Protocol[InT, OutT_co]):
    """What a pool does; everything else about rows is the pool's."""

    def payloads(self, batch: InT) -> list[object]:
        """What an attempt needs, one for each row of the batch."""

    def size_bytes(self, batch: InT) -> int:
        """Memory that the batch holds."""

    def settled(self, task: Task[InT]) -> Outcome | None:
        """The outcome of a row that needs no request, `None` if it needs one."""

    async def attempt(self, task: Task[InT]) -> Outcome:
        """Send one request.

        Raises:
            EngineError: It failed; the pool decides what follows.
        """

    def failed(self, task: Task[InT], error: EngineError) -> Outcome:
        """The outcome of a row whose last attempt failed."""

    def collect(self, concluded: Sequence[Concluded[InT]]) -> Sequence[OutT_co]:
        """Batches to send on, in the given order of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How a pool runs.

    Attributes:
        concurrency: Requests in flight while rows remain; at least 1.
        timeout_s: Longest time of one attempt, in seconds; `None` for no limit.
        window: How far work runs ahead of the consumer.
    """

    concurrency: int
    timeout_s: float | None
    window: WindowLimits


@dataclass(slots=True, eq=False)
class _Lane(Generic[InT]):
    """One worker: what it works on, and the scope that a deadline cancels."""

    task: Task[InT] | None = None
    overdue: Task[InT] | None = None
    started_s: float = 0.0
    scope: anyio.CancelScope | None = None


class Pool(Generic[InT, OutT]):
    """One run of a row-wise stage.

    Invariants: a row holds a worker only while its request is out, never while
    it waits for a retry; every row that came in goes out exactly once.
    """

    def __init__(
        self,
        work: Work[InT, OutT],
        limits: PoolLimits,
        *,
        ordered: bool,
        retry: RetryPolicy,
        meter: Meter,
        rng: random.Random,
    ) -> None:
        self._work = work
        self._limits = limits
        self._retry = retry
        self._meter = meter
        self._rng = rng
        self._circuit = Circuit()
        self._backlog: Backlog[InT] = Backlog()
        self._window: Window[Concluded[InT]] = Window(limits.window, ordered=ordered)
        self._parking = Parking()
        self._holdings = Holdings()
        self._lanes = [_Lane[InT]() for _ in range(limits.concurrency)]
        self._coarse_now_s = 0.0
        self._hungry = anyio.Event()
        self._news = anyio.Event()
        self._alarm = anyio.Event()

    async def run(
        self, source: ObjectReceiveStream[InT], sink: ObjectSendStream[OutT]
    ) -> None:
        """Work off `source` into `sink`; closes both.

        Raises:
            ExceptionGroup: Of the errors that end the run.
        """
        async with source, sink:
            self._coarse_now_s = anyio.current_time()
            async with anyio.create_task_group() as background:
                background.start_soon(self._keep_time)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._feed, source)
                    tasks.start_soon(self._emit, sink)
                    for lane in self._lanes:
                        tasks.start_soon(self._work_lane, lane)
                background.cancel_scope.cancel()

    # Rows in.

    async def _feed(self, source: ObjectReceiveStream[InT]) -> None:
        low_water = self._limits.concurrency
        async for batch in source:
            payloads = self._work.payloads(batch)
            self._holdings.add(
                batch, rows=len(payloads), size_bytes=self._work.size_bytes(batch)
            )
            self._backlog.add(batch, payloads)
            self._parking.wake(len(payloads))
            while self._backlog.fresh > low_water or self._is_full():
                self._hungry = anyio.Event()
                await self._hungry.wait()
        self._backlog.end()
        self._parking.wake_all()
        self._news.set()

    def _is_full(self) -> bool:
        return self._holdings.size_bytes > self._limits.window.span_bytes

    # Rows through.

    async def _work_lane(self, lane: _Lane[InT]) -> None:
        while True:
            with anyio.CancelScope() as lane.scope:
                await self._work_off(lane)
                return
            self._after_deadline(lane)

    async def _work_off(self, lane: _Lane[InT]) -> None:
        work, meter = self._work, self._meter
        while (task := await self._next()) is not None:
            outcome = work.settled(task)
            if outcome is not None:
                self._conclude(task, outcome)
                continue
            lane.task = task
            lane.started_s = self._coarse_now_s
            task.attempts += 1
            meter.started_request()
            try:
                outcome = await work.attempt(task)
            except EngineError as error:
                lane.task = None
                self._after_failure(task, error)
            else:
                lane.task = None
                self._circuit.answered()
                self._conclude(task, outcome)
            finally:
                meter.ended_request()

    async def _next(self) -> Task[InT] | None:
        while True:
            task = self._take()
            if task is not None:
                if self._backlog.drained:
                    self._parking.wake_all()
                elif self._backlog.fresh <= self._limits.concurrency:
                    self._hungry.set()
                return task
            if self._backlog.drained:
                return None
            await self._parking.wait()

    def _take(self) -> Task[InT] | None:
        backlog = self._backlog
        if backlog.delayed:
            task = backlog.take_due(anyio.current_time())
            if task is not None:
                self._meter.backing_off = backlog.delayed
                self._meter.retries += 1
                self._alarm.set()
                return task
        if not self._window.room():
            return None
        task = backlog.take_fresh()
        if task is not None:
            task.ticket = self._window.begin()
        return task

    def _after_failure(self, task: Task[InT], error: EngineError) -> None:
        if is_fatal(error):
            raise error
        delay_s = self._retry.delay_s(error, attempts=task.attempts, rng=self._rng)
        if delay_s is not None:
            self._postpone(task, delay_s)
            return
        end = self._circuit.failed(error)
        if end is not None:
            raise end from error
        self._conclude(task, self._work.failed(task, error))

    def _after_deadline(self, lane: _Lane[InT]) -> None:
        task, overdue = lane.task, lane.overdue
        lane.task = lane.overdue = None
        if task is None:
            return
        if task is not overdue:
            # Its predecessor ended just before the cancellation arrived.
            task.attempts -= 1
            self._postpone(task, 0.0)
            return
        seconds = self._limits.timeout_s
        message = f"no answer within the time limit of {seconds:g} seconds"
        self._after_failure(task, RequestTimeoutError(message))

    def _postpone(self, task: Task[InT], delay_s: float) -> None:
        self._backlog.postpone(task, anyio.current_time() + delay_s)
        self._meter.backing_off = self._backlog.delayed
        self._alarm.set()

    def _conclude(self, task: Task[InT], outcome: Outcome) -> None:
        self._meter.concluded(outcome)
        concluded = Concluded(batch=task.batch, offset=task.offset, outcome=outcome)
        if self._window.conclude(task.ticket, concluded):
            self._news.set()
        self._meter.waiting_for_order = self._window.held

    # Rows out.

    async def _emit(self, sink: ObjectSendStream[OutT]) -> None:
        window = self._window
        while True:
            while not window.ready:
                if self._backlog.drained and not window.unfinished:
                    return
                self._news = anyio.Event()
                await self._news.wait()
            taken = window.take()
            self._holdings.release(concluded.batch for concluded in taken)
            self._hungry.set()
            self._parking.wake(min(window.room(), self._backlog.fresh))
            for batch in self._work.collect(taken):
                await sink.send(batch)

    # Time.

    async def _keep_time(self) -> None:
        timeout_s = self._limits.timeout_s
        sweep_s = (
            math.inf
            if timeout_s is None
            else min(_LONGEST_SWEEP_S, timeout_s / _SWEEPS_PER_TIMEOUT)
        )
        while True:
            now_s = self._coarse_now_s = anyio.current_time()
            self._parking.wake(self._backlog.due(now_s))
            if timeout_s is not None:
                self._sweep(now_s - timeout_s)
            wait_s = sweep_s
            due_s = self._backlog.next_due_s
            # A row that is due already goes to the next worker that looks; whoever
            # takes it rings the alarm for the row behind it.
            if due_s is not None and due_s > now_s:
                wait_s = min(wait_s, due_s - now_s)
            self._alarm = anyio.Event()
            with anyio.move_on_after(wait_s):
                await self._alarm.wait()

    def _sweep(self, started_before_s: float) -> None:
        for lane in self._lanes:
            late = lane.task is not None and lane.started_s < started_before_s
            if late and lane.overdue is None and lane.scope is not None:
                lane.overdue = lane.task
                lane.scope.cancel()
