"""An output file that is whole under its final name, or is not there.

Rows go to a hidden temporary file in the same folder, created when the sink is
opened: a place that cannot be written to is an error before anything is sent.
Only `finish` puts it under the final name. Until then whatever stood there stays
as it was, and leaving early removes the temporary file. One that a killed process
has left is removed when the same output is opened again.

What the result looks like: a new file has the permissions that the umask leaves,
one that replaces another keeps that one's permissions. A symbolic link is
followed, as `open` would: its target is replaced and the link stays.
"""

from __future__ import annotations

import gzip
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import IO, TypeAlias, TypeVar, cast

import anyio
import anyio.to_thread
import pyarrow as pa

from sutro_stream.errors import ConfigurationError, SinkError, SutroStreamError
from sutro_stream.formats.format import (
    WRITTEN_PACKED,
    Encoder,
    Format,
    WriteOptions,
)
from sutro_stream.formats.table import FORMATS, format_called
from sutro_stream.sinks.sink import Writer
from sutro_stream.storage.temporary import Claim, claim, sweep
from sutro_stream.values.file_identity import file_identity

# One hop into a thread costs about 0.1 ms and one tiny record batch some kilobytes
# of bookkeeping, so rows are joined before they travel.
_CHUNK_ROWS = 4_096
_CHUNK_BYTES = 8 * 2**20
_CHUNK_BATCHES = 256

_BUFFER_BYTES = 2**20
# On text, level 6 takes four times as long for a seventh less size.
_GZIP_LEVEL = 1
_DISCARD_LIMIT_S = 5


ReturnT = TypeVar("ReturnT")
_Encode: TypeAlias = Callable[[IO[bytes], pa.Schema], Encoder]


@dataclass(frozen=True, slots=True)
class FileSink:
    """A file of any format that is written; text is packed when its name says so.

    Attributes:
        path: The final name.
        columns: Input columns to keep, in this order; `None` keeps all.
        details: What else is told of each answer; see `values.details`.
        format: A name of `formats.table`; `None` tells it by the suffix, in any case.
        options: Where the format leaves a choice.
    """

    path: Path
    _: KW_ONLY
    columns: Sequence[str] | None = None
    details: Sequence[str] = ()
    format: str | None = None
    options: WriteOptions = field(default_factory=WriteOptions)

    def __post_init__(self) -> None:
        """Check the format.

        Raises:
            ConfigurationError: It is not known by the suffix, or by that name.
        """
        self._format()

    def open(self, schema: pa.Schema) -> AbstractAsyncContextManager[Writer]:
        """See `Sink`."""
        form, options = self._format(), self.options
        encode = form.encode
        if encode is None:
            raise ConfigurationError(f"{self.path}: {form.title} is not written")
        gzipped = form.is_packed and self.path.name.lower().endswith(WRITTEN_PACKED)
        return staged(
            self.path,
            schema,
            lambda file, schema: encode(file, schema, options),
            gzipped=gzipped,
        )

    def _format(self) -> Format:
        if self.format is not None:
            return format_called(self.format)
        for one in FORMATS:
            if self.path.name.lower().endswith(one.endings):
                return one
        known = ", ".join(ending for one in FORMATS for ending in one.endings)
        raise ConfigurationError(
            f"{self.path}: the format is not known by its suffix; choose one of {known}"
        )


@asynccontextmanager
async def staged(
    path: Path, schema: pa.Schema, encode: _Encode, *, gzipped: bool = False
) -> AsyncIterator[Writer]:
    """Open a temporary file beside `path` and write to it through an encoder.

    Args:
        path: The final name.
        schema: Schema of every record batch to come.
        encode: Makes the encoder for the opened file; a schema that it cannot
            write is a `ConfigurationError`.
        gzipped: Compress what the encoder writes.

    Cancellation: what a thread is doing is waited for, then the file is removed.

    Raises:
        ConfigurationError: The format cannot hold a column of the schema.
        SinkError: The place cannot be written to.
    """
    if not schema.names:
        raise ConfigurationError(f"{path}: there is no column to write")
    file = _StagedFile(path, gzipped=gzipped)
    try:
        await anyio.to_thread.run_sync(file.create, encode, schema)
        yield _FileWriter(file, schema)
    finally:
        with anyio.move_on_after(_DISCARD_LIMIT_S, shield=True):
            # A limiter of its own: busy threads elsewhere must not hold this up.
            await anyio.to_thread.run_sync(
                file.discard, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )


class _FileWriter:
    """Joins small record batches and hands them to the file in a thread.

    Cancellation: rows may be lost with a cancelled `write`, so nothing can be
    written or finished after it.
    """

    def __init__(self, file: _StagedFile, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._is_open = True
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    async def write(self, records: pa.RecordBatch) -> None:
        self._check_open()
        if not records.schema.equals(self._schema):
            raise self._file.error("the columns changed on the way")
        self._waiting.append(records)
        self._rows += records.num_rows
        self._bytes += records.nbytes
        if (
            self._rows >= _CHUNK_ROWS
            or self._bytes >= _CHUNK_BYTES
            or len(self._waiting) >= _CHUNK_BATCHES
        ):
            await self._hand_over(self._file.write)
            self._is_open = True

    async def stage(self) -> str:
        self._check_open()
        identity = await self._hand_over(self._file.stage)
        self._is_open = True
        return identity

    async def finish(self) -> None:
        self._check_open()
        await self._hand_over(self._file.finish)

    def _check_open(self) -> None:
        if not self._is_open:
            raise self._file.error("it is finished, or an earlier write was cut short")

    async def _hand_over(
        self, step: Callable[[list[pa.RecordBatch]], ReturnT]
    ) -> ReturnT:
        self._is_open = False
        waiting, self._waiting = self._waiting, []
        self._rows = self._bytes = 0
        return await anyio.to_thread.run_sync(step, waiting)


class _StagedFile:
    """The temporary file, its encoder and its end; every method blocks.

    Concurrency: a task that is cancelled from outside anyio stops waiting for its
    thread, so a lock keeps the steps apart and `discard` comes last.
    """

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self.path = path
        self._gzipped = gzipped
        self._lock = threading.Lock()
        self._closed = False
        self._parts: _Parts | None = None

    def create(self, encode: _Encode, schema: pa.Schema) -> None:
        with self._step(), ExitStack() as undo:
            final = Path(os.path.realpath(self.path))
            mode = _check_place(self.path, final)
            sweep(final)
            claimed = claim(final, buffer_bytes=_BUFFER_BYTES)
            undo.callback(_remove, claimed)
            if mode is not None:
                claimed.path.chmod(mode)
            file = claimed.file
            stream = _gzip_stream(file) if self._gzipped else file
            undo.callback(_close, stream)
            encoder = encode(stream, schema)
            undo.pop_all()
            self._parts = _Parts(
                final=final,
                claim=claimed,
                stream=stream,
                encoder=encoder,
            )

    def write(self, batches: list[pa.RecordBatch]) -> None:
        with self._step():
            self._encode(batches)

    def stage(self, batches: list[pa.RecordBatch]) -> str:
        """Encode the last rows, and reach the disk."""
        with self._step():
            parts = self._encode(batches)
            parts.encoder.finish()
            file = parts.claim.file
            if parts.stream is not file:
                parts.stream.close()
            file.flush()
            os.fsync(file.fileno())
            file.close()
            return file_identity(parts.claim.path)

    def finish(self, batches: list[pa.RecordBatch]) -> None:
        """Take the final name, with the last rows encoded and on the disk."""
        parts = self._parts
        if parts is None or not parts.claim.file.closed:
            self.stage(batches)
        with self._step():
            parts = self._encode([])
            parts.claim.path.replace(parts.final)
            parts.claim.give_up()
            self._parts = None
            _sync_folder(parts.final.parent)

    def discard(self) -> None:
        """Remove what is unfinished; does nothing after `finish`."""
        with self._lock:
            self._closed = True
            parts, self._parts = self._parts, None
            if parts is not None:
                parts.encoder.abandon()
                _close(parts.stream)
                _remove(parts.claim)

    def error(self, reason: str) -> SinkError:
        return SinkError(f"cannot write {self.path}: {reason}", path=str(self.path))

    def _encode(self, batches: list[pa.RecordBatch]) -> _Parts:
        parts = self._parts
        if parts is None:
            raise self.error("it is not open")
        for records in _joined(batches):
            parts.encoder.write(records)
        return parts

    @contextmanager
    def _step(self) -> Iterator[None]:
        """One step at a time, none after a failed one, our errors only."""
        with self._lock:
            if self._closed:
                raise self.error("it is closed already")
            self._closed = True
            try:
                yield
            except SutroStreamError:
                raise
            except OSError as error:
                reason = (error.strerror or str(error).partition("\n")[0]).lower()
                raise self.error(reason) from error
            except (pa.ArrowException, ValueError, TypeError) as error:
                reason = f"rows do not fit the format ({type(error).__name__})"
                raise self.error(reason) from error
            self._closed = self._parts is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What an opened file consists of; `stream` is what the encoder writes to."""

    final: Path
    claim: Claim
    stream: IO[bytes]
    encoder: Encoder


def _gzip_stream(file: IO[bytes]) -> IO[bytes]:
    # No name and no time inside: the same rows make the same bytes.
    stream = gzip.GzipFile(
        filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0
    )
    return cast("IO[bytes]", stream)


def _close(stream: IO[bytes]) -> None:
    # Closing writes what is buffered, which a full disk refuses once more.
    with suppress(OSError, ValueError):
        stream.close()


def _remove(claimed: Claim) -> None:
    _close(claimed.file)
    with suppress(OSError):
        claimed.path.unlink()
    claimed.give_up()


def _joined(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    if len(batches) < 2:
        return batches
    try:
        return [pa.concat_batches(batches)]
    except pa.ArrowException:
        # Dictionaries that together outgrow their index type, or more text than
        # 32-bit offsets reach: apart they are fine.
        return batches


def _check_place(path: Path, final: Path) -> int | None:
    """Permissions of the file to be replaced, `None` when there is none yet."""

    def refused(reason: str) -> SinkError:
        return SinkError(f"cannot write {path}: {reason}", path=str(path))

    try:
        status = final.stat()
    except FileNotFoundError:
        if not final.parent.is_dir():
            raise refused(f"the folder {final.parent} does not exist") from None
        return None
    if stat.S_ISDIR(status.st_mode):
        raise refused("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise refused("it is not a regular file")
    if not os.access(final, os.W_OK):
        raise refused("the file that is there is write-protected")
    return stat.S_IMODE(status.st_mode)


def _sync_folder(folder: Path) -> None:
    # The file is in place by now; not every system can sync a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
