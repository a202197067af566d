"""The simulated endpoint: capacity, limits, latencies, failures and drift."""

from __future__ import annotations

import anyio
import pytest

from sutro_stream.errors import ConfigurationError, RateLimitedError, ServiceError
from sutro_stream.testing import (
    Conditions,
    Constant,
    LogNormal,
    RateLimit,
    SimulatedEndpoint,
    SimulatedEngine,
    knee,
    peak,
    run_virtual,
)
from sutro_stream.testing.simulated_endpoint import SimulatedReply, Speed
from sutro_stream.values.instructions import Instructions

USUAL = Constant(seconds=0.1)


def replies(
    endpoint: SimulatedEndpoint, count: int, *, at_s: float = 0.0
) -> list[tuple[float, SimulatedReply]]:
    """Send so many at once, and see when and how they end."""
    for key in range(count):
        endpoint.arrive(key, at_s)
    found = []
    while (next_s := endpoint.next_event_s) is not None:
        found += [(round(next_s, 6), reply) for _, reply in endpoint.replies(next_s)]
    return found


def times_s(conditions: Conditions, count: int) -> list[float]:
    """When so many requests, sent at once, are answered."""
    return [at_s for at_s, _ in replies(SimulatedEndpoint(conditions), count)]


def test_requests_that_do_not_disturb_each_other_take_their_latency() -> None:
    """However many."""
    assert times_s(Conditions(latency=USUAL), 1000) == [0.1] * 1000


def test_beyond_its_slots_they_wait_in_line() -> None:
    """Four at a time."""
    conditions = Conditions(latency=USUAL, slots=4)
    assert times_s(conditions, 10) == [0.1] * 4 + [0.2] * 4 + [0.3] * 2


@pytest.mark.parametrize(
    ("speed", "takes_s"),
    [(knee(4), 0.2), (peak(4, fall=1.0), 0.4)],
    ids=["knee", "peak"],
)
def test_beyond_its_best_they_slow_each_other_down(
    speed: Speed, takes_s: float
) -> None:
    """Twice as many: the same throughput, or half of it."""
    conditions = Conditions(latency=USUAL, speed=speed)
    assert times_s(conditions, 8) == [pytest.approx(takes_s)] * 8


def test_a_rate_limit_refuses_and_refills() -> None:
    """A burst of three, and ten a second."""
    limit = RateLimit(per_s=10, burst=3, retry_after_s=1.0)
    endpoint = SimulatedEndpoint(Conditions(latency=USUAL, rate=limit))
    endings = [reply.ending for _, reply in replies(endpoint, 5)]
    assert sorted(endings) == ["answered"] * 3 + ["refused"] * 2
    assert [reply.ending for _, reply in replies(endpoint, 3, at_s=0.2)].count(
        "answered"
    ) == 2


def test_replies_tell_what_is_left_if_asked_to() -> None:
    """As headers would."""
    limit = RateLimit(per_s=10, burst=3, told=True)
    endpoint = SimulatedEndpoint(Conditions(latency=USUAL, rate=limit))
    hints = [reply.hint for _, reply in replies(endpoint, 2)]
    assert [hint and hint.remaining_requests for hint in hints] == [2, 1]


def test_conditions_change_at_their_time() -> None:
    """Requests on their way go on under the new ones."""
    slow = Conditions(latency=Constant(seconds=1.0))
    endpoint = SimulatedEndpoint(Conditions(latency=USUAL), changes=[(5.0, slow)])
    assert replies(endpoint, 1, at_s=1.0)[0][0] == 1.1
    assert replies(endpoint, 1, at_s=6.0)[0][0] == 7.0


def test_the_same_seed_is_the_same_endpoint() -> None:
    """Latencies and failures are drawn in the order of requests."""
    conditions = Conditions(latency=LogNormal(median_s=0.1, p99_s=1.0), failing=0.2)

    def run(seed: int) -> list[tuple[float, SimulatedReply]]:
        return replies(SimulatedEndpoint(conditions, seed=seed), 100)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_changes_must_be_in_order() -> None:
    """Else one of them would never be seen."""
    with pytest.raises(ConfigurationError, match="order"):
        SimulatedEndpoint(changes=[(2.0, Conditions()), (1.0, Conditions())])


def test_the_engine_answers_as_the_endpoint_does() -> None:
    """Answers are the prompt; refusals and failures are the errors of engines."""

    async def scenario() -> tuple[str, float]:
        limit = RateLimit(per_s=1, burst=1, retry_after_s=2.0)
        endpoint = SimulatedEndpoint(Conditions(latency=USUAL, rate=limit))
        async with SimulatedEngine(endpoint) as engine:
            responder = engine.bind(Instructions())
            answer = await responder.answer("hello")
            answered_s = anyio.current_time()
            with pytest.raises(RateLimitedError) as caught:
                await responder.answer("again")
            assert caught.value.retry_after_s == 2.0
        failing = SimulatedEndpoint(Conditions(failing=1.0))
        async with SimulatedEngine(failing) as engine:
            with pytest.raises(ServiceError):
                await engine.bind(Instructions()).answer("hello")
        return answer.text, answered_s

    text, answered_s = run_virtual(scenario)
    assert text == "hello"
    assert answered_s == pytest.approx(0.1)


def test_a_cancelled_request_makes_room() -> None:
    """The endpoint serves the next in line."""

    async def scenario() -> float:
        endpoint = SimulatedEndpoint(
            Conditions(latency=Constant(seconds=10.0), slots=1)
        )
        async with SimulatedEngine(endpoint) as engine:
            responder = engine.bind(Instructions())
            with anyio.move_on_after(1.0):
                await responder.answer("given up")
            await responder.answer("next")
        return anyio.current_time()

    assert run_virtual(scenario) == pytest.approx(11.0)
