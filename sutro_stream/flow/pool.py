"""N workers over one stream of rows: retries, deadlines, order, backpressure.

Batches come in on a stream; workers pull single rows from them, because a hop
of a stream for each row would cost more than everything else done for it.
"""

from __future__ import annotations

import random
from dataclasses import replace

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import EngineError, RequestTimeoutError
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.circuit import Circuit, Fate
from sutro_stream.flow.dispatch import Dispatch
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.lanes import Lane, Lanes
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.outcome_store import Recording
from sutro_stream.flow.payloads import DuplicateOf, Followers, Resolved, payloads_of
from sutro_stream.flow.window import BatchMemory, Window
from sutro_stream.flow.work import Concluded, PoolConfig, Work, outcome_batches
from sutro_stream.values.fingerprint import prompt_digest
from sutro_stream.values.outcomes import Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch

# Who takes a batch has the event loop meanwhile; behind a straggler wait thousands.
_MOST_SENT_ROWS = 512


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
        """A pool before its first row; `rng` is the source of the jitter of retries."""
        self._work = work
        self._config = config
        self._meter = meter
        self._meter.throttle = gate.statistics
        self._meter.concurrency = config.workers
        self._recording = recording
        self._store = recording.store
        self._gate = gate
        self._outage = gate.outage
        self._circuit = Circuit(
            config.retry,
            gate.outage,
            patience_s=config.patience_s,
            is_known=recording.is_resumed,
            rng=rng,
        )
        self._window: Window[Concluded] = Window(
            config.window,
            ordered=config.ordered and not recording.is_ordered_elsewhere,
        )
        self._meter.waiting_for_order = lambda: self._window.held
        self._lanes = Lanes(self._work_lane, most=config.workers)
        self._dispatch = Dispatch(
            config,
            meter,
            gate=gate,
            circuit=self._circuit,
            window=self._window,
            lanes=self._lanes,
            let_go=self._let_go,
        )
        self._backlog = self._dispatch.backlog
        self._memory = BatchMemory()
        self._followers: Followers | None = Followers() if config.dedupe else None
        self._hungry = anyio.Event()
        self._news: anyio.Event | None = None

    async def run(
        self,
        source: ObjectReceiveStream[PromptBatch],
        sink: ObjectSendStream[OutcomeBatch],
    ) -> None:
        """Work off `source` into `sink`; closes both.

        Raises:
            ExceptionGroup: Of the errors that end the run.
        """
        async with source, sink:
            self._dispatch.begin()
            async with anyio.create_task_group() as background:
                background.start_soon(self._dispatch.keep_time)
                async with anyio.create_task_group() as tasks:
                    self._lanes.open(tasks)
                    tasks.start_soon(self._feed, source)
                    tasks.start_soon(self._emit, sink)
                background.cancel_scope.cancel()

    # Rows in.

    async def _feed(self, source: ObjectReceiveStream[PromptBatch]) -> None:
        low_water = self._config.workers
        async for batch in source:
            payloads = await payloads_of(
                batch, self._recording, dedupe=self._config.dedupe
            )
            size_bytes = batch.rows.records.nbytes + batch.texts.nbytes
            self._memory.add(batch, rows=len(payloads), size_bytes=size_bytes)
            if self._followers is not None:
                first = batch.first_index
                self._followers.opened(range(first, first + len(payloads)))
            self._backlog.add(batch, payloads)
            self._dispatch.rouse(len(payloads))
            while (
                self._backlog.fresh > low_water
                or self._memory.size_bytes > self._config.window.span_bytes
            ):
                self._hungry = anyio.Event()
                await self._hungry.wait()
        self._backlog.end()
        self._gate.ends_after(self._backlog.fresh)
        self._lanes.rouse_all()
        self._tell_emitter()

    def _see_to_more(self) -> None:
        """Few rows are left: there will be more, or the workers may go."""
        if self._backlog.drained:
            self._lanes.rouse_all()
        else:
            self._hungry.set()

    # Rows through.

    async def _work_lane(self, lane: Lane) -> None:
        while True:
            with anyio.CancelScope() as lane.scope:
                await self._work_off(lane)
                return
            self._after_deadline(lane)

    async def _work_off(self, lane: Lane) -> None:
        dispatch = self._dispatch
        while True:
            if self._lanes.has_too_many and not self._outage.is_on:
                # Who was woken for a row leaves it to another.
                self._lanes.leave(lane)
                self._dispatch.rouse_waiting()
                return
            if (task := dispatch.take()) is None:
                if not self._backlog.drained or (self._circuit.held and dispatch.out):
                    await self._lanes.park()
                elif self._circuit.held:
                    self._let_go(is_end=True)
                else:
                    return
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
        gate, meter, dispatch = self._gate, self._meter, self._dispatch
        lane.task = task
        lane.started_s = dispatch.coarse_now_s
        task.attempts += 1
        if self._store is not None:
            self._store.asked(task.index)
        if not gate.is_always_open:
            now_s = lane.started_s = anyio.current_time()
            lane.is_probe = gate.begins_probe()
            tokens = sum(self._work.estimated_tokens(task))
            lane.ticket = gate.sent(now_s, estimated_tokens=tokens)
            # Whoever takes a row sees to it that the next one is looked after.
            self._dispatch.rouse_waiting()
        dispatch.out += 1
        meter.started_request()
        try:
            outcome = await self._work.attempt(task)
        except EngineError as error:
            lane.task = None
            return self._after_failure(lane, task, error)
        finally:
            dispatch.out -= 1
            meter.ended_request()
        lane.task = None
        answer = outcome.answer
        if not gate.is_always_open and answer is not None:
            estimated = self._work.estimated_tokens(task)
            now_s = anyio.current_time()
            gate.answered(lane.ticket, now_s, answer, estimated=estimated)
            lane.is_probe = False
        self._outage.answered(dispatch.coarse_now_s - lane.started_s)
        self._circuit.answered()
        if self._circuit.held:
            self._let_go(answered_s=lane.started_s)
        return outcome

    def _after_failure(
        self, lane: Lane, task: Task, error: EngineError
    ) -> Outcome | None:
        now_s = anyio.current_time()
        others = self._dispatch.out - (lane.overdue is None)
        fate = self._circuit.failed(
            task,
            error,
            now_s,
            retries=self._meter.retries,
            others_out=others,
            is_last=not self._dispatch.has_more(),
        )
        # An open gate is told as well: a refusal may close it.
        self._gate.failed(lane.ticket, now_s, error)
        if lane.is_probe:
            lane.is_probe = False
            self._outage.ended_probe(now_s, error)
        if fate is Fate.HELD:
            self._dispatch.idle_since_s = now_s
            return None
        if isinstance(fate, Fate):
            return self._work.failed(task, error)
        self._dispatch.postpone(task, fate)
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
            self._dispatch.postpone(task, due_s)
        for task, error in failed:
            self._conclude_asked(task, self._work.failed(task, error))
        if self._backlog.drained:
            self._lanes.rouse_all()
        else:
            self._dispatch.rouse_waiting()

    def _settle(self, task: Task, settled: Resolved) -> None:
        if settled.is_recorded:
            self._meter.kept += 1
        elif self._store is not None:
            self._store.record(task.index, 0, settled.outcome)
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
            self._dispatch.postpone(task, now_s)
        elif task is not None:
            seconds = now_s - lane.started_s
            if not lane.is_probe and self._config.timeout_s is not None:
                seconds = self._config.timeout_s
            message = f"no answer within the time limit of {seconds:g} seconds"
            outcome = self._after_failure(lane, task, RequestTimeoutError(message))
            if outcome is not None:
                self._conclude_asked(task, outcome)
        lane.overdue = None

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
            self._dispatch.rouse(min(window.room(), self._backlog.fresh))
            for start in range(0, len(taken), _MOST_SENT_ROWS):
                rows = taken[start : start + _MOST_SENT_ROWS]
                for batch in outcome_batches(rows, structured=structured):
                    await sink.send(batch)
