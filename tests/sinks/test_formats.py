"""Which sink a file name asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.sinks.csv import CsvSink
from sutro_stream.sinks.formats import sink_for
from sutro_stream.sinks.jsonl import JsonlSink
from sutro_stream.sinks.parquet import ParquetSink


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("out.parquet", ParquetSink),
        ("out.csv", CsvSink),
        ("out.csv.gz", CsvSink),
        ("out.jsonl", JsonlSink),
        ("out.jsonl.gz", JsonlSink),
        ("out.ndjson", JsonlSink),
        ("a.b/OUT.2024.CSV", CsvSink),
    ],
)
def test_the_suffix_chooses_the_sink(name: str, kind: type) -> None:
    """In any case, and whatever else is in the name."""
    sink = sink_for(name, ["a", "b"])
    assert type(sink) is kind
    assert sink.path == Path(name)
    assert sink.columns == ("a", "b")


@pytest.mark.parametrize("name", ["out", "out.xlsx", "out.gz", "out.csv.zst", "csv"])
def test_other_suffixes_are_refused(name: str) -> None:
    """The message names the file and what there is instead."""
    with pytest.raises(ConfigurationError, match=r"\.parquet, \.csv, .*\.jsonl") as e:
        sink_for(name)
    assert str(e.value).startswith(f"{name}: ")


def test_all_columns_are_kept_unless_some_are_named() -> None:
    """`None` is all."""
    assert sink_for("out.csv").columns is None
