"""`auto` and fixed numbers against endpoints as they are, on virtual time.

Outages (`down`) end within seconds, chance refuses whatever is done, headers say what
makes no sense: none of it may hold a run down for longer than it lasts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
import pytest

import sutro_stream as ss
from sutro_stream.errors import RateLimitedError, ServiceError
from sutro_stream.flow.auto.adaptive import AdaptiveThrottle
from sutro_stream.flow.throttle import LimitOf, Throttle, combine
from sutro_stream.pipeline.infer import Concurrency
from sutro_stream.testing import (
    Conditions,
    Constant,
    SimulatedEndpoint,
    SimulatedEngine,
    Trace,
    run_virtual,
)
from sutro_stream.testing.fixed_throttle import FixedThrottle
from sutro_stream.testing.simulated_client import Client, simulate
from sutro_stream.values.rate_hints import RateHint

# What the pool does with a 429: asked again within half a second, without end.
AGAIN = ss.RetryPolicy(attempts=10_000, first_delay_s=0.5, longest_delay_s=0.5)
QUICK = {"latency": Constant(seconds=0.05), "slots": 50}  # 1,000 rows/s
SLOW = {"latency": Constant(seconds=2.0), "slots": 900}  # 450 rows/s
SEEDS = [
    *range(3),
    *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 30)),
]
# Tens of thousands of rows each: the first tells what is broken.
ONE_SEED = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 30))]


def conditions(of: dict[str, object], **more: object) -> Conditions:
    """An endpoint's conditions, and what is different for a while."""
    return Conditions(**{**of, **more})  # type: ignore[arg-type]


def simulated(
    steps: Sequence[Conditions | float],
    until_s: float,
    *,
    seed: int,
    searches: bool = True,
) -> Trace:
    """A run of a throttle of its own; conditions, and when the next ones begin."""
    first, *rest = steps
    assert isinstance(first, Conditions)
    changes = list(zip(rest[::2], rest[1::2], strict=True))
    endpoint = SimulatedEndpoint(first, changes=changes, seed=seed)  # type: ignore[arg-type]
    throttle: Throttle = AdaptiveThrottle(searches=searches)
    if not searches:
        throttle = combine([FixedThrottle(64), throttle])
    client = Client(until_s=until_s, seed=seed, retry=AGAIN)
    return simulate(endpoint, throttle, client)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("searches", [True, False], ids=["auto", "fixed"])
def test_refusals_at_random_are_no_limit(
    share: float, seed: int, *, searches: bool
) -> None:
    """At least half of what an endpoint gives unrefused, less the share refused."""
    refusing = conditions(QUICK, refusing=share)
    trace = simulated([refusing], 12.0, seed=seed, searches=searches)
    assert trace.rate_per_s(0.0, 12.0) >= 0.5 * (1 - share) * 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_few_refusals_at_random_do_not_add_up(seed: int) -> None:
    """One in twenty: each used to cut the rate a little further, without end."""
    trace = simulated([conditions(QUICK, refusing=0.05)], 20.0, seed=seed)
    assert trace.rate_per_s(10.0, 20.0) >= 0.5 * 950


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("failing", [0.2, 0.5])
@pytest.mark.parametrize("refusing", [0.0, 0.3])
def test_after_seconds_of_trouble_the_former_rate_is_back(
    failing: float, refusing: float, seed: int
) -> None:
    """Server errors and refusals mixed for 3 s: nine tenths within five seconds."""
    usual = conditions(QUICK)
    bad = conditions(QUICK, failing=failing, refusing=refusing)
    trace = simulated([usual, 5.0, bad, 8.0, usual], 18.0, seed=seed)
    assert trace.reaches_s(0.9 * 1000, after_s=8.0) <= 6.0
    assert trace.rate_per_s(14.0, 18.0) >= 0.9 * 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_after_seconds_of_refusals_only_the_former_rate_is_back(seed: int) -> None:
    """Everything is answered with 429 for 3 s, then nothing."""
    usual, bad = conditions(QUICK), conditions(QUICK, refusing=1.0)
    trace = simulated([usual, 5.0, bad, 8.0, usual], 18.0, seed=seed)
    assert trace.reaches_s(0.9 * 1000, after_s=9.0) <= 6.0


def test_an_outage_teaches_nothing() -> None:
    """What was given back as cancelled, and ten seconds without an answer."""
    throttle = AdaptiveThrottle()
    simulate(SimulatedEndpoint(conditions(QUICK)), throttle, Client(until_s=20.0))
    known = throttle.statistics()
    for number in range(20):
        now_s = 20.0 + 0.5 * number
        throttle.cancelled(throttle.sent(now_s), now_s + 0.005)
    after = throttle.statistics()
    assert (after.limit, after.rate_per_s, after.cuts) == (
        known.limit,
        known.rate_per_s,
        known.cuts,
    )
    assert throttle.room(31.0) >= 0.9 * (known.limit - after.in_flight)


def test_errors_that_too_many_in_flight_cause_are_avoided() -> None:
    """A share that falls with the cut is no chance: the cut stays."""
    throttle = AdaptiveThrottle(start=200, cap=200)
    now_s = 0.0
    for _ in range(20):
        out = [throttle.sent(now_s) for _ in range(throttle.room(now_s) or 1)]
        now_s += 0.1
        for number, ticket in enumerate(out):
            if number < 100:
                throttle.answered(ticket, now_s)
            else:
                throttle.cancelled(ticket, now_s)
                throttle.troubled(ticket, now_s)
    assert 60 <= throttle.limit <= 200


HINTS = {
    "limit 0": RateHint(limit_requests=0, remaining_requests=0, reset_requests_s=0.0),
    "limit 0 for an hour": RateHint(
        limit_requests=0, remaining_requests=0, reset_requests_s=3600.0
    ),
    "reset 0": RateHint(limit_requests=9, remaining_requests=0, reset_requests_s=0.0),
    "none left, answered": RateHint(
        limit_requests=9, remaining_requests=0, reset_requests_s=3600.0, refills=False
    ),
    "no limit told": RateHint(remaining_requests=0, reset_requests_s=3600.0),
    "negative": RateHint(
        limit_requests=-1, remaining_requests=-1, reset_requests_s=-1.0
    ),
    "not a number": RateHint(
        limit_requests=9, remaining_requests=9, reset_requests_s=math.nan
    ),
    "for ever": RateHint(
        limit_requests=9, remaining_requests=0, reset_requests_s=math.inf
    ),
    "more than all": RateHint(
        limit_requests=1, remaining_requests=500, reset_requests_s=60.0
    ),
    "tokens 0": RateHint(limit_tokens=0, remaining_tokens=0, reset_tokens_s=0.0),
    "fewer tokens than a row": RateHint(
        limit_tokens=3, remaining_tokens=1, reset_tokens_s=0.1
    ),
    "tokens at once": RateHint(
        limit_tokens=3, remaining_tokens=1, reset_tokens_s=0.1, refills=False
    ),
}


@pytest.mark.parametrize("name", HINTS)
@pytest.mark.parametrize("concurrency", ["auto", 8])
def test_headers_never_hang_a_run(name: str, concurrency: Concurrency) -> None:
    """Whatever they say, what is answered is asked for: 200 rows within a minute."""

    async def scenario() -> float:
        endpoint = SimulatedEndpoint(conditions(QUICK, told=HINTS[name]))
        async with SimulatedEngine(endpoint) as engine:
            infer = ss.infer(engine, concurrency=concurrency)
            rows = ss.from_rows([f"{number} and more" for number in range(200)])
            async with (rows | ss.prompts() | infer).open() as results:
                with anyio.fail_after(60):
                    assert len([result async for result in results]) == 200
        return anyio.current_time()

    assert run_virtual(scenario) < 60


def test_a_told_wait_of_hours_can_be_seen() -> None:
    """After a few refusals in a row, with whose wish it is."""
    throttle, now_s = AdaptiveThrottle(), 0.0
    error = RateLimitedError("answered HTTP 429", status=429, retry_after_s=7200.0)
    while (throttle.wait_s(now_s) or 0.0) < 60:
        while not throttle.room(now_s):
            now_s += throttle.wait_s(now_s) or 0.0
        ticket = throttle.sent(now_s)
        now_s += 0.01
        throttle.failed(ticket, now_s, error)
    assert now_s < 5.0
    assert throttle.wait_s(now_s) == pytest.approx(7200.0)
    reason = throttle.waits_for(now_s)
    assert reason is not None
    assert reason.limit_of is LimitOf.ENDPOINT
    assert "Retry-After" in reason.text


def test_a_burst_is_one_cut_however_it_is_told() -> None:
    """As failed or as cancelled and troubled: seven tenths, once."""
    error = ServiceError("answered HTTP 503", status=503)
    for is_late in (False, True):
        throttle = AdaptiveThrottle(start=100)
        for ticket in [throttle.sent(0.0) for _ in range(100)]:
            if is_late:
                throttle.cancelled(ticket, 0.1)
                throttle.troubled(ticket, 0.1)
            else:
                throttle.failed(ticket, 0.1, error)
        assert (throttle.limit, throttle.statistics().cuts) == (70, 1)


async def _outage(
    of: dict[str, object], seconds: float, concurrency: Concurrency, seed: int
) -> tuple[Trace, int]:
    down_s = 15.0
    steps = [
        (down_s, conditions(of, down="unavailable")),
        (down_s + seconds, conditions(of)),
    ]
    endpoint = SimulatedEndpoint(conditions(of), changes=steps, seed=seed)
    per_s = 1000 if of is QUICK else 450
    rows = round(per_s * (down_s + 60.0))
    async with SimulatedEngine(endpoint) as engine:
        infer = ss.infer(engine, concurrency=concurrency, ordered=False)
        prompts = ss.from_rows([str(number) for number in range(rows)])
        async with (prompts | ss.prompts() | infer).open() as results:
            failed = [result.index async for result in results if result.error]
    return engine.trace, len(failed)


@pytest.mark.parametrize("seed", ONE_SEED)
@pytest.mark.parametrize("seconds", [1.0, 3.0, 10.0])
@pytest.mark.parametrize(
    ("of", "per_s", "latency_s", "concurrency"),
    [
        pytest.param(QUICK, 1000, 0.05, "auto", id="quick-auto"),
        pytest.param(QUICK, 640, 0.05, 32, id="quick-fixed"),
        pytest.param(SLOW, 450, 2.0, "auto", id="slow-auto"),
        pytest.param(SLOW, 450, 2.0, 900, id="slow-fixed"),
    ],
)
def test_after_an_outage_the_former_rate_is_back(
    *,
    of: dict[str, object],
    per_s: float,
    latency_s: float,
    concurrency: Concurrency,
    seconds: float,
    seed: int,
) -> None:
    """Nine tenths within 5 s, or 3 latencies, of the first answer; no row failed."""
    trace, failed = run_virtual(lambda: _outage(of, seconds, concurrency, seed))
    assert not failed
    up_s = 15.0 + seconds + latency_s
    first_s = next(
        one.at_s for one in trace.moments if one.at_s >= up_s - 0.1 and one.answered
    )
    back_s = trace.reaches_s(0.9 * per_s, after_s=first_s)
    assert back_s <= 1.0 + max(5.0, 3 * latency_s)
