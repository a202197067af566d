"""How slowly a client may send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from sutro_stream.wire.api_error import ApiError

PATIENCE_S = 60.0
"""Longest time in which nothing comes, and in which little may come."""

LEAST_BYTES_PER_S = 1024
"""Of a body that takes longer than `PATIENCE_S`, on average."""


class Pace:
    """What of a body has come, and how long the rest may take.

    Someone who sends a byte now and then holds a connection, a task and a file.
    """

    def __init__(self) -> None:
        self._began = anyio.current_time()
        self._received = 0

    def received(self, size_bytes: int) -> None:
        """Note that something has come."""
        self._received += size_bytes

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for more in the context's body.

        Raises:
            ApiError: 408, it does not come in time.
        """
        allowed_s = PATIENCE_S + self._received / LEAST_BYTES_PER_S
        left_s = self._began + allowed_s - anyio.current_time()
        with anyio.move_on_after(min(left_s, PATIENCE_S)) as scope:
            yield
        if scope.cancelled_caught:
            raise ApiError(408, "too_slow", "the body did not come in time")
