"""How late the event loop is."""

from __future__ import annotations

import time

import anyio
import pytest
from anyio.lowlevel import checkpoint

from sutro_stream.flow.loop_lag import LagSummary, LoopLag
from sutro_stream.testing import run_virtual


def test_nothing_is_known_before_the_first_tick() -> None:
    """Zeros, and no error."""
    assert LoopLag().summary() == LagSummary()


def test_an_idle_loop_is_not_late() -> None:
    """Virtual time comes exactly when it is due."""
    lags = LoopLag(clock=anyio.current_time)

    async def run() -> None:
        with anyio.move_on_after(10):
            await lags.run()

    run_virtual(run)
    assert lags.summary().max_s == pytest.approx(0)


def test_a_rare_delay_is_the_maximum_alone() -> None:
    """One late tick among a hundred."""
    lags = LoopLag(tick_s=0.02)
    for _ in range(200):
        lags.note(0.001)
    lags.note(0.019)
    summary = lags.summary()
    assert (summary.p50_s, summary.p99_s, summary.max_s) == (0.001, 0.001, 0.019)


def test_a_second_without_a_tick_counts_as_a_second() -> None:
    """Its ticks are the latest fifty, and waited for less and less."""
    lags = LoopLag(tick_s=0.02)
    for _ in range(950):
        lags.note(0.0)
    lags.note(1.0)
    summary = lags.summary()
    assert summary.max_s == 1.0
    assert 0.7 < summary.p99_s < 0.9


def test_what_is_long_ago_is_forgotten() -> None:
    """Only the last ticks count."""
    lags = LoopLag(window_s=1, tick_s=0.1)
    lags.note(5.0)
    for _ in range(10):
        lags.note(0.0)
    assert lags.summary() == LagSummary()


def test_an_early_tick_is_not_late() -> None:
    """Timers of some loops are rounded down."""
    lags = LoopLag()
    lags.note(-0.001)
    assert lags.summary().max_s == 0.0


async def test_work_that_makes_the_loop_late_is_told() -> None:
    """In processor time: what others take of it is not its own."""
    told: list[float] = []
    lags = LoopLag(tick_s=0.001, overworked=told.append)

    def spin() -> None:
        until_s = time.thread_time() + 0.01
        while time.thread_time() < until_s:
            pass

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lags.run)
            while max(told, default=0) < 0.008:
                spin()
                await checkpoint()
            tasks.cancel_scope.cancel()
