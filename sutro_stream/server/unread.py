"""Responses that their client does not read."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from sutro_stream.server.pace import LEAST_BYTES_PER_S

_LOGGER = logging.getLogger("sutro_stream.server")

# How long the system tries to send what is left of a closed connection.
_NOT_AT_ALL = struct.pack("ii", 1, 0)


class UnreadWatch:
    """Breaks a connection whose client does not read what it is sent.

    Such a client holds what was not sent yet, a file, a task and the connection
    itself, and does not lose them by being closed, which waits for it.

    Concurrency: one event loop.
    """

    def __init__(self, transport: asyncio.WriteTransport, *, patience_s: float) -> None:
        """Idle.

        Args:
            transport: Of the connection; from here on its protocol is told whenever
                something is left that the system does not take.
            patience_s: Seconds in which `LEAST_BYTES_PER_S` must leave on average.
        """
        # Nothing is left behind then when a response has ended and the connection
        # is closed. The system has buffers of its own to send from meanwhile.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._patience_s = patience_s
        self._left_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Something waits for the client."""
        self._left_bytes = self._transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience_s, self._look)

    def end(self) -> None:
        """Nothing does any longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        gone_bytes = self._left_bytes - self._transport.get_write_buffer_size()
        if gone_bytes >= self._patience_s * LEAST_BYTES_PER_S:
            self.begin()
            return
        _LOGGER.warning(
            "broke a connection whose client had not read for %.0f s", self._patience_s
        )
        # At once, and with what the system holds: else that stays until it gives up.
        system = self._transport.get_extra_info("socket")
        if system is not None:
            system.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOT_AT_ALL)
        self._transport.abort()
