"""The fixed number of requests, and several throttles as one."""

from collections.abc import Callable

import pytest

from sutro_stream.errors import ConfigurationError, RateLimitedError, TransportError
from sutro_stream.flow.auto.adaptive import AdaptiveThrottle
from sutro_stream.flow.quotas import RateThrottle
from sutro_stream.flow.throttle import Throttle, combine
from sutro_stream.testing.fixed_throttle import FixedThrottle

REFUSED = RateLimitedError("answered HTTP 429", status=429)


def rate_throttle() -> Throttle:
    """One request a second."""
    return RateThrottle(requests_per_minute=60, started_s=0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedThrottle(5),
        AdaptiveThrottle,
        rate_throttle,
        lambda: combine([FixedThrottle(5), rate_throttle()]),
    ],
    ids=["fixed", "adaptive", "rate", "combined"],
)
def test_every_request_is_counted_until_it_comes_back(
    make: Callable[[], Throttle],
) -> None:
    """However it ends: answered, failed or cancelled."""
    throttle = make()
    tickets = [throttle.sent(0.0, estimated_tokens=10) for _ in range(4)]
    assert throttle.in_flight == 4
    throttle.answered(tickets[0], 0.1, input_tokens=3, output_tokens=4)
    throttle.failed(tickets[1], 0.1, REFUSED)
    throttle.failed(tickets[2], 0.1, TransportError("cut"))
    throttle.cancelled(tickets[3], 0.1)
    statistics = throttle.statistics()
    assert (throttle.in_flight, statistics.in_flight) == (0, 0)
    assert (statistics.sent, statistics.refused) == (4, 1)


def test_a_fixed_throttle_has_room_for_what_is_missing() -> None:
    """Exactly the number, and only an answer makes room."""
    throttle = FixedThrottle(2)
    assert (throttle.room(0.0), throttle.wait_s(0.0)) == (2, 0.0)
    ticket = throttle.sent(0.0)
    throttle.sent(0.0)
    assert (throttle.room(9.0), throttle.wait_s(9.0)) == (0, None)
    throttle.answered(ticket, 9.0)
    assert throttle.room(9.0) == 1


def test_a_fixed_throttle_ignores_what_the_endpoint_says() -> None:
    """The user's number stands, whatever is refused."""
    throttle = FixedThrottle(3)
    for now_s in range(20):
        throttle.failed(throttle.sent(now_s), now_s + 0.5, REFUSED)
    assert throttle.limit == 3
    assert throttle.room(20.0) == 3


def test_a_number_below_one_is_refused() -> None:
    """Nothing would ever be sent."""
    with pytest.raises(ConfigurationError):
        FixedThrottle(0)


def test_the_narrowest_of_several_decides() -> None:
    """Room is the least, and the wait the longest."""
    throttle = combine([FixedThrottle(5), rate_throttle()])
    assert throttle.limit == 5
    assert throttle.room(0.0) == 1
    throttle.sent(0.0)
    assert throttle.room(0.25) == 0
    assert throttle.wait_s(0.25) == pytest.approx(0.75)


def test_several_wait_for_an_answer_where_one_of_them_must() -> None:
    """Time alone makes no room while the other one is full."""
    throttle = combine([FixedThrottle(1), rate_throttle()])
    throttle.sent(0.0)
    assert throttle.wait_s(0.5) is None


def test_one_alone_is_not_wrapped() -> None:
    """The usual case costs nothing more."""
    alone = FixedThrottle(1)
    assert combine([alone]) is alone


def test_a_ticket_belongs_to_its_throttle() -> None:
    """Mixed up, they would count what never was."""
    stranger = FixedThrottle(1).sent(0.0)
    with pytest.raises(TypeError):
        AdaptiveThrottle().answered(stranger, 0.1)
    with pytest.raises(TypeError):
        combine([FixedThrottle(1), rate_throttle()]).cancelled(stranger, 0.1)
