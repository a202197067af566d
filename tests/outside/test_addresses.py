"""Addresses of input files that lead into networks they should not lead into."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from sutro_stream.storage.guard import NotAllowedError, guarded_connector

GOOD, BAD = "127.0.0.1", "127.0.0.2"
NAME = "changing.example"


@dataclass
class Inside:
    """A server that nobody outside should reach.

    Attributes:
        port: Where it listens, on both addresses.
        asked: Hosts by which it was asked.
    """

    port: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    """On two addresses; the first sends everybody to the second."""
    found = Inside()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        found.asked.append(address)
        if request.path == "/redirect":
            raise web.HTTPFound(f"http://{BAD}:{found.port}/rows.csv")
        return web.Response(text="text\nsecret\n", headers={"Connection": "close"})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, GOOD, 0).start()
    found.port = runner.addresses[0][1]
    await web.TCPSite(runner, BAD, found.port).start()
    yield found
    await runner.cleanup()


SPELLINGS = [
    "127.0.0.1",
    "127.0.0.2",
    "localhost",
    "LOCALHOST.",
    socket.gethostname(),
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "0",
    "0.0.0.0",  # noqa: S104 - what is to be refused
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "\uff11\uff12\uff17.0.0.1",
    "user:password@127.0.0.1",
    "example.com@127.0.0.1",
    "169.254.169.254",
    "10.0.0.1",
]


@pytest.mark.parametrize("host", SPELLINGS, ids=range(len(SPELLINGS)))
@pytest.mark.usefixtures("beside")
async def test_no_spelling_of_an_address_leads_inside(
    client: Any, inside: Inside, host: str
) -> None:
    """The job fails, says why without its query, and nobody was asked."""
    url = f"http://{host}:{inside.port}/rows.csv?token=abcdef"
    submitted = await client.submit(url)
    job = await client.ended(submitted.json["results"])
    assert job["status"] == "FAILED"
    assert inside.asked == []
    told = str(job)
    assert "abcdef" not in told
    assert "password" not in told


@pytest.mark.usefixtures("beside")
async def test_what_is_open_inside_cannot_be_found_out(
    client: Any, inside: Inside
) -> None:
    """An address where somebody listens fails as one where nobody does."""

    async def failure(port: int) -> str:
        submitted = await client.submit(f"http://127.0.0.1:{port}/rows.csv")
        job = await client.ended(submitted.json["results"])
        return str(job["failure_reason"]["message"]).replace(f":{port}/", "/")

    assert await failure(inside.port) == await failure(1)


class Changing(AbstractResolver):
    """A name that leads to another address each time it is looked up."""

    def __init__(self) -> None:
        self.looked_up = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """As `AbstractResolver`."""
        self.looked_up += 1
        address = GOOD if self.looked_up % 2 else BAD
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """As `AbstractResolver`."""


async def ask(url: str, resolver: Changing) -> None:
    """Read what is there, where only the good address is allowed."""
    connector = guarded_connector(lambda address: address == GOOD, resolver=resolver)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url) as response,
    ):
        await response.read()


async def test_a_name_that_changes_between_check_and_connection(
    inside: Inside,
) -> None:
    """Is judged by the address that is connected to, each time."""
    resolver = Changing()
    for _ in range(10):
        with suppress(aiohttp.ClientConnectorError):
            await ask(f"http://{NAME}:{inside.port}/rows.csv", resolver)
    assert resolver.looked_up == 10
    assert inside.asked == [GOOD] * 5


async def test_a_redirect_is_judged_as_well(inside: Inside) -> None:
    """By the same rule, on the way to the next address."""
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await ask(f"http://{NAME}:{inside.port}/redirect", Changing())
    assert isinstance(caught.value.os_error, NotAllowedError)
    assert inside.asked == [GOOD]


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://:80/",
        "http://[::1/",
        "http://a b/",
        "http://\u0000/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/",
        "http://" + "a" * 300 + ".example/",
        "http://.../",
        "https://" + "a." * 5000,
        "HTTP://\u2025/",
        "http://127.0.0.1:1/\r\nHost: x",
    ],
)
@pytest.mark.usefixtures("beside")
async def test_an_address_that_is_none(client: Any, told: Any, url: str) -> None:
    """Is refused at once, or fails its job; it breaks nothing."""
    answer = await client.submit(url)
    if answer.status == 200:
        job = await client.ended(answer.json["results"])
        assert job["status"] == "FAILED"
    else:
        assert told(answer, client.site)[0] == 422
