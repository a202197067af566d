"""How many connections there may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from aiohttp import web
from anyio.abc import SocketStream

from sutro_stream.server.connections import Runner
from sutro_stream.server.file_limit import most_connections

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Server:
    """Answers once it is let."""

    def __init__(self, runner: Runner, port: int, gate: anyio.Event) -> None:
        self.runner = runner
        self.gate = gate
        self._port = port

    async def connected(self) -> SocketStream:
        """A new connection, which the server has noted."""
        stream = await anyio.connect_tcp("127.0.0.1", self._port)
        # The server's end is made by the event loop that runs this as well.
        await anyio.wait_all_tasks_blocked()
        return stream


@asynccontextmanager
async def serving(most: int) -> AsyncIterator[Server]:
    """A server that keeps its requests waiting."""
    gate = anyio.Event()

    async def wait(_: web.Request) -> web.Response:
        await gate.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", wait)
    runner = Runner(app, most_connections=most, unread_s=60, grace_s=1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield Server(runner, site.port, gate)
    finally:
        await runner.cleanup()


async def received(stream: SocketStream) -> bytes:
    """What comes next, b"" at the end."""
    with anyio.fail_after(10):
        try:
            return await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b""


async def until(server: Server, working: int) -> None:
    """Wait until so many requests are at work."""
    with anyio.fail_after(10):
        while len(server.runner.connections.working) < working:  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.001)


async def test_the_one_that_waited_longest_makes_room() -> None:
    """It has sent nothing yet."""
    async with serving(2) as server:
        first, second = await server.connected(), await server.connected()
        async with first, second, await server.connected() as third:
            assert await received(first) == b""
            server.gate.set()
            for stream in (second, third):
                await stream.send(ASK)
                assert b"done" in await received(stream)


async def test_requests_at_work_are_not_cut_off_for_others() -> None:
    """Who comes when all are at work is told to come later."""
    async with serving(1) as server, await server.connected() as first:
        await first.send(ASK)
        await until(server, 1)
        async with await server.connected() as second:
            refused = await received(second)
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b'"code":"too_many_connections"' in refused
        server.gate.set()
        assert b"done" in await received(first)


async def test_a_connection_that_was_answered_waits_again() -> None:
    """And can make room for another one."""
    async with serving(1) as server, await server.connected() as first:
        server.gate.set()
        await first.send(ASK)
        assert b"done" in await received(first)
        async with await server.connected() as second:
            assert await received(first) == b""
            await second.send(ASK)
            assert b"done" in await received(second)


async def test_one_that_is_closed_is_forgotten() -> None:
    """By its client."""
    async with serving(8) as server:
        async with await server.connected():
            assert len(server.runner.connections) == 1
        with anyio.fail_after(10):
            while len(server.runner.connections):  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.001)


def test_there_are_no_more_of_them_than_files() -> None:
    """Nor more than were asked for."""
    assert most_connections(10) == 10
    assert 64 <= most_connections(100_000_000) < 100_000_000
