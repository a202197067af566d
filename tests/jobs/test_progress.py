"""How far a job is, and who is told."""

from __future__ import annotations

import anyio

from sutro_stream.flow.meter import Meter, Statistics
from sutro_stream.jobs.progress import Bulletin, LiveProgress
from sutro_stream.testing import run_virtual
from sutro_stream.values.job import JobProgress


def counters(
    *, rows: int = 0, read: int = 0, written: int = 0, at_s: float = 0.0
) -> Statistics:
    """A run's counters."""
    meter = Meter(answered=rows, input_tokens=read, output_tokens=written)
    return meter.statistics(at_s)


def test_rows_never_go_back() -> None:
    """A client shows nothing but increases."""
    live = LiveProgress(lambda: None)
    live.take(counters(rows=5))
    live.take(counters(rows=3))

    assert live.now.rows == 5


def test_tokens_of_earlier_processes_count() -> None:
    """A restart is nothing that a client should see."""
    live = LiveProgress(lambda: None)
    live.begin(JobProgress(rows=4, input_tokens=100, output_tokens=10))
    live.take(counters(rows=1, read=5, written=2))

    assert (live.now.rows, live.now.input_tokens, live.now.output_tokens) == (
        1,
        105,
        12,
    )


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """A slow start is forgotten."""
    live = LiveProgress(lambda: None)
    for second in range(20):
        live.take(counters(read=0 if second < 10 else 100 * second, at_s=second))

    assert 90 <= live.now.tokens_per_s <= 110


def test_only_changes_are_told() -> None:
    """The counters are taken several times a second, also when nothing happens."""
    told: list[int] = []
    live = LiveProgress(lambda: told.append(1))
    live.take(counters(rows=1))
    live.take(counters(rows=1))

    assert len(told) == 1


def test_a_watcher_gets_what_came_since_it_asked_last() -> None:
    """Also what came while it was busy."""

    async def run() -> None:
        bulletin = Bulletin()
        with bulletin.watch("a") as news:
            bulletin.announce("a")
            assert await news.next(10)
            assert not await news.next(1)
            bulletin.announce("b")
            assert not await news.next(1)

    run_virtual(run)


def test_all_watchers_are_woken() -> None:
    """Several may follow one job."""
    woken: list[bool] = []

    async def run() -> None:
        bulletin = Bulletin()

        async def watch() -> None:
            with bulletin.watch("a") as news:
                woken.append(await news.next(10))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            tasks.start_soon(watch)
            await anyio.sleep(1)
            bulletin.announce("a")

    run_virtual(run)
    assert woken == [True, True]
