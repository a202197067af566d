"""Which addresses are public, and what a guarded connector reaches."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from sutro_stream.errors import SourceError
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.sources.url import UrlSource
from sutro_stream.storage.guard import NotAllowedError, guarded_connector, is_public
from sutro_stream.testing.source_suite import read_rows

FIRST, SECOND = "127.0.0.1", "127.0.0.2"


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1"],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """Of both versions."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",  # noqa: S104 - what is to be refused
        "0.1.2.3",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "fec0::1",
        "ff02::1",
        "localhost",
        "0x7f000001",
        "2130706433",
        "",
    ],
)
def test_other_addresses_are_not_public(address: str) -> None:
    """Local, shared, reserved, embedded, and what is no address at all."""
    assert not is_public(address)


@pytest.fixture
async def redirecting() -> AsyncIterator[str]:
    """A server on two addresses; the first redirects to the second."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.host.startswith(FIRST):
            raise web.HTTPFound(f"http://{SECOND}:{port}/")
        return web.Response(text="reached")

    runner = web.ServerRunner(web.Server(answer))  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, FIRST, 0).start()
    port = runner.addresses[0][1]
    await web.TCPSite(runner, SECOND, port).start()
    yield f"http://{FIRST}:{port}/"
    await runner.cleanup()


async def _reached(url: str, *allowed: str) -> str:
    connector = guarded_connector(lambda address: address in allowed)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url) as response,
    ):
        return await response.text()


async def test_allowed_addresses_are_reached(redirecting: str) -> None:
    """The guard is in the way of others only."""
    assert await _reached(redirecting, FIRST, SECOND) == "reached"


async def test_a_redirect_is_looked_at_as_well(redirecting: str) -> None:
    """An address that is allowed cannot lead to one that is not."""
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await _reached(redirecting, FIRST)
    assert isinstance(caught.value.os_error, NotAllowedError)


async def test_a_name_is_judged_by_its_addresses(redirecting: str) -> None:
    """What a name resolves to is what counts, all of them if there are several."""
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await _reached(redirecting.replace(FIRST, "localhost"))
    assert isinstance(caught.value.os_error, NotAllowedError)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0.0.0.0",  # noqa: S104 - as above
        "169.254.169.254",
        "10.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "\u2460\u2461\u2466.0.0.1",
    ],
)
async def test_a_source_refuses_addresses_that_are_not_public(host: str) -> None:
    """In all spellings, at once, and without showing the query."""
    source = UrlSource(
        url=f"http://{host}:1/rows.csv?key=secret",
        allow_private=False,
        retry=RetryPolicy(attempts=5, first_delay_s=3600),
    )
    with pytest.raises(SourceError) as caught:
        await read_rows(source)
    assert "secret" not in str(caught.value)
    assert "public internet" in str(caught.value) or "complete" in str(caught.value)


async def test_a_source_reads_private_addresses_if_it_may(redirecting: str) -> None:
    """The guard is off where nothing else is said."""
    with pytest.raises(SourceError, match="has no rows"):
        await read_rows(UrlSource(url=redirecting))
