"""What becomes of a run whose endpoint answers nobody for a while, or one row never."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

import anyio
import pyarrow.parquet as pq
import pytest

import sutro_stream as ss
from sutro_stream.errors import EngineError
from sutro_stream.pipeline.infer import Concurrency
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual

# From seconds since the start to what the endpoint says, `None` for an answer.
Day = Callable[[float], Exception | None]


def busy(_: float) -> Exception:
    """As a proxy says whose backend is away."""
    return ss.ServiceError("answered HTTP 503", status=503)


def nobody(_: float) -> Exception:
    """Nothing listens there."""
    return ss.TransportError("connection refused", connected=False)


def cut(_: float) -> Exception:
    """A process dies in the middle."""
    return ss.TransportError("the connection was closed before a reply")


def late(_: float) -> Exception:
    """Somebody accepts and does no more."""
    return ss.RequestTimeoutError("no answer in time")


def overloaded(_: float) -> Exception:
    """As Anthropic says it."""
    return ss.ServiceError("answered HTTP 529: overloaded", status=529)


def internal(_: float) -> Exception:
    """A bug, or a database that is away."""
    return ss.ServiceError("answered HTTP 500", status=500)


def refused(_: float) -> Exception:
    """Too many requests, without a word of when to come back."""
    return ss.RateLimitedError("answered HTTP 429", status=429)


def between(start_s: float, end_s: float, trouble: Day) -> Day:
    """Trouble for a while."""
    return lambda now_s: trouble(now_s) if start_s <= now_s < end_s else None


class Endpoint:
    """Answers in 50 ms, unless the day or a row has it otherwise."""

    def __init__(self, day: Day, *, rows: dict[str, Day] | None = None) -> None:
        self.day = day
        self.rows = rows or {}
        self.sent_s: list[float] = []
        self.answered: list[float] = []
        self.engine = ScriptedEngine(script=self._reply)

    def _reply(self, prompt: str, _: int) -> ScriptedReply:
        now_s = anyio.current_time()
        self.sent_s.append(now_s)
        error = self.rows.get(prompt, self.day)(now_s)
        if error is not None:
            # A new one each time, as from a socket; raised objects collect tracebacks.
            return ScriptedReply(error=error, latency_s=0.005)
        self.answered.append(now_s)
        return ScriptedReply(text=prompt, latency_s=0.05)

    def sent_between(self, start_s: float, end_s: float) -> int:
        return sum(start_s <= at_s < end_s for at_s in self.sent_s)


async def outcomes(
    endpoint: Endpoint,
    rows: int = 200,
    *,
    concurrency: Concurrency | None = 32,
    patience_s: float | None = 600.0,
    attempts: int = 5,
) -> list[ss.Result]:
    """Every result of a run."""
    async with endpoint.engine as engine:
        pipeline = (
            ss.from_rows([f"row {number}" for number in range(rows)])
            | ss.prompts()
            | ss.infer(
                engine,
                concurrency=concurrency,
                patience_s=patience_s,
                retry=ss.RetryPolicy(attempts=attempts),
            )
        )
        async with pipeline.open() as results:
            return [result async for result in results]


def require_all_answered(found: list[ss.Result], rows: int = 200) -> None:
    """Each row has its own answer."""
    assert [result.output for result in found] == [f"row {n}" for n in range(rows)]


@pytest.mark.parametrize("concurrency", [1, 32, 256, "auto"])
@pytest.mark.parametrize(
    "trouble", [busy, nobody, cut, late, overloaded, internal, refused]
)
def test_an_outage_in_mid_run_costs_no_row(
    trouble: Day, concurrency: Concurrency
) -> None:
    """Six seconds of nothing, with one attempt a row: everything is answered."""

    async def scenario() -> None:
        endpoint = Endpoint(between(0.1, 6.0, trouble))
        found = await outcomes(endpoint, 2000, concurrency=concurrency, attempts=1)
        require_all_answered(found, 2000)
        # Found to be over within a few seconds, and asked for now and then only.
        assert min(at_s for at_s in endpoint.answered if at_s > 1.0) < 11.0
        assert endpoint.sent_between(3.0, 6.0) <= 12

    run_virtual(scenario)


def test_a_model_that_loads_is_waited_for() -> None:
    """A minute of 503 at the very beginning."""

    async def scenario() -> None:
        endpoint = Endpoint(between(0.0, 60.0, busy))
        require_all_answered(await outcomes(endpoint))
        assert 60.0 < anyio.current_time() < 75.0

    run_virtual(scenario)


def test_one_row_alone_waits_for_a_model_that_loads() -> None:
    """What is said concerns every row that there could be."""

    async def scenario() -> None:
        endpoint = Endpoint(between(0.0, 60.0, busy))
        require_all_answered(await outcomes(endpoint, 1), 1)

    run_virtual(scenario)


@pytest.mark.parametrize("trouble", [busy, cut, internal, refused])
@pytest.mark.parametrize("concurrency", [1, 64, "auto"])
def test_what_never_ends_ends_the_run_after_its_patience(
    trouble: Day, concurrency: Concurrency
) -> None:
    """Incomplete: no row is failed by it."""

    async def scenario() -> None:
        endpoint = Endpoint(trouble)
        with pytest.raises(ss.RunStoppedError, match="0:30") as caught:
            await outcomes(endpoint, concurrency=concurrency, patience_s=30.0)
        assert caught.value.reason is ss.StopReason.OUTAGE
        assert 30.0 <= anyio.current_time() < 45.0

    run_virtual(scenario)


def test_nobody_at_the_first_request_is_a_mistyped_address() -> None:
    """It fails at once."""

    async def scenario() -> None:
        with pytest.raises(ss.EngineUnavailableError, match="check the address"):
            await outcomes(Endpoint(nobody))
        assert anyio.current_time() < 1.0

    run_virtual(scenario)


def test_who_waits_for_ever_waits_at_the_first_request_as_well() -> None:
    """An endpoint may be started after the run."""

    async def scenario() -> None:
        endpoint = Endpoint(between(0.0, 1000.0, nobody))
        require_all_answered(await outcomes(endpoint, patience_s=None))

    run_virtual(scenario)


def test_a_pause_of_hours_ends_the_run_at_once_and_says_when_to_come_back() -> None:
    """Whatever else could be asked is refused in the same way."""

    def later(_: float) -> Exception:
        return ss.RateLimitedError("HTTP 429", status=429, retry_after_s=7200.0)

    async def scenario() -> None:
        with pytest.raises(ss.RunStoppedError, match="2:00:00"):
            await outcomes(Endpoint(later))
        assert anyio.current_time() < 5.0

    run_virtual(scenario)


@pytest.mark.parametrize("status", [503, 429])
def test_a_pause_is_kept_to(status: int) -> None:
    """Nothing is sent before it is over."""

    def later(now_s: float) -> Exception | None:
        if now_s >= 90.0:
            return None
        kind = ss.RateLimitedError if status == 429 else ss.ServiceError
        return kind("later", status=status, retry_after_s=90.0 - now_s)

    async def scenario() -> None:
        endpoint = Endpoint(later)
        require_all_answered(await outcomes(endpoint))
        assert endpoint.sent_between(1.0, 89.9) == 0

    run_virtual(scenario)


def test_an_endpoint_that_falls_silent_is_probed() -> None:
    """What is in flight keeps its own time; others are not sent after it."""

    async def scenario() -> None:
        silent = {"s": (1.0, 300.0)}

        def script(prompt: str, _: int) -> ScriptedReply:
            start_s, end_s = silent["s"]
            now_s = anyio.current_time()
            hangs = start_s <= now_s < end_s
            return ScriptedReply(text=prompt, latency_s=end_s if hangs else 0.05)

        endpoint = Endpoint(lambda _: None)
        endpoint.engine = ScriptedEngine(script=script)
        found = await outcomes(endpoint, 2000, concurrency=8)
        require_all_answered(found, 2000)
        assert anyio.current_time() < 400.0

    run_virtual(scenario)


@pytest.mark.parametrize("trouble", [internal, busy, cut, late])
@pytest.mark.parametrize("at", [0, 100, 199])
def test_a_row_that_fails_by_itself_spends_its_attempts(trouble: Day, at: int) -> None:
    """One row is no outage, wherever it stands."""

    async def scenario() -> None:
        endpoint = Endpoint(lambda _: None, rows={f"row {at}": trouble})
        found = await outcomes(endpoint)
        failed = [result for result in found if result.error is not None]
        assert [result.index for result in failed] == [at]
        assert failed[0].outcome.attempts == 5
        assert anyio.current_time() < 60.0

    run_virtual(scenario)


def test_some_rows_that_fail_by_themselves_fail_at_the_end_as_well() -> None:
    """When only such rows are left, they spend their attempts."""

    async def scenario() -> None:
        poison = {f"row {number}": internal for number in range(0, 200, 20)}
        found = await outcomes(Endpoint(lambda _: None, rows=dict(poison)))
        failed = [result.index for result in found if result.error is not None]
        assert failed == list(range(0, 200, 20))
        assert anyio.current_time() < 60.0

    run_virtual(scenario)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_errors_at_random_are_no_outage(share: float) -> None:
    """What is let through is let through at once."""

    async def scenario() -> None:
        rng = random.Random(1)
        endpoint = Endpoint(lambda now_s: busy(now_s) if rng.random() < share else None)
        found = await outcomes(endpoint, 3000, attempts=30)
        require_all_answered(found, 3000)
        # Without them it would be 32 in 50 ms; some rows are unlucky time and again.
        most = sorted(endpoint.answered)[int(0.9 * 3000)]
        assert most < 2 * 0.9 * 3000 / (640 * (1 - share))

    run_virtual(scenario)


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("at", [0, 100, 199])
@pytest.mark.parametrize("concurrency", [1, 32])
def test_one_row_that_is_refused_is_that_rows_failure(
    status: int, at: int, concurrency: int
) -> None:
    """With the provider's own words, wherever it stands."""

    def forbid(_: float) -> EngineError:
        words = f"answered HTTP {status}: moderated"
        if status == 404:
            return ss.NotFoundError(words, status=status)
        return ss.AuthenticationError(words, status=status)

    async def scenario() -> None:
        endpoint = Endpoint(lambda _: None, rows={f"row {at}": forbid})
        found = await outcomes(endpoint, concurrency=concurrency)
        failed = [result for result in found if result.error is not None]
        assert [result.index for result in failed] == [at]
        assert "moderated" in str(failed[0].error)
        assert failed[0].error is not None
        assert failed[0].error.kind == "rejected"

    run_virtual(scenario)


async def test_a_key_that_is_revoked_ends_the_run_to_be_gone_on_with(
    tmp_path: Path,
) -> None:
    """No row is failed by it: with another key all of them are asked."""

    def revoked(_: float) -> EngineError:
        return ss.AuthenticationError("HTTP 401: key revoked", status=401)

    async def run(day: Day) -> ss.RunReport:
        endpoint = Endpoint(day)
        async with endpoint.engine as engine:
            pipeline = (
                ss.from_rows([f"row {number}" for number in range(500)])
                | ss.prompts()
                | ss.infer(engine, concurrency=8)
                | ss.write_parquet(tmp_path / "out.parquet")
            )
            return await pipeline.run()

    requests = count()
    with pytest.raises(ss.AuthenticationError, match="key revoked"):
        await run(lambda _: revoked(0.0) if next(requests) >= 100 else None)
    second = await run(lambda _: None)
    assert second.status is ss.RunStatus.SUCCEEDED
    assert second.rows_kept > 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["output"].to_pylist() == [f"row {number}" for number in range(500)]


def test_runs_at_one_endpoint_share_its_outage() -> None:
    """One probe in all is out at a time."""

    async def scenario() -> None:
        endpoint = Endpoint(between(1.0, 100.0, nobody))
        async with endpoint.engine as engine, anyio.create_task_group() as tasks:
            done: list[int] = []

            async def run() -> None:
                pipeline = (
                    ss.from_rows([f"row {number}" for number in range(2000)])
                    | ss.prompts()
                    | ss.infer(engine, concurrency=8)
                )
                async with pipeline.open() as results:
                    done.append(len([r async for r in results if r.error is None]))

            for _ in range(4):
                tasks.start_soon(run)
        assert done == [2000] * 4
        assert endpoint.sent_between(50.0, 99.0) <= 10

    run_virtual(scenario)


def test_a_wait_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """In the statistics while it lasts, and in the log."""
    told: set[str | None] = set()

    async def scenario() -> None:
        endpoint = Endpoint(between(1.0, 40.0, busy))
        async with endpoint.engine as engine:
            pipeline = (
                ss.from_rows([f"row {number}" for number in range(2000)])
                | ss.prompts()
                | ss.infer(engine, concurrency=8)
            )
            async with pipeline.open() as results, anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while True:
                        told.add(results.statistics().waiting)
                        await anyio.sleep(1.0)

                tasks.start_soon(watch)
                async for _ in results:
                    pass
                tasks.cancel_scope.cancel()
        assert results.statistics().waiting is None

    with caplog.at_level(logging.WARNING, "sutro_stream"):
        run_virtual(scenario)
    assert "the endpoint (HTTP 503) for 0:30" in told
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("waiting for the endpoint (HTTP 503) for 0:1")
    assert lines[-1].startswith("going on")


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_refusal_for_the_rate_costs_no_attempt(share: float) -> None:
    """At random, without a word of when to come back: every row is answered."""

    async def scenario() -> None:
        rng = random.Random(2)
        endpoint = Endpoint(
            lambda now_s: refused(now_s) if rng.random() < share else None
        )
        require_all_answered(await outcomes(endpoint, attempts=2))

    run_virtual(scenario)


def test_a_row_that_is_refused_for_longer_than_patience_fails_as_such() -> None:
    """While others are answered it is nobody's outage."""

    async def scenario() -> None:
        endpoint = Endpoint(lambda _: None, rows={"row 7": refused})
        found = await outcomes(endpoint, 4_000, concurrency=8, patience_s=5.0)
        failed = [result for result in found if result.error is not None]
        assert [result.index for result in failed] == [7]
        assert failed[0].error is not None
        assert failed[0].error.kind == "rate_limited"

    run_virtual(scenario)
