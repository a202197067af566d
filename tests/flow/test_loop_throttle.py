"""Taking on less while the event loop cannot keep up."""

from __future__ import annotations

import pytest

from sutro_stream.flow.loop_lag import LoopThrottle

LATE_S = 0.1


def note(easing: LoopThrottle, late_s: float, times: int) -> None:
    """So late, so often."""
    for _ in range(times):
        easing.note(late_s)


def test_a_loop_that_keeps_up_takes_everything() -> None:
    """Also when it is a little late."""
    easing = LoopThrottle(target_s=0.01)
    note(easing, 0.009, 1000)
    assert easing.share == 1.0


def test_a_loop_that_is_late_takes_less_and_less() -> None:
    """But never nothing."""
    easing = LoopThrottle(target_s=0.01)
    note(easing, LATE_S, 25)
    assert easing.share == pytest.approx(0.7**5)
    note(easing, LATE_S, 1000)
    assert 0 < easing.share < 0.05


def test_one_long_turn_changes_nothing() -> None:
    """Something else took its time, once."""
    easing = LoopThrottle(target_s=0.01)
    for _ in range(100):
        note(easing, 0.001, 4)
        note(easing, 1.0, 1)
    assert easing.share == 1.0


def test_the_share_comes_back() -> None:
    """Slowly, once the loop has time."""
    easing = LoopThrottle(target_s=0.01)
    note(easing, LATE_S, 25)
    note(easing, 0.001, 1000)
    assert easing.share == 1.0


def test_a_change_is_told() -> None:
    """And that there was none as well."""
    easing = LoopThrottle(target_s=0.01)
    assert [easing.note(LATE_S) for _ in range(5)] == [False] * 4 + [True]
    assert not any(easing.note(0.008) for _ in range(20))
