"""Requests and tokens a minute, as the user set them."""

import pytest

from sutro_stream.errors import ConfigurationError, RateLimitedError, TransportError
from sutro_stream.flow.quotas import RateThrottle


def sent_until(
    throttle: RateThrottle, until_s: float, *, estimated: int = 0, taken: int = 0
) -> int:
    """Requests sent as soon as there is room, each answered after a second."""
    out: list[tuple[float, object]] = []
    count, now_s = 0, 0.0
    while now_s < until_s:
        while out and out[0][0] <= now_s:
            ticket = out.pop(0)[1]
            throttle.answered(ticket, now_s, input_tokens=taken)  # type: ignore[arg-type]
        while throttle.room(now_s) > 0:
            out.append((now_s + 1.0, throttle.sent(now_s, estimated_tokens=estimated)))
            count += 1
        now_s += 0.01
    return count


def test_requests_are_spread_over_the_minute() -> None:
    """A second's worth at the start, then one at a time."""
    throttle = RateThrottle(requests_per_minute=600, started_s=0.0)
    assert throttle.room(0.0) == 10
    assert sent_until(throttle, 60.0) == pytest.approx(610, abs=2)


def test_the_wait_is_until_the_next_request_may_go() -> None:
    """Time makes room, and says when."""
    throttle = RateThrottle(requests_per_minute=60, started_s=5.0)
    throttle.sent(5.0)
    assert throttle.wait_s(5.25) == pytest.approx(0.75)
    assert throttle.room(6.0) == 1
    assert throttle.wait_s(6.0) == 0.0


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    """After an idle minute there is a second's worth, not a minute's."""
    throttle = RateThrottle(requests_per_minute=600, started_s=0.0)
    for _ in range(10):
        throttle.sent(0.0)
    assert throttle.room(60.0) == 10


def test_tokens_are_charged_as_estimated() -> None:
    """Until answers tell otherwise."""
    throttle = RateThrottle(tokens_per_minute=6000, started_s=0.0)
    count = sent_until(throttle, 60.0, estimated=50, taken=50)
    assert count == pytest.approx(6000 / 50, rel=0.06)


@pytest.mark.parametrize("taken", [25, 100, 400])
def test_estimates_are_corrected_by_what_answers_take(taken: int) -> None:
    """Four times too low or twice too high, the rate is kept all the same."""
    throttle = RateThrottle(tokens_per_minute=60_000, started_s=0.0)
    count = sent_until(throttle, 60.0, estimated=100, taken=taken)
    assert count * taken == pytest.approx(60_000, rel=0.1)


def test_without_estimates_the_mean_of_answers_counts() -> None:
    """Nothing is known of a request but what others took."""
    throttle = RateThrottle(tokens_per_minute=60_000, started_s=0.0)
    throttle.answered(throttle.sent(0.0), 0.0, input_tokens=150, output_tokens=50)
    assert sent_until(throttle, 60.0, taken=200) * 200 == pytest.approx(60_000, rel=0.1)


def test_a_request_larger_than_the_allowance_is_sent_and_paid_off() -> None:
    """It can never fit; the next one waits for as long as it is worth."""
    throttle = RateThrottle(tokens_per_minute=60, started_s=0.0)
    throttle.sent(0.0, estimated_tokens=31)
    assert throttle.room(29.0) == 0
    assert throttle.room(31.5) == 1


def test_a_refused_request_takes_no_tokens() -> None:
    """One that broke may have been worked on, and stays charged."""
    error = RateLimitedError("answered HTTP 429", status=429)
    throttle = RateThrottle(tokens_per_minute=60, started_s=0.0)
    throttle.failed(throttle.sent(0.0, estimated_tokens=30), 0.0, error)
    assert throttle.room(0.0) == 1
    broken = throttle.sent(0.0, estimated_tokens=30)
    throttle.failed(broken, 0.0, TransportError("cut"))
    assert throttle.room(0.0) == 0


def test_the_rate_can_be_read() -> None:
    """Requests a second that both limits permit."""
    throttle = RateThrottle(
        requests_per_minute=600, tokens_per_minute=6000, started_s=0.0
    )
    assert throttle.statistics().rate_per_s == pytest.approx(10)
    throttle.answered(throttle.sent(0.0), 0.0, input_tokens=50)
    assert throttle.statistics().rate_per_s == pytest.approx(2)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_limits_that_make_no_sense_are_refused(value: float) -> None:
    """Above 0 and finite, or not given."""
    with pytest.raises(ConfigurationError):
        RateThrottle(requests_per_minute=value, started_s=0.0)
    with pytest.raises(ConfigurationError):
        RateThrottle(tokens_per_minute=value, started_s=0.0)
