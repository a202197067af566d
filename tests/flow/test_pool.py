"""The pool: concurrency, order, retries, deadlines, backpressure, endings.

On virtual time: latencies are exact and cost nothing.
"""

import random
from collections.abc import Awaitable, Callable, Sequence

import anyio
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sutro_stream.errors import (
    AuthenticationError,
    EngineError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.groups import single_error
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.outage import Outage
from sutro_stream.flow.outcome_store import Recording
from sutro_stream.flow.pool import Pool
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.flow.window import WindowLimits
from sutro_stream.flow.work import PoolConfig
from sutro_stream.testing.virtual_time import run_virtual
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    OutcomeBatch,
    RowError,
)
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

Rows = list[int]
# About what a short text and its row take in memory.
ROW_BYTES = 20
Attempt = Callable[[int, int], Awaitable[None]]
REFUSED = RowError(kind=ErrorKind.MISSING_VALUE, message="refused")


class FakeWork:
    """Rows are integers."""

    structured = False

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.requests: list[int] = []

    def estimated_tokens(self, _: Task) -> tuple[int, int]:
        return 1, 1

    async def attempt(self, task: Task) -> Outcome:
        row = int(task.payload)
        self.requests.append(row)
        requests = task.attempts + task.extra_requests
        await self._attempt(row, requests)
        return Outcome(answer=Answer(text=str(row)), attempts=requests)

    def failed(self, task: Task, error: EngineError) -> Outcome:
        reason = RowError(kind=ErrorKind.SERVER_ERROR, message=str(error))
        return Outcome(error=reason, attempts=task.attempts + task.extra_requests)


def prompts(rows: Rows) -> PromptBatch:
    """A batch of these; negative ones are refused before any request."""
    texts = pa.array([str(row) for row in rows], pa.large_string())
    records = pa.record_batch({"row": texts})
    return PromptBatch(
        rows=RowBatch(records=records, first_index=abs(rows[0]) if rows else 0),
        texts=texts,
        refused={at: REFUSED for at, row in enumerate(rows) if row < 0},
    )


class Bench:
    """One run of a pool, and what it did."""

    def __init__(  # noqa: PLR0913 - what a test sets, and nothing else
        self,
        attempt: Attempt,
        *,
        concurrency: int = 4,
        ordered: bool = True,
        timeout_s: float | None = None,
        span_rows: int = 1000,
        span_bytes: int = 1 << 30,
        ready_rows: int = 1000,
        attempts: int = 5,
        patience_s: float | None = 600.0,
    ) -> None:
        self.work = FakeWork(attempt)
        self.meter = Meter()
        self.pool = Pool(
            self.work,
            PoolConfig(
                workers=concurrency,
                timeout_s=timeout_s,
                patience_s=patience_s,
                window=WindowLimits(
                    span_rows=span_rows,
                    span_bytes=span_bytes * ROW_BYTES,
                    ready_rows=ready_rows,
                ),
                retry=RetryPolicy(attempts=attempts),
                ordered=ordered,
            ),
            self.meter,
            Recording(),
            gate=Gate(None, None, outage=Outage()),
            rng=random.Random(0),
        )
        self.out: list[tuple[int, Outcome]] = []
        self.sizes: list[int] = []

    async def run(self, *batches: Rows) -> list[int]:
        into, source = anyio.create_memory_object_stream[PromptBatch](0)
        sink, results = anyio.create_memory_object_stream[OutcomeBatch](0)
        with single_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.pool.run, source, sink)
                tasks.start_soon(self._feed, into, batches)
                async with results:
                    async for batch in results:
                        rows = batch.prompts.texts.take(
                            pa.array(batch.offsets)
                        ).to_pylist()
                        self.out += zip(map(int, rows), batch.outcomes, strict=True)
                        self.sizes.append(len(batch))
        return [row for row, _ in self.out]

    async def _feed(
        self,
        into: anyio.abc.ObjectSendStream[PromptBatch],
        batches: Sequence[Rows],
    ) -> None:
        async with into:
            for batch in batches:
                await into.send(prompts(batch))


async def at_once(row: int, attempt: int) -> None:
    """Answer in no time."""


def test_rows_come_out_in_order_and_once() -> None:
    """Slower rows are waited for."""

    async def scenario() -> None:
        async def attempt(row: int, _: int) -> None:
            await anyio.sleep((row * 7) % 5)

        bench = Bench(attempt)
        assert await bench.run([0, 1, 2, 3, 4], [5, 6], [7]) == list(range(8))

    run_virtual(scenario)


def test_what_a_straggler_held_back_leaves_in_portions() -> None:
    """Between two of them, answers that have come meanwhile are seen to."""

    async def scenario() -> None:
        async def attempt(row: int, _: int) -> None:
            await anyio.sleep(60.0 if row == 0 else 0.001)

        bench = Bench(attempt, span_rows=5000)
        assert await bench.run(list(range(3000))) == list(range(3000))
        assert sum(bench.sizes) == 3000
        assert max(bench.sizes) <= 512

    run_virtual(scenario)


def test_exactly_the_concurrency_is_in_flight_while_rows_remain() -> None:
    """The peak is met and never passed, and work takes as long as it must."""

    async def scenario() -> None:
        bench = Bench(lambda _row, _attempt: anyio.sleep(1.0), concurrency=16)
        await bench.run(list(range(100)), list(range(100, 160)))
        assert bench.meter.peak_in_flight == 16
        assert anyio.current_time() == pytest.approx(160 / 16)

    run_virtual(scenario)


def test_a_row_that_backs_off_does_not_hold_a_worker() -> None:
    """With one worker, other rows are asked while one waits."""

    async def scenario() -> None:
        async def attempt(row: int, number: int) -> None:
            await anyio.sleep(0.1)
            if row == 0 and number == 1:
                raise RateLimitedError("wait", status=429, retry_after_s=30.0)

        bench = Bench(attempt, concurrency=1)
        assert await bench.run([0, 1, 2, 3]) == [0, 1, 2, 3]
        assert bench.work.requests == [0, 1, 2, 3, 0]
        assert 30.1 <= anyio.current_time() <= 31.0
        assert bench.meter.retries == 1

    run_virtual(scenario)


def test_a_row_gives_up_after_its_attempts_and_the_others_go_on() -> None:
    """A failure is an outcome in its row's place."""

    async def scenario() -> None:
        async def attempt(row: int, _: int) -> None:
            if row == 1:
                raise ServiceError("answered HTTP 500", status=500)

        bench = Bench(attempt, attempts=3)
        assert await bench.run([0, 1, 2]) == [0, 1, 2]
        failed = bench.out[1][1]
        assert failed.error is not None
        assert failed.attempts == 3
        assert bench.work.requests.count(1) == 3

    run_virtual(scenario)


def test_refused_rows_are_never_sent() -> None:
    """They keep their place and cost no request."""

    async def scenario() -> None:
        bench = Bench(at_once)
        assert await bench.run([-1, 1, -2], [-3]) == [-1, 1, -2, -3]
        assert bench.work.requests == [1]
        assert bench.meter.failures == {ErrorKind.MISSING_VALUE: 3}

    run_virtual(scenario)


def test_an_error_that_every_row_would_meet_ends_the_run() -> None:
    """One wrong key is one error, not one for each worker."""

    async def scenario() -> None:
        async def attempt(_row: int, _number: int) -> None:
            await anyio.sleep(1.0)
            raise AuthenticationError("no", status=401)

        with pytest.raises(AuthenticationError):
            await Bench(attempt, concurrency=8).run(list(range(100)))

    run_virtual(scenario)


def test_an_attempt_over_its_time_is_cancelled_and_tried_again() -> None:
    """The deadline is one attempt's; the row gets its other attempts."""

    async def scenario() -> None:
        async def attempt(row: int, number: int) -> None:
            await anyio.sleep(1000.0 if row == 2 and number == 1 else 0.5)

        bench = Bench(attempt, timeout_s=10.0)
        assert await bench.run(list(range(6))) == list(range(6))
        assert bench.out[2][1].attempts == 2
        assert anyio.current_time() < 13.0

    run_virtual(scenario)


def test_a_row_that_is_always_late_fails_as_a_timeout() -> None:
    """The reason tells the limit."""

    async def scenario() -> None:
        async def attempt(row: int, _: int) -> None:
            await anyio.sleep(1000.0 if row == 2 else 0.5)

        bench = Bench(attempt, timeout_s=4.0, attempts=2)
        await bench.run(list(range(6)))
        error = bench.out[2][1].error
        assert error is not None
        assert "4 seconds" in error.message

    run_virtual(scenario)


def test_a_straggler_holds_back_no_more_than_the_span() -> None:
    """Work behind an early slow row stops at the window's edge."""

    async def scenario() -> None:
        async def attempt(row: int, _: int) -> None:
            await anyio.sleep(100.0 if row == 0 else 0.1)
            if row == 0:
                assert len(bench.work.requests) == 20

        bench = Bench(attempt, span_rows=20)
        assert await bench.run(list(range(60))) == list(range(60))

    run_virtual(scenario)


def test_a_batch_is_not_taken_in_while_too_many_bytes_are_held() -> None:
    """Input kept alive by unfinished rows is bounded in bytes as well."""

    async def scenario() -> None:
        async def attempt(row: int, _: int) -> None:
            await anyio.sleep(100.0 if row == 0 else 0.1)
            if row == 0:
                assert len(bench.work.requests) == 20

        bench = Bench(attempt, span_bytes=15)
        batches = [list(range(start, start + 10)) for start in range(0, 60, 10)]
        assert await bench.run(*batches) == list(range(60))

    run_virtual(scenario)


def test_a_consumer_that_stops_taking_stops_the_requests() -> None:
    """Requests end within the rows that may be ready, plus those in flight."""

    async def scenario() -> None:
        bench = Bench(
            lambda _row, _attempt: anyio.sleep(0.1), concurrency=4, ready_rows=10
        )
        into, source = anyio.create_memory_object_stream[PromptBatch](0)
        sink, results = anyio.create_memory_object_stream[OutcomeBatch](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.pool.run, source, sink)
            async with into, results:
                await into.send(prompts(list(range(1000))))
                await anyio.sleep(60.0)
                assert len(bench.work.requests) <= 10 + 2 * 4
                tasks.cancel_scope.cancel()

    run_virtual(scenario)


def test_leaving_cancels_what_is_in_flight() -> None:
    """Every request ends when the pool is cancelled."""

    async def scenario() -> None:
        bench = Bench(lambda _row, _attempt: anyio.sleep(1000.0))
        with anyio.move_on_after(5.0):
            await bench.run(list(range(10)))
        assert anyio.current_time() == pytest.approx(5.0)
        assert bench.meter.in_flight == 0

    run_virtual(scenario)


def test_no_rows_make_an_empty_end() -> None:
    """Nothing in, nothing out, nothing hangs."""

    async def scenario() -> None:
        assert await Bench(at_once).run() == []
        assert await Bench(at_once).run([], []) == []

    run_virtual(scenario)


class Script:
    """Latency and failures of every attempt, drawn once from a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    async def __call__(self, row: int, attempt: int) -> None:
        rng = random.Random(f"{self._seed}/{row}/{attempt}")
        await anyio.sleep(rng.choice((0.0, 0.01, 0.5, rng.expovariate(1.0), 30.0)))
        draw = rng.random()
        if draw < 0.2:
            raise TransportError("cut")
        if draw < 0.25:
            raise RateLimitedError("wait", status=429, retry_after_s=2.0)
        if draw < 0.3:
            raise ServiceError("answered HTTP 400", status=400)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 30), max_size=6),
    seed=st.integers(0, 10_000),
    concurrency=st.integers(1, 12),
    span_rows=st.integers(1, 40),
    ready_rows=st.integers(1, 40),
    span_bytes=st.integers(1, 60),
    ordered=st.booleans(),
    timeout_s=st.sampled_from([None, 5.0, 40.0]),
)
def test_rows_in_are_outcomes_out(
    *,
    sizes: list[int],
    seed: int,
    concurrency: int,
    span_rows: int,
    ready_rows: int,
    span_bytes: int,
    ordered: bool,
    timeout_s: float | None,
) -> None:
    """For any chunking, latencies, failures, bounds and deadlines."""
    rows = list(range(sum(sizes)))
    refused = {row for row in rows if random.Random(f"{seed}/{row}").random() < 0.1}
    marked = [-row - 1 if row in refused else row for row in rows]
    batches, start = [], 0
    for size in sizes:
        batches.append(marked[start : start + size])
        start += size

    async def scenario() -> None:
        bench = Bench(
            Script(seed),
            concurrency=concurrency,
            span_rows=span_rows,
            ready_rows=ready_rows,
            span_bytes=span_bytes,
            ordered=ordered,
            timeout_s=timeout_s,
        )
        out = await bench.run(*batches)
        assert out == marked if ordered else sorted(out) == sorted(marked)
        assert bench.meter.peak_in_flight <= concurrency
        assert bench.meter.in_flight == bench.meter.backing_off == 0
        for row, outcome in bench.out:
            if outcome.answer is not None:
                assert outcome.answer.text == str(row)

    run_virtual(scenario)
