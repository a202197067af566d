"""Waiting for a job: its progress as it comes, and its status to be certain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp
import anyio

from sutro_stream.errors import EngineError, ProtocolError
from sutro_stream.flow.groups import single_error
from sutro_stream.wire.responses import JobInfo, ProgressUpdate, parse_progress

OnProgress: TypeAlias = Callable[[ProgressUpdate], None]
Stream: TypeAlias = Callable[
    [], AbstractAsyncContextManager[AsyncIterator[ProgressUpdate]]
]


@dataclass(frozen=True, slots=True)
class ProgressLines:
    """The lines of a progress stream, until the deployment ends it.

    An end says nothing by itself: streams end early.
    """

    response: aiohttp.ClientResponse

    def __aiter__(self) -> AsyncIterator[ProgressUpdate]:
        return self

    async def __anext__(self) -> ProgressUpdate:
        while True:
            try:
                line = await self.response.content.readline()
            except ValueError:
                raise ProtocolError("a line of the progress is too long") from None
            if not line:
                raise StopAsyncIteration
            update = parse_progress(line)
            if update is not None:
                return update


async def follow(
    status: Callable[[], Awaitable[JobInfo]],
    stream: Stream,
    *,
    poll_s: float,
    on_progress: OnProgress | None,
) -> JobInfo:
    """Wait until a job has ended.

    Args:
        status: Asks where it stands.
        stream: Opens its progress.
        poll_s: Seconds between two looks at the status while the progress says
            nothing of an end.
        on_progress: Called with what the progress says.

    Returns:
        Its last status.

    Raises:
        EngineError: The status cannot be had any more.
    """
    pace = _Pace()
    with single_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, stream, on_progress, pace, poll_s)
            while True:
                with anyio.move_on_after(poll_s):
                    await pace.news.wait()
                # Before the look: what is heard during it calls for another one.
                pace.news = anyio.Event()
                found = await status()
                if found.state is not None and found.state.is_final:
                    tasks.cancel_scope.cancel()
                    break
    return found


class _Pace:
    """When to look at the status before the time has come."""

    def __init__(self) -> None:
        self.news = anyio.Event()


async def _listen(
    stream: Stream, on_progress: OnProgress | None, pace: _Pace, poll_s: float
) -> None:
    while True:
        # Without progress there is still the status.
        with suppress(EngineError):
            async with stream() as updates:
                async for update in updates:
                    if on_progress is not None:
                        on_progress(update)
        pace.news.set()
        await anyio.sleep(poll_s)
