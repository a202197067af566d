"""The words for where rows come from and where results go to."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.pipeline.sifting import OnBadRow
from sutro_stream.sinks.files import FileSink
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.memory import RowsSource
from sutro_stream.sources.url import DOWNLOAD_TIMEOUT_S, MAX_DOWNLOAD_BYTES, UrlSource
from sutro_stream.values.details import Detail
from sutro_stream.values.rows import Row

PathOrPaths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


def read(
    paths: PathOrPaths,
    *,
    format: str | None = None,  # noqa: A002 - the field's word
    columns: Sequence[str] | None = None,
    csv: CsvOptions | None = None,
    union: bool = False,
    source_column: str | None = None,
    on_bad_row: OnBadRow = "refuse",
) -> Pipeline[Row]:
    """Rows of files of any format.

    Args:
        paths: A file, a list of files, a glob pattern or a folder; the files of a
            pattern or folder are read to its depth, in the order of their names.
            Folders called `key=value` add a column.
        format: "parquet", "csv", ...; `None` finds it out from name and content.
        columns: Columns to read, `None` for all.
        csv: How text is written, `None` for the usual way.
        union: Whether the files may have different columns: what one lacks is null.
        source_column: Name of a column with the name of each row's file, `None` for
            no such column.
        on_bad_row: What becomes of a row that cannot be read: "refuse" keeps its
            place, with an error of kind `bad_row`; "skip" leaves it out; "stop" ends
            the run.
    """
    return Pipeline(
        FileSource(
            paths=paths,
            format=format,
            options=csv or CsvOptions(),
            columns=listed(columns),
            union=union,
            source_column=source_column,
            on_bad_row=on_bad_row,
        )
    )


def read_parquet(
    paths: PathOrPaths, *, columns: Sequence[str] | None = None
) -> Pipeline[Row]:
    """Rows of Parquet files; see `read`."""
    return read(paths, format="parquet", columns=columns)


def read_csv(
    paths: PathOrPaths,
    *,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    empty: Literal["null", "empty"] = "null",
    quote_char: str | None = '"',
    column_names: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Pipeline[Row]:
    """Rows of CSV files, every cell as the text in the file; see `read`.

    Compressed files (`.csv.gz`, `.csv.zst`, ...) are read as they are.

    Args:
        paths: As for `read`.
        delimiter: One character; `None` finds it, see `CsvOptions`.
        encoding: Name of a Python text encoding.
        empty: Whether an empty cell is null or empty text.
        quote_char: Encloses cells with delimiters or line ends; `None` for none.
        column_names: Names for files without a header; `None` reads the header.
        columns: Columns to read, `None` for all.
    """
    options = CsvOptions(
        delimiter=delimiter,
        encoding=encoding,
        empty=empty,
        quote_char=quote_char,
        column_names=listed(column_names),
    )
    return read(paths, format="csv", csv=options, columns=columns)


def read_url(
    url: str,
    *,
    format: Literal["csv", "parquet"] | None = None,  # noqa: A002 - the field's word
    csv: CsvOptions | None = None,
    columns: Sequence[str] | None = None,
    max_bytes: int | None = MAX_DOWNLOAD_BYTES,
    timeout_s: float | None = DOWNLOAD_TIMEOUT_S,
) -> Pipeline[Row]:
    """Rows of a CSV or Parquet file behind an http(s) address.

    The file is downloaded to a temporary one first, going on where a broken
    connection stopped. The address's query is treated as a secret.

    Args:
        url: Address of the file.
        format: `None` finds it out from path, content type and content.
        csv: How CSV text is written, `None` for the usual way.
        columns: Columns to read, `None` for all.
        max_bytes: Largest download accepted, in bytes; `None` for no limit.
        timeout_s: Longest download accepted, in seconds; `None` for no limit.
    """
    return Pipeline(
        UrlSource(
            url=url,
            format=format,
            options=csv or CsvOptions(),
            columns=listed(columns),
            max_bytes=max_bytes,
            timeout_s=timeout_s,
        )
    )


def from_rows(
    rows: Iterable[Any] | AsyncIterable[Any] | pa.Table | pa.RecordBatch,
    *,
    columns: Sequence[str] | None = None,
) -> Pipeline[Row]:
    """Rows from memory or from a generator, taken chunk by chunk.

    Args:
        rows: Strings (one column, `prompt`) or dicts, from an iterable or an
            async one; or an Arrow table, batch or reader.
        columns: Columns to take from dicts, `None` for those of the first chunk.
    """
    return Pipeline(RowsSource(rows=rows, columns=listed(columns)))


def write_parquet(
    path: str | PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    details: Sequence[Detail] = (),
) -> FileSink:
    """Write results to a Parquet file, put in place whole.

    Args:
        path: The file; its folder must exist. An existing one is replaced.
        columns: Input columns to keep, in this order; `None` keeps all.
        details: What else to tell of each answer in columns; see `values.details`.
    """
    kept = listed(columns)
    return FileSink(Path(path), columns=kept, details=tuple(details), format="parquet")


def write_csv(
    path: str | PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    details: Sequence[Detail] = (),
) -> FileSink:
    """Write results to a CSV file; see `write_parquet`."""
    kept = listed(columns)
    return FileSink(Path(path), columns=kept, details=tuple(details), format="csv")


def write_jsonl(
    path: str | PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    details: Sequence[Detail] = (),
) -> FileSink:
    """Write results as JSON, one object a line; see `write_parquet`."""
    kept = listed(columns)
    return FileSink(Path(path), columns=kept, details=tuple(details), format="jsonl")


def listed(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names as they are kept.

    Raises:
        ConfigurationError: A text was given in place of a list.
    """
    if isinstance(names, str):
        message = f"columns must be a list of names; write columns=[{names!r}]"
        raise ConfigurationError(message)
    return None if names is None else tuple(names)
