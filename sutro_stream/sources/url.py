"""Rows from a CSV or Parquet file behind an http(s) address."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from anyio import CancelScope, to_thread
from yarl import URL

from sutro_stream.errors import ConfigurationError, SourceError
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.formats.chunks import CHUNK_ROWS, check_chunk_rows
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import Told
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded
from sutro_stream.storage.download import download
from sutro_stream.storage.files import LocalFile
from sutro_stream.storage.stored import why
from sutro_stream.storage.transfer import shown_url

MAX_DOWNLOAD_BYTES = 8 << 30
"""Largest download accepted when the user says nothing."""

DOWNLOAD_TIMEOUT_S = 3600.0
"""Longest download accepted when the user says nothing."""

_RETRY = RetryPolicy(attempts=6, first_delay_s=0.3, longest_delay_s=20.0)


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
        allow_private: Whether addresses that are not on the public internet may be
            connected to; refuse them where somebody else chooses the address.
        keep_in: Folder that exists, in which the download is kept and found again
            when the source is next opened; of this source alone. `None` removes it
            when the source is closed.
    """

    url: str
    format: str | None = None
    options: CsvOptions = field(default_factory=CsvOptions)
    columns: Sequence[str] | None = None
    chunk_rows: int = CHUNK_ROWS
    max_bytes: int | None = MAX_DOWNLOAD_BYTES
    timeout_s: float | None = DOWNLOAD_TIMEOUT_S
    retry: RetryPolicy = _RETRY
    allow_private: bool = True
    keep_in: Path | None = None

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
        stops and what came of it is removed.
        """
        return self._open(columns)

    @asynccontextmanager
    async def _open(self, asked: frozenset[str] | None) -> AsyncIterator[Reader]:
        async with self._folder() as folder:
            path = await download(self, folder)
            file = LocalFile(path=path, label=self.name)
            async with open_threaded(
                partial(self._prepare, file, asked),
                chunk_rows=self.chunk_rows,
                may_be_empty=False,
                name=self.name,
            ) as reader:
                yield reader

    def _folder(self) -> AbstractAsyncContextManager[Path]:
        if self.keep_in is not None:
            return nullcontext(self.keep_in)
        return _temporary_folder(self.name)

    def _prepare(self, file: LocalFile, asked: frozenset[str] | None) -> ReadPlan:
        source = FileSource(
            paths=[file.path],
            options=self.options,
            columns=self.columns,
            chunk_rows=self.chunk_rows,
        )
        return source.plan([file], asked, Told())


@asynccontextmanager
async def _temporary_folder(name: str) -> AsyncIterator[Path]:
    made: list[Path] = []

    def make() -> None:
        made.append(Path(tempfile.mkdtemp(prefix="sutro-stream-")))

    try:
        try:
            await to_thread.run_sync(make)
        except OSError as error:
            raise SourceError(
                f"{name}: no temporary folder can be made: {why(error)}", path=name
            ) from error
        yield made[0]
    finally:
        with CancelScope(shield=True):
            for folder in made:
                await to_thread.run_sync(
                    partial(shutil.rmtree, folder, ignore_errors=True)
                )
