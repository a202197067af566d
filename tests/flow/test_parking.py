"""Waking as many workers as there are rows."""

import anyio
from anyio.lowlevel import checkpoint

from sutro_stream.flow.parking import Parking


async def test_the_longest_waiting_are_woken_and_no_more() -> None:
    """One task for one row, first come first served."""
    parking, woken = Parking(), []

    async def worker(number: int) -> None:
        await parking.wait()
        woken.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(worker, number)
        await anyio.wait_all_tasks_blocked()
        parking.wake(2)
        await anyio.wait_all_tasks_blocked()
        assert (woken, len(parking)) == ([0, 1], 2)
        parking.wake_all()
    assert woken == [0, 1, 2, 3]


async def test_a_cancelled_task_passes_its_wake_up_on() -> None:
    """A row is not forgotten because its worker was cancelled in that moment."""
    parking, woken = Parking(), []
    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await parking.wait()

    async def patient() -> None:
        await parking.wait()
        woken.append("patient")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(patient)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        parking.wake(1)
    assert woken == ["patient"]


async def test_a_cancelled_task_leaves_the_queue() -> None:
    """Wake-ups are not spent on tasks that are gone."""
    parking = Parking()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await parking.wait()
    await checkpoint()
    assert len(parking) == 0
