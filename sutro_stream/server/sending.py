"""Responses: JSON, parts made one after the other, files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import orjson
from aiohttp import hdrs, web
from anyio import to_thread

from sutro_stream.jobs.artifacts import Artifact
from sutro_stream.server.files import opened
from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.ranges import Part, Unsatisfiable, wanted_range

_JSON = "application/json"
# Less is hardly smaller compressed.
_COMPRESSED_BYTES = 2_048
_PIECE_BYTES = 1 << 20


def reply(request: web.Request, body: object, *, status: int = 200) -> web.Response:
    """A value as JSON, compressed if that is worth it and the client takes it."""
    response = plain_reply(body, status=status)
    raw = response.body
    large = isinstance(raw, bytes) and len(raw) >= _COMPRESSED_BYTES
    if large and _takes_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def plain_reply(body: object, *, status: int = 200) -> web.Response:
    """A value as JSON, never compressed."""
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(
        body=orjson.dumps(body), status=status, content_type=_JSON, headers=headers
    )


async def send_parts(
    request: web.Request, parts: Iterator[bytes]
) -> web.StreamResponse:
    """Send JSON that is made while it is sent, at the client's pace.

    Args:
        request: What is answered.
        parts: Blocking, so read in threads; what fails at the first part still gets
            a status of its own. Closed in the end.
    """
    response = web.StreamResponse(headers={hdrs.CACHE_CONTROL: "no-store"})
    response.content_type = _JSON
    if _takes_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
    async with aclosing(_in_threads(parts)) as made:
        async for part in made:
            if not response.prepared:
                await response.prepare(request)
            await response.write(part)
    await response.write_eof()
    return response


async def send_file(
    request: web.Request, artifact: Artifact, *, content_type: str
) -> web.StreamResponse:
    """Send a file, or the part of it that was asked for; for HEAD its headers.

    Raises:
        ApiError: Nothing of the file lies in the range that was asked for.
        FileNotFoundError: It was removed a moment ago.
    """
    size_bytes, etag = artifact.size_bytes, artifact.etag
    # A range is a matter of GET alone.
    is_head = request.method == hdrs.METH_HEAD
    headers = {
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: "private, no-store",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{artifact.filename}"',
        hdrs.CONTENT_TYPE: content_type,
        hdrs.ETAG: etag,
    }
    wanted = wanted_range(
        None if is_head else request.headers.get(hdrs.RANGE),
        request.headers.get(hdrs.IF_RANGE),
        size_bytes=size_bytes,
        etag=etag,
    )
    if isinstance(wanted, Unsatisfiable):
        raise ApiError(
            416,
            "range_not_satisfiable",
            f"the file has {size_bytes} bytes",
            headers={hdrs.CONTENT_RANGE: wanted.content_range},
        )
    start, stop = 0, size_bytes
    response = web.StreamResponse(headers=headers)
    if isinstance(wanted, Part):
        start, stop = wanted.start, wanted.stop
        response.set_status(206)
        response.headers[hdrs.CONTENT_RANGE] = wanted.content_range
    response.content_length = stop - start
    if is_head:
        await response.prepare(request)
    else:
        await send_span(request, response, artifact.path, (start, stop))
    await response.write_eof()
    return response


async def send_span(
    request: web.Request,
    response: web.StreamResponse,
    path: Path,
    span: tuple[int, int],
) -> None:
    """Send the bytes of a file from a position up to another, at the client's pace.

    Raises:
        OSError: It cannot be read.
    """
    position, stop = span
    async with opened(path, "rb") as file:
        file.seek(position)
        await response.prepare(request)
        while position < stop:
            wanted = min(_PIECE_BYTES, stop - position)
            piece = await to_thread.run_sync(file.read, wanted)
            if not piece:
                # Sooner than was promised; the client must not take it for whole.
                raise ConnectionAbortedError
            position += len(piece)
            await response.write(piece)


async def _in_threads(parts: Iterator[bytes]) -> AsyncGenerator[bytes]:
    try:
        while (part := await to_thread.run_sync(next, parts, None)) is not None:
            yield part
    finally:
        if isinstance(parts, Generator):
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(parts.close)


def _takes_gzip(request: web.Request) -> bool:
    accepted = request.headers.get(hdrs.ACCEPT_ENCODING, "").lower()
    for item in accepted.split(","):
        coding, _, weight = item.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return weight.strip("0.") != "" or not weight
    return False
