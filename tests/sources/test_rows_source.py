import datetime as dt
import enum
import uuid
from collections import UserDict
from collections.abc import AsyncIterator, Iterable, Iterator
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sutro_stream.errors import ConfigurationError, SourceError
from sutro_stream.sources.memory import RowsSource
from sutro_stream.testing.source_suite import read_chunks, read_rows


async def _error(
    source: RowsSource, columns: Iterable[str] | None = None
) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await read_rows(source, None if columns is None else set(columns))
    return caught.value


async def _column(
    values: Iterable[Any], **options: Any
) -> tuple[pa.DataType, list[Any]]:
    """Type and values of a column made of `values`."""
    source = RowsSource(rows=[{"x": value} for value in values], **options)
    async with source.open(None) as reader:
        chunks = await read_chunks(reader)
    return reader.schema.field("x").type, [
        value for chunk in chunks for value in chunk.column("x").to_pylist()
    ]


async def test_strings_are_prompts() -> None:
    """One column of that name."""
    rows = await read_rows(RowsSource(rows=["a", "", "b"]))
    assert rows == [{"prompt": "a"}, {"prompt": ""}, {"prompt": "b"}]


async def test_strings_and_mappings_may_be_mixed() -> None:
    """A string is a mapping with a prompt."""
    rows = await read_rows(RowsSource(rows=["a", {"prompt": "b"}]))
    assert rows == [{"prompt": "a"}, {"prompt": "b"}]


async def test_any_mapping_is_a_row() -> None:
    """Not only a dict."""
    assert await read_rows(RowsSource(rows=[UserDict(a="x")])) == [{"a": "x"}]


async def test_columns_come_in_the_order_they_are_met() -> None:
    """And a key that a row does not have is null."""
    rows = [{"b": 1}, {"a": 2, "b": 3}, {"c": 4}]
    async with RowsSource(rows=rows).open(None) as reader:
        assert reader.schema.names == ["b", "a", "c"]
        (chunk,) = await read_chunks(reader)
    assert chunk.to_pylist() == [
        {"b": 1, "a": None, "c": None},
        {"b": 3, "a": 2, "c": None},
        {"b": None, "a": None, "c": 4},
    ]


MOMENT = dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "data_type"),
    [
        (["a", None], pa.string()),
        ([1, None, 2**40], pa.int64()),
        ([1.5, 2], pa.float64()),
        ([True, None], pa.bool_()),
        ([b"\xff"], pa.binary()),
        ([[1, 2], [], None], pa.list_(pa.int64())),
        ([dt.date(2024, 1, 2)], pa.date32()),
        ([MOMENT], pa.timestamp("us", "UTC")),
        ([Decimal("1.50")], pa.decimal128(3, 2)),
    ],
)
async def test_columns_of_one_type_have_it(
    values: list[Any], data_type: pa.DataType
) -> None:
    """As Arrow finds it, and the values are unchanged."""
    assert await _column(values) == (data_type, values)


class Color(enum.Enum):
    """Something that Arrow does not know."""

    RED = 1


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "a", None], ["1", "a", None]),
        ([True, 1, 1.5], ["true", "1", "1.5"]),
        ([False, "x"], ["false", "x"]),
        ([{"b": 1, "a": [None]}, None], ['{"b":1,"a":[null]}', None]),
        ([[{"a": "é"}], []], ['[{"a":"é"}]', "[]"]),
        ([[1, "a"], "x"], ['[1,"a"]', "x"]),
        ([(1, 2), 3], ["[1,2]", "3"]),
        ([{"big": 2**70, "day": dt.date(2024, 1, 2)}], None),
        ([2**70, 1], [str(2**70), "1"]),
        ([dt.date(2024, 1, 2), MOMENT], ["2024-01-02", "2024-01-02 03:04:00+00:00"]),
        ([Color.RED], ["Color.RED"]),
        ([uuid.UUID(int=1)], [str(uuid.UUID(int=1))]),
        ([b"bytes", "text"], ["bytes", "text"]),
        ([None, None], [None, None]),
        ([[], [None]], ["[]", "[null]"]),
        ([{}], ["{}"]),
    ],
)
async def test_other_columns_are_text(
    values: list[Any], texts: list[str | None] | None
) -> None:
    """Mixed and unknown types, and mappings, whose keys no later row could change."""
    expected = texts or [f'{{"big": {2**70}, "day": "2024-01-02"}}']
    assert await _column(values) == (pa.string(), expected)


@pytest.mark.parametrize(
    ("first", "later", "result"),
    [
        ("a", 5, "5"),
        ("a", True, "true"),
        ("a", {"b": 1}, '{"b":1}'),
        (None, 5, "5"),
        (1, None, None),
        (1, 2.0, 2),
        (1.5, 2, 2.0),
        ([1], [], []),
        ([1], [None, 2], [None, 2]),
        (Decimal("1.5"), Decimal("2.5"), Decimal("2.5")),
    ],
)
async def test_later_values_are_converted_without_loss(
    first: Any, later: Any, result: Any
) -> None:
    """The type is that of the first chunk; anything fits text."""
    _, values = await _column([first, later], chunk_rows=1)
    assert values == [first, result]


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        (1, "secret", "str does not fit the column's type int64"),
        (1, 2.5, "float does not fit the column's type int64"),
        (1, 2**70, "int does not fit the column's type int64"),
        (1, True, "bool does not fit the column's type int64"),
        (1.5, 2**60 + 1, "int does not fit the column's type double"),
        (True, 1, "int does not fit the column's type bool"),
        ([1], ["secret"], "list does not fit the column's type list<item: int64>"),
        (b"x", "secret", "str does not fit the column's type binary"),
        (dt.date(2024, 1, 2), MOMENT, "datetime does not fit the column's type date32"),
        (MOMENT, 7, "int does not fit the column's type timestamp"),
        (
            MOMENT,
            MOMENT.replace(tzinfo=None),
            "datetime does not fit the column's type timestamp",
        ),
        ("x", b"\xff", "bytes that cannot be written as text"),
    ],
)
async def test_a_later_value_that_does_not_fit_is_named(
    first: Any, later: Any, message: str
) -> None:
    """By its row, column and type, never by what it is."""
    values = [first] * 4 + [None, later, first]
    rows = [{"x": value} for value in values]
    error = await _error(RowsSource(rows=rows, chunk_rows=2))
    assert str(error).startswith(f"row 5: column 'x': {message}")
    assert error.row_index == 5
    assert "secret" not in str(error)


async def test_a_late_key_is_an_error() -> None:
    """Nothing of a row is dropped silently; the error says what to do."""
    rows = [{"a": 1, "b": 2}, {"a": 3}, {"a": 4}, {"a": 5, "c": 6}]
    error = await _error(RowsSource(rows=rows, chunk_rows=2))
    assert str(error) == (
        "row 3: no column 'c': the first 2 rows set the columns (columns: a, b); "
        "pass columns=[...] to name those to read"
    )
    assert error.row_index == 3


async def test_a_late_key_that_nobody_asked_for_is_no_error() -> None:
    """It would not be read anyway; one that is asked for still is."""
    rows = [{"a": 1}, {"a": 2, "c": 3}]
    source = RowsSource(rows=rows, chunk_rows=1)
    assert await read_rows(source, {"a"}) == [{"a": 1}, {"a": 2}]
    assert "no column 'c'" in str(await _error(source, {"a", "c"}))


async def test_declared_columns_are_read_and_no_others() -> None:
    """In the order declared; what no row has is null."""
    rows = [{"a": 1}, {"b": 2, "c": 3}]
    source = RowsSource(rows=rows, columns=["b", "a", "x"], chunk_rows=1)
    assert await read_rows(source) == [
        {"b": None, "a": 1, "x": None},
        {"b": "2", "a": None, "x": None},
    ]


async def test_strings_need_their_column_declared() -> None:
    """Else they would all be dropped."""
    error = await _error(RowsSource(rows=["a"], columns=["text"]))
    assert "'prompt'" in str(error)
    rows = await read_rows(RowsSource(rows=["a"], columns=["prompt"]))
    assert rows == [{"prompt": "a"}]


@pytest.mark.parametrize(
    ("item", "name"), [(5, "int"), (None, "NoneType"), (["a"], "list")]
)
async def test_an_item_that_is_no_row_is_named(item: Any, name: str) -> None:
    """By its row and type."""
    rows: list[Any] = ["a", "b", item]
    error = await _error(RowsSource(rows=rows, chunk_rows=2))
    assert str(error) == (
        f"row 2: a row must be a string or a mapping of columns to values, not {name}"
    )
    assert error.row_index == 2


@pytest.mark.parametrize(
    "bad", ["\ud800", {"k": "\ud800"}, ["\udfff"], {"\ud800": 1}, ["a", 1, "\ud800"]]
)
@pytest.mark.parametrize("chunk_rows", [1, 10])
async def test_text_that_is_no_unicode_is_an_error(bad: Any, chunk_rows: int) -> None:
    """In the first chunk and later, alone or within something."""
    rows = [{"x": "fine"}, {"x": "fine"}, {"x": bad}]
    error = await _error(RowsSource(rows=rows, chunk_rows=chunk_rows))
    assert str(error) == (
        "row 2: column 'x': text that is not valid Unicode (a lone surrogate)"
    )
    assert error.row_index == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({1: "a"}, "row 0: names of columns must be text, not int"),
        ({"\ud800": "a"}, "row 0: the name of a column is not valid Unicode"),
    ],
)
async def test_a_key_that_is_no_name_is_an_error(row: Any, message: str) -> None:
    """Columns have names of text."""
    assert str(await _error(RowsSource(rows=[row]))) == message


async def test_a_circular_value_is_an_error() -> None:
    """It has no text."""
    circle: dict[str, Any] = {}
    circle["self"] = circle
    error = await _error(RowsSource(rows=[{"x": circle}]))
    assert str(error) == "row 0: column 'x': dict that cannot be written as text"


@pytest.mark.parametrize(
    "rows", [[], iter(()), (), pa.table({"prompt": pa.array([], pa.string())})]
)
async def test_no_rows_are_no_error(rows: Any) -> None:
    """A program may have nothing to do today."""
    assert await read_rows(RowsSource(rows=rows)) == []


async def test_no_rows_have_the_declared_columns() -> None:
    """So that a pipeline over them fits together."""
    async with RowsSource(rows=[], columns=["a", "b"]).open(None) as reader:
        assert reader.schema == pa.schema([("a", pa.string()), ("b", pa.string())])
        assert await reader.read() is None


async def test_rows_without_columns_are_rows() -> None:
    """Empty mappings are counted."""
    async with RowsSource(rows=[{}, {}]).open(None) as reader:
        assert [chunk.num_rows for chunk in await read_chunks(reader)] == [2]


async def test_the_row_count_is_given_for_what_has_a_length() -> None:
    """Generators have none."""
    for rows, count in [
        (["a", "b"], 2),
        (iter(["a"]), None),
        (pa.table({"a": [1]}), 1),
    ]:
        async with RowsSource(rows=rows).open(None) as reader:
            assert reader.row_count == count


class Counting:
    """An iterator that counts what is taken from it."""

    def __init__(self) -> None:
        self.taken = 0
        self.is_closed = False

    def strings(self, text: str = "a") -> Iterator[str]:
        """Endless."""
        try:
            while True:
                self.taken += 1
                yield text
        finally:
            self.is_closed = True

    async def async_strings(self) -> AsyncIterator[str]:
        """The same, asynchronously."""
        try:
            while True:
                self.taken += 1
                yield "a"
        finally:
            self.is_closed = True


async def test_a_generator_is_consumed_chunk_by_chunk() -> None:
    """Only as far as is read; and it is closed in the end."""
    counting = Counting()
    async with RowsSource(rows=counting.strings(), chunk_rows=10).open(None) as reader:
        assert counting.taken == 10
        await reader.read()
        assert counting.taken == 10
        await reader.read()
        assert counting.taken == 20
    assert counting.is_closed


async def test_an_async_generator_is_consumed_chunk_by_chunk() -> None:
    """Only as far as is read; and it is closed in the end."""
    counting = Counting()
    source = RowsSource(rows=counting.async_strings(), chunk_rows=10)
    async with source.open(None) as reader:
        await reader.read()
        await reader.read()
        assert counting.taken == 20
    assert counting.is_closed


async def test_long_texts_make_small_chunks() -> None:
    """The rows of a chunk are bounded in size as well."""
    rows = Counting().strings("x" * 100_000)
    async with RowsSource(rows=rows).open(None) as reader:
        chunk = await reader.read()
    assert chunk is not None
    assert chunk.records.nbytes < 5_000_000


@pytest.mark.parametrize("make", [Counting.strings, Counting.async_strings])
async def test_an_iterator_can_be_read_once_only(make: Any) -> None:
    """The second run would silently be over nothing."""
    source = RowsSource(rows=make(Counting()))
    async with source.open(None):
        pass
    assert "read already" in str(await _error(source))


async def test_a_stream_can_be_read_once_only() -> None:
    """An Arrow reader is an iterator too."""
    table = pa.table({"a": range(5)})
    source = RowsSource(rows=table.to_reader())
    assert len(await read_rows(source)) == 5
    assert "read already" in str(await _error(source))


async def test_an_error_of_a_generator_passes_unchanged() -> None:
    """It is the user's own."""
    error = KeyError("mine")

    def rows() -> Iterator[str]:
        yield "a"
        raise error

    with pytest.raises(KeyError) as caught:
        await read_rows(RowsSource(rows=rows(), chunk_rows=1))
    assert caught.value is error


async def test_a_table_is_sliced_and_not_copied() -> None:
    """The chunks are views of its memory."""
    table = pa.table({"a": pa.array(range(2_500))})
    address = table.column("a").chunk(0).buffers()[1].address
    async with RowsSource(rows=table, chunk_rows=1_000).open(None) as reader:
        chunks = await read_chunks(reader)
    assert [chunk.num_rows for chunk in chunks] == [1_000, 1_000, 500]
    assert {chunk.column(0).buffers()[1].address for chunk in chunks} == {address}


@pytest.mark.parametrize(
    "make",
    [
        pl.from_arrow,
        pa.Table.to_reader,
        lambda table: table.to_batches()[0],
        lambda table: table,
    ],
    ids=["polars", "stream", "batch", "table"],
)
async def test_arrow_data_of_all_forms_is_read(make: Any) -> None:
    """Tables, batches, streams, and other libraries' tables."""
    coded = pa.array(["x", "y", None]).dictionary_encode()
    table = pa.table({"text": ["ü", None, ""], "number": [1, 2, None], "coded": coded})
    source = RowsSource(rows=make(table), columns=["coded", "text"])
    rows = await read_rows(source)
    assert rows == table.select(["text", "coded"]).to_pylist()


async def test_encoded_arrow_columns_come_as_their_values() -> None:
    """Encodings and views are no types of their own."""
    texts = pa.array(["x", "x", None])
    columns = {
        "dictionary": texts.dictionary_encode(),
        "runs": pc.run_end_encode(texts),
        "view": texts.cast(pa.string_view()),
        "views": pa.array([["x"], [], None], pa.list_(pa.string_view())),
    }
    async with RowsSource(rows=pa.table(columns)).open(None) as reader:
        assert reader.schema.types == [pa.string()] * 3 + [pa.list_(pa.string())]
        (chunk,) = await read_chunks(reader)
    assert chunk.column("runs").to_pylist() == ["x", "x", None]
    assert chunk.column("views").to_pylist() == [["x"], [], None]


async def test_a_declared_column_must_exist_in_arrow_data() -> None:
    """There the columns are known."""
    error = await _error(RowsSource(rows=pa.table({"a": [1]}), columns=["x"]))
    assert str(error) == "rows in memory: no column 'x' (columns: a)"


async def test_broken_text_in_arrow_data_is_an_error() -> None:
    """With its row, counted over all chunks."""
    raw = pa.array([b"fine"] * 1_500 + [b"\xff"])
    broken = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    error = await _error(RowsSource(rows=pa.table({"a": broken})))
    assert "row 1500, column 'a'" in str(error)
    assert error.row_index == 1_500


async def test_an_arrow_stream_that_fails_is_an_error() -> None:
    """What makes it may break off."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise pa.ArrowInvalid("secret")

    stream = pa.RecordBatchReader.from_batches(
        pa.schema([("a", pa.int64())]), batches()
    )
    error = await _error(RowsSource(rows=stream))
    assert str(error) == "rows in memory: the Arrow stream failed"
    assert error.row_index == 1


async def test_an_arrow_column_is_no_table() -> None:
    """It has no names."""
    error = await _error(RowsSource(rows=pa.chunked_array([["a"]])))
    assert str(error) == "rows in memory: ChunkedArray is not a table"


@pytest.mark.parametrize("rows", ["text", b"bytes", {"a": [1]}, 5, None])
def test_what_holds_no_rows_is_refused(rows: Any) -> None:
    """A string would be taken for rows of one character."""
    with pytest.raises(ConfigurationError, match=type(rows).__name__):
        RowsSource(rows=rows)


def test_a_source_does_not_show_its_rows() -> None:
    """They may be many, and private."""
    assert "secret" not in repr(RowsSource(rows=["secret"]))
