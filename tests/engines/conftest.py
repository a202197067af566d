"""A server whose routes are plain functions from one JSON body to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
from aiohttp import web

Route: TypeAlias = Callable[[dict[str, Any]], tuple[int, Any]]
Serve: TypeAlias = Callable[[Mapping[str, Route]], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def served(routes: Mapping[str, Route]) -> AsyncIterator[str]:
    """The address of a server that has these routes."""
    app = web.Application()
    for path, route in routes.items():
        app.router.add_post(path, _handler(route))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


def _handler(route: Route) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        key = request.headers.get("Authorization")
        status, reply = route({"key": key} | await request.json())
        if isinstance(reply, bytes):
            return web.Response(status=status, body=reply)
        return web.json_response(reply, status=status)

    return handle


@pytest.fixture
def serve() -> Serve:
    """Starts such servers."""
    return served
