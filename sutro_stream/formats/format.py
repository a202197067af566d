"""The contract of a format: how its files are read, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol, TypeAlias

import pyarrow as pa

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.storage.stored import StoredFile
from sutro_stream.values.rows import RowBatch


@dataclass(slots=True)
class Told:
    """What somebody should know who gave a file to be read, each said once.

    Concurrency: from any thread.

    Attributes:
        notes: Sentences without a period, which name the file.
        replaced: Cells in which bytes that are no text were replaced.
    """

    notes: dict[str, None] = field(default_factory=dict)
    replaced: int = 0

    def __call__(self, note: str) -> None:
        """Say this, unless it was said before."""
        self.notes[note] = None


WRITTEN_PACKED = ".gz"
"""Ending of what is written packed as a whole."""

NO_COLUMNS = pa.schema([])
"""The hidden ones of most files."""


class TableFile(Protocol):
    """A file that was looked at, and holds rows; nothing is open."""

    @property
    def schema(self) -> pa.Schema:
        """All columns, each name once, nullable and of plain types."""

    @property
    def hidden(self) -> pa.Schema:
        """Columns that are read when they are named, and not with all others."""

    @property
    def ambiguous(self) -> frozenset[str]:
        """Names that more than one column had, before they were made different."""

    @property
    def row_count(self) -> int | None:
        """Rows there are, `None` when only reading can tell."""

    def batches(
        self, columns: Sequence[str], *, first_row: int, chunk_rows: int
    ) -> Generator[RowBatch, None, None]:
        """One pass over the rows, with these columns, in this order. Blocking.

        Nothing is open before the first batch and after the last, or after closing.

        Args:
            columns: Of the schema; none at all is allowed.
            first_row: Index of the first row in the whole input.
            chunk_rows: Rows of a batch that are aimed at; also its bytes are bounded.

        Raises:
            SourceError: No more can be read; all rows before were delivered.
        """


Look: TypeAlias = Callable[[StoredFile, CsvOptions, Told], TableFile]
"""Looks at a file, as far as it takes to know its columns. Blocking.

It raises `SourceError` for a file that is nothing of the format.
"""


class Encoder(Protocol):
    """Turns rows into the bytes of one format.

    Concurrency: blocking; called from one thread at a time, not always the same.
    """

    def write(self, records: pa.RecordBatch) -> None:
        """Append rows; some may be held back until `finish`."""

    def finish(self) -> None:
        """Write all that is left; the file itself stays open."""

    def abandon(self) -> None:
        """Let go of everything; the bytes written do not matter any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How files are written, where there is a choice.

    Attributes:
        row_group_rows: Rows of a row group of Parquet; fewer only in the last, or
            where the limit in bytes ends it.
        row_group_bytes: Bytes of rows, before encoding, that end a row group.
    """

    row_group_rows: int = 50_000
    row_group_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: A row group would hold nothing.
        """
        if self.row_group_rows < 1 or self.row_group_bytes < 1:
            message = "row_group_rows and row_group_bytes must be at least 1"
            raise ConfigurationError(message)


Encode: TypeAlias = Callable[[IO[bytes], pa.Schema, WriteOptions], Encoder]
"""Makes the encoder for an open file.

It raises `ConfigurationError` for a schema that the format cannot hold.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format: a row of the table in `formats.table`.

    Attributes:
        name: As it is given by `--format`.
        title: As messages call it.
        suffixes: Lower-case endings of file names, the usual one first.
        written: Those of them that files are written with.
        magic: What every file begins with, `b""` where nothing tells.
        is_packed: Whether files may be compressed as a whole, with a suffix for it.
        look: See `Look`.
        encode: See `Encode`; `None` where nothing is written.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    written: tuple[str, ...] = ()
    magic: bytes = b""
    is_packed: bool = True
    look: Look
    encode: Encode | None = None

    @property
    def endings(self) -> tuple[str, ...]:
        """Of names that files are written with, packed ones too."""
        packed = [suffix + WRITTEN_PACKED for suffix in self.written]
        return (*self.written, *(packed if self.is_packed else ()))
