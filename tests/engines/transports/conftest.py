"""Every transport, on every event loop there is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias, cast

import pytest
from yarl import URL

from sutro_stream.engines.transports.registry import make_transport
from sutro_stream.engines.transports.transport import Destination, Transport
from sutro_stream.values.endpoint import TRANSPORTS, TransportName

HERE = Path(__file__).parent
LIMIT_BYTES = 1 << 20

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[Transport]]


def pytest_asyncio_loop_factories() -> Mapping[str, LoopFactory]:
    """Tests run on asyncio's loop, and on uvloop where it is installed."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - not everywhere

        factories["uvloop"] = cast("LoopFactory", uvloop.new_event_loop)
    return factories


@pytest.fixture(params=TRANSPORTS)
def opened(request: pytest.FixtureRequest) -> Opened:
    """Opens the transport under test towards a port, or an address."""
    name: TransportName = request.param

    @asynccontextmanager
    async def open_transport(
        to: int | str,
        *,
        certificates: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        connect_timeout_s: float = 10.0,
        limit_bytes: int = LIMIT_BYTES,
    ) -> AsyncIterator[Transport]:
        url = f"http://127.0.0.1:{to}/v1/chat" if isinstance(to, int) else to
        destination = Destination(
            url=URL(url),
            headers=headers or {},
            connect_timeout_s=connect_timeout_s,
            reply_limit_bytes=limit_bytes,
            certificates=certificates,
        )
        async with make_transport(name, destination) as transport:
            yield transport

    return open_transport


@pytest.fixture
def certificate_file() -> Callable[[str], Path]:
    """Where the certificate and key of this name are."""
    return lambda name: HERE / "certificates" / f"{name}.pem"
