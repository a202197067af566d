"""Rows from a CSV or Parquet file behind an http(s) address."""

from __future__ import annotations

import random
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aiofiles
import aiohttp
import anyio
from anyio import CancelScope, to_thread
from yarl import URL

from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    ProtocolError,
    ServiceError,
    SourceError,
    SourceNotFoundError,
    TransportError,
)
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.sources.chunks import CHUNK_ROWS, check_chunk_rows
from sutro_stream.sources.csv import plan_csv
from sutro_stream.sources.csv_options import CsvOptions
from sutro_stream.sources.files import InputFile
from sutro_stream.sources.parquet import plan_parquet
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded
from sutro_stream.sources.transfer import (
    Offer,
    Progress,
    Verdict,
    file_suffix,
    is_web_page,
    shown_url,
)

MAX_DOWNLOAD_BYTES = 8 << 30
"""Largest download accepted when the user says nothing."""

DOWNLOAD_TIMEOUT_S = 3600.0
"""Longest download accepted when the user says nothing."""

_RETRY = RetryPolicy(attempts=6, first_delay_s=0.3, longest_delay_s=20.0)
_MAX_REDIRECTS = 5
_CONNECT_TIMEOUT_S = 30.0
_STALL_TIMEOUT_S = 60.0
_WRITE_BYTES = 1 << 20
_START_BYTES = 512
_GONE = (404, 410)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UrlSource:
    """Rows of a file that is first downloaded to a temporary one.

    A download that is cut goes on where it stopped, if the server can tell that
    the file is the same, and else begins anew. The address's user, query and
    fragment are secrets: they are sent, and shown nowhere.

    Attributes:
        url: Address of the file, `http` or `https`.
        format: `None` finds it from the address's path, the first bytes, and the
            content type.
        options: How CSV text is written.
        columns: Columns to read, `None` for all.
        chunk_rows: Most rows of a chunk.
        max_bytes: Largest download accepted, `None` for no limit.
        timeout_s: Longest download accepted, `None` for no limit.
        retry: How often and how late a download is taken up again.
    """

    url: str
    format: Literal["csv", "parquet"] | None = None
    options: CsvOptions = field(default_factory=CsvOptions)
    columns: Sequence[str] | None = None
    chunk_rows: int = CHUNK_ROWS
    max_bytes: int | None = MAX_DOWNLOAD_BYTES
    timeout_s: float | None = DOWNLOAD_TIMEOUT_S
    retry: RetryPolicy = _RETRY

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: The address is not one, or a value is out of range.
        """
        check_chunk_rows(self.chunk_rows)
        if self.format not in (None, "csv", "parquet"):
            raise ConfigurationError(
                f"format must be 'csv' or 'parquet', not {self.format!r}"
            )
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ConfigurationError("max_bytes must be at least 1")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise ConfigurationError("timeout_s must be above 0")
        try:
            complete = bool(URL(self.url).host)
        except ValueError:
            complete = False
        if not complete or not self.url.lower().startswith(("http://", "https://")):
            raise ConfigurationError(
                "the address must be a complete one that begins with http:// or "
                "https://"
            )

    def __repr__(self) -> str:
        """The address without its secrets."""
        return f"UrlSource(url={self.name!r}, format={self.format!r})"

    @property
    def name(self) -> str:
        """See `Source`."""
        return shown_url(self.url)

    def open(
        self, columns: frozenset[str] | None
    ) -> AbstractAsyncContextManager[Reader]:
        """See `Source`.

        The download is complete when the context is entered. Cancellation: it
        stops and the temporary file is removed.
        """
        return self._open(columns)

    @asynccontextmanager
    async def _open(self, asked: frozenset[str] | None) -> AsyncIterator[Reader]:
        async with _temporary_folder(self.name) as folder:
            download = _Download(self, folder / "download")
            offer = await download.run()
            file = await to_thread.run_sync(self._recognised, download.path, offer)
            async with open_threaded(
                partial(self._prepare, file, asked),
                chunk_rows=self.chunk_rows,
                may_be_empty=False,
                name=self.name,
            ) as reader:
                yield reader

    def _recognised(self, path: Path, offer: Offer) -> InputFile:
        """The file under a name that says what it is."""
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
        if is_web_page(start):
            raise self._error("the server sent a web page, not a file")
        suffix = file_suffix(offer, start, declared=self.format)
        if suffix is None:
            raise self._error(
                "neither its name, its content nor its content type "
                f"({offer.content_type or 'none'}) tells whether it is CSV or "
                "Parquet; pass the format"
            )
        return InputFile(path=path.rename(path.with_suffix(suffix)), label=self.name)

    def _error(self, reason: str) -> SourceError:
        return SourceError(f"{self.name}: {reason}", path=self.name)

    def _prepare(self, file: InputFile, asked: frozenset[str] | None) -> ReadPlan:
        if file.path.suffix == ".parquet":
            return plan_parquet(
                [file],
                declared=self.columns,
                asked=asked,
                chunk_rows=self.chunk_rows,
            )
        return plan_csv([file], self.options, declared=self.columns, asked=asked)


class _Download:
    """One download, taken up again as often as the source's policy says."""

    def __init__(self, source: UrlSource, path: Path) -> None:
        self.path = path
        self._source = source
        self._progress = Progress()

    async def run(self) -> Offer:
        """Store the whole file.

        Raises:
            SourceNotFoundError: The server says that there is no such file.
            SourceError: It cannot be had, is too large, or takes too long.
        """
        timeout_s = self._source.timeout_s
        with anyio.move_on_after(timeout_s):
            try:
                async with _new_file(self.path) as file, self._session() as session:
                    offer = await self._persist(session, file)
                    # What was dropped may have been longer.
                    await file.truncate(self._progress.received)
                    return offer
            except OSError as error:
                if isinstance(error, SourceError):
                    raise
                reason = (error.strerror or type(error).__name__).lower()
                raise self._error(
                    f"cannot be stored in a temporary file: {reason}"
                ) from error
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
        return aiohttp.ClientSession(
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
        return ProtocolError("redirected to something that is no http(s) address")
    if isinstance(error, aiohttp.ClientResponseError):
        return ProtocolError("the server's answer is not valid HTTP")
    if isinstance(error, aiohttp.ClientSSLError):
        return ProtocolError("no secure connection: its certificate or TLS fails")
    if isinstance(error, aiohttp.ClientConnectorError):
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


@asynccontextmanager
async def _temporary_folder(name: str) -> AsyncIterator[Path]:
    made: list[Path] = []

    def make() -> None:
        made.append(Path(tempfile.mkdtemp(prefix="sutro-stream-")))

    try:
        try:
            await to_thread.run_sync(make)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise SourceError(
                f"{name}: no temporary folder can be made: {reason}", path=name
            ) from error
        yield made[0]
    finally:
        with CancelScope(shield=True):
            for folder in made:
                await to_thread.run_sync(
                    partial(shutil.rmtree, folder, ignore_errors=True)
                )
