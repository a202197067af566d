"""When a failed request is sent again."""

import random

import pytest

from sutro_stream.errors import (
    ConfigurationError,
    InputTooLongError,
    ProtocolError,
    RateLimitedError,
    RequestTimeoutError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.retry import RetryPolicy, is_retryable

POLICY = RetryPolicy(attempts=4, first_delay_s=1.0, longest_delay_s=8.0)


def service_error(status: int) -> ServiceError:
    """An endpoint's error."""
    return ServiceError("answered", status=status)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 524])
def test_a_passing_trouble_of_the_endpoint_is_retried(status: int) -> None:
    """Statuses that speak of the moment, not of the request."""
    assert is_retryable(service_error(status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501, 505])
def test_a_refusal_is_not_retried(status: int) -> None:
    """Statuses that the same request would meet again."""
    assert not is_retryable(service_error(status))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TransportError("cut"), True),
        (RequestTimeoutError("late"), True),
        (ProtocolError("garbage"), False),
        (InputTooLongError("long"), False),
    ],
)
def test_the_type_of_the_error_decides(error: TransportError, expected: bool) -> None:
    """Connections are tried again; replies without sense are not."""
    assert is_retryable(error) is expected


def test_the_last_attempt_has_no_successor() -> None:
    """The budget of attempts counts the first one."""
    rng = random.Random(0)
    error = TransportError("cut")
    delays = [POLICY.delay_s(error, attempts=n, rng=rng) for n in (1, 2, 3, 4)]
    assert [delay is None for delay in delays] == [False, False, False, True]


def test_delays_double_up_to_the_longest_and_are_drawn_below_it() -> None:
    """Full jitter: anywhere between nothing and the step."""
    policy = RetryPolicy(attempts=9, first_delay_s=1.0, longest_delay_s=8.0)
    rng = random.Random(1)
    for attempts, step in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0)]:
        draws = [
            policy.delay_s(TransportError("cut"), attempts=attempts, rng=rng)
            for _ in range(500)
        ]
        delays = [draw for draw in draws if draw is not None]
        assert len(delays) == 500
        assert 0 <= min(delays) < step * 0.05
        assert step * 0.95 < max(delays) <= step


def test_retry_after_is_waited_out_in_full_and_spread() -> None:
    """Never earlier than asked, and not all at the same moment."""
    error = RateLimitedError("slow down", status=429, retry_after_s=3.0)
    rng = random.Random(2)
    delays = {POLICY.delay_s(error, attempts=1, rng=rng) for _ in range(100)}
    assert all(delay is not None and 3.0 <= delay <= 4.0 for delay in delays)
    assert len(delays) > 90


def test_retry_after_is_capped_by_the_longest_delay() -> None:
    """An endpoint cannot put a row to sleep for a day."""
    error = RateLimitedError("slow down", status=429, retry_after_s=86_400.0)
    delay = POLICY.delay_s(error, attempts=1, rng=random.Random(3))
    assert delay is not None
    assert delay <= 9.0


@pytest.mark.parametrize(
    "arguments", [{"attempts": 0}, {"first_delay_s": -1.0}, {"longest_delay_s": -1.0}]
)
def test_impossible_policies_are_refused(arguments: dict[str, float]) -> None:
    """Wrong numbers are told at once."""
    with pytest.raises(ConfigurationError):
        RetryPolicy(**arguments)  # type: ignore[arg-type]
