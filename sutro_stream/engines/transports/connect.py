"""From an address to a connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeAlias

import aiohappyeyeballs
import anyio

from sutro_stream.engines.transports import faults
from sutro_stream.engines.transports.connection import Connection
from sutro_stream.engines.transports.transport import Destination

# Of RFC 8305, and what aiohttp does: a second address is tried while the first hangs.
_HEAD_START_S = 0.25
_NAMES_KEPT_S = 10.0

Address: TypeAlias = aiohappyeyeballs.AddrInfoType


class Connector:
    """Makes connections to one destination.

    Concurrency: any number of tasks at once; a name is looked up by one of them.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        loop: asyncio.AbstractEventLoop,
        certificates: ssl.SSLContext | None,
    ) -> None:
        """A dialler that has looked up nothing yet.

        Args:
            destination: Where to.
            loop: Whose connections they are.
            certificates: For TLS, `None` for plain HTTP.
        """
        url = destination.url
        self._where = faults.place(url)
        self._host = (url.raw_host or "").rstrip(".")
        self._port = url.port
        self._timeout_s = destination.connect_timeout_s
        self._loop = loop
        self._certificates = certificates
        self._looking_up = anyio.Lock()
        self._addresses: Sequence[Address] = ()
        self._known_at_s = 0.0

    async def dial(self, make: Callable[[], Connection]) -> Connection:
        """A connection that stands.

        Cancellation: what was begun is closed.

        Raises:
            TransportError: There is none to be had.
            EngineUnavailableError: The certificate is not one to trust.
        """
        where = self._where
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._connected(make)
        except ssl.SSLCertVerificationError as error:
            raise faults.untrusted(where) from error
        except (socket.gaierror, UnicodeError) as error:
            raise faults.unknown_host(where) from error
        except TimeoutError as error:
            raise faults.not_in_time(where) from error
        except OSError as error:
            # Behind a name may by now be another address.
            self._addresses = ()
            raise faults.unreachable(where, error) from error

    async def _connected(self, make: Callable[[], Connection]) -> Connection:
        addresses = await self._looked_up()
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_HEAD_START_S, loop=self._loop
        )
        with ExitStack() as undo:
            # The loop may not have taken it over when this is left.
            undo.callback(sock.close)
            # A reply may take minutes, and boxes on the way forget the silent.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _, connection = await self._loop.create_connection(
                make,
                sock=sock,
                ssl=self._certificates,
                server_hostname=None if self._certificates is None else self._host,
            )
            undo.pop_all()
        return connection

    async def _looked_up(self) -> Sequence[Address]:
        async with self._looking_up:
            now_s = self._loop.time()
            if not self._addresses or now_s - self._known_at_s > _NAMES_KEPT_S:
                self._addresses = await self._loop.getaddrinfo(
                    self._host, self._port, type=socket.SOCK_STREAM
                )
                self._known_at_s = now_s
        return self._addresses
