"""Waking as many workers as there are rows."""

import anyio
from anyio.lowlevel import checkpoint

from sutro_stream.flow.wait_queue import WaitQueue


async def test_the_longest_waiting_are_woken_and_no_more() -> None:
    """One task for one row, first come first served."""
    waiting, woken = WaitQueue(), []

    async def worker(number: int) -> None:
        await waiting.wait()
        woken.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(worker, number)
        await anyio.wait_all_tasks_blocked()
        waiting.wake(2)
        await anyio.wait_all_tasks_blocked()
        assert (woken, len(waiting)) == ([0, 1], 2)
        waiting.wake_all()
    assert woken == [0, 1, 2, 3]


async def test_a_cancelled_task_passes_its_wake_up_on() -> None:
    """A row is not forgotten because its worker was cancelled in that moment."""
    waiting, woken = WaitQueue(), []
    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await waiting.wait()

    async def patient() -> None:
        await waiting.wait()
        woken.append("patient")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(patient)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        waiting.wake(1)
    assert woken == ["patient"]


async def test_a_cancelled_task_leaves_the_queue() -> None:
    """Wake-ups are not spent on tasks that are gone."""
    waiting = WaitQueue()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await waiting.wait()
    await checkpoint()
    assert len(waiting) == 0
