"""Engines that reach their endpoint through a proxy, or trust an authority."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    TransportError,
)
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.testing.proxy_server import proxy_server
from sutro_stream.testing.raw_server import Peer, RawServer, raw_server
from sutro_stream.values.endpoint import TRANSPORTS, Endpoint, TransportName
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer

Route: TypeAlias = Callable[[dict[str, Any]], tuple[int, Any]]
Serve: TypeAlias = Callable[[Mapping[str, Route]], AbstractAsyncContextManager[str]]

CERTIFICATE = Path(__file__).parent / "transports" / "certificates" / "loopback.pem"
PASSWORD = "pass-word-1"
BODY = b'{"choices":[{"message":{"content":"fine"},"finish_reason":"stop"}]}'


async def fine(peer: Peer) -> None:
    """Answer every request."""
    while True:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
        )


@asynccontextmanager
async def encrypted() -> AsyncIterator[RawServer]:
    """A server whose certificate this machine does not trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with raw_server(fine, certificate=context) as server:
        yield server


async def asked(engine: ChatEngine, times: int = 1) -> Answer:
    """The last of several answers, one after the other."""
    async with engine:
        responder = engine.bind(Instructions())
        for _ in range(times):
            answer = await responder.answer("x")
    return answer


async def error_of(engine: ChatEngine) -> EngineError:
    """What comes of a request."""
    with pytest.raises(EngineError) as caught:
        await asked(engine)
    assert PASSWORD not in str(caught.value)
    return caught.value


async def test_plain_requests_go_through_the_proxy() -> None:
    """With user and password in each of them, on a kept connection too."""
    async with (
        ScriptedChatServer() as server,
        proxy_server(user=f"me:{PASSWORD}") as proxy,
    ):
        through = proxy.url.replace("://", f"://me:{PASSWORD}@")
        engine = ChatEngine(server.base_url, "m", proxy=through)
        assert (await asked(engine, times=3)).text == "echo: x"
        assert len(proxy.heads) == 3


async def test_encrypted_requests_go_through_a_tunnel() -> None:
    """The proxy sees where to, and nothing of what is sent."""
    async with encrypted() as server, proxy_server(user=f"me:{PASSWORD}") as proxy:
        engine = ChatEngine(
            f"https://127.0.0.1:{server.port}/v1",
            proxy=proxy.url.replace("://", f"://me:{PASSWORD}@"),
            ca_file=CERTIFICATE,
            api_key="secret-key",
        )
        assert (await asked(engine, times=2)).text == "fine"
        assert len(proxy.heads) == 1
        assert proxy.heads[0].startswith(b"CONNECT 127.0.0.1:%d " % server.port)
        assert b"secret-key" not in proxy.heads[0]

    async with encrypted() as server, proxy_server() as proxy:
        engine = ChatEngine(
            f"https://127.0.0.1:{server.port}/v1",
            proxy=proxy.url,
            ca_file=CERTIFICATE,
            api_key="secret-key",
            headers={"X-A": "secret-header"},
        )
        assert (await asked(engine)).text == "fine"
        assert b"secret" not in proxy.heads[0]


async def test_a_new_key_goes_through_the_proxy_as_well() -> None:
    """Where the first one was refused."""
    keys = iter(["key-1", "key-2"])
    async with (
        ScriptedChatServer(api_key="key-2") as server,
        proxy_server(user=f"me:{PASSWORD}") as proxy,
    ):
        through = proxy.url.replace("://", f"://me:{PASSWORD}@")
        engine = ChatEngine(
            server.base_url, "m", proxy=through, api_key=lambda: next(keys)
        )
        answer = await asked(engine)
    assert (answer.text, answer.requests) == ("echo: x", 2)
    assert len(proxy.heads) == 2


async def test_the_tokenizer_is_reached_in_the_same_way(serve: Serve) -> None:
    """An endpoint's other routes are behind the same proxy."""
    routes = {"/tokenize": lambda _: (200, {"tokens": [1, 2]})}
    async with serve(routes) as address, proxy_server() as proxy:
        async with ChatEngine(f"{address}/v1", "m", proxy=proxy.url) as engine:
            tokenizer = engine.tokenizer()
            assert tokenizer is not None
            assert await tokenizer.count("a b") == 2
        assert proxy.heads[0].startswith(f"POST {address}/tokenize ".encode())


@pytest.mark.parametrize("encrypts", [False, True])
async def test_a_proxy_that_wants_a_user_is_told_of(*, encrypts: bool) -> None:
    """As the proxy's refusal, with where to write them; the run ends."""
    async with encrypted() as server, proxy_server(user="me:other") as proxy:
        scheme = "https" if encrypts else "http"
        engine = ChatEngine(
            f"{scheme}://127.0.0.1:{server.port}/v1",
            proxy=proxy.url.replace("://", f"://me:{PASSWORD}@"),
        )
        error = await error_of(engine)
    assert type(error) is EngineUnavailableError
    assert f"proxy {proxy.url}: asks for a user and a password" in str(error)
    assert "http://USER:PASSWORD@HOST:PORT" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"), [(403, EngineUnavailableError), (502, TransportError)]
)
async def test_a_proxy_that_refuses_is_told_of(
    status: int, kind: type[EngineError]
) -> None:
    """A decision is final; that the endpoint cannot be reached may pass."""
    async with proxy_server(status=status) as proxy:
        engine = ChatEngine("https://host.invalid/v1", proxy=proxy.url)
        error = await error_of(engine)
    assert type(error) is kind
    assert f"proxy {proxy.url}: " in str(error)
    assert f"HTTP {status}" in str(error)


async def test_a_proxy_that_is_not_there_is_told_of(unused_tcp_port: int) -> None:
    """By its address, not the endpoint's; and so is one without a known name."""
    address = f"http://127.0.0.1:{unused_tcp_port}"
    error = await error_of(ChatEngine("https://host.invalid/v1", proxy=address))
    assert type(error) is TransportError
    assert not error.connected
    assert f"proxy {address}: connection refused" in str(error)
    unknown = ChatEngine("https://host.invalid/v1", proxy="http://proxy.invalid:1")
    error = await error_of(unknown)
    assert "proxy http://proxy.invalid:1: the host name is not known" in str(error)


def test_the_fast_transport_knows_no_proxy() -> None:
    """Which is said before anything is opened."""
    with pytest.raises(ConfigurationError, match="goes through no proxy"):
        ChatEngine("http://h/v1", proxy="http://p:1", transport="fast")


@pytest.mark.parametrize(
    "proxy", ["p.example.com:3128", f"socks5://me:{PASSWORD}@p:1", "https://p:1", ""]
)
def test_a_proxy_has_an_address_of_http(proxy: str) -> None:
    """Others are refused, and not shown."""
    with pytest.raises(ConfigurationError, match="http:// URL") as caught:
        EmbeddingEngine("http://h/v1", proxy=proxy)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_authority_is_trusted_beside_the_machines_own(
    transport: TransportName,
) -> None:
    """Without it, the message names the option."""
    async with encrypted() as server:
        address = f"https://127.0.0.1:{server.port}/v1"
        trusting = ChatEngine(address, transport=transport, ca_file=str(CERTIFICATE))
        assert (await asked(trusting)).text == "fine"
        error = await error_of(ChatEngine(address, transport=transport))
        assert "--ca-file (ca_file)" in str(error)
        own = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert own > 0


async def test_an_authority_that_cannot_be_read_is_told_when_opened(
    tmp_path: Path,
) -> None:
    """Missing, or no certificate."""
    missing = ChatEngine("https://h/v1", ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match=r"ca\.pem: no such file"):
        await asked(missing)
    (tmp_path / "text.pem").write_text("no certificate\n")
    text = ChatEngine("https://h/v1", ca_file=tmp_path / "text.pem")
    with pytest.raises(ConfigurationError, match="holds no certificate in PEM"):
        await asked(text)


def test_an_engine_of_a_description_is_that_engine() -> None:
    """With every part of it."""
    described = Endpoint(
        url="https://h/v1?q=1",
        api_key="secret-key",
        dialect="azure",
        stream=True,
        headers={"X-A": "secret-header"},
        extra_body={"a": 1},
        transport="aiohttp",
        proxy="http://me:secret-proxy@p:1",
        ca_file=CERTIFICATE,
    )
    engine = ChatEngine.of(described, "m")
    assert engine.description == described
    assert EmbeddingEngine.of(described).description == Endpoint(
        url=described.url,
        api_key=described.api_key,
        dialect=described.dialect,
        headers=described.headers,
        extra_body=described.extra_body,
        transport=described.transport,
        proxy=described.proxy,
        ca_file=described.ca_file,
    )
    assert "secret" not in repr(described) + repr(engine)
    for secret in ("secret-key", "secret-header", "secret-proxy"):
        assert secret in engine.secrets()


@pytest.mark.parametrize("name", ["messages", "model", "stream"])
def test_extra_fields_are_none_that_a_request_has(name: str) -> None:
    """It would have them twice."""
    with pytest.raises(ConfigurationError, match=f"extra_body: {name} is"):
        ChatEngine("http://h/v1", extra_body={name: True})
