"""What comes over a connection and is no request, or half of one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import orjson
import psutil
import pytest

from sutro_stream.server.pace import LEAST_BYTES_PER_S, PATIENCE_S, Pace
from sutro_stream.testing import run_virtual
from sutro_stream.wire.api_error import ApiError

HOST = "127.0.0.1"
IDLE = 300


def request(*lines: str, body: bytes = b"", end: str = "\r\n\r\n") -> bytes:
    """A request, line by line."""
    return ("\r\n".join(lines) + end).encode("latin-1") + body


async def reply(site: Any, sent: bytes, *, close: bool = False) -> bytes:
    """All that comes back until the server closes, which it does within a while."""
    async with await anyio.connect_tcp(HOST, site.port) as stream:
        received = b""
        with anyio.fail_after(20):
            try:
                await stream.send(sent)
                if close:
                    await stream.send_eof()
                while True:
                    received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return received


POST = ("POST /v1/batch-inference HTTP/1.1", "Host: x", "Connection: close")
GET = ("GET /v1/auth/check HTTP/1.1", "Host: x", "Connection: close")

NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    b"\x00" * 1000 + b"\r\n\r\n",
    b"hello\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET\r\n\r\n",
    b"SSH-2.0-OpenSSH_9\r\n\r\n",
    request(f"GET /{'x' * 20_000} HTTP/1.1", "Host: x"),
    request(*GET, f"X: {'x' * 20_000}"),
    request(*GET, *[f"X-{at}: y" for at in range(1000)]),
    request(*GET, "Bad Name: x"),
    request(*GET, "X: a\0b"),
    request(*POST, "Content-Length: -1"),
    request(*POST, "Content-Length: 1e3"),
    request(*POST, "Content-Length: " + "9" * 5000),
    request(*POST, "Content-Length: 3", "Content-Length: 4", body=b"abcd"),
    request(
        *POST, "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    request(*POST, "Transfer-Encoding: chunked, identity", body=b"abc"),
]


@pytest.mark.parametrize("sent", NOT_HTTP, ids=range(len(NOT_HTTP)))
@pytest.mark.usefixtures("beside")
async def test_what_is_no_http_is_refused_as_everything_else(
    site: Any, sent: bytes
) -> None:
    """By an object of three texts, and nothing of what was sent."""
    head, _, body = (await reply(site, sent)).partition(b"\r\n\r\n")
    assert b" 400 Bad Request" in head
    assert b"application/json" in head
    told = orjson.loads(body)
    assert (set(told), told["code"]) == (
        {"detail", "code", "request_id"},
        "malformed_request",
    )


HALVES = [
    b"",
    b"GET /v1/auth/ch",
    request(*GET, end="\r\n"),
    request(*POST, "Content-Length: 100", body=b'{"inputs": ['),
    request(*POST, "Transfer-Encoding: chunked", body=b"5\r\n{"),
]


@pytest.mark.parametrize("sent", HALVES, ids=range(len(HALVES)))
@pytest.mark.usefixtures("beside")
async def test_half_a_request_is_none(client: Any, site: Any, sent: bytes) -> None:
    """Its sender has left; nothing was submitted."""
    authorized = sent.replace(
        b"Host: x", b"Host: x\r\nAuthorization: Key " + site.their_key.encode()
    )
    before = await client.ask("GET", "/v1/list-jobs", key=site.their_key)
    await reply(site, authorized, close=True)
    after = await client.ask("GET", "/v1/list-jobs", key=site.their_key)
    assert after.json["jobs"] == before.json["jobs"]


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\nabc\r\n0\r\n\r\n", b"-1\r\nabc\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"],
    ids=range(3),
)
@pytest.mark.usefixtures("beside")
async def test_pieces_that_are_not_as_long_as_they_say(
    site: Any, chunks: bytes
) -> None:
    """Are the client's mistake."""
    head = request(
        *POST, f"Authorization: Key {site.key}", "Transfer-Encoding: chunked"
    )
    assert b" 400 Bad Request" in await reply(site, head + chunks)


async def test_a_connection_is_not_taken_for_another_use(site: Any) -> None:
    """Neither a proxy nor a socket of any other kind."""
    for lines in (
        ("CONNECT example.com:443 HTTP/1.1", "Host: example.com"),
        ("GET http://example.com/ HTTP/1.1", "Host: example.com"),
        (*GET[:2], "Connection: Upgrade", "Upgrade: websocket"),
        (*GET[:2], "Connection: Upgrade", "Upgrade: h2c"),
    ):
        answered = await reply(site, request(*lines, "Connection: close"))
        assert answered.split(b" ")[1] in {b"400", b"401", b"404", b"405"}


@pytest.mark.usefixtures("beside")
async def test_idle_connections_keep_nobody_out(client: Any, site: Any) -> None:
    """Some of them with half a request; when they are gone, so are their files."""
    await _idle(client, site, IDLE)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("beside")
async def test_ten_thousand_idle_connections_keep_nobody_out(
    client: Any, site: Any
) -> None:
    """Nor twice as many as there may be."""
    await _idle(client, site, 10_000)


async def _idle(client: Any, site: Any, count: int) -> None:
    process = psutil.Process(site.pid)
    before = process.num_fds()
    async with AsyncExitStack() as stack:
        for at in range(count):
            stream = await stack.enter_async_context(
                await anyio.connect_tcp(HOST, site.port)
            )
            await stream.send((b"", b"GET /v1/li", request(*GET, end="\r\n"))[at % 3])
        assert await client.succeeded()
    with anyio.fail_after(60):
        while process.num_fds() > before + 20:  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.05)


def test_a_body_that_drips_is_given_up() -> None:
    """A byte now and then is no reason to wait for ever."""

    async def drip() -> float:
        pace = Pace()
        with pytest.raises(ApiError) as caught:
            while True:
                with pace.waiting():
                    await anyio.sleep(PATIENCE_S / 4)
                pace.received(1)
        assert (caught.value.status, caught.value.code) == (408, "too_slow")
        return anyio.current_time()

    assert run_virtual(drip) == pytest.approx(PATIENCE_S, abs=1)


def test_a_body_that_stops_is_given_up() -> None:
    """However fast it came before."""

    async def stop() -> float:
        pace = Pace()
        pace.received(100 << 20)
        with pytest.raises(ApiError), pace.waiting():
            await anyio.sleep_forever()
        return anyio.current_time()

    assert run_virtual(stop) == pytest.approx(PATIENCE_S, abs=1)


def test_a_slow_body_that_goes_on_is_waited_for() -> None:
    """An hour, if it must be."""

    async def go_on() -> None:
        pace = Pace()
        for _ in range(3600):
            with pace.waiting():
                await anyio.sleep(1)
            pace.received(LEAST_BYTES_PER_S)

    run_virtual(go_on)
