"""Clients that leave, and handlers that must not be broken off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sutro_stream.server.authentication import Handler
from sutro_stream.server.cancellation import cancel_orderly
from sutro_stream.server.routing import application_of
from sutro_stream.settings.deployment import DeploymentSettings

AUTHORIZED = {"Authorization": "Key sk_live_of_alice"}


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[TestServer]:
    """A server that cancels the handlers of clients that have left."""
    server = TestServer(app)
    await server.start_server()
    try:
        yield server
    finally:
        await server.close()


def app_of(handler: Handler) -> web.Application:
    """An application with one route."""
    app = web.Application(middlewares=[cancel_orderly])
    app.router.add_get("/", handler)
    return app


async def leave(server: TestServer, *, when: anyio.Event) -> None:
    """Ask, and close the connection when the time has come."""
    async with (
        aiohttp.ClientSession() as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(session.get, server.make_url("/"))
        await when.wait()
        tasks.cancel_scope.cancel()


async def test_what_is_shielded_is_done_to_its_end() -> None:
    """Though the client has left; then the handler ends."""
    begun, go_on, ended = anyio.Event(), anyio.Event(), anyio.Event()
    seen: list[str] = []

    async def handler(_: web.Request) -> web.Response:
        try:
            with anyio.CancelScope(shield=True):
                begun.set()
                await go_on.wait()
                seen.append("stored")
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async with serving(app_of(handler)) as server:
        await leave(server, when=begun)
        await anyio.wait_all_tasks_blocked()
        assert not ended.is_set()
        go_on.set()
        await ended.wait()
    assert seen == ["stored"]


async def test_a_handler_that_waits_is_dropped() -> None:
    """At once."""
    begun, ended = anyio.Event(), anyio.Event()

    async def handler(_: web.Request) -> web.Response:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async with serving(app_of(handler)) as server:
        await leave(server, when=begun)
        await ended.wait()


async def test_an_error_comes_out_as_itself() -> None:
    """Not as a group."""

    async def handler(_: web.Request) -> web.Response:
        raise web.HTTPConflict

    async with (
        serving(app_of(handler)) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/")) as response,
    ):
        assert response.status == 409


@pytest.mark.parametrize(
    "path", ["/v1/batch-inference", "/v1/upload-to-dataset"], ids=["job", "dataset"]
)
async def test_half_a_body_leaves_nothing(
    fake: Any, settings: DeploymentSettings, path: str
) -> None:
    """When its sender is gone, it is gone."""
    sent, left = anyio.Event(), anyio.Event()
    uploads = fake.folder.uploads
    header = b'Content-Disposition: form-data; name="file"; filename="a"'

    async def half() -> AsyncIterator[bytes]:
        yield b"--b\r\n" + header + b"\r\n\r\n" + b"x" * 100
        sent.set()
        await left.wait()

    async def send(session: aiohttp.ClientSession, server: TestServer) -> None:
        headers = {**AUTHORIZED, "Content-Type": "multipart/form-data; boundary=b"}
        await session.post(server.make_url(path), data=half(), headers=headers)

    async with serving(application_of(fake, settings)) as server:
        async with (
            aiohttp.ClientSession() as session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(send, session, server)
            await sent.wait()
            while not list(uploads.iterdir()):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        while list(uploads.iterdir()):
            await anyio.lowlevel.checkpoint()
    assert fake.bodies == []
