"""Outcomes put in order: all of them, once, whatever order they come in."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa
import pytest

from sutro_stream.pipeline.reassembly import Portion, Reassembly
from sutro_stream.values.outcomes import Answer, Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


def prompts(first: int, count: int) -> PromptBatch:
    """Prompts that tell their index."""
    ids = pa.array(range(first, first + count), pa.int64())
    rows = RowBatch(records=pa.record_batch({"id": ids}), first_index=first)
    return PromptBatch(rows=rows, texts=ids.cast(pa.large_string()))


def answered(batch: PromptBatch, offsets: Sequence[int]) -> OutcomeBatch:
    """Answers that tell the index of their row."""
    texts = [str(batch.first_index + offset) for offset in offsets]
    return OutcomeBatch(
        prompts=batch,
        offsets=offsets,
        outcomes=[Outcome(answer=Answer(text=text)) for text in texts],
        structured=False,
    )


def taken(outcomes: Reassembly) -> list[Portion]:
    """All that can be taken now."""
    portions = []
    while (portion := outcomes.take()) is not None:
        portions.append(portion)
    return portions


def rows_of(portions: Sequence[Portion]) -> list[int]:
    """Indices of their rows; input and outcomes agree on them."""
    found: list[int] = []
    for portion in portions:
        assert portion.first_index == len(found)
        rows = list(range(len(found), len(found) + portion.rows))
        if portion.kept is not None:
            assert portion.kept.column("id").to_pylist() == rows
            texts = [o.answer and o.answer.text for o in portion.outcomes]
            assert texts == [str(row) for row in rows]
        found += rows
    return found


@pytest.mark.parametrize("held_rows", [0, 1, 100, 1000, 100_000])
@pytest.mark.parametrize("size", [1, 7, 600, 5000])
def test_rows_come_in_order_and_once(size: int, held_rows: int) -> None:
    """Whatever the batches and the order, with rows given up or without."""
    rng = random.Random(size * 31 + held_rows)
    outcomes = Reassembly(held_rows=held_rows)
    batches = [prompts(first, size) for first in range(0, 5000, size)]
    pieces: list[OutcomeBatch] = []
    for batch in batches:
        offsets = rng.sample(range(size), size)
        pieces += [answered(batch, offsets[at : at + 50]) for at in range(0, size, 50)]
    # Out of order by some hundred rows, as answers come.
    pieces.sort(
        key=lambda p: p.prompts.first_index + p.offsets[0] + rng.uniform(0, 900)
    )
    portions: list[Portion] = []
    for batch in batches:
        outcomes.expect(batch.first_index, batch.rows.records)
    for piece in pieces:
        outcomes.add(piece)
        portions += taken(outcomes)
    assert rows_of(portions) == list(range(len(batches) * size))
    assert outcomes.next_index == len(batches) * size


def test_rows_are_given_up_from_the_end() -> None:
    """Behind a straggler, those whose turn comes last are read back later."""
    outcomes = Reassembly(held_rows=2000)
    batch = prompts(0, 4096)
    outcomes.expect(0, batch.rows.records)
    outcomes.add(answered(batch, range(1, 4096)))
    assert taken(outcomes) == []
    outcomes.add(answered(batch, [0]))
    portions = taken(outcomes)
    assert rows_of(portions) == list(range(4096))
    given_up = [portion.kept is None for portion in portions]
    assert given_up == sorted(given_up)
    assert {True, False} == set(given_up)


def test_large_outcomes_are_given_up_sooner() -> None:
    """What counts is what they take in memory."""
    outcomes = Reassembly(held_bytes=1 << 20)
    batch = prompts(0, 600)
    outcomes.expect(0, batch.rows.records)
    large = Outcome(answer=Answer(text="x" * 100_000, reasoning="y" * 100_000))
    for offset in range(1, 20):
        outcomes.add(
            OutcomeBatch(
                prompts=batch, offsets=[offset], outcomes=[large], structured=False
            )
        )
    outcomes.add(answered(batch, [0, *range(20, 600)]))
    assert [portion.kept for portion in taken(outcomes)] == [None]


def test_small_batches_are_joined() -> None:
    """A table for each row would cost more than the row."""
    outcomes = Reassembly()
    for first in range(300):
        batch = prompts(first, 1)
        outcomes.expect(first, batch.rows.records)
        outcomes.add(answered(batch, [0]))
    (portion,) = taken(outcomes)
    assert rows_of([portion]) == list(range(300))


def test_rows_that_never_came_are_left_to_the_ledger() -> None:
    """At the end; what came before them is there."""
    outcomes = Reassembly()
    batch = prompts(0, 1000)
    outcomes.expect(0, batch.rows.records)
    outcomes.add(answered(batch, [at for at in range(1000) if at != 700]))
    first = taken(outcomes)
    outcomes.end()
    last = taken(outcomes)
    assert [portion.kept is None for portion in first + last] == [False, True]
    assert rows_of(first + last) == list(range(1000))
