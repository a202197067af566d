"""Several pipelines that share one endpoint's throttle."""

from collections import deque

import pytest

from sutro_stream.flow.sharing import SharedLimits
from sutro_stream.flow.throttle import Ticket
from sutro_stream.testing.fixed_throttle import FixedThrottle


class Pipeline:
    """Sends whenever it may, and gets its answers when it is told to."""

    def __init__(self, limits: SharedLimits, endpoint: str = "here") -> None:
        self.woken = 0
        self.share = limits.join(endpoint)
        self.share.wake = self._wake
        self.out: deque[Ticket] = deque()

    def _wake(self) -> None:
        self.woken += 1

    def fill(self, most: int = 1000) -> int:
        sent = 0
        while sent < most and self.share.room(0.0) > 0:
            self.out.append(self.share.sent(0.0))
            sent += 1
        return sent

    def get(self, count: int = 1) -> None:
        for _ in range(count):
            self.share.answered(self.out.popleft(), 0.0)


@pytest.fixture
def limits() -> SharedLimits:
    """Endpoints that take eight at once."""
    return SharedLimits(lambda: FixedThrottle(8))


def test_one_pipeline_has_the_whole_endpoint(limits: SharedLimits) -> None:
    """Nobody is waited for."""
    assert Pipeline(limits).fill() == 8


def test_two_pipelines_have_one_limit_between_them(limits: SharedLimits) -> None:
    """What one has out, the other has not."""
    first, second = Pipeline(limits), Pipeline(limits)
    first.fill(3)
    assert second.fill() == 5
    assert first.share.statistics().in_flight == 8


def test_endpoints_have_nothing_to_do_with_each_other(limits: SharedLimits) -> None:
    """Each has its own throttle."""
    first, second = Pipeline(limits, "here"), Pipeline(limits, "there")
    assert (first.fill(), second.fill()) == (8, 8)


def test_a_newcomer_gets_its_part_from_the_one_that_was_there(
    limits: SharedLimits,
) -> None:
    """Answer by answer, until both have the same."""
    first, second = Pipeline(limits), Pipeline(limits)
    assert (first.fill(), second.fill()) == (8, 0)
    for _ in range(20):
        first.get()
        second.fill()
        first.fill()
    assert (first.share.in_flight, second.share.in_flight) == (4, 4)


def test_whoever_waits_is_woken_by_the_answers_of_others(limits: SharedLimits) -> None:
    """And only then."""
    first, second = Pipeline(limits), Pipeline(limits)
    first.fill()
    first.get()
    assert second.woken == 0
    first.fill()
    second.fill()
    first.get()
    assert second.woken == 1


def test_a_part_that_is_not_wanted_goes_to_the_others(limits: SharedLimits) -> None:
    """One that has nothing to send holds nobody up for longer than a moment."""
    first, second = Pipeline(limits), Pipeline(limits)
    first.fill()
    second.fill()  # waits
    first.get()  # wakes it, but it has nothing to send any more
    assert first.fill() == 1


def test_a_pipeline_that_is_gone_leaves_all_to_the_others(limits: SharedLimits) -> None:
    """Even if it was waiting, and those who wait are woken."""
    first, second = Pipeline(limits), Pipeline(limits)
    first.fill(7)
    second.fill(1)
    second.fill()
    second.get()
    first.share.room(0.0)
    second.share.leave()
    assert first.fill() == 1
    first.get(8)
    assert first.fill() == 8


def test_a_share_looks_again_for_what_it_left_to_others() -> None:
    """So that it does not wait for ever where nobody takes it."""
    throttle = FixedThrottle(8)
    limits = SharedLimits(lambda: throttle)
    first, second = Pipeline(limits), Pipeline(limits)
    first.fill()
    second.fill()
    throttle.limit = 9
    assert first.share.room(0.0) == 0
    assert first.share.wait_s(0.0) == pytest.approx(0.05)
    assert second.share.room(0.0) == 1


def test_what_was_learned_stays_for_those_who_follow(limits: SharedLimits) -> None:
    """An endpoint's throttle outlives the runs."""
    first = Pipeline(limits)
    first.fill(3)
    first.get(3)
    first.share.leave()
    second = Pipeline(limits)
    second.fill(2)
    assert limits.statistics()["here"].sent == 5
