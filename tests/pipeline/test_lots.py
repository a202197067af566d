"""Lots depend on the rows alone, so that a later run makes the same ones."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.pipeline.encoded_rows import EncodedRows
from sutro_stream.pipeline.lots import Cutter, Lot
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

ROWS = st.lists(st.none() | st.text(max_size=12), max_size=60)
CHUNKS = st.lists(st.integers(1, 15), min_size=60, max_size=60)


def batch(first_index: int, rows: int) -> PromptBatch:
    """So many prompts."""
    numbers = pa.array(range(first_index, first_index + rows), pa.int64())
    records = pa.record_batch([numbers], names=["n"])
    return PromptBatch(
        rows=RowBatch(records=records, first_index=first_index),
        texts=pa.nulls(rows, pa.large_string()),
    )


def encoded(rows: list[str | None]) -> EncodedRows:
    """These rows, whatever they hold."""
    texts = [None if row is None else f"{row}," for row in rows]
    return EncodedRows.of(pa.array(texts, pa.large_string()))


def cut(rows: list[str | None], chunks: list[int]) -> list[Lot]:
    """The lots of rows that arrive in chunks of these sizes."""
    cutter = Cutter(most_rows=7, most_bytes=40)
    lots: list[Lot] = []
    start = 0
    for size in chunks:
        part = rows[start : start + size]
        if part:
            lots += cutter.add(batch(start, len(part)), encoded(part))
        start += size
    last = cutter.finish()
    return [*lots, *([] if last is None else [last])]


@given(ROWS, CHUNKS)
def test_joined_they_are_the_rows(rows: list[str | None], chunks: list[int]) -> None:
    """In order, each once, and each where it says."""
    lots = cut(rows, chunks)
    found = [row for lot in lots for row in lot.rows().values()]
    assert found == encoded(rows).values()
    assert [lot.number for lot in lots] == list(range(len(lots)))
    first = 0
    for lot in lots:
        assert lot.first_index == first
        first += len(lot)
        for part in lot.parts:
            at = part.prompts.rows.records.column("n")[part.offsets.start].as_py()
            assert at == part.first_index
            assert len(part.rows) == len(part.offsets)


@given(ROWS, CHUNKS)
def test_they_keep_to_both_limits(rows: list[str | None], chunks: list[int]) -> None:
    """But for a row that is larger by itself."""
    for lot in cut(rows, chunks):
        assert 1 <= len(lot) <= 7
        size = sum(1 if row is None else len(row) + 1 for row in lot.rows().values())
        assert size <= 40 or len(lot) == 1


@given(ROWS, CHUNKS, CHUNKS)
def test_they_do_not_depend_on_how_rows_arrive(
    rows: list[str | None], chunks: list[int], others: list[int]
) -> None:
    """Only on what they are."""
    sizes = [len(lot) for lot in cut(rows, chunks)]
    assert sizes == [len(lot) for lot in cut(rows, others)]
