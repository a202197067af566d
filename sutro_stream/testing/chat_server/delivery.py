"""Answers to the wire, whole or with what goes wrong there."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from http import HTTPStatus
from itertools import pairwise
from typing import NoReturn

import anyio
from aiohttp import web

from sutro_stream.testing.chat_server.answers import Answer
from sutro_stream.testing.chat_server.replies import Cut, HugeBody, SlowBody

_BLOCK_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class WholeResponse(web.StreamResponse):
    """An answer written in one go.

    The ordinary response costs as much as all the rest of a request, so status,
    headers and body are put together here and handed to the transport at once.
    """

    def __init__(self, answer: Answer, *, keep_alive: bool) -> None:
        super().__init__(status=answer.status)
        self._wire = _wire_bytes(answer, keep_alive=keep_alive)
        self._keeps_alive = keep_alive
        self._request: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool:
        """Whether the connection serves another request afterwards."""
        return self._keeps_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Remember where to write."""
        self._request = request

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - as inherited
        """Write everything."""
        transport = self._request.transport if self._request is not None else None
        if transport is not None:
            transport.write(self._wire)


class ClosedResponse(web.StreamResponse):
    """Stands for an answer whose connection is closed: aiohttp drops it quietly."""

    async def prepare(self, request: web.BaseRequest) -> NoReturn:  # noqa: ARG002 - as inherited
        """Report the closed connection."""
        message = "the connection is closed"
        raise ConnectionResetError(message)


async def deliver_slowly(
    request: web.BaseRequest, answer: Answer, fault: SlowBody | HugeBody
) -> tuple[web.StreamResponse, bytes]:
    """Send all but the tail of an answer, dripping or padded.

    Returns:
        The response and its tail, still to be written.

    Cancellation: what was sent stays sent; aiohttp closes the connection.
    """
    response = await _prepared(request, answer, padding_bytes=_padding_bytes(fault))
    body = answer.body
    if isinstance(fault, HugeBody):
        block = _padding_block(answer)
        for _ in range(_padding_bytes(fault) // _BLOCK_BYTES):
            await response.write(block)
        return response, body
    *first, last = _slices(body, fault.pieces)
    pause_s = fault.duration_s / fault.pieces
    for piece in first:
        await anyio.sleep(pause_s)
        await response.write(piece)
    await anyio.sleep(pause_s)
    return response, last


async def finished(response: web.StreamResponse, tail: bytes) -> web.StreamResponse:
    """Send what is left of an answer and return what aiohttp is to finish."""
    if tail:
        try:
            await response.write_eof(tail)
        except ConnectionError:
            return ClosedResponse()
    return response


async def deliver_cut(request: web.BaseRequest, answer: Answer, cut: Cut) -> None:
    """Send the part of an answer that comes before the cut, then close."""
    transport = request.transport
    if transport is None:
        return
    if cut.at != "before_headers":
        response = await _prepared(request, answer)
        if cut.at == "mid_body":
            await response.write(answer.body[: len(answer.body) // 2])
    if cut.reset:
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.close()


async def _prepared(
    request: web.BaseRequest, answer: Answer, *, padding_bytes: int = 0
) -> web.StreamResponse:
    """A response whose headers are sent."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    if not answer.is_stream:
        response.content_length = len(answer.body) + padding_bytes
    await response.prepare(request)
    return response


def _padding_bytes(fault: SlowBody | HugeBody) -> int:
    wanted = fault.padding_bytes if isinstance(fault, HugeBody) else 0
    return -(-wanted // _BLOCK_BYTES) * _BLOCK_BYTES


def _padding_block(answer: Answer) -> bytes:
    if answer.is_stream:
        return b": %b\n\n" % (b"." * (_BLOCK_BYTES - 4))
    return b" " * _BLOCK_BYTES


def _slices(body: bytes, count: int) -> Iterator[bytes]:
    """The body in so many consecutive slices, nearly equal; some may be empty."""
    bounds = [len(body) * number // count for number in range(count + 1)]
    return (body[a:b] for a, b in pairwise(bounds))


def _wire_bytes(answer: Answer, *, keep_alive: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
    )
    for name, value in answer.headers.items():
        head += f"{name}: {value}\r\n"
    if not keep_alive:
        head += "Connection: close\r\n"
    if answer.is_stream:
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in answer.pieces]
        head += "Transfer-Encoding: chunked\r\n\r\n"
        return b"".join([head.encode(), *chunks, b"0\r\n\r\n"])
    body = answer.body
    return b"%bContent-Length: %d\r\n\r\n%b" % (head.encode(), len(body), body)
