"""N workers over one stream of rows: retries, deadlines, order, backpressure.

Batches come in on a stream; workers pull single rows from them, because a hop
of a stream for each row would cost more than everything else done for it.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import (
    BudgetExhaustedError,
    EngineError,
    RequestTimeoutError,
    StopReason,
)
from sutro_stream.flow.backlog import Backlog, Task
from sutro_stream.flow.batch_memory import BatchMemory
from sutro_stream.flow.circuit import Circuit, Fate
from sutro_stream.flow.followers import Followers
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.lanes import Lane, Lanes
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.outcome_store import Recording
from sutro_stream.flow.payloads import DuplicateOf, Payloads, Resolved
from sutro_stream.flow.throttle import LimitOf
from sutro_stream.flow.waiting import LONG_WAIT_S, Patience, Waiting, described
from sutro_stream.flow.window import Window
from sutro_stream.flow.work import Concluded, PoolConfig, Work, outcome_batches
from sutro_stream.values.fingerprint import prompt_digest
from sutro_stream.values.outcomes import Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch

_LONGEST_SWEEP_S = 1.0
_SWEEPS_PER_TIMEOUT = 20
# Who takes a batch has the event loop meanwhile; behind a straggler wait thousands.
_MOST_SENT_ROWS = 512
# A clock that does not move between two looks would be looked at for ever.
_LEAST_WAIT_S = 0.001


class Pool:
    """One run of a row-wise stage.

    Invariants: a row holds a worker only while its request is out, never while it
    waits for a retry; every row that came in goes out exactly once, and not before
    it is recorded.
    """

    def __init__(
        self,
        work: Work,
        config: PoolConfig,
        meter: Meter,
        recording: Recording,
        *,
        gate: Gate,
        rng: random.Random,
    ) -> None:
        """A pool before its first row.

        Args:
            work: What is done with a row.
            config: How.
            meter: The run's counters.
            recording: Remembers rows and outcomes.
            gate: Says when the next request may go out.
            rng: Source of the jitter of retries.
        """
        self._work = work
        self._config = config
        self._meter = meter
        self._meter.throttle = gate.statistics
        self._meter.concurrency = config.workers
        self._store = recording.store
        self._gate = gate
        self._payloads = Payloads(recording, dedupe=config.dedupe)
        self._outage = gate.outage
        self._circuit = Circuit(
            config.retry,
            gate.outage,
            patience_s=config.patience_s,
            is_known=recording.is_resumed,
            rng=rng,
        )
        self._patience = Patience(config.patience_s)
        self._out = 0
        self._answers_seen = gate.outage.answers
        self._started_s = self._idle_since_s = 0.0
        self._backlog: Backlog = Backlog()
        self._window: Window[Concluded] = Window(
            config.window,
            ordered=config.ordered and not recording.is_ordered_elsewhere,
        )
        self._meter.waiting_for_order = lambda: self._window.held
        self._meter.waiting = self._wait_told
        self._memory = BatchMemory()
        self._lanes = Lanes(self._work_lane, most=config.workers)
        self._followers: Followers | None = Followers() if config.dedupe else None
        self._coarse_now_s = 0.0
        self._room_due_s = math.inf
        self._hungry = anyio.Event()
        self._news: anyio.Event | None = None
        self._alarm = anyio.Event()

    async def run(
        self,
        source: ObjectReceiveStream[PromptBatch],
        sink: ObjectSendStream[OutcomeBatch],
    ) -> None:
        """Work off `source` into `sink`; closes both.

        Raises:
            ExceptionGroup: Of the errors that end the run.
        """
        self._gate.listen(self._rouse_waiting)
        async with source, sink:
            self._coarse_now_s = self._started_s = anyio.current_time()
            async with anyio.create_task_group() as background:
                background.start_soon(self._keep_time)
                async with anyio.create_task_group() as tasks:
                    self._lanes.open(tasks)
                    tasks.start_soon(self._feed, source)
                    tasks.start_soon(self._emit, sink)
                background.cancel_scope.cancel()

    # Rows in.

    async def _feed(self, source: ObjectReceiveStream[PromptBatch]) -> None:
        low_water = self._config.workers
        async for batch in source:
            payloads = await self._payloads.of(batch)
            size_bytes = batch.rows.records.nbytes + batch.texts.nbytes
            self._memory.add(batch, rows=len(payloads), size_bytes=size_bytes)
            if self._followers is not None:
                first = batch.first_index
                self._followers.opened(range(first, first + len(payloads)))
            self._backlog.add(batch, payloads)
            self._rouse(len(payloads))
            while self._backlog.fresh > low_water or self._is_full():
                self._hungry = anyio.Event()
                await self._hungry.wait()
        self._backlog.end()
        self._gate.ends_after(self._backlog.fresh)
        self._lanes.rouse_all()
        self._tell_emitter()

    def _is_full(self) -> bool:
        return self._memory.size_bytes > self._config.window.span_bytes

    # Rows through.

    async def _work_lane(self, lane: Lane) -> None:
        while True:
            with anyio.CancelScope() as lane.scope:
                await self._work_off(lane)
                return
            self._after_deadline(lane)

    async def _work_off(self, lane: Lane) -> None:
        while True:
            if self._lanes.has_too_many and not self._outage.is_on:
                # Who was woken for a row leaves it to another.
                self._lanes.leave(lane)
                self._rouse_waiting()
                return
            if (task := self._take()) is None:
                if self._backlog.drained and self._circuit.held and not self._out:
                    self._let_go(is_end=True)
                    continue
                if self._backlog.drained and not self._circuit.held:
                    return
                await self._lanes.park()
                continue
            if self._backlog.fresh <= self._config.workers:
                self._see_to_more()
            payload = task.payload
            if isinstance(payload, Resolved):
                self._settle(task, payload)
            elif isinstance(payload, DuplicateOf):
                await self._follow(task, payload)
            else:
                outcome = await self._ask(lane, task)
                if outcome is not None:
                    self._conclude_asked(task, outcome)

    async def _ask(self, lane: Lane, task: Task) -> Outcome | None:
        """Send one request; `None` if the row has no outcome yet."""
        gate, meter = self._gate, self._meter
        lane.task = task
        lane.started_s = self._coarse_now_s
        task.attempts += 1
        if self._store is not None:
            self._store.asked(task.index)
        if not gate.is_always_open:
            now_s = lane.started_s = anyio.current_time()
            lane.is_probe = gate.begins_probe()
            tokens = sum(self._work.estimated_tokens(task))
            lane.ticket = gate.sent(now_s, estimated_tokens=tokens)
            # Whoever takes a row sees to it that the next one is looked after.
            self._rouse_waiting()
        self._out += 1
        meter.started_request()
        try:
            outcome = await self._work.attempt(task)
        except EngineError as error:
            lane.task = None
            return self._after_failure(lane, task, error)
        finally:
            self._out -= 1
            meter.ended_request()
        lane.task = None
        answer = outcome.answer
        if not gate.is_always_open and answer is not None:
            estimated = self._work.estimated_tokens(task)
            now_s = anyio.current_time()
            gate.answered(lane.ticket, now_s, answer, estimated=estimated)
            lane.is_probe = False
        self._outage.answered(self._coarse_now_s - lane.started_s)
        self._circuit.answered()
        if self._circuit.held:
            self._let_go(answered_s=lane.started_s)
        return outcome

    def _after_failure(
        self, lane: Lane, task: Task, error: EngineError
    ) -> Outcome | None:
        now_s = anyio.current_time()
        others = self._out - (lane.overdue is None)
        fate = self._circuit.failed(
            task,
            error,
            now_s,
            retries=self._meter.retries,
            others_out=others,
            is_last=not self._has_more(),
        )
        # An open gate is told as well: a refusal may close it.
        self._gate.failed(lane.ticket, now_s, error)
        if lane.is_probe:
            lane.is_probe = False
            self._outage.ended_probe(now_s, error)
        if fate is Fate.HELD:
            self._idle_since_s = now_s
            return None
        if isinstance(fate, Fate):
            return self._work.failed(task, error)
        self._postpone(task, fate)
        return None

    def _conclude_asked(self, task: Task, outcome: Outcome) -> None:
        if self._store is not None:
            self._store.record(task.index, prompt_digest(task.payload), outcome)
        self._conclude(task, outcome)

    def _let_go(self, *, answered_s: float | None = None, is_end: bool = False) -> None:
        """Conclude rows whose failure turned out to be their own."""
        now_s = anyio.current_time()
        failed, again = self._circuit.let_go(
            now_s, answered_s=answered_s, is_end=is_end
        )
        for task, due_s in again:
            self._postpone(task, due_s)
        for task, error in failed:
            self._conclude_asked(task, self._work.failed(task, error))
        if self._backlog.drained:
            self._lanes.rouse_all()
        else:
            self._rouse_waiting()

    def _settle(self, task: Task, settled: Resolved) -> None:
        if self._store is not None and not settled.is_recorded:
            self._store.record(task.index, 0, settled.outcome)
        if settled.is_recorded:
            self._meter.kept += 1
        self._conclude(task, settled.outcome)

    async def _follow(self, task: Task, follows: DuplicateOf) -> None:
        """Conclude a row like the one it equals, now or when that one is."""
        leader = follows.leader
        if self._followers is None or self._followers.wait(leader, task):
            return
        outcome = self._followers.recent(leader)
        if outcome is None and self._store is not None:
            known = await self._store.known(leader, 1)
            if leader not in known:
                await self._store.flush()
                known = await self._store.known(leader, 1)
            outcome = known[leader].outcome
        if outcome is not None:
            self._conclude_follower(task, follows, outcome)

    def _conclude_follower(
        self, task: Task, follows: DuplicateOf, outcome: Outcome
    ) -> None:
        shared = replace(outcome, attempts=0)
        if self._store is not None:
            self._store.record(
                task.index, follows.digest, shared, leader=follows.leader
            )
        self._meter.shared += 1
        self._conclude(task, shared)

    def _see_to_more(self) -> None:
        """Few rows are left: there will be more, or the workers may go."""
        if self._backlog.drained:
            self._lanes.rouse_all()
        else:
            self._hungry.set()

    def _take(self) -> Task | None:
        backlog = self._backlog
        if not self._gate.is_always_open and not self._admits():
            return None
        if self._circuit.held and self._circuit.is_doubtful(self._out):
            return None
        if backlog.delayed:
            due_s, is_probing = anyio.current_time(), self._outage.is_on
            # Probes turn to rows that have failed and to others, by turns.
            is_turn = self._outage.failed_probes % 2 and backlog.fresh
            if is_probing:
                due_s = -math.inf if is_turn and self._window.room() else math.inf
            task = backlog.take_due(due_s)
            if task is not None:
                self._meter.backing_off = backlog.delayed
                self._meter.retries += 1
                self._alarm.set()
                return task
        if not backlog.fresh or (ticket := self._window.begin()) is None:
            return None
        task = backlog.take_fresh()
        if task is not None:
            task.ticket = ticket
        return task

    def _admits(self) -> bool:
        now_s = anyio.current_time()
        reason = self._gate.spent(now_s)
        if reason is not None:
            if not self._meter.in_flight and not self._backlog.drained:
                raise BudgetExhaustedError(reason)
            return False
        if self._gate.room(now_s) > 0:
            return True
        self._look_again(now_s)
        return False

    def _rouse(self, rows: int) -> None:
        """Set workers to so many rows, as far as they may be sent now."""
        if rows and not self._gate.is_always_open:
            now_s = anyio.current_time()
            room = self._gate.room(now_s)
            if room < rows:
                self._look_again(now_s)
                rows = room
        self._lanes.rouse(rows, is_probe=self._outage.is_on)

    def _rouse_waiting(self) -> None:
        """Set workers to the next rows, if there are any that may be sent now.

        One, as whoever takes a row sees to the next, unless nothing holds them back:
        then nobody does.
        """
        backlog = self._backlog
        if self._gate.is_always_open:
            ready = min(backlog.fresh, self._window.room())
            self._lanes.rouse(ready + backlog.due(anyio.current_time()))
            return
        due_s = backlog.next_due_s
        is_due = due_s is not None and due_s <= anyio.current_time()
        if backlog.fresh or is_due or (self._outage.is_on and due_s is not None):
            self._rouse(1)

    def _look_again(self, now_s: float) -> None:
        """Have the clock look for room when time may have made some."""
        wait_s = self._gate.wait_s(now_s)
        if wait_s is not None:
            due_s = now_s + max(wait_s, _LEAST_WAIT_S)
            if due_s < self._room_due_s:
                self._room_due_s = due_s
                self._alarm.set()

    def _after_deadline(self, lane: Lane) -> None:
        task, overdue = lane.task, lane.overdue
        now_s = anyio.current_time()
        lane.task = None
        if task is not None and task is not overdue:
            # Its predecessor ended just before the cancellation arrived.
            if not self._gate.is_always_open:
                self._gate.cancelled(lane.ticket, now_s)
            if lane.is_probe:
                lane.is_probe = False
                self._outage.ended_probe(now_s, None)
            task.attempts -= 1
            self._postpone(task, now_s)
        elif task is not None:
            seconds = now_s - lane.started_s
            if not lane.is_probe and self._config.timeout_s is not None:
                seconds = self._config.timeout_s
            message = f"no answer within the time limit of {seconds:g} seconds"
            outcome = self._after_failure(lane, task, RequestTimeoutError(message))
            if outcome is not None:
                self._conclude_asked(task, outcome)
        lane.overdue = None

    def _postpone(self, task: Task, due_s: float) -> None:
        self._backlog.postpone(task, due_s)
        self._meter.backing_off = self._backlog.delayed
        self._alarm.set()

    def _conclude(self, task: Task, outcome: Outcome) -> None:
        self._meter.concluded(outcome, is_paid=task.attempts > 0)
        concluded = Concluded(batch=task.batch, offset=task.offset, outcome=outcome)
        is_ready = self._window.conclude(task.ticket, concluded)
        if is_ready and self._news is not None:
            self._tell_emitter()
        if self._followers is not None:
            for follower in self._followers.concluded(task.index, outcome):
                self._conclude_follower(follower, follower.payload, outcome)

    # Rows out.

    def _tell_emitter(self) -> None:
        # Setting an event that is set costs as much as one that is waited for.
        news, self._news = self._news, None
        if news is not None:
            news.set()

    async def _emit(self, sink: ObjectSendStream[OutcomeBatch]) -> None:
        window, structured = self._window, self._work.structured
        while True:
            while not window.ready:
                if self._backlog.drained and not window.unfinished:
                    return
                self._news = news = anyio.Event()
                await news.wait()
            taken = window.take()
            self._memory.release(concluded.batch for concluded in taken)
            self._hungry.set()
            self._rouse(min(window.room(), self._backlog.fresh))
            for start in range(0, len(taken), _MOST_SENT_ROWS):
                rows = taken[start : start + _MOST_SENT_ROWS]
                for batch in outcome_batches(rows, structured=structured):
                    await sink.send(batch)

    # Time.

    async def _keep_time(self) -> None:
        timeout_s = self._config.timeout_s
        sweep_s = _LONGEST_SWEEP_S
        if timeout_s is not None:
            sweep_s = min(sweep_s, timeout_s / _SWEEPS_PER_TIMEOUT)
        while True:
            now_s = self._coarse_now_s = anyio.current_time()
            if self._gate.is_always_open:
                self._lanes.rouse(self._backlog.due(now_s))
            else:
                self._rouse_waiting()
            self._look_after(now_s)
            wait_s = sweep_s
            due_s = self._backlog.next_due_s
            # A row that is due already goes to the next worker that looks; whoever
            # takes it rings the alarm for the row behind it.
            if due_s is not None and due_s > now_s:
                wait_s = min(wait_s, due_s - now_s)
            if self._room_due_s <= now_s:
                self._room_due_s = math.inf
                self._rouse_waiting()
            wait_s = min(wait_s, self._room_due_s - now_s)
            self._alarm = anyio.Event()
            with anyio.move_on_after(wait_s):
                await self._alarm.wait()

    def _look_after(self, now_s: float) -> None:
        """End what takes too long, and see who answers at all."""
        outage = self._outage
        self._lanes.end_late(
            now_s,
            timeout_s=self._config.timeout_s,
            probe_limit_s=outage.probe_limit_s,
        )
        if outage.answers != self._answers_seen:
            self._answers_seen = outage.answers
            outage.heard(now_s)
        elif self._has_more() and (oldest_s := self._lanes.oldest_s()) is not None:
            outage.silent(now_s, oldest_s=oldest_s)
        is_idle = not self._out and now_s - self._idle_since_s > _LONGEST_SWEEP_S
        if self._circuit.held and (is_idle or outage.is_on):
            self._let_go()
        self._patience.look(self._waiting(now_s), now_s)

    def _has_more(self) -> bool:
        """Whether there are other rows that could be asked."""
        backlog = self._backlog
        return bool(backlog.delayed or (backlog.fresh and self._window.room()))

    def _waiting(self, now_s: float) -> Waiting | None:
        """What this run waits for, `None` while it can do something."""
        outage = self._outage
        if outage.is_on and (outage.failed_probes or not self._out):
            until_s = outage.asked_until_s
            return Waiting(
                reason=f"the endpoint ({outage.reason})",
                since_s=max(outage.since_s, self._started_s),
                until_s=until_s if until_s > now_s else None,
            )
        if self._out or self._gate.is_always_open or not self._has_more():
            return None
        reason, wait_s = self._gate.waits_for(now_s), self._gate.wait_s(now_s)
        if reason is None or wait_s is None or wait_s < LONG_WAIT_S:
            return None
        is_given = reason.limit_of is LimitOf.USER
        return Waiting(
            reason=reason.text,
            since_s=now_s,
            until_s=now_s + wait_s,
            ends_run=None if is_given else StopReason.LIMIT,
        )

    def _wait_told(self, now_s: float) -> str | None:
        waiting = self._waiting(now_s)
        is_long = waiting is not None and waiting.is_long(now_s)
        if waiting is None or not is_long:
            return None
        return described(waiting, now_s)
