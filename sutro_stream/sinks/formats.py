"""The sink that a file name asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sutro_stream.errors import ConfigurationError
from sutro_stream.sinks.csv import CsvSink
from sutro_stream.sinks.jsonl import JsonlSink
from sutro_stream.sinks.parquet import ParquetSink
from sutro_stream.sinks.sink import Sink

_SINKS: Mapping[str, type[ParquetSink | CsvSink | JsonlSink]] = {
    ".parquet": ParquetSink,
    ".csv": CsvSink,
    ".csv.gz": CsvSink,
    ".jsonl": JsonlSink,
    ".jsonl.gz": JsonlSink,
    ".ndjson": JsonlSink,
    ".ndjson.gz": JsonlSink,
}


def sink_for(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    details: Sequence[str] = (),
) -> Sink:
    """The sink for a file, chosen by its suffix in any case; no I/O.

    Args:
        path: The final name.
        columns: Input columns to keep, in this order; `None` keeps all.
        details: What else is told of each answer; see `values.details`.

    Raises:
        ConfigurationError: No format is known by that suffix.
    """
    final = Path(path)
    kept = None if columns is None else tuple(columns)
    for suffix, sink in _SINKS.items():
        if final.name.lower().endswith(suffix):
            return sink(final, columns=kept, details=tuple(details))
    known = ", ".join(_SINKS)
    message = f"{final}: the format is not known by its suffix; choose one of {known}"
    raise ConfigurationError(message)
