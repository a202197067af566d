"""What comes before a request: names, addresses, connections, TLS."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from sutro_stream.engines.transports.transport import Transport
from sutro_stream.errors import EngineError, EngineUnavailableError, TransportError
from sutro_stream.flow.retry import is_retryable
from sutro_stream.testing.raw_server import Peer, raw_server

Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[Transport]]
CertificateFile: TypeAlias = Callable[[str], Path]

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"


async def fine(peer: Peer) -> None:
    """Answer every request."""
    while True:
        await peer.request()
        await peer.send(PLAIN)


async def mute(peer: Peer) -> None:
    """Say nothing, not even of TLS."""
    await peer.until_closed()


def shown(path: Path) -> ssl.SSLContext:
    """A server's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def error_of(transport: Transport) -> EngineError:
    """What comes of a request."""
    with pytest.raises(EngineError) as caught:
        await transport.post(b"{}")
    return caught.value


def check_nobody_there(error: EngineError, text: str) -> None:
    """No connection stood, which may be different later."""
    assert type(error) is TransportError
    assert not error.connected
    assert is_retryable(error)
    assert text in str(error)


async def test_a_refused_connection_is_told(
    opened: Opened, unused_tcp_port: int
) -> None:
    """By the system's reason, with scheme, host and port."""
    async with opened(unused_tcp_port) as transport:
        error = await error_of(transport)
    check_nobody_there(error, f"http://127.0.0.1:{unused_tcp_port}: connection refused")


@pytest.mark.parametrize("host", ["host.invalid", f"{'x' * 64}.invalid"])
async def test_an_unknown_host_is_told(opened: Opened, host: str) -> None:
    """Also one that cannot be a host's name."""
    async with opened(f"http://{host}/v1") as transport:
        error = await error_of(transport)
    check_nobody_there(error, "the host name is not known")


async def test_a_host_may_have_a_name(opened: Opened) -> None:
    """Which is looked up, and tried at all its addresses."""
    async with (
        raw_server(fine) as server,
        opened(f"http://localhost:{server.port}/v1") as transport,
    ):
        assert (await transport.post(b"{}")).body == b"fine"


async def test_a_host_may_be_a_literal_of_ipv6(opened: Opened) -> None:
    """In brackets, in the address as in the request."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    heads = []

    async def conduct(peer: Peer) -> None:
        heads.append((await peer.request())[0].lower())
        await peer.send(PLAIN)

    async with raw_server(conduct, host="::1") as server:
        async with opened(f"http://[::1]:{server.port}/v1") as transport:
            assert (await transport.post(b"{}")).body == b"fine"
        assert b"\r\nhost: [::1]:%d\r\n" % server.port in heads[0]


async def test_a_connection_has_its_time(
    opened: Opened, certificate_file: CertificateFile
) -> None:
    """A server that accepts and never shows a certificate is not waited for."""
    trusted = ssl.create_default_context(cafile=certificate_file("loopback"))
    async with raw_server(mute) as server:
        async with opened(
            f"https://127.0.0.1:{server.port}/v1",
            certificates=trusted,
            connect_timeout_s=0.1,
        ) as transport:
            check_nobody_there(await error_of(transport), "no connection in time")
        await server.wait_until_closed()


async def test_cancelling_a_connection_in_the_making_closes_it(
    opened: Opened, certificate_file: CertificateFile
) -> None:
    """Nothing is left of it."""
    trusted = ssl.create_default_context(cafile=certificate_file("loopback"))
    async with (
        raw_server(mute) as server,
        opened(
            f"https://127.0.0.1:{server.port}/v1", certificates=trusted
        ) as transport,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transport.post, b"{}")
            await server.wait_for_connections(1)
            tasks.cancel_scope.cancel()
        await server.wait_until_closed()


# TLS.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_trusted_certificate_is_talked_to(
    opened: Opened, certificate_file: CertificateFile, host: str
) -> None:
    """On a connection that is kept; large bodies too."""
    path = certificate_file("loopback")
    trusted = ssl.create_default_context(cafile=path)
    async with (
        raw_server(fine, certificate=shown(path)) as server,
        opened(f"https://{host}:{server.port}/v1", certificates=trusted) as transport,
    ):
        for size in (2, 4 << 20, 2):
            assert (await transport.post(bytes(size))).body == b"fine"
        assert server.connections == 1


@pytest.mark.parametrize(("name", "trusts"), [("loopback", False), ("elsewhere", True)])
async def test_a_certificate_that_is_not_to_be_trusted_ends_it(
    opened: Opened, certificate_file: CertificateFile, name: str, trusts: bool
) -> None:
    """Unknown, or that of another host: no attempt can succeed."""
    path = certificate_file(name)
    certificates = ssl.create_default_context(cafile=path) if trusts else None
    async with raw_server(fine, certificate=shown(path)) as server:
        async with opened(
            f"https://127.0.0.1:{server.port}/v1", certificates=certificates
        ) as transport:
            error = await error_of(transport)
        await server.wait_until_closed()
    assert type(error) is EngineUnavailableError
    assert "the TLS certificate is not trusted" in str(error)


async def test_a_server_without_tls_is_told(opened: Opened) -> None:
    """By what TLS makes of its words."""

    async def conduct(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await peer.until_closed()

    async with (
        raw_server(conduct) as server,
        opened(f"https://127.0.0.1:{server.port}/v1") as transport,
    ):
        error = await error_of(transport)
    check_nobody_there(error, "no TLS connection (wrong version number)")


async def test_a_server_that_hangs_up_on_tls_is_told(opened: Opened) -> None:
    """As nobody being there."""

    async def conduct(peer: Peer) -> None:
        peer.reset()

    async with (
        raw_server(conduct) as server,
        opened(f"https://127.0.0.1:{server.port}/v1") as transport,
    ):
        check_nobody_there(await error_of(transport), ": ")


# What a request says.


async def head_of(opened: Opened, address: str, **arguments: object) -> bytes:
    """The head that a server sees; `PORT` in the address becomes the server's."""
    heads = []

    async def conduct(peer: Peer) -> None:
        heads.append((await peer.request())[0])
        await peer.send(PLAIN)

    async with (
        raw_server(conduct) as server,
        opened(address.replace("PORT", str(server.port)), **arguments) as transport,
    ):
        await transport.post(b"{}")
    return heads[0]


async def test_path_and_query_are_sent_as_they_are_written(opened: Opened) -> None:
    """Escapes stay escapes; what is behind a hash is not sent."""
    head = await head_of(opened, "http://127.0.0.1:PORT/v1/a%20b?k=%C3%A9&l=1#m")
    assert head.startswith(b"POST /v1/a%20b?k=%C3%A9&l=1 HTTP/1.1\r\n")


async def test_a_user_in_the_address_is_sent_as_authorization(opened: Opened) -> None:
    """And only so."""
    head = await head_of(opened, "http://ada:p%40ss@127.0.0.1:PORT/v1")
    pair = base64.b64encode(b"ada:p@ss")
    assert b"\r\nauthorization: basic " + pair.lower() in head.lower()
    assert pair in head
    assert b"p%40ss" not in head


async def test_headers_are_sent_once_each(opened: Opened) -> None:
    """Ours win over what a transport would say itself."""
    headers = {
        "Content-Type": "application/json",
        "user-agent": "me",
        "ACCEPT": "application/json",
        "X-Name": "żółć",
    }
    head = await head_of(opened, "http://127.0.0.1:PORT/v1", headers=headers)
    lines = head.lower().split(b"\r\n")
    for name, value in headers.items():
        line = f"{name}: {value}".lower().encode()
        start = line.split(b":")[0] + b":"
        assert [each for each in lines if each.startswith(start)] == [line]


async def test_a_connection_that_was_to_be_closed_is_not_used_again(
    opened: Opened,
) -> None:
    """Whatever the server says of it."""
    async with (
        raw_server(fine) as server,
        opened(server.port, headers={"Connection": "close"}) as transport,
    ):
        for number in range(2):
            await transport.post(b"{}")
            assert server.connections == number + 1


async def test_proxies_of_the_environment_are_not_used(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """What talks to an endpoint on loopback would fail behind one."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    async with raw_server(fine) as server, opened(server.port) as transport:
        assert (await transport.post(b"{}")).body == b"fine"
