"""The words pipelines are written in."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from sutro_stream.engines.engine import Engine
from sutro_stream.engines.hedging import Hedge
from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.pipeline.infer import Infer
from sutro_stream.pipeline.limiting import Limit
from sutro_stream.pipeline.limits import Limits
from sutro_stream.pipeline.mapping import BatchFunction, MapBatches
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.rendering.columns import Prompts
from sutro_stream.rendering.function import Render
from sutro_stream.sinks.csv import CsvSink
from sutro_stream.sinks.jsonl import JsonlSink
from sutro_stream.sinks.parquet import ParquetSink
from sutro_stream.sources.csv import CsvSource
from sutro_stream.sources.csv_options import CsvOptions
from sutro_stream.sources.memory import RowsSource
from sutro_stream.sources.parquet import ParquetSource
from sutro_stream.sources.url import DOWNLOAD_TIMEOUT_S, MAX_DOWNLOAD_BYTES, UrlSource
from sutro_stream.values.function import Function
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.rows import Row
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

PathOrPaths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


def read_parquet(
    paths: PathOrPaths, *, columns: Sequence[str] | None = None
) -> Pipeline[Row]:
    """Rows of Parquet files, read in chunks of bounded size.

    Args:
        paths: A file, a list of files, a glob pattern or a folder; the files of a
            pattern or folder are read in the order of their names.
        columns: Columns to read, `None` for all.
    """
    return Pipeline(ParquetSource(paths=paths, columns=_tuple(columns)))


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
    """Rows of CSV files, every cell as the text in the file.

    Compressed files (`.csv.gz`, `.csv.zst`) are read as they are.

    Args:
        paths: As for `read_parquet`.
        delimiter: One character; `None` is a tab for `.tsv` files, a comma for
            all others.
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
        column_names=_tuple(column_names),
    )
    return Pipeline(CsvSource(paths=paths, columns=_tuple(columns), options=options))


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
            columns=_tuple(columns),
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
    return Pipeline(RowsSource(rows=rows, columns=_tuple(columns)))


def limit(rows: int) -> Limit:
    """Only the first `rows` rows of the source; nothing behind them is read."""
    return Limit(rows=rows)


def render(function: Function) -> Render:
    """Check rows against a Function's inputs and fill its template.

    A row that does not fit is refused: it gets an outcome that says why, and is
    not sent.
    """
    return Render(function=function)


def prompts(
    column: str | Sequence[str] | None = None,
    *,
    separator: str = "\n",
    system_prompt: str | None = None,
    json_schema: Mapping[str, Any] | None = None,
    sampling_params: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> Prompts:
    """Use the text of one column, or of several joined, as prompts.

    Args:
        column: One name or several; `None` is `prompt`, or else the first column.
        separator: Between the texts of several columns.
        system_prompt: System message, `None` for none.
        json_schema: JSON Schema the answers must have, `None` for free text.
        sampling_params: By vLLM's names, `temperature` and `max_tokens` for example.
        model: Model to ask for, `None` leaves it to the engine.

    Raises:
        ConfigurationError: The schema or a sampling parameter is not valid.
    """
    schema = (
        None
        if json_schema is None
        else OutputSchema.parse(json_schema, what="json_schema")
    )
    return Prompts(
        column=column if column is None or isinstance(column, str) else tuple(column),
        separator=separator,
        instructions=Instructions(
            model=model,
            system_prompt=system_prompt,
            schema=schema,
            sampling=SamplingParams.parse(sampling_params or {}),
        ),
    )


def infer(  # noqa: PLR0913 - the stage's whole configuration
    engine: Engine,
    *,
    concurrency: int | None = None,
    ordered: bool = True,
    timeout_s: float | None = 600.0,
    retry: RetryPolicy | None = None,
    window_rows: int | None = None,
    seed_per_row: bool = False,
    dedupe: bool = False,
    limits: Limits | None = None,
    hedge: Hedge | None = None,
) -> Infer:
    """Ask the engine: one request for each prompt, many at once.

    Args:
        engine: Who answers; open while the pipeline runs.
        concurrency: Requests in flight while rows remain; `None` for what suits
            the engine.
        ordered: Whether results come in input order, or as they complete.
        timeout_s: Longest time of one attempt, in seconds; `None` for no limit.
        retry: When a failed request is sent again, `None` for the defaults.
        window_rows: Most rows between the oldest result not taken and the newest
            request; `None` for the default.
        seed_per_row: Whether every row gets a seed of its own, a function of the
            sampling parameters' `seed` and the row's index.
        dedupe: Whether equal prompts are asked once, and the answer given to all
            their rows; mind that random sampling would have answered differently.
        limits: What the run may ask for in a minute, and in all; `None` for no limit.
        hedge: When a late row is asked a second time, the first answer counting;
            `None` for never.

    Raises:
        ConfigurationError: A number is out of range.
    """
    return Infer(
        engine=engine,
        concurrency=concurrency,
        ordered=ordered,
        timeout_s=timeout_s,
        retry=retry or RetryPolicy(),
        window_rows=window_rows,
        seed_per_row=seed_per_row,
        dedupe=dedupe,
        limits=limits or Limits(),
        hedge=hedge,
    )


def map_batches(
    function: BatchFunction, *, schema: pa.Schema | None = None
) -> MapBatches:
    """Put each Arrow batch through an async function of your own.

    Args:
        function: Takes and returns a `pyarrow.RecordBatch`; it may change, drop
            and add rows, which are numbered anew behind it.
        schema: What it returns, `None` when that is what it receives.
    """
    return MapBatches(function=function, schema=schema)


def write_parquet(
    path: str | PathLike[str], *, columns: Sequence[str] | None = None
) -> ParquetSink:
    """Write results to a Parquet file, put in place whole.

    Args:
        path: The file; its folder must exist. An existing one is replaced.
        columns: Input columns to keep, in this order; `None` keeps all.
    """
    return ParquetSink(Path(path), columns=_tuple(columns))


def write_csv(
    path: str | PathLike[str], *, columns: Sequence[str] | None = None
) -> CsvSink:
    """Write results to a CSV file; see `write_parquet`."""
    return CsvSink(Path(path), columns=_tuple(columns))


def write_jsonl(
    path: str | PathLike[str], *, columns: Sequence[str] | None = None
) -> JsonlSink:
    """Write results as JSON, one object a line; see `write_parquet`."""
    return JsonlSink(Path(path), columns=_tuple(columns))


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(names, str):
        message = f"columns must be a list of names; write columns=[{names!r}]"
        raise ConfigurationError(message)
    return None if names is None else tuple(names)
