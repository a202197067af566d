"""Parquet files as people have them: damaged, encrypted, with odd columns."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import CHUNK_ROWS
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import Told
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.threaded import ThreadedReader
from sutro_stream.testing.source_suite import read_rows
from sutro_stream.values.outcomes import ErrorKind

FIELD = Path(__file__).parents[1] / "field" / "data" / "files"


def _write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


async def _error(source: FileSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await read_rows(source)
    return caught.value


async def _failure(path: Path, columns: set[str] | None = None) -> tuple[int, str]:
    """Rows that come before an error, and the error without the file's name."""
    rows = 0
    with pytest.raises(SourceError) as caught:
        async with FileSource(paths=path).open(
            None if columns is None else frozenset(columns)
        ) as reader:
            while (chunk := await reader.read()) is not None:
                rows += len(chunk)
    return rows, str(caught.value).removeprefix(str(path)).lstrip(":/ ")


async def _read(path: Path, **options: Any) -> tuple[list[Any], list[Any], Told]:
    """Rows, the cells that are refused, and what is told."""
    rows: list[Any] = []
    refused: list[Any] = []
    source = FileSource(paths=path, options=CsvOptions(**options))
    async with source.open(None) as reader:
        while (batch := await reader.read()) is not None:
            rows += batch.records.to_pylist()
            refused += [
                (batch.first_index + offset, error.kind, error.field)
                for offset, error in batch.refused
            ]
    assert isinstance(reader, ThreadedReader)
    return rows, refused, reader.told


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


async def test_damage_in_a_later_row_group_comes_behind_the_rows_before(
    tmp_path: Path,
) -> None:
    """Also those that wait to be joined with others."""
    path = _write(
        tmp_path / "a.parquet",
        {"a": [f"text {at}" for at in range(300)]},
        row_group_size=100,
    )
    group = pq.read_metadata(path).row_group(2).column(0)
    content = bytearray(path.read_bytes())
    start = group.dictionary_page_offset
    content[start : start + group.total_compressed_size] = b"\xaa" * (
        group.total_compressed_size
    )
    path.write_bytes(content)
    reason = "damaged Parquet file: no more can be read after row 200"
    assert await _failure(path) == (200, reason)


async def test_pages_with_other_content_than_was_written_are_an_error(
    tmp_path: Path,
) -> None:
    """Where the writer put a sum into the file."""
    options = {"compression": "none", "use_dictionary": False}
    path = _write(
        tmp_path / "a.parquet",
        {"a": ["text"] * 10},
        write_page_checksum=True,
        write_statistics=False,
        **options,
    )
    path.write_bytes(path.read_bytes().replace(b"text", b"next", 1))
    assert "damaged Parquet file" in str(await _error(FileSource(paths=path)))


async def test_fewer_rows_than_a_file_announces_are_an_error() -> None:
    """Behind the rows there are: never success."""
    rows, message = await _failure(FIELD / "announces_more_rows.parquet")
    assert rows == 2
    assert message.endswith("row group 0 announces 2 rows, and holds 6")


async def test_fewer_rows_than_a_row_group_announces_are_an_error() -> None:
    """The rows of the file before are delivered."""
    rows, message = await _failure(FIELD / "footers_lie_about_rows")
    assert rows == 6
    assert message == (
        "2.parquet: damaged Parquet file: row group 0 announces 6 rows, and holds 0"
    )


@pytest.mark.parametrize("columns", [None, frozenset[str]()])
async def test_row_groups_that_do_not_make_up_the_file_are_an_error(
    tmp_path: Path, columns: frozenset[str] | None
) -> None:
    """Also where no column is read, and rows are only counted."""
    path = _write(tmp_path / "a.parquet", {"a": range(100)})
    content = path.read_bytes()
    # The count of the file comes before that of its row group: a zigzag number.
    path.write_bytes(content.replace(b"\x16\xc8\x01", b"\x16\xca\x01", 1))
    assert pq.read_metadata(path).num_rows == 101
    with pytest.raises(SourceError, match="announces 101 rows, and holds 100"):
        await read_rows(FileSource(paths=path), columns)


async def test_rows_are_counted_where_no_column_is_read(tmp_path: Path) -> None:
    """A prompt may need none of them."""
    path = _write(tmp_path / "a.parquet", {"a": range(40_000)}, row_group_size=7)
    assert await read_rows(FileSource(paths=path), frozenset()) == [{}] * 40_000


async def test_a_column_beside_an_encrypted_one_is_read() -> None:
    """Nothing of the other one is looked at."""
    path = FIELD / "encrypted_column.parquet"
    rows = await read_rows(FileSource(paths=path), {"note"})
    assert len(rows) == 6
    assert all(row["note"] for row in rows)


async def test_an_encrypted_column_is_an_error() -> None:
    """It does not end the process."""
    path = FIELD / "encrypted_column.parquet"
    reason = "column 'email' is encrypted, and cannot be read"
    assert await _failure(path) == (0, reason)
    assert await _failure(path, {"email"}) == (0, reason)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("aborts", "damaged Parquet file: no more can be read after row 0"),
        (
            "foreign_error",
            "not a readable Parquet file: its footer is damaged or encrypted",
        ),
    ],
)
async def test_a_changed_byte_is_an_error(name: str, reason: str) -> None:
    """Whatever Arrow makes of it."""
    path = FIELD / f"one_byte_changed_{name}.parquet"
    assert await _failure(path) == (0, reason)


async def test_a_cell_that_is_no_text_is_refused() -> None:
    """Its row and all others keep their places."""
    rows, refused, told = await _read(FIELD / "invalid_utf8.parquet")
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert refused == [(1, ErrorKind.BAD_ROW, "review")]
    assert "\ufffd" in rows[1]["review"]
    assert "--encoding-errors replace" in " ".join(told.notes)


async def test_a_cell_that_is_no_text_can_be_replaced() -> None:
    """It is counted then."""
    path = FIELD / "invalid_utf8.parquet"
    rows, refused, told = await _read(path, encoding_errors="replace")
    assert "\ufffd" in rows[1]["review"]
    assert (refused, told.replaced, told.notes) == ([], 1, {})


async def test_a_cell_that_is_no_text_can_end_the_run() -> None:
    """Behind the rows before it."""
    path = FIELD / "invalid_utf8.parquet"
    source = FileSource(paths=path, options=CsvOptions(encoding_errors="stop"))
    rows = 0
    with pytest.raises(SourceError, match="row 1, column 'review': not UTF-8") as error:
        async with source.open(None) as reader:
            while (chunk := await reader.read()) is not None:
                rows += len(chunk)
    assert (rows, error.value.row_index) == (1, 1)


async def test_a_cell_of_another_column_is_refused_by_itself() -> None:
    """Whoever does not use it need not refuse the row."""
    rows, refused, _ = await _read(FIELD / "invalid_utf8_elsewhere.parquet")
    assert len(rows) == 3
    assert refused == [(1, ErrorKind.BAD_ROW, "junk")]
    assert all(row["review"] for row in rows)


async def test_text_that_is_none_in_a_list_is_refused_as_a_whole(
    tmp_path: Path,
) -> None:
    """The cell is null, its neighbours are not."""
    raw = pa.array([b"fine", b"\xff\xfe", b"fine"])
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    lists = pa.ListArray.from_arrays([0, 1, 2, 3], texts)
    rows, refused, _ = await _read(_write(tmp_path / "a.parquet", {"a": lists}))
    assert [row["a"] for row in rows] == [["fine"], None, ["fine"]]
    assert refused == [(1, ErrorKind.BAD_ROW, "a")]


async def test_a_value_out_of_its_types_range_is_refused(tmp_path: Path) -> None:
    """Arrow does not look when it reads."""
    wide = pa.array([Decimal("1.50"), Decimal("123456789.00")], pa.decimal128(20, 2))
    narrow = pa.Array.from_buffers(pa.decimal128(5, 2), 2, wide.buffers())
    path = _write(tmp_path / "a.parquet", {"a": narrow}, store_schema=False)
    rows, refused, _ = await _read(path)
    assert rows[0] == {"a": Decimal("1.50")}
    assert refused == [(1, ErrorKind.BAD_ROW, "a")]


async def test_an_index_of_pandas_is_read_when_it_is_asked_for() -> None:
    """Nobody made it a column."""
    source = FileSource(paths=FIELD / "pandas_index.parquet")
    rows = await read_rows(source)
    assert list(rows[0]) == ["review", "stars", "big"]
    index = await read_rows(source, {"__index_level_0__"})
    assert len(index) == len(rows)
    assert all(row["__index_level_0__"] for row in index)


async def test_an_index_with_a_name_is_a_column(tmp_path: Path) -> None:
    """Somebody gave it one."""
    table = pa.table({"a": [1, 2], "id": ["x", "y"]})
    pandas = {b"pandas": b'{"index_columns": ["id"]}'}
    pq.write_table(table.replace_schema_metadata(pandas), tmp_path / "a.parquet")
    rows = await read_rows(FileSource(paths=tmp_path / "a.parquet"))
    assert rows == [{"a": 1, "id": "x"}, {"a": 2, "id": "y"}]


async def test_columns_of_one_name_are_told_apart() -> None:
    """By their places; it is told once."""
    path = FIELD / "dup.parquet"
    async with FileSource(paths=path).open(None) as reader:
        assert reader.schema.names == ["review", "name", "name_2"]
        assert isinstance(reader, ThreadedReader)
        assert reader.ambiguous == {"name"}
        (note,) = reader.told.notes
    assert note == (
        f"{path}: more than one column is named 'name'; the later ones are read with "
        "_2, _3, ... behind their names"
    )
    (both,) = await read_rows(FileSource(paths=path))
    (second,) = await read_rows(FileSource(paths=path), {"name_2"})
    assert second == {"name_2": both["name_2"]}
    assert both["name"] != both["name_2"]


async def test_nested_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Each is stored as several."""
    struct = pa.array([{"x": 1, "y": "a"}])
    lists = pa.array([[{"x": 2}]])
    table = pa.table([struct, lists, struct], ["s", "s", ""])
    pq.write_table(table, tmp_path / "a.parquet")
    source = FileSource(paths=tmp_path / "a.parquet")
    assert await read_rows(source, {"s_2"}) == [{"s_2": [{"x": 2}]}]
    assert await read_rows(source, {"column_3"}) == [{"column_3": {"x": 1, "y": "a"}}]


@pytest.mark.parametrize(
    ("folder", "rows"),
    [
        (
            "hive",
            [
                {"review": "de one", "lang": "de"},
                {"review": "de two", "lang": "de"},
                {"review": "en one", "lang": "en"},
                {"review": "en two", "lang": "en"},
            ],
        ),
        ("mixed", [{"review": "top"}, {"review": "sub"}]),
        ("spark", [{"review": "a"}]),
        ("null_then_text", [{"review": "a", "tag": None}, {"review": "b", "tag": "x"}]),
    ],
)
async def test_folders_are_read_as_others_write_them(
    folder: str, rows: list[dict[str, Any]]
) -> None:
    """What is no file of rows is not read."""
    assert await read_rows(FileSource(paths=FIELD / folder)) == rows


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("second_lacks_column", "2.parquet: it has no column 'lang', which "),
        ("second_has_more", "1.parquet: it has no column 'lang', which "),
        ("types_differ", "2.parquet: column 'zip' is string, but int64 "),
    ],
)
async def test_files_that_differ_are_an_error_before_any_row(
    folder: str, reason: str
) -> None:
    """With `union` they are read."""
    rows, message = await _failure(FIELD / folder)
    assert rows == 0
    assert message.startswith(reason)
    assert "--union" in message
    assert await read_rows(FileSource(paths=FIELD / folder, union=True))


@pytest.mark.parametrize(
    "name",
    [
        "a.PARQUET",
        "a.pq",
        "a.parq",
        "a.parquet.gzip",
        "a.parquet.snappy",
        "a.snappy.parquet",
        "a.parquet.gz",
        "a.parquet.zst",
        "a.parquet.brotli",
    ],
)
async def test_names_may_tell_what_packs_it_inside(tmp_path: Path, name: str) -> None:
    """As pandas and Spark name files."""
    path = _write(tmp_path / name, {"a": ["x"]}, compression="gzip")
    assert await read_rows(FileSource(paths=path)) == [{"a": "x"}]


async def test_a_file_that_is_packed_as_a_whole_is_an_error(tmp_path: Path) -> None:
    """It cannot be sought in."""
    inner = _write(tmp_path / "a.parquet", {"a": ["x"]})
    path = tmp_path / "a.parquet.gz"
    path.write_bytes(gzip.compress(inner.read_bytes()))
    assert await _failure(path) == (0, "it is packed with gzip; unpack it first")
