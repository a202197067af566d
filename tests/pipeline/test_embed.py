"""Vectors in place of texts, from an engine to a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sutro_stream as ss
from sutro_stream.ledger.inspection import verify
from sutro_stream.sinks.files import FileSink
from sutro_stream.testing import ScriptedEngine, ScriptedReply
from sutro_stream.values.outcomes import ErrorKind

VECTORS = {"a": "[0.5,-1,2]", "b": "[1.0,0.25,3e-2]"}


def vector(prompt: str, _attempt: int) -> ScriptedReply:
    """Of the prompt, or the prompt itself."""
    return ScriptedReply(text=VECTORS.get(prompt, prompt))


async def embedded(texts: list[str], sink: Any) -> Any:
    """The report of a run into a file."""
    async with ScriptedEngine(vector) as engine:
        embedding = ss.embed(engine, concurrency=1)
        return await (ss.from_rows(texts) | ss.prompts() | embedding | sink).run()


async def test_vectors_are_lists_of_numbers_in_parquet(tmp_path: Path) -> None:
    """Of 32 bits; a row without one has null, and the reason."""
    out = tmp_path / "out.parquet"
    report = await embedded(["a", "b", "[1"], ss.write_parquet(out))
    assert report.rows_answered == 2
    table = pq.read_table(out)
    assert table.schema.field("output").type == pa.list_(pa.float32())
    first, second, third = table["output"].to_pylist()
    assert first == [0.5, -1.0, 2.0]
    assert second == pytest.approx([1.0, 0.25, 0.03])
    assert third is None
    assert "not a list of numbers" in table["error"][2].as_py()


async def test_vectors_are_json_arrays_in_text_files(tmp_path: Path) -> None:
    """CSV and JSON Lines."""
    out = tmp_path / "out.jsonl"
    await embedded(["a"], ss.write_jsonl(out))
    assert orjson.loads(out.read_bytes())["output"] == [0.5, -1.0, 2.0]
    out = tmp_path / "out.csv"
    await embedded(["a"], ss.write_csv(out))
    with out.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert orjson.loads(row["output"]) == [0.5, -1.0, 2.0]


@pytest.mark.parametrize(
    "text",
    ["hello", "[]", "{}", "null", "[true,1,2]", '["1",2,3]', "[1,2]", "[1e39,2,3]"],
)
async def test_what_is_no_vector_of_the_run_is_a_failure(text: str) -> None:
    """Another length among it."""
    async with ScriptedEngine(vector) as engine:
        pipeline = (
            ss.from_rows(["a", text]) | ss.prompts() | ss.embed(engine, concurrency=1)
        )
        async with pipeline.open() as results:
            good, bad = [result async for result in results]
    assert good.output == [0.5, -1, 2]
    assert bad.error is not None
    assert bad.error.kind is ErrorKind.INVALID_OUTPUT


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
async def test_a_file_of_vectors_is_held_against_its_ledger(
    tmp_path: Path, suffix: str
) -> None:
    """Numbers of 32 bits are those that were answered; a failed row has none."""
    out = tmp_path / f"out.{suffix}"
    async with ScriptedEngine(vector) as engine:
        rows = ss.from_rows(["a", "[0.1,0.2,0.3]", "no"])
        pipeline = rows | ss.prompts() | ss.embed(engine, concurrency=1)
        await (pipeline | FileSink(out)).run(keep_ledger=True)
    assert verify(Path(f"{out}.ledger"), out) == []


async def test_vectors_of_a_ledger_are_not_asked_for_again(tmp_path: Path) -> None:
    """And are the same."""
    async with ScriptedEngine(vector) as engine:
        pipeline = ss.from_rows(["a", "b"]) | ss.prompts() | ss.embed(engine)
        seen = []
        for _ in range(2):
            async with pipeline.open(ledger=tmp_path / "ledger") as results:
                seen.append([result.output async for result in results])
        assert seen[0] == seen[1] == [[0.5, -1, 2], [1.0, 0.25, 0.03]]
        assert engine.calls.total() == 2
