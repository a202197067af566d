"""Line breaks in cells as two characters."""

import math
from typing import Any

import anyio
import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.newlines import FlattenNewlines
from sutro_stream.values.layout import Shape
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


async def flattened(records: pa.RecordBatch, **options: Any) -> pa.RecordBatch:
    """What one batch becomes."""
    shape = Shape(kind=RowBatch, rows=records.schema)
    step = FlattenNewlines(**options).bind(shape, RunContext(meter=Meter()))
    feed, source = anyio.create_memory_object_stream[object](math.inf)
    sink, result = anyio.create_memory_object_stream[object](math.inf)
    with feed:
        feed.send_nowait(RowBatch(records=records, first_index=7))
    await step(source, sink)
    with result:
        (batch,) = [batch async for batch in result]
    assert isinstance(batch, RowBatch)
    assert batch.first_index == 7
    assert batch.records.schema == step.shape.rows
    return batch.records


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
async def test_every_break_becomes_two_characters(kind: pa.DataType) -> None:
    """Whatever the system that wrote it; other columns and nulls stay."""
    cells = pa.array(["a\nb\r\nc\rd", "\\n", None], kind)
    records = pa.record_batch({"text": cells, "number": pa.array([1, 2, 3])})
    flat = await flattened(records)
    assert flat.column("text").to_pylist() == [r"a\nb\nc\nd", r"\n", None]
    assert flat.column("number") == records.column("number")


async def test_spared_columns_stay() -> None:
    """An ID is to be found again as it was."""
    records = pa.RecordBatch.from_pydict({"id": ["1\n2"], "text": ["1\n2"]})
    flat = await flattened(records, spared=frozenset({"id"}))
    assert flat.to_pylist() == [{"id": "1\n2", "text": r"1\n2"}]


def test_it_goes_before_rendering() -> None:
    """Prompts have left the cells already."""
    shape = Shape(kind=PromptBatch, rows=pa.schema([]))
    with pytest.raises(ConfigurationError, match="before rendering"):
        FlattenNewlines().bind(shape, RunContext(meter=Meter()))
