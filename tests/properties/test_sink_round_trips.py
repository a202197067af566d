"""What goes into a sink comes out of the file, read with other people's readers."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sutro_stream.sinks.files import FileSink

Row: TypeAlias = dict[str, Any]

few = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

# Every character but surrogates, which no UTF-8 holds, with the awkward ones often.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("\"',;\t\r\n\0\\ a0\u202e\ufeff\u2028é😀"),
        st.characters(exclude_categories=["Cs"]),
    )
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)

TEXT_ROWS = st.lists(
    st.fixed_dictionaries({"a": st.none() | TEXTS, "b": st.none() | TEXTS}),
    max_size=12,
)
TEXT_SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string())])

TYPED_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | TEXTS,
            "count": st.none() | INTEGERS,
            "score": st.none() | FLOATS,
            "good": st.none() | st.booleans(),
            "tags": st.none() | st.lists(st.none() | TEXTS, max_size=3),
            "spot": st.none() | st.fixed_dictionaries({"x": INTEGERS, "y": TEXTS}),
        }
    ),
    max_size=8,
)
TYPED_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("count", pa.int64()),
        ("score", pa.float64()),
        ("good", pa.bool_()),
        ("tags", pa.list_(pa.string())),
        ("spot", pa.struct([("x", pa.int64()), ("y", pa.string())])),
    ]
)

CUTS = st.lists(st.integers(0, 5), max_size=8)


def through(
    suffix: str,
    rows: list[Row],
    schema: pa.Schema,
    cuts: list[int],
    read: Callable[[Path], Any],
) -> Any:
    """What `read` finds in the file when the rows come in pieces of these sizes."""
    records = pa.RecordBatch.from_pylist(rows, schema=schema)

    async def write(path: Path) -> None:
        async with FileSink(path).open(schema) as writer:
            start = 0
            for size in cuts:
                await writer.write(records.slice(start, size))
                start = min(start + size, len(rows))
            await writer.write(records.slice(start))
            await writer.finish()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{suffix}"
        anyio.run(write, path)
        return read(path)


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    """One connection: opening one costs more than reading a small file."""
    with duckdb.connect() as connection:
        yield connection


def read_with_csv_module(path: Path) -> list[Row]:
    """Every cell as text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_json_lines(path: Path) -> list[Row]:
    """Every line by itself."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@few
@given(rows=TEXT_ROWS, cuts=CUTS)
def test_csv_text_comes_back_in_the_csv_module(
    rows: list[Row], cuts: list[int]
) -> None:
    """Any text; a null reads as empty there."""
    read = through(".csv", rows, TEXT_SCHEMA, cuts, read_with_csv_module)
    assert read == [{name: cell or "" for name, cell in row.items()} for row in rows]


@few
@given(rows=TEXT_ROWS, cuts=CUTS)
def test_csv_text_and_nulls_come_back_in_polars(
    rows: list[Row], cuts: list[int]
) -> None:
    """Any text, and null told apart from empty."""
    schema = {"a": pl.String, "b": pl.String}
    read = through(
        ".csv", rows, TEXT_SCHEMA, cuts, lambda path: pl.read_csv(path, schema=schema)
    )
    assert read.to_dicts() == rows


@few
@given(rows=TEXT_ROWS, cuts=CUTS)
def test_csv_text_and_nulls_come_back_in_duckdb(
    duck: duckdb.DuckDBPyConnection, rows: list[Row], cuts: list[int]
) -> None:
    """Any text, and null told apart from empty."""

    def read(path: Path) -> list[tuple[Any, ...]]:
        return duck.execute(
            "select * from read_csv(?, header=true, all_varchar=true,"
            " auto_detect=false, columns={'a': 'VARCHAR', 'b': 'VARCHAR'},"
            " delim=',', quote='\"', escape='\"', new_line='\\n',"
            " allow_quoted_nulls=false)",
            [str(path)],
        ).fetchall()

    found = through(".csv", rows, TEXT_SCHEMA, cuts, read)
    assert found == [(row["a"], row["b"]) for row in rows]


@few
@given(rows=TYPED_ROWS, cuts=CUTS)
def test_csv_keeps_numbers_exactly_and_nests_json(
    rows: list[Row], cuts: list[int]
) -> None:
    """Each cell is the text that its own parser turns back into the value."""
    read = through(".csv", rows, TYPED_SCHEMA, cuts, read_with_csv_module)
    parsers: dict[str, Callable[[str], Any]] = {
        "count": int,
        "score": float,
        "good": json.loads,
        "tags": json.loads,
        "spot": json.loads,
    }
    for cells, row in zip(read, rows, strict=True):
        for name, parse in parsers.items():
            assert (parse(cells[name]) if cells[name] else None) == row[name]


@few
@given(rows=TYPED_ROWS, cuts=CUTS)
def test_json_lines_come_back_in_the_json_module(
    rows: list[Row], cuts: list[int]
) -> None:
    """Every value by its type, at any depth."""
    assert through(".jsonl", rows, TYPED_SCHEMA, cuts, read_json_lines) == rows


@few
@given(rows=TYPED_ROWS, cuts=CUTS)
def test_parquet_comes_back_in_polars(rows: list[Row], cuts: list[int]) -> None:
    """Every value by its type, at any depth."""
    read = through(
        ".parquet",
        rows,
        TYPED_SCHEMA,
        cuts,
        lambda path: pl.read_parquet(path).to_dicts(),
    )
    assert read == rows


@few
@given(rows=TYPED_ROWS, cuts=CUTS)
def test_parquet_comes_back_in_duckdb(
    duck: duckdb.DuckDBPyConnection, rows: list[Row], cuts: list[int]
) -> None:
    """Every value by its type, at any depth."""

    def read(path: Path) -> list[tuple[Any, ...]]:
        return duck.read_parquet(str(path)).fetchall()

    found = through(".parquet", rows, TYPED_SCHEMA, cuts, read)
    assert found == [tuple(row[name] for name in TYPED_SCHEMA.names) for row in rows]


@settings(few, max_examples=10)
@given(rows=TYPED_ROWS, cuts=CUTS, other=CUTS)
def test_the_pieces_do_not_show_in_the_file(
    rows: list[Row], cuts: list[int], other: list[int]
) -> None:
    """The same rows make the same bytes however they were cut."""
    for suffix in (".csv", ".jsonl.gz", ".parquet"):
        one = through(suffix, rows, TYPED_SCHEMA, cuts, Path.read_bytes)
        assert one == through(suffix, rows, TYPED_SCHEMA, other, Path.read_bytes)
