"""CSV: the contract, what cells look like, and who can read them."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import math
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.sinks.files import FileSink
from sutro_stream.sinks.sink import Sink
from sutro_stream.testing.sink_suite import SinkSuite

READ_AS = {"row": pl.Int64, "text": pl.String, "note": pl.String}


class TestCsvSink(SinkSuite):
    """The contract, read back by polars."""

    file_name = "out.csv"

    def make_sink(self, path: Path) -> Sink:
        return FileSink(path)

    def read_back(self, path: Path) -> list[dict[str, Any]]:
        return pl.read_csv(path, schema=READ_AS).to_dicts()

    def read_columns(self, path: Path) -> list[str]:
        return pl.read_csv(path).columns


class TestGzippedCsvSink(TestCsvSink):
    """The same, compressed."""

    file_name = "out.csv.gz"

    def read_back(self, path: Path) -> list[dict[str, Any]]:
        plain = gzip.decompress(path.read_bytes())
        return pl.read_csv(plain, schema=READ_AS).to_dicts()


async def written(folder: Path, **columns: Any) -> Path:
    """A file with these columns."""
    records = pa.record_batch(columns)
    sink = FileSink(folder / "out.csv")
    async with sink.open(records.schema) as writer:
        await writer.write(records)
        await writer.finish()
    return sink.path


async def cells(folder: Path, column: pa.Array) -> list[str]:
    """The cells of one column as the csv module reads them, beside another one."""
    path = await written(folder, column=column, other=["x"] * len(column))
    with path.open(encoding="utf-8", newline="") as file:
        return [row["column"] for row in csv.DictReader(file)]


async def test_text_is_quoted_and_numbers_are_not(tmp_path: Path) -> None:
    """RFC 4180, with a header, and null told apart from empty text."""
    path = await written(
        tmp_path,
        **{'a "quoted", name': ["x", "", None], "n": [1, None, -3]},
        good=[True, None, False],
    )
    assert path.read_bytes() == (
        b'"a ""quoted"", name","n","good"\n"x",1,true\n"",,\n,-3,false\n'
    )


async def test_every_reader_agrees_on_awkward_cells(tmp_path: Path) -> None:
    """polars, duckdb, pyarrow and the csv module read the same rows."""
    texts = ['say "hi"', "a,b", "one\ntwo", "one\r\ntwo", " kept ", "007", "عربي 😀"]
    path = await written(tmp_path, n=list(range(7)), text=texts)
    rows = list(enumerate(texts))
    assert pl.read_csv(path).rows() == rows
    with duckdb.connect() as connection:
        assert connection.read_csv(str(path)).fetchall() == rows
    table = pa_csv.read_csv(
        path, parse_options=pa_csv.ParseOptions(newlines_in_values=True)
    )
    assert table.column("text").to_pylist() == texts
    with path.open(encoding="utf-8", newline="") as file:
        _, *read = csv.reader(file)
    assert read == [[str(n), text] for n, text in rows]


async def test_a_null_in_the_only_column_is_still_a_row(tmp_path: Path) -> None:
    """An empty line would be skipped by most readers."""
    path = await written(tmp_path, text=["a", None, "b"])
    assert path.read_bytes() == b'"text"\n"a"\n""\n"b"\n'


async def test_nested_cells_are_json(tmp_path: Path) -> None:
    """Lists and structs fit into a cell as text, null stays empty."""
    column = pa.array([{"a": [1, None], "b": "ü"}, None])
    assert await cells(tmp_path, column) == ['{"a":[1,null],"b":"ü"}', ""]


async def test_maps_are_json_objects(tmp_path: Path) -> None:
    """Pairs become properties."""
    column = pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64()))
    assert await cells(tmp_path, column) == ['{"k":1}', "{}"]


async def test_dictionaries_are_written_as_their_values(tmp_path: Path) -> None:
    """CSV has no categories."""
    column = pa.array(["a", "b", None]).dictionary_encode()
    assert await cells(tmp_path, column) == ["a", "b", ""]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([decimal.Decimal("1.50"), None]), ["1.50", ""]),
        (pa.array([1.5, math.nan, math.inf]), ["1.5", "nan", "inf"]),
        (pa.array([dt.date(2024, 1, 2)]), ["2024-01-02"]),
        (
            pa.array([0, None], pa.timestamp("ms")),
            ["1970-01-01T00:00:00.000", ""],
        ),
        (
            pa.array([0, None], pa.timestamp("s", "Asia/Tokyo")),
            ["1970-01-01T00:00:00Z", ""],
        ),
        (pa.array([b"\xff\x00", b"", None]), ["/wA=", "", ""]),
        (pa.array(["view", None], pa.string_view()), ["view", ""]),
        (pa.nulls(2), ["", ""]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
async def test_other_types(
    tmp_path: Path, column: pa.Array, expected: list[str]
) -> None:
    """Each type has one way to be written."""
    assert await cells(tmp_path, column) == expected


async def test_readers_find_times_and_numbers(tmp_path: Path) -> None:
    """Types survive where the reader guesses them."""
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    path = await written(tmp_path, when=[moment], price=[decimal.Decimal("1.50")])
    assert pl.read_csv(path, try_parse_dates=True).rows() == [(moment, 1.5)]


async def test_a_type_that_has_no_text_is_refused_on_opening(tmp_path: Path) -> None:
    """Nothing is sent for a file that cannot be written."""
    schema = pa.schema([("span", pa.month_day_nano_interval())])
    with pytest.raises(ConfigurationError, match=r"'span'.*CSV cannot hold"):
        async with FileSink(tmp_path / "out.csv").open(schema):
            pass
    assert list(tmp_path.iterdir()) == []
