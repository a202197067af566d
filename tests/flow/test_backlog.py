"""Which row is worked on next."""

import pyarrow as pa

from sutro_stream.flow.backlog import Backlog
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


def batch() -> PromptBatch:
    """One that is told from others by what it is, not by what it holds."""
    records = pa.record_batch({"row": pa.array([], pa.string())})
    return PromptBatch(
        rows=RowBatch(records=records, first_index=0), texts=records.column(0)
    )


A, B, C = batch(), batch(), batch()


def test_fresh_rows_come_in_order_over_batches() -> None:
    """Batches are worked off in the order in which they came."""
    backlog: Backlog = Backlog()
    backlog.add(A, ["a0", "a1"])
    backlog.add(B, [])
    backlog.add(C, ["c0"])
    tasks = [backlog.take_fresh() for _ in range(4)]
    found = [
        None if task is None else (task.batch, task.offset, task.payload)
        for task in tasks
    ]
    assert found == [(A, 0, "a0"), (A, 1, "a1"), (C, 0, "c0"), None]


def test_a_postponed_row_comes_back_when_due_and_not_before() -> None:
    """Delayed rows come in the order in which they are due."""
    backlog: Backlog = Backlog()
    backlog.add(A, [0, 1])
    first, second = backlog.take_fresh(), backlog.take_fresh()
    assert first is not None
    assert second is not None
    backlog.postpone(first, 5.0)
    backlog.postpone(second, 3.0)
    assert backlog.next_due_s == 3.0
    assert backlog.take_due(2.9) is None
    assert backlog.due(4.0) == 1
    assert backlog.take_due(9.0) is second
    assert backlog.take_due(9.0) is first


def test_it_is_drained_only_when_nothing_can_come_any_more() -> None:
    """Neither fresh nor delayed rows, and no further batch."""
    backlog: Backlog = Backlog()
    backlog.add(A, [0])
    task = backlog.take_fresh()
    assert task is not None
    drained = [backlog.drained]
    backlog.end()
    drained.append(backlog.drained)
    backlog.postpone(task, 1.0)
    drained.append(backlog.drained)
    assert drained == [False, True, False]
