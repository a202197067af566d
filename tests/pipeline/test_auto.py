"""`concurrency="auto"` through whole pipelines, on simulated endpoints."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

import sutro_stream as ss
from sutro_stream.pipeline.infer import Concurrency
from sutro_stream.testing import (
    Conditions,
    Constant,
    RateLimit,
    SimulatedEndpoint,
    SimulatedEngine,
    Uniform,
    peak,
    run_virtual,
)

QUICK = Constant(seconds=0.05)
LIMITED = Conditions(
    latency=QUICK, rate=RateLimit(per_s=400, burst=40, retry_after_s=1.0)
)


class Run:
    """One pipeline over numbered rows, and what came of it."""

    def __init__(
        self,
        conditions: Conditions,
        *,
        rows: int,
        concurrency: Concurrency = "auto",
        changes: Sequence[tuple[float, Conditions]] = (),
        seed: int = 0,
    ) -> None:
        endpoint = SimulatedEndpoint(conditions, changes=changes, seed=seed)
        self.engine = SimulatedEngine(endpoint)
        self._rows = [str(number) for number in range(rows)]
        self._concurrency = concurrency
        run_virtual(self._run)

    async def _run(self) -> None:
        async with self.engine:
            infer = ss.infer(self.engine, concurrency=self._concurrency)
            pipeline = ss.from_rows(self._rows) | ss.prompts() | infer
            async with pipeline.open() as results:
                answers = [result.output async for result in results]
                self.elapsed_s = anyio.current_time()
        assert answers == self._rows
        self.statistics = results.statistics()
        self.trace = self.engine.trace


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]
)
def test_a_rate_limit_is_used_and_hardly_exceeded(seed: int) -> None:
    """2,000 rows at 400 a second: none lost, 95 % of the rate, 3 % refused."""
    run = Run(LIMITED, rows=2000, seed=seed)
    assert run.elapsed_s < 2000 / (0.95 * 400)
    assert run.trace.wasted < 0.03
    assert run.statistics.retries == run.trace.refused
    assert 300 < (run.statistics.requests_per_s or 0) < 500


def test_a_fixed_number_keeps_to_a_rate_limit_once_it_was_refused() -> None:
    """Only what was out by then is refused in vain."""
    run = Run(LIMITED, rows=2000, concurrency=256)
    assert run.elapsed_s < 2000 / (0.8 * 400)
    assert run.trace.refused < 256 + 60


def test_a_limit_that_steps_is_followed() -> None:
    """400, 100, 800 a second, untold: 90 % of each within five seconds."""

    def permitting(per_s: float) -> Conditions:
        limit = RateLimit(per_s=per_s, burst=20, retry_after_s=1.0)
        return Conditions(latency=QUICK, rate=limit)

    steps = [(8.0, permitting(100)), (16.0, permitting(800))]
    run = Run(permitting(400), rows=9000, changes=steps)
    assert run.trace.reaches_s(0.9 * 100, after_s=8.0) <= 5.0
    assert run.trace.rate_per_s(10.0, 16.0) >= 0.9 * 100
    assert run.trace.reaches_s(0.9 * 800, after_s=16.0) <= 5.0


def test_the_peak_of_throughput_is_found() -> None:
    """At 64 in flight; 95 % of what the best fixed number reaches."""
    conditions = Conditions(latency=Uniform(low_s=0.08, high_s=0.12), speed=peak(64))
    run = Run(conditions, rows=20_000)
    assert 20_000 / run.elapsed_s >= 0.95 * 640
    assert run.statistics.concurrency is not None
    assert 48 <= run.statistics.concurrency <= 96


def test_auto_keeps_to_the_users_limits_as_well() -> None:
    """600 requests a minute, with a second's worth at once, whatever is found."""

    async def scenario() -> float:
        async with SimulatedEngine() as engine:
            limits = ss.Limits(requests_per_minute=600)
            infer = ss.infer(engine, concurrency="auto", limits=limits)
            rows = ss.from_rows([str(number) for number in range(200)])
            async with (rows | ss.prompts() | infer).open() as results:
                assert len([result async for result in results]) == 200
        return anyio.current_time()

    assert 18.9 <= run_virtual(scenario) <= 19.5


def test_runs_that_share_their_limits_keep_them_together() -> None:
    """Two at once get the endpoint's rate between them, and about half of it each."""
    ended_s: list[float] = []

    async def scenario() -> SimulatedEngine:
        shared = ss.SharedLimits()
        endpoint = SimulatedEndpoint(LIMITED)

        async def one() -> None:
            limits = ss.Limits(shared=shared)
            infer = ss.infer(engine, concurrency="auto", limits=limits)
            rows = ss.from_rows([str(number) for number in range(1000)])
            async with (rows | ss.prompts() | infer).open() as results:
                assert not [result.error async for result in results if result.error]
            ended_s.append(anyio.current_time())

        async with SimulatedEngine(endpoint) as engine, anyio.create_task_group() as tg:
            tg.start_soon(one)
            tg.start_soon(one)
        return engine

    trace = run_virtual(scenario).trace
    assert trace.rate_per_s(1.0, 4.5) >= 0.9 * 400
    assert min(ended_s) > 0.7 * max(ended_s)
    assert trace.wasted < 0.03


def test_a_run_that_waits_is_woken_by_the_answers_of_another() -> None:
    """Nothing else tells it that there is room: it has nothing out itself."""

    async def scenario() -> list[float]:
        shared_limits = ss.Limits(shared=ss.SharedLimits())
        ended_s: list[float] = []

        async def one(rows: int) -> None:
            infer = ss.infer(engine, concurrency="auto", limits=shared_limits)
            prompts = ss.from_rows([str(number) for number in range(rows)])
            async with (prompts | ss.prompts() | infer).open() as results:
                assert len([result async for result in results]) == rows
            ended_s.append(anyio.current_time())

        conditions = Conditions(latency=Constant(seconds=100.0))
        async with (
            SimulatedEngine(SimulatedEndpoint(conditions)) as engine,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(one, 64)
            await anyio.sleep(1.0)
            tasks.start_soon(one, 1)
        return ended_s

    assert run_virtual(scenario)[0] == pytest.approx(200.0)


def test_what_one_run_learned_is_there_for_the_next_one() -> None:
    """The object that they share still knows the rate when the first is over."""

    async def scenario() -> float | None:
        shared = ss.SharedLimits()
        async with SimulatedEngine(SimulatedEndpoint(LIMITED)) as engine:
            limits = ss.Limits(shared=shared)
            infer = ss.infer(engine, concurrency="auto", limits=limits)
            rows = ss.from_rows([str(number) for number in range(1000)])
            async with (rows | ss.prompts() | infer).open() as results:
                assert len([result async for result in results]) == 1000
        (known,) = shared.statistics().values()
        return known.rate_per_s

    assert run_virtual(scenario) == pytest.approx(400, rel=0.25)


@pytest.mark.parametrize(
    ("concurrency", "shared"),
    [("many", None), (0, None), (8, ss.SharedLimits())],
    ids=["word", "zero", "shared"],
)
def test_what_makes_no_sense_is_refused(
    concurrency: Concurrency, shared: ss.SharedLimits | None
) -> None:
    """When it is written, not when it is run."""
    with pytest.raises(ss.ConfigurationError, match=r"concurrency"):
        ss.infer(
            SimulatedEngine(),
            concurrency=concurrency,
            limits=ss.Limits(shared=shared),
        )
