"""An HTTP proxy on loopback, for tests of what goes through one."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from anyio.abc import ByteStream

from sutro_stream.testing.raw_server import Peer, raw_server

_READ_BYTES = 64 << 10
_OWN_FIELD = re.compile(rb"(?im)^proxy-authorization:.*\r\n")
_REFUSAL = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n"
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class ProxyServer:
    """Tunnels, and forwards requests; made by `proxy_server`.

    Attributes:
        url: Its address, without user and password.
        heads: Heads of the requests that it was sent, as they came.
    """

    def __init__(self, *, user: str | None, status: int | None) -> None:
        """A proxy that asks for this user, or answers everything with a status."""
        self.url = ""
        self.heads: list[bytes] = []
        self._status = status
        self._wanted = None
        if user is not None:
            self._wanted = b"basic " + base64.b64encode(user.encode())

    async def conduct(self, peer: Peer) -> None:
        """Serve one connection."""
        async with AsyncExitStack() as stack:
            upstream: ByteStream | None = None
            while True:
                head = await peer.head()
                self.heads.append(head)
                status = self._status or (None if self._may(head) else 407)
                if status is not None:
                    await peer.send(_REFUSAL % status)
                    return
                method, target, _ = head.split(b" ", 2)
                is_tunnel = method == b"CONNECT"
                if upstream is None:
                    place = target if is_tunnel else target.split(b"/")[2]
                    host, _, port = place.decode().partition(":")
                    connecting = anyio.connect_tcp(host, int(port or 80))
                    upstream = await stack.enter_async_context(await connecting)
                if is_tunnel:
                    await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await _join(peer, upstream)
                    return
                await self._forward(peer, head, upstream)

    def _may(self, head: bytes) -> bool:
        if self._wanted is None:
            return True
        fields = dict(
            line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        given = {name.lower(): value for name, value in fields.items()}
        found = given.get(b"proxy-authorization", b"")
        return found[:6].lower() + found[6:] == self._wanted

    async def _forward(self, peer: Peer, head: bytes, upstream: ByteStream) -> None:
        """Pass on one request and its reply, whose length is told."""
        target = head.split(b" ", 2)[1]
        path = b"/" + target.split(b"/", 3)[3]
        body = await peer.body(head)
        head = _OWN_FIELD.sub(b"", head.replace(target, path, 1))
        await upstream.send(head + body)
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += await upstream.receive(_READ_BYTES)
        begun, _, rest = reply.partition(b"\r\n\r\n")
        length = int(begun.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += await upstream.receive(_READ_BYTES)
        await peer.send(begun + b"\r\n\r\n" + rest)


async def _join(peer: Peer, stream: ByteStream) -> None:
    """Pass on bytes both ways until one side ends."""

    async def outwards() -> None:
        try:
            while True:
                await stream.send(await peer.receive())
        except _GONE:
            tasks.cancel_scope.cancel()

    async def inwards() -> None:
        try:
            while True:
                await peer.send(await stream.receive(_READ_BYTES))
        except _GONE:
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outwards)
        tasks.start_soon(inwards)


@asynccontextmanager
async def proxy_server(
    *, user: str | None = None, status: int | None = None
) -> AsyncIterator[ProxyServer]:
    """An HTTP proxy that tunnels (CONNECT), and forwards what is not encrypted.

    Args:
        user: User and password that it asks for, with a colon between; `None` for
            nobody.
        status: What it answers to everything, `None` to do what it is asked to.
    """
    proxy = ProxyServer(user=user, status=status)
    async with raw_server(proxy.conduct) as server:
        proxy.url = f"http://127.0.0.1:{server.port}"
        yield proxy
