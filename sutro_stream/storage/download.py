"""A file behind an http(s) address, fetched into a folder: complete, or not there."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiofiles
import aiohttp
import anyio
from anyio import CancelScope, to_thread
from yarl import URL

from sutro_stream.errors import (
    EngineError,
    ProtocolError,
    ServiceError,
    SourceError,
    SourceNotFoundError,
    TransportError,
)
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.storage.guard import NotAllowedError, guarded_connector
from sutro_stream.storage.stored import why
from sutro_stream.storage.transfer import (
    Offer,
    Progress,
    Verdict,
    file_suffix,
    is_web_page,
)

_MAX_REDIRECTS = 5
_CONNECT_TIMEOUT_S = 30.0
_STALL_TIMEOUT_S = 60.0
_WRITE_BYTES = 1 << 20
_START_BYTES = 512
_GONE = (404, 410)
_STEM = "download"
_SUFFIXES = (".csv", ".tsv", ".parquet")


class RemoteFile(Protocol):
    """What a download has to know; see `UrlSource`."""

    @property
    def url(self) -> str:
        """Address; its user, query and fragment are secrets."""

    @property
    def name(self) -> str:
        """The address as it may be shown."""

    @property
    def format(self) -> str | None:
        """What the file is, `None` to find out."""

    @property
    def max_bytes(self) -> int | None:
        """Largest download, `None` for no limit."""

    @property
    def timeout_s(self) -> float | None:
        """Longest download, `None` for no limit."""

    @property
    def retry(self) -> RetryPolicy:
        """How often and how late it is taken up again."""

    @property
    def allow_private(self) -> bool:
        """Whether addresses that are not public may be connected to."""


async def download(source: RemoteFile, folder: Path) -> Path:
    """Fetch a file into a folder, unless an earlier call has done so.

    The file's name says what it is: it ends in `.csv`, `.tsv` or `.parquet`. One
    folder is for one file.

    Args:
        source: Where it is, and within which limits.
        folder: Exists.

    Cancellation: nothing is left in the folder.

    Raises:
        SourceNotFoundError: The server says that there is no such file.
        SourceError: It cannot be had or stored, is too large, takes too long, is
            neither CSV nor Parquet, or its address may not be connected to.
    """
    unfinished = folder / f".{_STEM}.partial"
    try:
        found = await to_thread.run_sync(_finished, folder)
        if found is not None:
            return found
        offer = await _Transfer(source, unfinished).run()
        return await to_thread.run_sync(partial(_finish, source, unfinished, offer))
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        message = f"{source.name}: the download cannot be stored: {why(error)}"
        raise SourceError(message, path=source.name) from error
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(_remove, unfinished)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _finished(folder: Path) -> Path | None:
    paths = [folder / f"{_STEM}{suffix}" for suffix in _SUFFIXES]
    return next((path for path in paths if path.is_file()), None)


def _finish(source: RemoteFile, unfinished: Path, offer: Offer) -> Path:
    """Give the file a name that says what it is."""

    def error(reason: str) -> SourceError:
        return SourceError(f"{source.name}: {reason}", path=source.name)

    with unfinished.open("rb") as file:
        start = file.read(_START_BYTES)
        os.fsync(file.fileno())
    if is_web_page(start):
        raise error("the server sent a web page, not a file")
    suffix = file_suffix(offer, start, declared=source.format)
    if suffix is None:
        raise error(
            "neither its name, its content nor its content type "
            f"({offer.content_type or 'none'}) tells whether it is CSV or "
            "Parquet; pass the format"
        )
    return unfinished.rename(unfinished.with_name(f"{_STEM}{suffix}"))


class _Transfer:
    """One download, taken up again as often as the file's policy says."""

    def __init__(self, source: RemoteFile, path: Path) -> None:
        self.path = path
        self._source = source
        self._progress = Progress()

    async def run(self) -> Offer:
        """Store the whole file.

        Raises:
            SourceNotFoundError: The server says that there is no such file.
            SourceError: It cannot be had, is too large, or takes too long.
        OSError: It cannot be stored.
        """
        timeout_s = self._source.timeout_s
        with anyio.move_on_after(timeout_s):
            async with _new_file(self.path) as file, self._session() as session:
                offer = await self._persist(session, file)
                # What was dropped may have been longer.
                await file.truncate(self._progress.received)
                return offer
        raise self._error(f"the download took longer than {timeout_s:g} s")

    async def _persist(self, session: aiohttp.ClientSession, file: Any) -> Offer:
        rng = random.Random()
        attempts = 0
        while True:
            attempts += 1
            try:
                return await self._attempt(session, file)
            except EngineError as error:
                pause_s = self._source.retry.delay_s(error, attempts=attempts, rng=rng)
                if pause_s is None:
                    raise self._final(error, attempts) from None
            await anyio.sleep(pause_s)

    async def _attempt(self, session: aiohttp.ClientSession, file: Any) -> Offer:
        try:
            async with session.get(
                _wire_url(self._source.url),
                headers=self._progress.request_headers(),
                max_redirects=_MAX_REDIRECTS,
            ) as response:
                verdict = self._progress.take(response.status, response.headers)
                if verdict is Verdict.BEGIN_ANEW:
                    self._progress.begin_anew()
                    raise TransportError("the file changed during the download")
                if verdict is not Verdict.COMPLETE:
                    await self._receive(response, file)
                return _offer(self._source.url, response)
        # Their messages hold the address.
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise _translated(error) from None

    async def _receive(self, response: aiohttp.ClientResponse, file: Any) -> None:
        progress = self._progress
        self._check_size(progress.total)
        waiting = bytearray()
        try:
            async for data in response.content.iter_any():
                waiting += data
                self._check_size(progress.received + len(waiting))
                if len(waiting) >= _WRITE_BYTES:
                    await self._store(waiting, file)
        finally:
            await self._store(waiting, file)
        if progress.is_short():
            raise TransportError("the connection was cut")

    async def _store(self, waiting: bytearray, file: Any) -> None:
        await file.seek(self._progress.received)
        await file.write(bytes(waiting))
        self._progress.received += len(waiting)
        waiting.clear()

    def _check_size(self, size: int | None) -> None:
        limit = self._source.max_bytes
        if limit is not None and size is not None and size > limit:
            raise self._error(f"larger than the limit of {limit} bytes (max_bytes)")

    def _final(self, error: EngineError, attempts: int) -> SourceError:
        if isinstance(error, ServiceError) and error.status in _GONE:
            return SourceNotFoundError(
                f"{self._source.name}: {error}", path=self._source.name
            )
        received, total = self._progress.received, self._progress.total
        reason = str(error)
        if isinstance(error, TransportError) and received:
            of_total = "" if total is None else f" of {total}"
            reason += f" after {received}{of_total} bytes"
        if attempts > 1:
            reason += f"; gave up after {attempts} attempts"
        return self._error(reason)

    def _error(self, reason: str) -> SourceError:
        return SourceError(f"{self._source.name}: {reason}", path=self._source.name)

    def _session(self) -> aiohttp.ClientSession:
        everywhere = self._source.allow_private
        return aiohttp.ClientSession(
            connector=None if everywhere else guarded_connector(),
            auto_decompress=False,
            # Signed addresses are to be sent as they came.
            requote_redirect_url=False,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=_CONNECT_TIMEOUT_S,
                sock_read=_STALL_TIMEOUT_S,
            ),
        )


def _wire_url(url: str) -> URL:
    """The address as it was given if it can be sent so, and else quoted."""
    sendable = url.isascii() and url.isprintable() and " " not in url
    return URL(url, encoded=sendable)


def _offer(url: str, response: aiohttp.ClientResponse) -> Offer:
    disposition = response.content_disposition
    names = [urlsplit(url).path, response.url.raw_path]
    if disposition is not None and disposition.filename:
        names.append(disposition.filename)
    given = response.headers.get("Content-Type", "")
    return Offer(names=names, content_type=given.partition(";")[0].strip().lower())


def _translated(error: Exception) -> EngineError:
    """The transport's error as ours, without its message."""
    if isinstance(error, aiohttp.TooManyRedirects):
        return ProtocolError(f"more than {_MAX_REDIRECTS} redirects")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ProtocolError(
            "it, or what it redirects to, is no complete http(s) address"
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return ProtocolError("the server's answer is not valid HTTP")
    if isinstance(error, aiohttp.ClientSSLError):
        return ProtocolError("no secure connection: its certificate or TLS fails")
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, NotAllowedError):
            return ProtocolError(
                "it leads to a machine that is not on the public internet, and such "
                "addresses are not read here (allow_private)"
            )
        if error.os_error.errno == socket.EAI_NONAME:
            return ProtocolError("there is no host of this name")
        return TransportError("no connection to the server", connected=False)
    if isinstance(error, TimeoutError):
        return TransportError("the server stopped answering")
    return TransportError("the connection was cut")


@asynccontextmanager
async def _new_file(path: Path) -> AsyncIterator[Any]:
    # aiofiles forgets what a thread is doing when its caller is cancelled.
    with CancelScope(shield=True):
        file = await aiofiles.open(path, "wb")
    try:
        yield file
    finally:
        with CancelScope(shield=True):
            await file.close()
