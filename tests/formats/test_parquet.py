from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import ConfigurationError, SourceError, SourceNotFoundError
from sutro_stream.formats.chunks import CHUNK_BYTES, CHUNK_ROWS
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"P", "not a Parquet file"),
        (b"a,b\n1,2\n" * 100, "not a Parquet file"),
        (b"PAR1" + b"x" * 100, "the Parquet file is cut off: its end is missing"),
        (b"PAR1", "the Parquet file is cut off: its end is missing"),
        (
            b"PAR1" + b"x" * 100 + b"PAR1",
            "not a readable Parquet file: its footer is damaged or encrypted",
        ),
        (b"PARE" + b"x" * 100 + b"PARE", "encrypted Parquet files cannot be read"),
    ],
)
async def test_what_is_not_parquet_is_a_clear_error(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    """The error says what is wrong with which file."""
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    error = await _error(FileSource(paths=path))
    assert str(error) == f"{path}: {reason}"
    assert error.path == str(path)


async def test_damage_inside_is_an_error_with_the_row(tmp_path: Path) -> None:
    """Rows before it are delivered."""
    path = _write(
        tmp_path / "a.parquet",
        {"a": [f"text {at}" for at in range(80_000)]},
        row_group_size=40_000,
        use_dictionary=False,
    )
    content = bytearray(path.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 5_000] = b"\xaa" * 5_000
    path.write_bytes(content)
    rows = 0
    with pytest.raises(SourceError) as caught:
        async with FileSource(paths=path).open(None) as reader:
            while (chunk := await reader.read()) is not None:
                rows += len(chunk)
    assert rows >= CHUNK_ROWS
    assert caught.value.row_index == rows
    assert str(caught.value) == (
        f"{path}: damaged Parquet file: no more can be read after row {rows}"
    )


def test_a_chunk_has_at_least_one_row() -> None:
    """Found when the source is described."""
    with pytest.raises(ConfigurationError, match="chunk_rows"):
        FileSource(paths="a.parquet", chunk_rows=0)
