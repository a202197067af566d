"""The throttle that finds an endpoint's limits, against simulated endpoints.

By a client in a loop of events, so that whole runs take tens of milliseconds; the
pool is tried in `tests/pipeline/test_auto.py`.
"""

from __future__ import annotations

import pytest

from sutro_stream.errors import (
    ConfigurationError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.auto.adaptive import AdaptiveThrottle
from sutro_stream.flow.throttle import Ticket
from sutro_stream.testing import (
    Conditions,
    Constant,
    Distribution,
    LogNormal,
    RateLimit,
    SimulatedEndpoint,
    Trace,
    Uniform,
    knee,
    peak,
)
from sutro_stream.testing.simulated_client import Client, simulate

QUICK = Constant(seconds=0.05)
USUAL = Constant(seconds=0.1)
SCATTERED = Uniform(low_s=0.08, high_s=0.12)
SEEDS = [
    *range(3),
    *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 8)),
]


def run(conditions: Conditions, client: Client, *, seed: int = 0) -> Trace:
    """A run of its own against an endpoint."""
    endpoint = SimulatedEndpoint(conditions, seed=seed)
    return simulate(endpoint, AdaptiveThrottle(), client)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("burst", [10, 40, 400])
def test_a_permitted_rate_is_used_and_hardly_exceeded(burst: int, seed: int) -> None:
    """2,000 rows at 400 a second: no row lost, 95 % of the rate, 3 % refused."""
    limit = RateLimit(per_s=400, burst=burst, retry_after_s=1.0)
    conditions = Conditions(latency=QUICK, rate=limit, jitter_s=0.001)
    trace = run(conditions, Client(rows=2000, seed=seed), seed=seed)
    assert trace.answered == 2000
    assert trace.elapsed_s < 2000 / (0.95 * 400)
    assert trace.wasted < 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_that_steps_is_followed(seed: int) -> None:
    """400, 100, 800 a second, untold: 90 % of each within five seconds."""

    def permitting(per_s: float) -> Conditions:
        limit = RateLimit(per_s=per_s, burst=20, retry_after_s=1.0)
        return Conditions(latency=SCATTERED, rate=limit)

    endpoint = SimulatedEndpoint(
        permitting(400),
        changes=[(8.0, permitting(100)), (16.0, permitting(800))],
        seed=seed,
    )
    trace = simulate(endpoint, AdaptiveThrottle(), Client(until_s=26.0, seed=seed))
    assert trace.reaches_s(0.9 * 400, after_s=0.0) <= 5.0
    assert trace.reaches_s(0.9 * 100, after_s=8.0) <= 5.0
    assert trace.reaches_s(0.9 * 800, after_s=16.0) <= 5.0
    assert trace.rate_per_s(10.0, 16.0) >= 0.9 * 100
    assert trace.rate_per_s(21.0, 26.0) >= 0.9 * 800
    assert trace.wasted < 0.03


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("latency", [USUAL, SCATTERED], ids=["constant", "scattered"])
def test_the_peak_of_throughput_is_found(latency: Distribution, seed: int) -> None:
    """At 64 in flight, where throughput falls beyond: 95 % of the best number's."""
    conditions = Conditions(latency=latency, speed=peak(64))
    trace = run(conditions, Client(rows=20_000, seed=seed), seed=seed)
    assert trace.answered / trace.elapsed_s >= 0.95 * 640


def test_a_queue_is_not_filled_for_nothing() -> None:
    """Where throughput stays the same beyond 64, more would only wait."""
    throttle = AdaptiveThrottle()
    endpoint = SimulatedEndpoint(Conditions(latency=SCATTERED, speed=knee(64)))
    trace = simulate(endpoint, throttle, Client(until_s=40.0))
    assert trace.rate_per_s(10.0, 40.0) >= 0.95 * 640
    assert throttle.limit < 128


def test_without_a_limit_it_rises_to_its_cap() -> None:
    """Within seconds: an endpoint that never slows down gets all there is."""
    throttle = AdaptiveThrottle(cap=512)
    endpoint = SimulatedEndpoint(Conditions(latency=USUAL))
    simulate(endpoint, throttle, Client(until_s=5.0))
    assert throttle.limit == 512


@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_that_refills_at_once_is_kept_to(seed: int) -> None:
    """A quota for each second; what is refused is asked for little before its end."""
    limit = RateLimit(per_s=400, window_s=1.0, retry_after_s=1.0)
    conditions = Conditions(latency=QUICK, rate=limit)
    trace = run(conditions, Client(until_s=20.0, seed=seed), seed=seed)
    assert trace.rate_per_s(2.0, 20.0) >= 0.85 * 400
    assert trace.wasted < 0.03


def test_timers_that_are_late_cost_no_rate() -> None:
    """On a busy machine they are, by more than requests are apart."""
    limit = RateLimit(per_s=400, burst=40, retry_after_s=1.0)
    conditions = Conditions(latency=QUICK, rate=limit)
    trace = run(conditions, Client(rows=2000, timer_lag_s=0.03))
    assert trace.elapsed_s < 2000 / (0.9 * 400)


def test_headers_save_the_refusals() -> None:
    """An endpoint that tells what is left need not refuse."""
    limit = RateLimit(per_s=50, burst=100, told=True)
    conditions = Conditions(latency=QUICK, rate=limit)
    trace = run(conditions, Client(rows=1000))
    assert trace.refused == 0
    assert trace.elapsed_s < 1.05 * (1000 - 100) / 50


def test_a_most_in_flight_is_found_by_its_refusals() -> None:
    """An endpoint that counts connections and not requests a second."""
    throttle = AdaptiveThrottle()
    endpoint = SimulatedEndpoint(Conditions(latency=USUAL, most_in_flight=40))
    trace = simulate(endpoint, throttle, Client(until_s=20.0))
    assert trace.rate_per_s(5.0, 20.0) >= 0.85 * 400
    assert trace.wasted < 0.1


def test_stragglers_and_failures_do_not_hold_it_back() -> None:
    """They come at every number in flight, and say nothing of it."""
    latency = LogNormal(median_s=0.1, p99_s=0.3)
    conditions = Conditions(
        latency=latency, slots=None, failing=0.02, straggling=0.005, straggler_s=8.0
    )
    throttle = AdaptiveThrottle()
    simulate(SimulatedEndpoint(conditions), throttle, Client(until_s=20.0))
    assert throttle.limit >= 256


def test_a_burst_of_failures_is_cut_once() -> None:
    """However many come back from the time before the cut."""
    throttle = AdaptiveThrottle(start=100)
    tickets = [throttle.sent(0.0) for _ in range(100)]
    for ticket in tickets:
        throttle.failed(ticket, 0.1, ServiceError("answered HTTP 503", status=503))
    assert throttle.statistics().cuts == 1
    assert throttle.limit == 70


def test_single_failures_cut_nothing() -> None:
    """One connection in a hundred breaks anywhere."""
    throttle = AdaptiveThrottle(start=100)
    tickets = [throttle.sent(0.0) for _ in range(100)]
    for number, ticket in enumerate(tickets):
        if number == 50:
            throttle.failed(ticket, 0.1, TransportError("the connection broke"))
        else:
            throttle.answered(ticket, 0.1)
    assert throttle.statistics().cuts == 0
    assert throttle.limit >= 100


def test_without_climbing_only_refusals_hold_it_back() -> None:
    """For fixed numbers of requests in flight."""
    throttle = AdaptiveThrottle(searches=False)
    endpoint = SimulatedEndpoint(Conditions(latency=USUAL, slots=4))
    trace = simulate(endpoint, throttle, Client(rows=3000))
    assert trace.refused == 0
    assert max(moment.in_flight for moment in trace.moments) > 1000


def test_room_and_wait_agree() -> None:
    """No wait means room: whoever waits by them gets on."""
    throttle = AdaptiveThrottle()
    now_s = 0.0
    out: list[Ticket] = []
    for _ in range(3000):
        wait_s = throttle.wait_s(now_s)
        room = throttle.room(now_s)
        assert (room > 0) == (wait_s == 0.0)
        if room:
            out.append(throttle.sent(now_s))
        elif wait_s is None:
            throttle.answered(out.pop(0), now_s)
        else:
            now_s += wait_s
            if len(out) > 20:
                error = RateLimitedError("answered HTTP 429", status=429)
                throttle.failed(out.pop(), now_s, error)


@pytest.mark.parametrize(("start", "cap"), [(0, 8), (8, 0)])
def test_numbers_below_one_are_refused(start: int, cap: int) -> None:
    """Nothing would ever be sent."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        AdaptiveThrottle(start=start, cap=cap)
