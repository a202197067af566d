"""Datasets: Parquet files under one ID, in the order of their upload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from sutro_stream.jobs.folder import DataFolder
from sutro_stream.server.context import SETTINGS, account_of, deployment_of
from sutro_stream.server.pace import Pace
from sutro_stream.server.receiving import (
    save,
    small_body,
    temporary_file,
    too_large,
)
from sutro_stream.server.sending import plain_reply, reply, send_span
from sutro_stream.wire import dataset_replies
from sutro_stream.wire.api_error import ApiError, invalid
from sutro_stream.wire.query import parse_boolean
from sutro_stream.wire.requests import (
    parse_dataset_file_request,
    parse_dataset_request,
)

_CHUNK_BYTES = 1 << 16
_LONGEST_FIELD_BYTES = 1_000
_MOST_PARTS = 16
# What aiohttp's reader of forms raises, by its kind of mistake.
_NO_FORM = (
    ValueError,
    AssertionError,
    RuntimeError,
    LookupError,
    HttpProcessingError,
    web.RequestPayloadError,
)


async def create_dataset(request: web.Request) -> web.Response:
    """Make an empty dataset."""
    dataset_id = await deployment_of(request).create_dataset(account_of(request))
    return plain_reply(dataset_replies.dataset_created(dataset_id))


async def upload_to_dataset(request: web.Request) -> web.Response:
    """Add a file: a form with `dataset_id` and `file`, in any order."""
    config = request.app[SETTINGS].service
    uploads = DataFolder(config.data_dir).uploads
    limit_bytes = config.max_body_bytes
    declared = request.content_length
    if declared is not None and declared > limit_bytes + _CHUNK_BYTES:
        raise too_large(limit_bytes)
    await deployment_of(request).check_room(declared or 0)
    async with temporary_file(uploads) as path:
        dataset_id, name = await _form(request, path, limit_bytes=limit_bytes)
        added = await deployment_of(request).add_dataset_file(
            account_of(request), dataset_id, name, path
        )
    return plain_reply(dataset_replies.file_uploaded(dataset_id, added))


async def list_datasets(request: web.Request) -> web.Response:
    """All datasets of the account."""
    found = await deployment_of(request).datasets(account_of(request))
    return reply(request, dataset_replies.datasets_listed(found))


async def list_dataset_files(request: web.Request) -> web.Response:
    """The names of a dataset's files, or with `detailed=true` all about them."""
    asked = parse_dataset_request(await small_body(request))
    detailed = parse_boolean(request.query, "detailed", default=False)
    files, fields = await deployment_of(request).dataset_files(
        account_of(request), asked.dataset_id
    )
    body = dataset_replies.dataset_files_listed(files, fields=fields, detailed=detailed)
    return reply(request, body)


async def download_from_dataset(request: web.Request) -> web.StreamResponse:
    """A file as it was uploaded."""
    asked = parse_dataset_file_request(await small_body(request))
    path = await deployment_of(request).dataset_file(
        account_of(request), asked.dataset_id, asked.file_name
    )
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: "application/octet-stream",
            hdrs.CACHE_CONTROL: "private, no-store",
        }
    )
    size_bytes = (await anyio.Path(path).stat()).st_size
    response.content_length = size_bytes
    await send_span(request, response, path, (0, size_bytes))
    await response.write_eof()
    return response


async def _form(
    request: web.Request, path: Path, *, limit_bytes: int
) -> tuple[str, str]:
    """The dataset's ID and the file's name; the file itself goes to `path`."""
    dataset_id = name = None
    try:
        form = await request.multipart()
        for _ in range(_MOST_PARTS):
            with Pace().waiting():
                part = await form.next()
            if part is None:
                break
            if not isinstance(part, BodyPartReader):
                raise invalid("the form's parts must not have parts of their own")
            if part.name != "file":
                value = await _field(part)
                dataset_id = value.strip() if part.name == "dataset_id" else dataset_id
                continue
            if name is not None:
                raise invalid("file: one file in each request")
            name = part.filename or ""
            await save(_chunks(part), path, limit_bytes=limit_bytes)
        else:
            raise invalid(f"the form must not have more than {_MOST_PARTS} parts")
    except _NO_FORM:
        raise ApiError(
            400, "malformed_body", "the body must be a form (multipart/form-data)"
        ) from None
    if not dataset_id:
        raise invalid("dataset_id is required, as a field of the form")
    if not name:
        raise invalid("file is required, as a part of the form with a file name")
    return dataset_id, name


async def _field(part: BodyPartReader) -> str:
    raw, pace = b"", Pace()
    while True:
        with pace.waiting():
            chunk = await part.read_chunk(_CHUNK_BYTES)
        if not chunk:
            return raw.decode()
        raw += chunk
        pace.received(len(chunk))
        if len(raw) > _LONGEST_FIELD_BYTES:
            raise invalid(f"{part.name}: longer than {_LONGEST_FIELD_BYTES} bytes")


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        yield chunk
