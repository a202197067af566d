"""What is in a file comes out of the source, whoever wrote it."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from sutro_stream.errors import SourceError
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.csv_records import Grammar, is_blank
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.memory import RowsSource
from sutro_stream.sources.source import Source
from sutro_stream.testing.sink_suite import NASTY_TEXTS
from sutro_stream.testing.source_suite import read_refused, read_rows

Row: TypeAlias = dict[str, Any]

some = settings(max_examples=25, deadline=None)  # a busy machine is no failure
many = settings(max_examples=100, deadline=None)

texts = st.one_of(
    st.sampled_from(NASTY_TEXTS),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text(st.sampled_from('a",\r\n'), max_size=12),
    st.tuples(st.sampled_from(NASTY_TEXTS), st.integers(1, 40_000)).map(
        lambda pair: pair[0] * pair[1]
    ),
)
names = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
        lambda name: not name.startswith("\ufeff")
    ),
    min_size=2,
    max_size=4,
    unique=True,
)
csv_characters = st.text(st.sampled_from('aé",;\r\n'), max_size=40)


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[Any] = texts) -> list[Row]:
    """Rows of one to four columns of text."""
    columns = draw(names)
    rows = draw(st.lists(st.tuples(*[cells] * len(columns)), min_size=1, max_size=6))
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _read(source: Source) -> list[Row]:
    return anyio.run(read_rows, source)


def _csv_text(rows: list[Row], **dialect: Any) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), **dialect)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read_csv(content: bytes, name: str = "rows.csv", **options: Any) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return _read(FileSource(paths=path, options=CsvOptions(**options)))


@some
@given(
    rows=tables(),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    quote=st.sampled_from(['"', "'"]),
)
def test_csv_comes_out_as_pythons_own_writer_put_it_in(
    rows: list[Row], delimiter: str, quoting: int, quote: str
) -> None:
    """Every cell is the text that was written."""
    text = _csv_text(rows, delimiter=delimiter, quoting=quoting, quotechar=quote)
    read = _read_csv(
        text.encode(), delimiter=delimiter, quote_char=quote, empty="empty"
    )
    assert read == rows


@some
@given(rows=tables(), encoding=st.sampled_from(["utf-16", "utf-32-be", "gb18030"]))
def test_csv_comes_out_of_any_encoding(rows: list[Row], encoding: str) -> None:
    """Of those that have all characters."""
    content = gzip.compress(_csv_text(rows).encode(encoding), 1)
    read = _read_csv(content, "rows.csv.gz", encoding=encoding, empty="empty")
    assert read == rows


@some
@given(rows=tables())
def test_csv_comes_out_as_polars_put_it_in(rows: list[Row]) -> None:
    """Line ends and quoting are another writer's."""
    content = pl.DataFrame(rows).write_csv().encode()
    assert _read_csv(content, empty="empty") == rows


@some
@given(rows=tables(st.one_of(st.none(), texts)), size=st.integers(1, 5))
def test_parquet_comes_out_as_it_was_put_in(rows: list[Row], size: int) -> None:
    """For row groups of any size, and missing values are not empty text."""
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(table, path, row_group_size=size)
        assert _read(FileSource(paths=path)) == rows


@some
@given(rows=tables(st.one_of(st.none(), texts)), size=st.integers(1, 5))
def test_rows_in_memory_come_out_as_they_are(rows: list[Row], size: int) -> None:
    """For chunks of any size."""
    assert _read(RowsSource(rows=rows, chunk_rows=size)) == rows


@many
@given(text=csv_characters, quote=st.sampled_from(['"', None]))
def test_records_are_those_of_the_parser(text: str, quote: str | None) -> None:
    """Cutting and parsing agree about where rows and cells end, or it shows.

    Whatever text is given: pyarrow reads it as rows of the width that ours sees in
    its first record, or both find that another record has another width.
    """
    content = text.encode()
    grammar = Grammar.of(",", quote)
    records = list(grammar.records(content))
    if b"".join(records) != content:
        return  # a quote is left open: an error before any parsing
    widths = [grammar.fields(record) for record in records if not is_blank(record)]
    if not widths:
        return
    places = [str(place) for place in range(widths[0])]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content),
            pa_csv.ReadOptions(column_names=places),
            pa_csv.ParseOptions(quote_char=quote or False, newlines_in_values=True),
        )
    except pa.ArrowInvalid:
        assert set(widths) != {widths[0]}
    else:
        assert set(widths) == {widths[0]}
        assert table.num_rows == len(widths)


@many
@given(text=csv_characters, quote=st.sampled_from(['"', None]), end=st.integers(0, 40))
def test_records_do_not_depend_on_where_reading_stopped(
    text: str, quote: str | None, end: int
) -> None:
    """What is complete in a part of the text is so in the whole."""
    grammar = Grammar.of(",", quote)
    content = text.encode()
    cut = grammar.complete(content[:end])
    whole = list(grammar.records(content))
    parts = [*grammar.records(content[:cut]), *grammar.records(content[cut:])]
    assert parts == whole


@many
@given(
    text=st.text(st.sampled_from('aé",\r\n'), max_size=60),
    broken=st.binary(max_size=3),
)
def test_any_bytes_are_rows_or_a_clear_error(text: str, broken: bytes) -> None:
    """Nothing else comes out of the source."""
    content = b"a,b\n" + text.encode() + broken
    message = "rows.csv: "
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(content)
        try:
            refused = anyio.run(read_refused, FileSource(paths=path))
        except SourceError as error:
            message = str(error)
        else:
            assert all("rows.csv: line " in reason for _, reason in refused)
    assert "rows.csv: " in message
