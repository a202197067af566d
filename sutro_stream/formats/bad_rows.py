"""Rows and cells of text that are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sutro_stream.errors import SourceError
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import Told
from sutro_stream.storage.stored import StoredFile
from sutro_stream.values.outcomes import ErrorKind, RowError
from sutro_stream.values.rows import Refused, RowBatch


def bad_row(file: StoredFile, reason: str, field: str | None = None) -> RowError:
    """Why a row, or its cell of a column, is refused."""
    message = f"{file.label}: {reason}"
    return RowError(kind=ErrorKind.BAD_ROW, message=message, field=field)


def with_broken_cells(
    rows: RowBatch, broken: Sequence[Refused], options: CsvOptions, told: Told
) -> Iterator[RowBatch]:
    """Rows of which some cells have bytes that are no text, as the options want it.

    Args:
        rows: With those bytes replaced.
        broken: The cells.
        options: Whether that refuses them, is as wanted, or ends the reading.
        told: Counts what was replaced as wanted.

    Raises:
        SourceError: It ends the reading, behind the rows before.
    """
    if broken and options.encoding_errors == "replace":
        told.replaced += len(broken)
    elif broken and options.encoding_errors == "stop":
        first, error = min(broken, key=lambda cell: cell[0])
        if first:
            yield rows.slice(0, first)
        path = error.message.partition(": ")[0]
        raise SourceError(error.message, path=path, row_index=rows.first_index + first)
    elif broken:
        rows = replace(rows, refused=(*rows.refused, *broken))
    yield rows
