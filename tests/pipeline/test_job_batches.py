"""Batches depend on the rows alone, so that a later run makes the same ones."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.pipeline.encoded_rows import EncodedRows
from sutro_stream.pipeline.job_batches import Cutter, JobBatch
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


def cut(rows: list[str | None], chunks: list[int]) -> list[JobBatch]:
    """The batches of rows that arrive in chunks of these sizes."""
    cutter = Cutter(most_rows=7, most_bytes=40)
    job_batches: list[JobBatch] = []
    start = 0
    for size in chunks:
        part = rows[start : start + size]
        if part:
            job_batches += cutter.add(batch(start, len(part)), encoded(part))
        start += size
    last = cutter.finish()
    return [*job_batches, *([] if last is None else [last])]


@given(ROWS, CHUNKS)
def test_joined_they_are_the_rows(rows: list[str | None], chunks: list[int]) -> None:
    """In order, each once, and each where it says."""
    job_batches = cut(rows, chunks)
    found = [row for job_batch in job_batches for row in job_batch.rows().values()]
    assert found == encoded(rows).values()
    assert [job_batch.number for job_batch in job_batches] == list(
        range(len(job_batches))
    )
    first = 0
    for job_batch in job_batches:
        assert job_batch.first_index == first
        first += len(job_batch)
        for part in job_batch.parts:
            at = part.prompts.rows.records.column("n")[part.offsets.start].as_py()
            assert at == part.first_index
            assert len(part.rows) == len(part.offsets)


@given(ROWS, CHUNKS)
def test_they_keep_to_both_limits(rows: list[str | None], chunks: list[int]) -> None:
    """But for a row that is larger by itself."""
    for job_batch in cut(rows, chunks):
        assert 1 <= len(job_batch) <= 7
        size = sum(
            1 if row is None else len(row) + 1 for row in job_batch.rows().values()
        )
        assert size <= 40 or len(job_batch) == 1


@given(ROWS, CHUNKS, CHUNKS)
def test_they_do_not_depend_on_how_rows_arrive(
    rows: list[str | None], chunks: list[int], others: list[int]
) -> None:
    """Only on what they are."""
    sizes = [len(job_batch) for job_batch in cut(rows, chunks)]
    assert sizes == [len(job_batch) for job_batch in cut(rows, others)]
