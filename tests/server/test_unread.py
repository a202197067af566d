"""Clients that do not read what they asked for."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from anyio import to_thread

from sutro_stream.server.connections import Runner
from sutro_stream.server.sending import send_parts, send_span

UNREAD_S = 0.2
SIZE_BYTES = 32 << 20
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Where something large is to be had."""

    def __init__(self, runner: Runner, port: int) -> None:
        self.runner = runner
        self.ended = anyio.Event()
        self._port = port

    def asked(self) -> socket.socket:
        """A connection on which a client has asked, and has not read yet."""
        client = socket.create_connection(("127.0.0.1", self._port))
        client.sendall(ASK)
        return client


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    """A server that ends what is not read."""

    async def told(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        finally:
            server.ended.set()

    app = web.Application()
    app.router.add_get("/", told)
    runner = Runner(
        app, most_connections=8, unread_s=UNREAD_S, grace_s=1, access_log=None
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server = Server(runner, site.port)
        yield server
    finally:
        await runner.cleanup()


async def closed(server: Server) -> None:
    """Wait until the server has had its only connection, and has forgotten it."""
    with anyio.fail_after(20):
        while not len(server.runner.connections):  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.001)
        while len(server.runner.connections):  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.001)


def as_a_file(folder: Path) -> Answer:
    """A large file, piece by piece."""
    path = folder / "large"
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = SIZE_BYTES
        await send_span(request, response, path, (0, SIZE_BYTES))
        return response

    return answer


def as_parts(_: Path) -> Answer:
    """Something that is made while it is sent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await send_parts(request, (b"x" * 10_000 for _ in range(3_000)))

    return answer


def at_once(_: Path) -> Answer:
    """A response that aiohttp sends after the handler's end."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bytearray(SIZE_BYTES))

    return answer


@pytest.mark.parametrize("kind", [as_a_file, as_parts, at_once])
async def test_what_is_not_read_is_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: Callable[[Path], Answer]
) -> None:
    """The connection and what was held for it are free again, and the log says so."""
    async with serving(kind(tmp_path)) as server:
        with server.asked() as client:
            await closed(server)
            await server.ended.wait()

            def rest() -> int:
                size = 0
                while piece := client.recv(1 << 20):
                    size += len(piece)
                return size

            with pytest.raises(ConnectionResetError):
                await to_thread.run_sync(rest)
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert ["client had not read" in r.getMessage() for r in warned] == [True]


async def test_what_is_read_slowly_is_sent_to_its_end(tmp_path: Path) -> None:
    """With pauses that are shorter than the patience, however long it takes."""
    async with serving(as_a_file(tmp_path)) as server:
        loop = asyncio.get_running_loop()
        with server.asked() as client:
            client.settimeout(0)
            size, began = 0, loop.time()
            while size < SIZE_BYTES:
                size += len(await loop.sock_recv(client, 1 << 20))
                await anyio.sleep(UNREAD_S / 10)
            assert loop.time() - began > UNREAD_S


async def test_a_client_that_is_closed_with_something_unread_is_gone(
    tmp_path: Path,
) -> None:
    """Whoever stops the server does not wait for it."""
    async with serving(as_a_file(tmp_path)) as server:
        client = server.asked()
        with anyio.fail_after(10):
            while not server.runner.connections.working:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.001)
    with anyio.fail_after(10):
        await server.ended.wait()
    client.close()
