"""A deployment kept open for an application that others start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from sutro_stream.server.context import Living
from sutro_stream.server.deployment import Deployment


@asynccontextmanager
async def kept_open(
    opening: Callable[[], AbstractAsyncContextManager[Deployment]],
) -> AsyncIterator[Living]:
    """A deployment, opened and closed by one task, whichever tasks enter and leave.

    Raises:
        SutroStreamError: It cannot be opened, or it ended by itself; the latter is
            raised on leaving.
    """
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Deployment] = loop.create_future()
    leave = anyio.Event()

    async def keep_open() -> None:
        async with opening() as deployment:
            opened.set_result(deployment)
            await leave.wait()

    # No task group: applications may be started in one task and cleaned up in
    # another, and what is entered in one cannot be left in another.
    task = loop.create_task(keep_open())
    both: set[asyncio.Future[Any]] = {task, opened}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            await task
        yield Living(opened.result(), task)
        leave.set()
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})
