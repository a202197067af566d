"""Parquet files that are small on disk and large in memory."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import SourceError
from sutro_stream.sources.files import FileSource
from sutro_stream.testing.source_suite import read_rows

MIB = 1 << 20
# Two batches of 32 MiB, and buffers.
MOST_MEMORY_BYTES = 160 * MIB


def written(path: Path, column: pa.Array, **options: Any) -> Path:
    """A file of one column, packed as well as it goes."""
    usual = {"compression": "zstd", "write_statistics": False, "store_schema": False}
    pq.write_table(pa.table({"text": column}), path, **{**usual, **options})
    return path


async def read(path: Path) -> tuple[int, int]:
    """Rows, and their bytes."""
    rows = size = 0
    async with FileSource(paths=[path]).open(None) as reader:
        while (batch := await reader.read()) is not None:
            rows += len(batch)
            size += batch.records.nbytes
    return rows, size


def peak_bytes() -> int:
    """Most memory this process had so far; what it was forked from does not count."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell how much memory a process had")
    _, _, peak = status.read_text().partition("VmHWM:")
    return int(peak.split()[0]) * 1024


def measure(usual: Path, path: Path) -> tuple[int, int, int]:
    """Rows and bytes of a file, and memory that reading it took beyond a usual one."""
    anyio.run(read, usual)
    before = peak_bytes()
    rows, size = anyio.run(read, path)
    return rows, size, peak_bytes() - before


def measured(tmp_path: Path, path: Path) -> tuple[int, int, int]:
    """The same in a process of its own."""
    usual = written(tmp_path / "usual.parquet", pa.array(["usual"] * 100_000))
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (usual, path))


def repeated(rows: int, *, size: int, others: int = 0) -> pa.Array:
    """One long value in all rows, of a dictionary that has some others."""
    values = pa.array([*(f"text {at}" for at in range(others)), "a" * size])
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(others), rows), values)


def late(rows: int, *, size: int) -> pa.Array:
    """The same behind as many rows with short values."""
    values = pa.array(["short", "a" * size])
    indices = pa.concat_arrays(
        [pa.repeat(pa.scalar(at, pa.int32()), rows) for at in (0, 1)]
    )
    return pa.DictionaryArray.from_arrays(indices, values)


def in_lists(column: pa.Array, *, length: int) -> pa.Array:
    """The values, so many of them in a row."""
    ends = pa.array(range(0, len(column) + 1, length), pa.int32())
    return pa.ListArray.from_arrays(ends, column)


BOMBS: dict[str, tuple[pa.Array, dict[str, Any]]] = {
    "dictionary": (repeated(300, size=MIB), {}),
    "dictionary that Arrow knows as one": (
        repeated(300, size=MIB),
        {"store_schema": True},
    ),
    "dictionary of as many values as rows": (
        repeated(1200, size=MIB // 4, others=1199),
        {},
    ),
    "short values first": (late(300, size=MIB), {}),
    "plain": (
        repeated(300, size=MIB).dictionary_decode(),
        # Otherwise all of it is one page.
        {"use_dictionary": False, "write_batch_size": 1},
    ),
    "lists": (in_lists(repeated(300, size=MIB), length=2), {}),
    "structs": (pa.StructArray.from_arrays([repeated(300, size=MIB)], ["inner"]), {}),
    "numbers": (in_lists(pa.repeat(7, 40_000_000), length=100_000), {}),
    "prefixes": (
        repeated(300, size=MIB).dictionary_decode(),
        {
            "use_dictionary": False,
            "column_encoding": {"text": "DELTA_BYTE_ARRAY"},
            "data_page_size": 1 << 30,
        },
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_stays_small_whatever_the_rows_hold(tmp_path: Path, name: str) -> None:
    """Twice as much as may be held comes out in portions."""
    column, options = BOMBS[name]
    path = written(tmp_path / "a.parquet", column, **options)
    assert path.stat().st_size < MIB
    rows, size, memory = measured(tmp_path, path)
    assert rows == len(column)
    assert size >= 300 * MIB
    assert memory < MOST_MEMORY_BYTES


TOO_LARGE: dict[str, tuple[pa.Array, dict[str, Any]]] = {
    "value": (pa.array(["a" * (100 * MIB)]), {"use_dictionary": False}),
    "value of a dictionary": (
        repeated(100, size=100 * MIB),
        {"dictionary_pagesize_limit": 1 << 30},
    ),
    "numbers": (in_lists(pa.repeat(7, 50_000_000), length=50_000_000), {}),
    "texts": (in_lists(repeated(100_000, size=5000), length=100_000), {}),
}


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_one_row_that_would_fill_the_memory_is_refused(
    tmp_path: Path, name: str
) -> None:
    """With the numbers, and where it is read at all."""
    column, options = TOO_LARGE[name]
    path = written(tmp_path / "a.parquet", column, **options)
    assert path.stat().st_size < 100_000
    with pytest.raises(SourceError, match=r"column 'text': .* unpack to .* too much"):
        await read(path)


async def test_one_large_row_that_is_as_large_on_disk_is_read(tmp_path: Path) -> None:
    """Somebody has the memory for it."""
    texts = pa.array(["a" * (70 * MIB)])
    path = written(tmp_path / "a.parquet", texts, compression="none")
    assert await read(path) == (1, 70 * MIB + 4)


async def test_rows_of_many_kinds_beside_each_other_come_in_order(
    tmp_path: Path,
) -> None:
    """A few that are much larger than all others do not change what is read."""
    large = [f"{number}" + "a" * (4 * MIB) for number in range(6)]
    texts = [*(["small"] * 20_000), *large, *(["small"] * 20_000)]
    options = {"use_dictionary": False, "write_batch_size": 1}
    path = written(tmp_path / "a.parquet", pa.array(texts), **options)
    rows = await read_rows(FileSource(paths=[path]))
    assert [row["text"] for row in rows] == texts
