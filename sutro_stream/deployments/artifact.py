"""A job's results as a file: fetched by a link, taken up again where it was cut."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, TypeVar

import aiohttp
from aiohttp import hdrs
from anyio import CancelScope, to_thread
from yarl import URL

from sutro_stream.deployments.address import is_private_enough
from sutro_stream.deployments.exchange import Exchange, any_failure, persist
from sutro_stream.errors import ProtocolError, SinkError, TransportError
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.wire.result_columns import ResultsLink

ReturnT = TypeVar("ReturnT")

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_WRITE_BYTES = 1 << 20


class ArtifactDownload:
    """Fetches one file, over as many connections as it takes.

    Concurrency: one task.
    """

    def __init__(
        self,
        exchange: Exchange,
        link: Callable[[], Awaitable[ResultsLink]],
        path: Path,
    ) -> None:
        """A download.

        Args:
            exchange: Sends the requests.
            link: Gets a link; called anew for each attempt, since links expire.
            path: Where the file goes; what is there is replaced.
        """
        self._exchange = exchange
        self._link = link
        self._path = path
        self._received = 0
        self._tag: str | None = None

    async def run(self, retry: RetryPolicy) -> None:
        """Fetch all of it.

        Cancellation: what has come stays under the path, to be removed.

        Raises:
            SinkError: It cannot be stored.
            EngineError: It cannot be had.
        """
        file = await self._in_thread(self._opened)
        try:
            await persist(
                partial(self._attempt, file),
                retry,
                rng=self._exchange.rng,
                only_if=any_failure,
            )
        finally:
            with CancelScope(shield=True), suppress(SinkError):
                await self._in_thread(file.close)

    async def _attempt(self, file: BinaryIO) -> None:
        link = await self._link()
        async with self._exchange.linked(_url(link), self._headers()) as response:
            await self._take(response, file)
            await self._receive(response, file)
        size = link.size_bytes
        if size is not None and self._received != size:
            raise TransportError(f"{self._exchange.where}: the connection was cut")

    def _opened(self) -> BinaryIO:
        return self._path.open("wb")

    def _headers(self) -> Mapping[str, str]:
        headers: dict[str, str] = {hdrs.ACCEPT_ENCODING: "identity"}
        if self._received and self._tag is not None:
            headers[hdrs.RANGE] = f"bytes={self._received}-"
            headers[hdrs.IF_RANGE] = self._tag
        return headers

    async def _take(self, response: aiohttp.ClientResponse, file: BinaryIO) -> None:
        """Judge an answer: does it go on, or begin anew?"""
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            given = response.headers.get(hdrs.CONTENT_RANGE, "")
            match = _CONTENT_RANGE.fullmatch(given.strip())
            same = response.headers.get(hdrs.ETAG, self._tag) == self._tag
            if match is not None and int(match[1]) == self._received and same:
                return
            self._received, self._tag = 0, None
            raise TransportError("the results changed while they were fetched")
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._received, self._tag = 0, None
            raise TransportError("the results changed while they were fetched")
        if response.status != HTTPStatus.OK:
            raise await self._exchange.refusal(response)
        tag = response.headers.get(hdrs.ETAG, "")
        self._tag = tag if tag.startswith('"') else None
        self._received = 0
        await self._in_thread(partial(_empty, file))

    async def _receive(self, response: aiohttp.ClientResponse, file: BinaryIO) -> None:
        waiting = bytearray()
        try:
            async for data in response.content.iter_any():
                waiting += data
                if len(waiting) >= _WRITE_BYTES:
                    await self._store(waiting, file)
        finally:
            with CancelScope(shield=True):
                await self._store(waiting, file)

    async def _store(self, waiting: bytearray, file: BinaryIO) -> None:
        part = bytes(waiting)
        waiting.clear()
        await self._in_thread(partial(file.write, part))
        self._received += len(part)

    async def _in_thread(self, function: Callable[[], ReturnT]) -> ReturnT:
        try:
            return await to_thread.run_sync(function)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            message = f"cannot write {self._path}: {reason}"
            raise SinkError(message, path=str(self._path)) from error


def _url(link: ResultsLink) -> URL:
    try:
        url = URL(link.url, encoded=True)
        fits = bool(url.host) and is_private_enough(url)
    except ValueError:
        fits = False
    if not fits:
        raise ProtocolError(
            "the deployment's link to the results is no https address (http is for "
            "this machine only)"
        )
    return url


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
