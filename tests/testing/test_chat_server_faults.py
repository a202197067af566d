"""What goes wrong on the wire when a script says so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import aiohttp
import anyio
import orjson
import pytest

from sutro_stream.testing import (
    Cut,
    GarbageBody,
    Hang,
    HugeBody,
    Reply,
    ScriptedChatServer,
    SlowBody,
    always,
)

STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session."""
    async with aiohttp.ClientSession() as session:
        yield session


def post(
    session: aiohttp.ClientSession, server: ScriptedChatServer, *, stream: bool = False
) -> aiohttp.client._RequestContextManager:
    """Send one chat request."""
    messages = [{"role": "user", "content": "good morning"}]
    body = {"model": "any", "messages": messages, "stream": stream}
    return session.post(f"{server.base_url}/chat/completions", json=body)


async def asked(session: aiohttp.ClientSession, server: ScriptedChatServer) -> None:
    """Send one chat request and wait for its answer."""
    async with post(session, server) as response:
        await response.read()


@STREAMS
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
async def test_cuts_before_the_headers(
    session: aiohttp.ClientSession, *, stream: bool, reset: bool
) -> None:
    """Not a byte arrives and the connection closes."""
    script = always(Reply(fault=Cut(reset=reset)))
    async with ScriptedChatServer(script) as server:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await post(session, server, stream=stream)
        seen = await server.wait_until(lambda seen: seen.connections_open == 0)
    assert (seen.cut, seen.answered, seen.disconnected, seen.in_flight) == (1, 0, 0, 0)


@STREAMS
async def test_cuts_after_the_headers(
    session: aiohttp.ClientSession, *, stream: bool
) -> None:
    """Status and headers arrive, then nothing of the body."""
    script = always(Reply(fault=Cut(at="after_headers")))
    async with (
        ScriptedChatServer(script) as server,
        post(session, server, stream=stream) as response,
    ):
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readany()
        assert server.statistics().cut == 1


@STREAMS
async def test_cuts_mid_body(session: aiohttp.ClientSession, *, stream: bool) -> None:
    """The body begins and ends too early."""
    script = always(Reply(fault=Cut(at="mid_body")))
    async with (
        ScriptedChatServer(script) as server,
        post(session, server, stream=stream) as response,
    ):
        assert len(await response.content.readexactly(10)) == 10
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
        assert server.statistics().answered == 0


async def test_serves_others_after_a_cut(session: aiohttp.ClientSession) -> None:
    """A cut ends one connection and not the server."""
    replies = iter([Reply(fault=Cut()), Reply()])
    async with ScriptedChatServer(lambda _request: next(replies)) as server:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post(session, server)
        async with post(session, server) as response:
            assert response.status == 200


@STREAMS
async def test_sends_garbage(session: aiohttp.ClientSession, *, stream: bool) -> None:
    """The body is what the script says, under the status it says."""
    reply = Reply(status=502, fault=GarbageBody(body=b"<h1>Bad gateway"))
    async with (
        ScriptedChatServer(always(reply)) as server,
        post(session, server, stream=stream) as response,
    ):
        assert response.status == 502
        assert response.content_type == "text/html"
        assert await response.read() == b"<h1>Bad gateway"


@STREAMS
async def test_drips_the_body(session: aiohttp.ClientSession, *, stream: bool) -> None:
    """Headers come at once, the body in pieces over the time given."""
    reply = Reply(text="déjà vu", fault=SlowBody(duration_s=0.2, pieces=20))
    async with ScriptedChatServer(always(reply)) as server:
        begun_s = time.monotonic()
        async with post(session, server, stream=stream) as response:
            assert server.statistics().in_flight == 1
            raw = await response.read()
            whole_s = time.monotonic() - begun_s
    assert whole_s >= 0.2
    assert server.statistics().answered == 1
    assert b"[DONE]" in raw if stream else orjson.loads(raw)


async def test_pads_a_plain_body(session: aiohttp.ClientSession) -> None:
    """A huge body is valid JSON behind its padding."""
    reply = Reply(text="hello", fault=HugeBody(padding_bytes=3_000_000))
    async with (
        ScriptedChatServer(always(reply)) as server,
        post(session, server) as response,
    ):
        raw = await response.read()
    assert 3_000_000 <= len(raw) <= 3_100_000
    assert response.headers["Content-Length"] == str(len(raw))
    assert orjson.loads(raw)["choices"][0]["message"]["content"] == "hello"


async def test_pads_a_stream(session: aiohttp.ClientSession) -> None:
    """A huge stream is comments, then the events."""
    reply = Reply(text="hello", fault=HugeBody(padding_bytes=200_000))
    async with (
        ScriptedChatServer(always(reply)) as server,
        post(session, server, stream=True) as response,
    ):
        raw = await response.read()
    comments = [part for part in raw.split(b"\n\n") if part.startswith(b": ")]
    assert sum(map(len, comments)) >= 199_000
    assert raw.endswith(b"data: [DONE]\n\n")


async def test_hangs_until_the_client_leaves(session: aiohttp.ClientSession) -> None:
    """A hanging request is counted out as soon as its client gives up."""
    async with (
        ScriptedChatServer(always(Reply(fault=Hang()))) as server,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(asked, session, server)
        await server.wait_until(lambda seen: seen.in_flight == 1)
        tasks.cancel_scope.cancel()
        with anyio.fail_after(2, shield=True):
            seen = await server.wait_until(lambda seen: seen.in_flight == 0)
    assert (seen.disconnected, seen.answered, seen.requests) == (1, 0, 1)


@STREAMS
async def test_notices_a_client_leaving_mid_body(
    session: aiohttp.ClientSession, *, stream: bool
) -> None:
    """A client that leaves a dripping body frees its place at once."""
    reply = Reply(text="word " * 50, fault=SlowBody(duration_s=30, pieces=100))
    async with ScriptedChatServer(always(reply)) as server:
        async with post(session, server, stream=stream) as response:
            assert response.status == 200
            response.close()
        with anyio.fail_after(2):
            seen = await server.wait_until(lambda seen: seen.in_flight == 0)
    assert (seen.disconnected, seen.answered) == (1, 0)


async def test_notices_a_client_leaving_a_huge_body(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that refuses a huge body ends it, without noise in the log."""
    reply = Reply(fault=HugeBody(padding_bytes=1_000_000_000))
    async with ScriptedChatServer(always(reply)) as server:
        async with post(session, server) as response:
            await response.content.readany()
            response.close()
        with anyio.fail_after(2):
            seen = await server.wait_until(lambda seen: seen.in_flight == 0)
    assert seen.disconnected == 1
    assert not caplog.records


async def test_stops_in_the_middle_of_a_huge_body(
    session: aiohttp.ClientSession,
) -> None:
    """Leaving the block does not wait for a client that does not read."""
    reply = Reply(fault=HugeBody(padding_bytes=1_000_000_000))
    with anyio.fail_after(2):
        async with ScriptedChatServer(always(reply)) as server:
            response = await post(session, server)
    response.close()
    assert server.statistics().disconnected == 1
