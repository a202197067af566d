"""Reading and rendering: `options["what"]` says whose, `passes` how often.

Every program reads the whole of a file into nothing but a count, or renders a column
of prompts from batches that lie in memory.
"""

from __future__ import annotations

import csv
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio

from sutro_stream.cli.process import suit_streaming
from systems.child import Work, timed

if Work.given().options["what"].startswith("our"):
    # As the command does for its own process; pyarrow keeps the allocator that it
    # begins with, and so comes after it.
    suit_streaming()

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

import sutro_stream as ss

BATCH_ROWS = 10_000
_BLOCK_BYTES = 1 << 20
FUNCTION = {
    "name": "bench",
    "inputs": [{"name": "product"}, {"name": "review"}, {"name": "id"}],
    "prompt_template": "{{ product }}: {{ review }} ({{ id }})",
}
COLUMNS = ["id", "product", "review"]


def arrow_parquet(path: str) -> int:
    """Rows, by pyarrow's reader of row groups."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        return sum(len(b) for b in file.iter_batches(BATCH_ROWS, columns=COLUMNS))


def arrow_csv(path: str) -> int:
    """Rows, by pyarrow's streaming reader, every column as text."""
    text = dict.fromkeys(["id", "product", "review", "stars"], pa.string())
    reader = pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
        convert_options=pa_csv.ConvertOptions(column_types=text),
    )
    return sum(len(batch) for batch in reader)


def python_csv(path: str) -> int:
    """Rows, by the standard library."""
    with Path(path).open(newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


def polars_parquet(path: str) -> int:
    """Rows, by a scan that is collected as a stream."""
    frame = pl.scan_parquet(path).select(COLUMNS).collect(engine="streaming")
    return frame.height


def polars_csv(path: str) -> int:
    """Rows, by a scan of text columns that is collected as a stream."""
    frame = pl.scan_csv(path, infer_schema=False).collect(engine="streaming")
    return frame.height


def polars_rendered(path: str) -> int:
    """Prompts, by polars from the scan on."""
    prompt = pl.format("{}: {} ({})", "product", "review", "id")
    frame = pl.scan_parquet(path).select(prompt).collect(engine="streaming")
    return frame.height


async def our_scan(path: str) -> int:
    """Rows, by our sources."""
    read = ss.read_csv if path.endswith(".csv") else ss.read_parquet
    rows = 0
    async with read(path, columns=COLUMNS).open() as batches:
        while (batch := await batches.next_batch()) is not None:
            rows += len(batch)
    return rows


async def our_prompts(path: str) -> int:
    """Prompts, read and rendered."""
    read = ss.read_csv if path.endswith(".csv") else ss.read_parquet
    rows = 0
    stage = ss.render(ss.Function.validate(FUNCTION))
    async with (read(path, columns=COLUMNS) | stage).open() as prompts:
        while (batch := await prompts.next_batch()) is not None:
            rows += len(batch)
    return rows


def in_memory(path: str) -> list[pa.RecordBatch]:
    """The file's batches."""
    return list(pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=COLUMNS))


def arrow_rendering(batches: list[pa.RecordBatch]) -> int:
    """Prompts, by Arrow's kernel for joining."""
    rows = 0
    for batch in batches:
        product, review, key = (batch[name] for name in ("product", "review", "id"))
        texts = pc.binary_join_element_wise(
            product, pa.scalar(": "), review, pa.scalar(" ("), key, pa.scalar(")"), ""
        )
        rows += len(texts)
    return rows


def python_rendering(batches: list[pa.RecordBatch]) -> int:
    """Prompts, by f-strings over rows as dictionaries."""
    rows = 0
    for batch in batches:
        texts = [
            f"{row['product']}: {row['review']} ({row['id']})"
            for row in batch.to_pylist()
        ]
        rows += len(texts)
    return rows


async def our_rendering(batches: list[pa.RecordBatch]) -> int:
    """Prompts, from batches in memory."""
    rows = 0
    stage = ss.render(ss.Function.validate(FUNCTION))
    async with (ss.from_rows(pa.Table.from_batches(batches)) | stage).open() as prompts:
        while (batch := await prompts.next_batch()) is not None:
            rows += len(batch)
    return rows


def _run(call: Callable[..., Awaitable[int]], *arguments: object) -> Callable[[], int]:
    return partial(anyio.run, call, *arguments, backend_options={"use_uvloop": True})


def program(what: str, path: str) -> Callable[[], int]:
    """What to run for a name."""
    if what.endswith("rendering"):
        batches = in_memory(path)
        if what == "our_rendering":
            return _run(our_rendering, batches)
        plain = {
            "arrow_rendering": arrow_rendering,
            "python_rendering": python_rendering,
        }
        return partial(plain[what], batches)
    ours = {"our_scan": our_scan, "our_prompts": our_prompts}
    if what in ours:
        return _run(ours[what], path)
    others = (
        arrow_parquet,
        arrow_csv,
        python_csv,
        polars_parquet,
        polars_csv,
        polars_rendered,
    )
    return partial({other.__name__: other for other in others}[what], path)


def main() -> None:
    """Warm up on the same file, then run the clock over some passes."""
    work = Work.given()
    call = program(work.options["what"], work.table)
    call()
    with timed(work) as count:
        count.answered = sum(call() for _ in range(work.options.get("passes", 1)))


if __name__ == "__main__":
    main()
