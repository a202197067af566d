"""The answers in a finished output file, read back for comparison."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from sutro_stream.errors import ConfigurationError, SourceError

Cells: TypeAlias = tuple[str | None, str | None]
"""What a row of the file says: output and error."""

_Read: TypeAlias = Callable[[Path], Iterator[Cells]]

_COLUMNS = ("output", "error")
_CHUNK_ROWS = 1_024
# A row must fit into a block; most do into the first, and the last is the largest
# that the reader takes.
_BLOCK_BYTES = (8 << 20, 128 << 20, (1 << 31) - 1)


def output_reader(path: Path) -> Callable[[], Generator[Cells, None, None]]:
    """How to read the answers in a file, in order; no I/O.

    Memory does not grow with the rows. Reading raises `SourceError` for a file that
    cannot be read or has no answers in it.

    Raises:
        ConfigurationError: The format is not known by the suffix.
    """
    name = path.name.lower()
    for suffix, read in _READERS.items():
        if name.endswith(suffix):
            return lambda: _readable(path, read)
    known = ", ".join(_READERS)
    message = f"{path}: the format is not known by its suffix; known are {known}"
    raise ConfigurationError(message)


def _readable(path: Path, read: _Read) -> Generator[Cells, None, None]:
    try:
        yield from read(path)
    except FileNotFoundError as error:
        raise SourceError(f"{path}: there is no such file", path=str(path)) from error
    except (OSError, EOFError, ValueError, LookupError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise SourceError(
            f"{path}: cannot be read ({reason})", path=str(path)
        ) from error


def _parquet(path: Path) -> Iterator[Cells]:
    with pq.ParquetFile(path) as file:
        for name in _COLUMNS:
            if name not in file.schema_arrow.names:
                raise ValueError(f"has no column {name!r}")
        for records in file.iter_batches(_CHUNK_ROWS, columns=list(_COLUMNS)):
            yield from _cells(records)


def _csv(path: Path) -> Iterator[Cells]:
    done = 0
    for block_bytes in _BLOCK_BYTES:
        try:
            for cells in islice(_csv_rows(path, block_bytes), done, None):
                yield cells
                done += 1
        except pa.ArrowInvalid:
            if block_bytes == _BLOCK_BYTES[-1]:
                raise
        else:
            return


def _csv_rows(path: Path, block_bytes: int) -> Iterator[Cells]:
    with (
        _stream(path) as stream,
        pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(block_size=block_bytes),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=_COLUMNS,
                column_types=dict.fromkeys(_COLUMNS, pa.large_string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ) as reader,
    ):
        for records in reader:
            yield from _cells(records)


def _jsonl(path: Path) -> Iterator[Cells]:
    with _stream(path) as stream:
        for line in stream:
            row = orjson.loads(line)
            yield row["output"], row["error"]


@contextmanager
def _stream(path: Path) -> Iterator[IO[bytes]]:
    # Opened apart, since a file of gzip does not close the one it reads.
    with path.open("rb") as file:
        if path.suffix.lower() != ".gz":
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]


def _cells(records: pa.RecordBatch) -> Iterator[Cells]:
    columns: list[list[Any]] = [records.column(name).to_pylist() for name in _COLUMNS]
    return zip(*columns, strict=True)


_READERS: dict[str, _Read] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".csv.gz": _csv,
    ".jsonl": _jsonl,
    ".jsonl.gz": _jsonl,
    ".ndjson": _jsonl,
    ".ndjson.gz": _jsonl,
}
