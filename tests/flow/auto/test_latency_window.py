"""What is known of a limit from the requests sent under it."""

import pytest

from sutro_stream.flow.auto.latency_window import LatencyWindow, Level


def window(
    *latencies_s: float, size: int | None = None, lost: int = 0
) -> LatencyWindow:
    """A window of which so many are back."""
    members = LatencyWindow(size or len(latencies_s), limit=10)
    members.missing = 0
    members.latencies += latencies_s
    members.lost = lost
    return members


def test_most_members_must_be_back() -> None:
    """Not all: the slowest are not waited for. None that are still to be sent."""
    assert not window(1.0, size=10).is_ripe()
    assert window(*[1.0] * 8, size=10).is_ripe()
    unsent = window(1.0, 1.0)
    unsent.missing = 1
    assert not unsent.is_ripe()


def test_lost_members_are_not_waited_for() -> None:
    """They tell nothing of the latency."""
    assert window(1.0, 1.0, size=10, lost=8).is_ripe()


def test_a_cohort_is_judged_once() -> None:
    """The last stragglers change nothing."""
    members = window(1.0, 1.0)
    members.level(2.0, 20.0)
    assert not members.is_ripe()


def test_the_slowest_quarter_does_not_count() -> None:
    """Those still out are among it."""
    level = window(1.0, 2.0, 3.0, 99.0).level(1.0, 10.0)
    assert level is not None
    assert level.latency_s == 2.0
    late = window(1.0, 2.0, 3.0, size=4).level(1.0, 10.0)
    assert late is not None
    assert late.latency_s == 2.0


def test_requests_in_flight_are_a_mean_over_time() -> None:
    """However they come and go within it."""
    members = window(1.0)
    members.started_s, members.started_area = 5.0, 100.0
    level = members.level(7.0, 130.0)
    assert level is not None
    assert level.in_flight == 15.0
    assert level.throughput == 15.0


def test_without_an_answer_there_is_no_judgement() -> None:
    """All members were lost, or no time has passed."""
    assert window(size=3, lost=3).level(1.0, 10.0) is None
    assert window(1.0).level(0.0, 0.0) is None


def test_levels_are_joined_by_their_answers() -> None:
    """The earlier one with no more weight than is left to it."""
    earlier = Level(in_flight=10.0, latency_s=1.0, scatter=0.2, count=300)
    later = Level(in_flight=10.0, latency_s=2.0, scatter=0.2, count=100)
    assert later.joined_to(None, most=5) is later
    both = later.joined_to(earlier, most=1000)
    assert (both.latency_s, both.count) == (1.25, 400)
    assert later.joined_to(earlier, most=100).latency_s == 1.5
    assert both.error == pytest.approx(0.01)
