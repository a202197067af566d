"""JSON Lines: the contract, and each cell by its type."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError, SinkError
from sutro_stream.sinks.files import FileSink
from sutro_stream.sinks.sink import Sink
from sutro_stream.testing.sink_suite import SinkSuite


class TestJsonlSink(SinkSuite):
    """The contract, read back by the json module."""

    file_name = "out.jsonl"

    def make_sink(self, path: Path) -> Sink:
        return FileSink(path)

    def read_back(self, path: Path) -> list[dict[str, Any]]:
        return loaded(path.read_bytes())

    def read_columns(self, path: Path) -> None:  # noqa: ARG002
        return None


class TestGzippedJsonlSink(TestJsonlSink):
    """The same, compressed."""

    file_name = "out.jsonl.gz"

    def read_back(self, path: Path) -> list[dict[str, Any]]:
        return loaded(gzip.decompress(path.read_bytes()))


def loaded(content: bytes) -> list[dict[str, Any]]:
    """Every line by itself."""
    return [json.loads(line) for line in content.split(b"\n") if line]


async def written(folder: Path, records: pa.RecordBatch) -> Path:
    """A file with these rows."""
    sink = FileSink(folder / "out.jsonl")
    async with sink.open(records.schema) as writer:
        await writer.write(records)
        await writer.finish()
    return sink.path


async def test_each_row_is_a_line_with_every_column(tmp_path: Path) -> None:
    """Columns keep their order, and nulls are written."""
    records = pa.record_batch(
        {"n": [1, None], "good": [True, None], "score": [0.5, None], "t": ["a", ""]}
    )
    path = await written(tmp_path, records)
    assert path.read_bytes() == (
        b'{"n":1,"good":true,"score":0.5,"t":"a"}\n'
        b'{"n":null,"good":null,"score":null,"t":""}\n'
    )


async def test_nested_cells_are_native_json(tmp_path: Path) -> None:
    """A list is an array and a struct an object, at any depth."""
    rows = [
        {"tags": ["a", None], "spot": {"x": 1, "y": [2.5]}},
        {"tags": [], "spot": {"x": None, "y": None}},
        {"tags": None, "spot": None},
    ]
    path = await written(tmp_path, pa.RecordBatch.from_pylist(rows))
    assert loaded(path.read_bytes()) == rows


async def test_the_answer_stays_text(tmp_path: Path) -> None:
    """An output that looks like JSON is what the model wrote, unchanged."""
    records = pa.record_batch({"output": ['{"a": 1.0}']})
    path = await written(tmp_path, records)
    assert loaded(path.read_bytes()) == [{"output": '{"a": 1.0}'}]


async def test_numbers_that_json_lacks_are_null(tmp_path: Path) -> None:
    """NaN and infinities would make a line that is no JSON."""
    records = pa.record_batch({"x": [math.nan, math.inf, -math.inf, 1.0]})
    path = await written(tmp_path, records)
    assert [row["x"] for row in loaded(path.read_bytes())] == [None, None, None, 1.0]


async def test_large_integers_are_exact(tmp_path: Path) -> None:
    """All 64 bits, signed or not."""
    records = pa.record_batch(
        {"u": pa.array([2**64 - 1], pa.uint64()), "i": pa.array([-(2**63)])}
    )
    path = await written(tmp_path, records)
    assert loaded(path.read_bytes()) == [{"u": 2**64 - 1, "i": -(2**63)}]


async def test_polars_and_duckdb_read_it(tmp_path: Path) -> None:
    """The file opens where people look at such files."""
    records = pa.record_batch({"n": [1, 2], "tags": [["a"], ["b", "c"]]})
    path = await written(tmp_path, records)
    rows = [(1, ["a"]), (2, ["b", "c"])]
    assert pl.read_ndjson(path).rows() == rows
    with duckdb.connect() as connection:
        found = connection.read_json(str(path)).fetchall()
    assert found == rows


async def test_a_type_without_counterpart_is_refused_on_opening(tmp_path: Path) -> None:
    """Nothing is sent for a file that cannot be written."""
    schema = pa.schema([("span", pa.month_day_nano_interval())])
    with pytest.raises(ConfigurationError, match=r"'span'.*JSON Lines cannot hold"):
        async with FileSink(tmp_path / "out.jsonl").open(schema):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_text_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    """Broken text is said to be broken, not written, and not shown."""
    broken = pa.Array.from_buffers(
        pa.string(),
        1,
        [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffz")],
    )
    with pytest.raises(SinkError, match="do not fit the format"):
        await written(tmp_path, pa.record_batch({"text": broken}))
    assert list(tmp_path.iterdir()) == []
