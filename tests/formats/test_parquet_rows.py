"""Rows of Parquet files: their columns, their types, how many come at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import ConfigurationError, SourceError, SourceNotFoundError
from sutro_stream.formats.chunks import CHUNK_BYTES, CHUNK_ROWS
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import Told
from sutro_stream.formats.parquet import look
from sutro_stream.sources.files import FileSource
from sutro_stream.testing.source_suite import read_chunks, read_refused, read_rows


def _write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


async def _error(source: FileSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await read_rows(source)
    return caught.value


async def test_the_row_count_comes_from_the_footers(tmp_path: Path) -> None:
    """All files are counted before the first row is read."""
    _write(tmp_path / "1.parquet", {"a": range(10)})
    _write(tmp_path / "2.parquet", {"a": range(5)})
    async with FileSource(paths=tmp_path).open(None) as reader:
        assert reader.row_count == 15


@pytest.mark.parametrize("use_dictionary", [True, False])
async def test_large_rows_make_small_chunks(
    tmp_path: Path, use_dictionary: bool
) -> None:
    """Also when the same documents come again and again and hardly take room."""
    texts = [f"{at % 5}" * 100_000 for at in range(300)]
    path = _write(
        tmp_path / "a.parquet", {"text": texts}, use_dictionary=use_dictionary
    )
    async with FileSource(paths=path).open(None) as reader:
        chunks = await read_chunks(reader)
    assert sum(chunk.num_rows for chunk in chunks) == 300
    assert max(chunk.nbytes for chunk in chunks) <= 2 * CHUNK_BYTES


async def test_small_rows_make_chunks_across_row_groups(tmp_path: Path) -> None:
    """Tiny row groups do not make tiny chunks."""
    path = _write(tmp_path / "a.parquet", {"a": range(40_000)}, row_group_size=100)
    async with FileSource(paths=path).open(None) as reader:
        sizes = [chunk.num_rows for chunk in await read_chunks(reader)]
    assert sizes == [CHUNK_ROWS, CHUNK_ROWS, 40_000 - 2 * CHUNK_ROWS]


async def test_chunks_follow_the_row_groups_sizes(tmp_path: Path) -> None:
    """One row group of large rows does not cut the others into pieces."""
    path = tmp_path / "a.parquet"
    large, small = ["x" * 100_000] * 100, ["y"] * 10_000
    with pq.ParquetWriter(path, pa.schema({"t": pa.string()})) as writer:
        for texts in (small, large, small):
            writer.write_table(pa.table({"t": texts}))
    async with FileSource(paths=path).open(None) as reader:
        chunks = await read_chunks(reader)
    assert max(chunk.nbytes for chunk in chunks) <= 2 * CHUNK_BYTES
    assert len(chunks) < 20
    assert [row["t"] for chunk in chunks for row in chunk.to_pylist()] == (
        small + large + small
    )


async def test_chunk_rows_is_the_most_rows_of_a_chunk(tmp_path: Path) -> None:
    """The user can have smaller chunks."""
    path = _write(tmp_path / "a.parquet", {"a": range(10)})
    async with FileSource(paths=path, chunk_rows=4).open(None) as reader:
        assert max(chunk.num_rows for chunk in await read_chunks(reader)) <= 4


async def test_encoded_columns_come_as_their_values(tmp_path: Path) -> None:
    """Dictionaries differ between chunks, their values have one type."""
    coded = pa.array(["x", "y", "x", None]).dictionary_encode()
    nested = pa.ListArray.from_arrays([0, 2, 2, 3, 4], coded)
    path = _write(tmp_path / "a.parquet", {"coded": coded, "nested": nested})
    async with FileSource(paths=path).open(None) as reader:
        assert reader.schema.types == [pa.string(), pa.list_(pa.string())]
        (chunk,) = await read_chunks(reader)
    assert chunk.to_pydict() == {
        "coded": ["x", "y", "x", None],
        "nested": [["x", "y"], [], ["x"], [None]],
    }


async def test_columns_of_all_kinds_pass_unchanged(tmp_path: Path) -> None:
    """Nested, large, decimal and binary values are the stages' to judge."""
    columns = {
        "struct": pa.array([{"x": 1, "y": [{"z": "a"}]}, None]),
        "list": pa.array([[1, None], []]),
        "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "large": pa.array(["a", None], pa.large_string()),
        "decimal": pa.array([Decimal("1.50"), None]),
        "bytes": pa.array([b"\xff", None]),
        "moment": pa.array([0, None], pa.timestamp("us", "UTC")),
        "with.dot": pa.array([1, 2]),
    }
    path = _write(tmp_path / "a.parquet", columns)
    async with FileSource(paths=path).open(None) as reader:
        assert reader.schema.types == [column.type for column in columns.values()]
    assert await read_rows(FileSource(paths=path)) == pa.table(columns).to_pylist()


async def test_a_column_is_told_from_one_it_begins_like(tmp_path: Path) -> None:
    """A dot in a name is no path."""
    path = _write(tmp_path / "a.parquet", {"a": [1], "a.b": [2], "b": [3]})
    assert await read_rows(FileSource(paths=path), {"a"}) == [{"a": 1}]
    assert await read_rows(FileSource(paths=path), {"a.b"}) == [{"a.b": 2}]


async def test_declared_columns_restrict_the_source(tmp_path: Path) -> None:
    """In the order of the file, and together with what the pipeline asks for."""
    path = _write(tmp_path / "a.parquet", {"a": [1], "b": [2], "c": [3]})
    source = FileSource(paths=path, columns=["c", "a"])
    assert await read_rows(source) == [{"a": 1, "c": 3}]
    assert await read_rows(source, {"b", "c"}) == [{"c": 3}]


async def test_a_declared_column_must_exist(tmp_path: Path) -> None:
    """The error names the file, the column and those there are."""
    path = _write(tmp_path / "a.parquet", {"a": [1], "b": [2]})
    error = await _error(FileSource(paths=path, columns=["x"]))
    assert str(error) == f"{path}: no column 'x' (columns: a, b)"


async def test_files_may_order_their_columns_differently(tmp_path: Path) -> None:
    """Columns are matched by name."""
    _write(tmp_path / "1.parquet", {"a": ["x"], "b": [1]})
    _write(tmp_path / "2.parquet", {"b": [2], "a": ["y"]})
    rows = await read_rows(FileSource(paths=tmp_path))
    assert rows == [{"a": "x", "b": 1}, {"a": "y", "b": 2}]


async def test_files_may_differ_in_the_width_of_types(tmp_path: Path) -> None:
    """The wider type is that of the stream, from the first chunk on."""
    _write(tmp_path / "1.parquet", {"n": pa.array([1], pa.int32()), "t": ["x"]})
    _write(
        tmp_path / "2.parquet",
        {"n": pa.array([2**40]), "t": pa.array(["y"], pa.large_string())},
    )
    async with FileSource(paths=tmp_path).open(None) as reader:
        assert reader.schema.types == [pa.int64(), pa.large_string()]
        chunks = await read_chunks(reader)
    assert all(chunk.schema == reader.schema for chunk in chunks)
    assert [row["n"] for chunk in chunks for row in chunk.to_pylist()] == [1, 2**40]


async def test_a_column_without_values_in_one_file_fits_any_type(
    tmp_path: Path,
) -> None:
    """Some writers give such a column no type."""
    _write(tmp_path / "1.parquet", {"a": pa.nulls(1)})
    _write(tmp_path / "2.parquet", {"a": ["x"]})
    rows = await read_rows(FileSource(paths=tmp_path))
    assert rows == [{"a": None}, {"a": "x"}]


async def test_files_must_agree_in_kind(tmp_path: Path) -> None:
    """Text in one file and numbers in another is an error before any row."""
    _write(tmp_path / "1.parquet", {"a": ["x"]})
    second = _write(tmp_path / "2.parquet", {"a": [1]})
    error = await _error(FileSource(paths=tmp_path))
    assert (
        str(error)
        == f"{second}: column 'a' is int64, but string in the files before it; with "
        "--union it is read as text"
    )


async def test_a_column_must_be_in_all_files(tmp_path: Path) -> None:
    """Only if it is read at all."""
    first = _write(tmp_path / "1.parquet", {"a": ["x"], "b": [1]})
    second = _write(tmp_path / "2.parquet", {"a": ["y"]})
    assert len(await read_rows(FileSource(paths=tmp_path), {"a"})) == 2
    error = await _error(FileSource(paths=tmp_path))
    assert str(error) == (
        f"{second}: it has no column 'b', which {first} has (columns: a); read them "
        "together with --union"
    )


async def test_a_value_that_fits_no_common_type_is_a_bad_cell(tmp_path: Path) -> None:
    """Whole numbers that a floating-point column cannot hold are not rounded."""
    _write(tmp_path / "1.parquet", {"a": [1.5]})
    second = _write(tmp_path / "2.parquet", {"a": [2**60 + 1]})
    assert await read_refused(FileSource(paths=tmp_path)) == [
        (
            1,
            (
                f"{second}: column 'a': a value does not fit double, which it is in "
                "other files"
            ),
        )
    ]


async def test_no_rows_at_all_are_an_error(tmp_path: Path) -> None:
    """A run over nothing is most likely a mistake."""
    path = _write(tmp_path / "a.parquet", {"a": pa.array([], pa.string())})
    assert str(await _error(FileSource(paths=path))) == f"{path}: has no rows"


async def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    """The error is one of the files' kind too."""
    with pytest.raises(SourceNotFoundError, match="no such file"):
        await read_rows(FileSource(paths=tmp_path / "none.parquet"))


def test_a_chunk_has_at_least_one_row() -> None:
    """Found when the source is described."""
    with pytest.raises(ConfigurationError, match="chunk_rows"):
        FileSource(paths="a.parquet", chunk_rows=0)


async def test_a_file_that_is_no_path_is_read(tmp_path: Path) -> None:
    """Anything that can be sought in."""
    path = _write(tmp_path / "a.parquet", {"a": range(100), "b": ["x"] * 100})
    table = look(InMemory(path.read_bytes()), CsvOptions(), Told())
    batches = list(table.batches(["b", "a"], first_row=5, chunk_rows=30))
    assert [batch.first_index for batch in batches] == [5, 35, 65, 95]
    assert batches[0].records.schema.names == ["b", "a"]


@dataclass(frozen=True)
class InMemory:
    """A `StoredFile` of bytes."""

    content: bytes
    label = name = "memory"
    partition: ClassVar[Mapping[str, str | None]] = {}

    def open(self) -> BinaryIO:
        """See `StoredFile`."""
        return BytesIO(self.content)

    def size(self) -> int:
        """See `StoredFile`."""
        return len(self.content)

    def state(self) -> str:
        """See `StoredFile`."""
        return "always"

    def add_to(self, digest: hashlib._Hash) -> None:
        """See `StoredFile`."""
        digest.update(self.content)


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": False},
        {"data_page_version": "2.0"},
        {"data_page_size": 1000, "write_statistics": True},
        {"write_page_index": True, "write_page_checksum": True},
        {"compression": "none", "row_group_size": 300},
        {"dictionary_pagesize_limit": 100, "data_page_size": 500},
        {
            "use_dictionary": False,
            "column_encoding": {
                "text": "DELTA_BYTE_ARRAY",
                "at": "DELTA_BINARY_PACKED",
            },
        },
        {
            "use_dictionary": False,
            "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY"},
        },
        {"use_deprecated_int96_timestamps": True},
    ],
)
async def test_every_layout_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    """Whatever encodes and packs it."""
    columns = {
        "at": pa.array(range(1000)),
        "text": [None if at % 7 == 0 else f"text {at % 40}" for at in range(1000)],
        "nested": pa.array([[f"{at}"] * (at % 4) for at in range(1000)]),
        "moment": pa.array(range(1000), pa.timestamp("ns")),
    }
    path = _write(tmp_path / "a.parquet", columns, **options)
    batches = []
    async with FileSource(paths=path).open(None) as reader:
        batches = await read_chunks(reader)
    assert pa.Table.from_batches(batches).equals(pa.table(columns))


async def test_rows_grow_in_number_with_what_they_hold(tmp_path: Path) -> None:
    """Many that are small are read together, a few that are large."""
    texts = [*["small"] * 30_000, *["large" * 100_000] * 100]
    path = _write(tmp_path / "a.parquet", {"a": texts}, use_dictionary=False)
    async with FileSource(paths=path).open(None) as reader:
        chunks = await read_chunks(reader)
    assert chunks[0].num_rows == CHUNK_ROWS
    assert chunks[-1].nbytes <= 2 * CHUNK_BYTES
    assert sum(chunk.num_rows for chunk in chunks) == len(texts)
