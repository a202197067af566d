"""Waking as many workers as there are rows."""

import anyio
from anyio.lowlevel import checkpoint

from sutro_stream.flow.lanes import Lane, Lanes


async def _nothing(_lane: Lane) -> None:
    raise AssertionError("a worker was begun")


def parked() -> Lanes:
    """Workers that are there already; no other may be begun."""
    return Lanes(_nothing, most=0)


async def test_the_longest_waiting_are_woken_and_no_more() -> None:
    """One worker for one row, first come first served."""
    lanes, woken = parked(), []

    async def worker(number: int) -> None:
        await lanes.park()
        woken.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(worker, number)
        await anyio.wait_all_tasks_blocked()
        lanes.rouse(2)
        await anyio.wait_all_tasks_blocked()
        assert woken == [0, 1]
        lanes.rouse_all()
    assert woken == [0, 1, 2, 3]


async def test_a_cancelled_worker_passes_its_wake_up_on() -> None:
    """A row is not forgotten because its worker was cancelled in that moment."""
    lanes, woken = parked(), []
    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await lanes.park()

    async def patient() -> None:
        await lanes.park()
        woken.append("patient")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(patient)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        lanes.rouse(1)
    assert woken == ["patient"]


async def test_a_cancelled_worker_leaves_the_queue() -> None:
    """Wake-ups are not spent on workers that are gone."""
    lanes = parked()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await lanes.park()
    await checkpoint()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lanes.park)
        await anyio.wait_all_tasks_blocked()
        lanes.rouse(1)
