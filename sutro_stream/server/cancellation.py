"""How a handler ends whose client has left, or whose server stops."""

from __future__ import annotations

import anyio
from aiohttp import web

from sutro_stream.server.authentication import Handler


@web.middleware
async def cancel_orderly(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a cancellation pass through anyio, as everything below expects.

    aiohttp cancels the task itself, and that breaks into a shielded scope or leaves
    behind what a thread is just doing, such as storing a job. In a task of a task
    group the handler sees a cancelled scope instead, once what must not be broken
    off is done.
    """
    ended = _Ended()

    async def run() -> None:
        try:
            ended.response = await handler(request)
        except Exception as error:  # noqa: BLE001 - raised again, out of its group
            ended.error = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if ended.error is not None:
        raise ended.error
    if ended.response is None:
        raise AssertionError
    return ended.response


class _Ended:
    response: web.StreamResponse | None = None
    error: Exception | None = None
