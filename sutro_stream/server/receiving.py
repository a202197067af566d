"""Bodies of requests: large ones to disk, small ones to memory, none past its cap."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import anyio
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from anyio import to_thread

from sutro_stream.server.files import opened
from sutro_stream.server.pace import Pace
from sutro_stream.wire.api_error import ApiError

SMALL_BODY_BYTES = 1 << 20
# As much is gathered before a thread writes it.
_PIECE_BYTES = 1 << 20


class _Chunks(Protocol):
    def __aiter__(self) -> AsyncIterator[bytes]: ...


@asynccontextmanager
async def body_file(
    request: web.Request, folder: Path, *, limit_bytes: int
) -> AsyncIterator[Path]:
    """The body in a file that is removed when the context is left, if still there.

    Raises:
        ApiError: It has more than `limit_bytes` bytes, told as soon as that is known
            and not when all of it has come; or it is not what its headers say, or
            comes too slowly.
    """
    declared = request.content_length
    if declared is not None and declared > limit_bytes:
        raise too_large(limit_bytes)
    async with temporary_file(folder) as path:
        await save(request.content.iter_any(), path, limit_bytes=limit_bytes)
        yield path


@asynccontextmanager
async def temporary_file(folder: Path) -> AsyncIterator[Path]:
    """A path for a file that is removed when the context is left, if still there."""
    path = folder / secrets.token_hex(16)
    try:
        yield path
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(path).unlink(missing_ok=True)


async def save(chunks: _Chunks, path: Path, *, limit_bytes: int) -> None:
    """Write what comes to a new file.

    Raises:
        ApiError: As `body_file`.
    """
    held = bytearray()
    size = 0
    async with opened(path, "xb") as file:
        async for chunk in _readable(chunks):
            size += len(chunk)
            if size > limit_bytes:
                raise too_large(limit_bytes)
            held += chunk
            if len(held) >= _PIECE_BYTES:
                await to_thread.run_sync(file.write, held)
                held = bytearray()
        await to_thread.run_sync(file.write, held)
        await to_thread.run_sync(file.flush)


async def small_body(
    request: web.Request, *, limit_bytes: int = SMALL_BODY_BYTES
) -> bytes:
    """The body in memory.

    Raises:
        ApiError: As `body_file`.
    """
    held = bytearray()
    async for chunk in _readable(request.content.iter_any()):
        held += chunk
        if len(held) > limit_bytes:
            raise too_large(limit_bytes)
    return bytes(held)


def too_large(limit_bytes: int) -> ApiError:
    """More came than is taken."""
    return ApiError(
        413, "body_too_large", f"the body has more than {limit_bytes:,} bytes"
    )


async def _readable(chunks: _Chunks) -> AsyncIterator[bytes]:
    pace, coming = Pace(), aiter(chunks)
    try:
        while True:
            with pace.waiting():
                chunk = await anext(coming, None)
            if chunk is None:
                return
            pace.received(len(chunk))
            yield chunk
    except (HttpProcessingError, web.RequestPayloadError):
        raise ApiError(
            400, "malformed_body", "the body is not encoded as its headers say"
        ) from None
