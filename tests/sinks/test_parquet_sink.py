"""Parquet: the contract, row groups, and columns in their own types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.format import WriteOptions
from sutro_stream.sinks.files import FileSink
from sutro_stream.sinks.sink import Sink
from sutro_stream.testing.sink_suite import SinkSuite


class TestParquetSink(SinkSuite):
    """The contract, read back by polars."""

    file_name = "out.parquet"

    def make_sink(self, path: Path) -> Sink:
        return FileSink(path)

    def read_back(self, path: Path) -> list[dict[str, Any]]:
        return pl.read_parquet(path).to_dicts()

    def read_columns(self, path: Path) -> list[str]:
        return pl.read_parquet(path).columns


async def write(sink: FileSink, *batches: pa.RecordBatch) -> None:
    """Make the file of these rows."""
    async with sink.open(batches[0].schema) as writer:
        for records in batches:
            await writer.write(records)
        await writer.finish()


def group_sizes(path: Path) -> list[int]:
    """Rows in each row group."""
    metadata = pq.read_metadata(path)
    return [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]


async def test_small_writes_become_full_row_groups(tmp_path: Path) -> None:
    """Every row group but the last has the rows asked for, however they came."""
    sink = FileSink(
        tmp_path / "out.parquet", options=WriteOptions(row_group_rows=1_000)
    )
    batches = [pa.record_batch({"n": [0] * size}) for size in [7] * 500 + [2_600, 10]]
    await write(sink, *batches)
    assert group_sizes(sink.path) == [1_000] * 6 + [110]


async def test_row_groups_have_50_000_rows_by_default(tmp_path: Path) -> None:
    """Large enough to compress, small enough to read in bounded memory."""
    sink = FileSink(tmp_path / "out.parquet")
    await write(sink, pa.record_batch({"n": list(range(120_000))}))
    assert group_sizes(sink.path) == [50_000, 50_000, 20_000]


async def test_long_cells_end_a_row_group_early(tmp_path: Path) -> None:
    """The limit in bytes bounds memory where the limit in rows does not."""
    sink = FileSink(
        tmp_path / "out.parquet", options=WriteOptions(row_group_bytes=5_000_000)
    )
    cells = pa.record_batch({"text": ["x" * 1_000_000] * 4})
    await write(sink, *[cells] * 10)
    assert max(group_sizes(sink.path)) <= 16
    assert sum(group_sizes(sink.path)) == 40


@pytest.mark.parametrize(("rows", "size"), [(0, 1), (1, 0)])
def test_a_limit_below_one_is_refused(rows: int, size: int) -> None:
    """A row group of nothing would never end."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        WriteOptions(row_group_rows=rows, row_group_bytes=size)


async def test_nested_columns_keep_their_types(tmp_path: Path) -> None:
    """Lists, structs and maps are columns of Parquet, not text."""
    records = pa.RecordBatch.from_pylist(
        [
            {"tags": ["a", None], "spot": {"x": 1, "y": [2.5]}, "pairs": [("k", 1)]},
            {"tags": [], "spot": {"x": None, "y": None}, "pairs": []},
            {"tags": None, "spot": None, "pairs": None},
        ],
        schema=pa.schema(
            [
                ("tags", pa.list_(pa.string())),
                ("spot", pa.struct([("x", pa.int64()), ("y", pa.list_(pa.float64()))])),
                ("pairs", pa.map_(pa.string(), pa.int64())),
            ]
        ),
    )
    sink = FileSink(tmp_path / "out.parquet")
    await write(sink, records)
    assert pq.read_table(sink.path).to_pylist() == records.to_pylist()


async def test_dictionary_columns_stay_dictionaries(tmp_path: Path) -> None:
    """Categories are categories for whoever reads the file."""
    column = pa.array(["a", "b", None, "a"]).dictionary_encode()
    sink = FileSink(tmp_path / "out.parquet")
    await write(sink, pa.record_batch({"kind": column}))
    table = pq.read_table(sink.path)
    assert table.schema.field("kind").type == pa.dictionary(pa.int32(), pa.string())
    assert table.column("kind").to_pylist() == ["a", "b", None, "a"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda column: column,
        lambda column: pa.StructArray.from_arrays([column], ["inner"]),
        lambda column: pa.ListArray.from_arrays(
            pa.array(range(len(column) + 1), pa.int32()), column
        ),
        lambda column: pa.LargeListArray.from_arrays(
            pa.array(range(len(column) + 1), pa.int64()), column
        ),
    ],
    ids=["column", "struct", "list", "large list"],
)
async def test_dictionaries_may_outgrow_their_index_type(
    tmp_path: Path, wrap: Any
) -> None:
    """Batches with 8-bit indices and different values still make a readable file."""
    kind = pa.dictionary(pa.int8(), pa.string())
    batches = [
        pa.record_batch(
            {"kind": wrap(pa.array([f"{part}-{at}" for at in range(100)], kind))}
        )
        for part in range(4)
    ]
    sink = FileSink(tmp_path / "out.parquet")
    await write(sink, *batches)
    expected = [row for records in batches for row in records.to_pylist()]
    assert pq.read_table(sink.path).to_pylist() == expected


async def test_every_reader_sees_typed_columns(tmp_path: Path) -> None:
    """polars, duckdb and pyarrow open the file and agree on the types."""
    records = pa.record_batch({"n": [1], "score": [0.5], "good": [True], "text": ["t"]})
    sink = FileSink(tmp_path / "out.parquet")
    await write(sink, records)
    assert pq.read_schema(sink.path).types == records.schema.types
    polars_types = [pl.Int64, pl.Float64, pl.Boolean, pl.String]
    assert pl.read_parquet(sink.path).dtypes == polars_types
    with duckdb.connect() as connection:
        types = connection.read_parquet(str(sink.path)).types
    assert [str(kind) for kind in types] == ["BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"]


async def test_a_type_that_parquet_lacks_is_refused_on_opening(tmp_path: Path) -> None:
    """Nothing is sent for a file that cannot be written."""
    schema = pa.schema([("span", pa.month_day_nano_interval())])
    with pytest.raises(ConfigurationError, match="month_day_nano_interval"):
        async with FileSink(tmp_path / "out.parquet").open(schema):
            pass
    assert list(tmp_path.iterdir()) == []
