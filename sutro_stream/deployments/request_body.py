"""A body that is in memory already, on its way out."""

from __future__ import annotations

from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

from sutro_stream.wire.submission_body import Body

_PIECE_BYTES = 1 << 18


class RequestBody(Payload):
    """JSON that is sent as it lies there, in places and some at a time.

    aiohttp sends bytes in one write, and makes a copy of a `BytesIO`.
    """

    _autoclose = True

    def __init__(self, body: Body) -> None:
        """A body; it can be sent more than once."""
        super().__init__(body, content_type="application/json")
        self._body = body
        self._size = sum(map(len, body))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """See `Payload`."""
        return b"".join(self._body).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """See `Payload`: waits where the deployment reads more slowly."""
        for piece in self._body:
            view = memoryview(piece)
            for start in range(0, len(view), _PIECE_BYTES):
                await writer.write(view[start : start + _PIECE_BYTES])
