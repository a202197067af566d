"""The running step: what it sends, and how it ends."""

import math
from typing import TypeAlias

import anyio
import pyarrow as pa
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.columns import Prompts
from sutro_stream.rendering.prompting import PromptStep
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import Answer, Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

SCHEMA = pa.schema([pa.field("a", pa.string())])

Ends: TypeAlias = tuple[
    MemoryObjectSendStream[object], MemoryObjectReceiveStream[object]
]


def step() -> PromptStep:
    """Prompts from the column `a`."""
    return Prompts(column="a").bind(
        Shape(kind=RowBatch, rows=SCHEMA), RunContext(meter=Meter())
    )


def rows(first_index: int, *cells: str) -> RowBatch:
    """A batch with these cells."""
    records = pa.RecordBatch.from_pydict({"a": pa.array(cells, pa.string())})
    return RowBatch(records=records, first_index=first_index)


def ends(buffer: float = 0) -> Ends:
    """Both ends of a stream."""
    return anyio.create_memory_object_stream[object](buffer)


async def test_every_batch_becomes_prompts_in_order() -> None:
    """Batches keep their order, rows their index."""
    feed, source = ends(math.inf)
    sink, result = ends(math.inf)
    with feed:
        for batch in (rows(0, "x", "y"), rows(2, "z")):
            feed.send_nowait(batch)
    await step()(source, sink)
    with result:
        sent = [batch async for batch in result]
    assert all(isinstance(batch, PromptBatch) for batch in sent)
    assert [
        (prompt.index, prompt.text)
        for batch in sent
        if isinstance(batch, PromptBatch)
        for prompt in batch.items()
    ] == [(0, "x"), (1, "y"), (2, "z")]


async def test_empty_batches_are_not_sent() -> None:
    """Nor is anything else when there is nothing; the sink is closed."""
    feed, source = ends(math.inf)
    sink, result = ends(math.inf)
    with feed:
        feed.send_nowait(rows(0))
    await step()(source, sink)
    with result:
        assert [batch async for batch in result] == []


async def test_rows_answered_out_of_order_keep_their_index() -> None:
    """They become several batches where they do not follow one another."""
    prompts = PromptBatch(rows=rows(5, *"abcd"), texts=pa.array([*"abcd"]))
    answers = OutcomeBatch(
        prompts=prompts,
        offsets=[3, 0, 1],
        outcomes=[Outcome(answer=Answer(text=text)) for text in "DAB"],
        structured=False,
    )
    shape = Shape(kind=OutcomeBatch, rows=SCHEMA)
    feed, source = ends(math.inf)
    sink, result = ends(math.inf)
    with feed:
        feed.send_nowait(answers)
    await Prompts(column="output").bind(shape, RunContext(meter=Meter()))(source, sink)
    found = []
    with result:
        async for batch in result:
            assert isinstance(batch, PromptBatch)
            found.append([(prompt.index, prompt.text) for prompt in batch.items()])
    assert found == [[(5, "A"), (6, "B")], [(8, "D")]]


async def test_a_consumer_that_has_left_stops_the_step() -> None:
    """The error goes up, and the source is closed."""
    feed, source = ends(math.inf)
    sink, result = ends(0)
    result.close()
    with feed:
        feed.send_nowait(rows(0, "x"))
        with pytest.raises(anyio.BrokenResourceError):
            await step()(source, sink)
        with pytest.raises(anyio.BrokenResourceError):
            feed.send_nowait(rows(1, "y"))


async def test_a_reader_that_fails_closes_the_sink() -> None:
    """Whoever waits for prompts sees the end and not a hang."""
    feed, source = ends(0)
    sink, result = ends(0)
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(step(), source, sink)
            await anyio.wait_all_tasks_blocked()
            feed.close()
            raise OSError
    assert caught.group_contains(OSError)
    with result, pytest.raises(anyio.EndOfStream):
        await result.receive()


@pytest.mark.parametrize("full", [True, False])
async def test_cancelling_closes_both_ends(full: bool) -> None:
    """While it waits for its consumer as while it waits for its reader."""
    feed, source = ends(math.inf)
    sink, result = ends(0)
    if full:
        feed.send_nowait(rows(0, "x"))
    with feed, result:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(step(), source, sink)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        with pytest.raises(anyio.BrokenResourceError):
            feed.send_nowait(rows(1, "y"))
        with pytest.raises(anyio.EndOfStream):
            await result.receive()


async def test_a_slow_consumer_stops_the_reading() -> None:
    """The step takes one batch and no more while that is not taken."""
    feed, source = ends(math.inf)
    sink, result = ends(0)
    with feed, result:
        for index in range(5):
            feed.send_nowait(rows(index, "x"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(step(), source, sink)
            await anyio.wait_all_tasks_blocked()
            assert feed.statistics().current_buffer_used == 4
            await result.receive()
            await anyio.wait_all_tasks_blocked()
            assert feed.statistics().current_buffer_used == 3
            tasks.cancel_scope.cancel()
