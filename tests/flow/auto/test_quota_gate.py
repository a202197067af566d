"""Keeping within what an endpoint says is left."""

import pytest

from sutro_stream.flow.auto.quota_gate import QuotaGate
from sutro_stream.values.rate_hints import RateHint


def gate(hint: RateHint, *, sequence: int = 0, sent_s: float = 0.0) -> QuotaGate:
    """A gate that was told one hint, at once."""
    told = QuotaGate()
    told.told(hint, sequence=sequence, sent_s=sent_s, now_s=sent_s)
    return told


BUCKET = RateHint(limit_requests=100, remaining_requests=40, reset_requests_s=6.0)
WINDOW = RateHint(
    limit_requests=100, remaining_requests=40, reset_requests_s=6.0, refills=False
)


def test_a_gate_that_was_told_nothing_is_open() -> None:
    """Most endpoints tell nothing."""
    untold = QuotaGate()
    untold.told(RateHint(remaining_requests=5), sequence=0, sent_s=0.0, now_s=0.0)
    assert not untold.is_active
    assert untold.room(0.0, 7) > 1e9


def test_requests_sent_since_are_taken_off() -> None:
    """The reply may be older than the last request."""
    assert gate(BUCKET).room(0.0, 1) == 40
    assert gate(BUCKET).room(0.0, 11) == 30
    assert gate(WINDOW).room(5.0, 11) == 30


def test_a_quota_that_refills_gives_room_with_time() -> None:
    """What is missing comes back within the time told: here 10 a second."""
    told = gate(BUCKET)
    assert told.room(1.0, 41) == pytest.approx(10)
    assert told.wait_s(1.0, 51) == pytest.approx(0.1)
    assert told.room(100.0, 1) == 100


def test_a_window_gives_room_when_it_ends() -> None:
    """All at once, and then the whole quota counts down anew."""
    told = gate(WINDOW)
    assert told.room(5.9, 41) == 0
    assert told.wait_s(5.0, 41) == pytest.approx(1.0)
    assert told.room(6.0, 41) == 100
    assert told.room(6.1, 61) == 80


def test_a_later_request_knows_better() -> None:
    """Replies come back in any order."""
    told = gate(BUCKET, sequence=10)
    older = RateHint(limit_requests=100, remaining_requests=1, reset_requests_s=9.0)
    told.told(older, sequence=3, sent_s=0.0, now_s=0.1)
    assert told.room(0.0, 11) == 40


def test_tokens_are_counted_by_what_answers_cost() -> None:
    """Without an answer, nothing is known of the cost."""
    told = gate(RateHint(limit_tokens=5000, remaining_tokens=1000, reset_tokens_s=4.0))
    assert told.room(0.0, 1) > 1e9
    told.cost(100)
    assert told.room(0.0, 1) == pytest.approx(10)
    assert told.wait_s(0.0, 11) == pytest.approx(0.1)
