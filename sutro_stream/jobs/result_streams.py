"""Results as JSON, made while they are sent.

Sutro's API has one array for each column, so the file is read once for each of them
and no column is ever in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa

from sutro_stream.jobs.result_table import ResultTable, Selection, opened


def results_json(
    path: Path, selection: Selection, *, message: str | None = None
) -> Iterator[bytes]:
    """An object with an array for each column.

    Blocking. The file is opened with the first part and closed with the last, or
    when the iterator is closed.

    Args:
        path: File of the results.
        selection: Which columns.
        message: Puts the object into another one, as `results` beside this
            sentence; `None` gives it alone.

    Yields:
        Parts of the JSON, most of them of at most some mebibytes.

    Raises:
        StoreError: The file cannot be read; in general at the first part.
    """
    with opened(path) as table:
        columns = selection.of(table.schema)
        if message is None:
            yield from _object(table, columns)
            return
        yield b'{"results":'
        yield from _object(table, columns)
        yield b',"message":%b}' % orjson.dumps(message)


def _object(table: ResultTable, columns: pa.Schema) -> Iterator[bytes]:
    opening = b"{"
    for field in columns:
        yield b"%b%b:[" % (opening, orjson.dumps(field.name))
        separator = b""
        for batch in table.batches(pa.schema([field])):
            cells = _cells(batch.column(0))
            if cells:
                yield separator + cells
                separator = b","
        yield b"]"
        opening = b","
    yield b"}"


def _cells(column: pa.Array) -> bytes:
    """The cells with commas between them; floats always look like floats."""
    return orjson.dumps(column.to_pylist())[1:-1]
