"""Row groups that are read two runs at a time."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import SourceError
from sutro_stream.sources.parquet import ParquetSource

RUN_ROWS = 65_536
MIB = 1 << 20


def numbered(path: Path, *, rows: int, group_rows: int, width: int = 20) -> Path:
    """A file whose rows tell their place."""
    texts = [f"{at} ".ljust(width, "x") for at in range(rows)]
    table = pa.table({"at": pa.array(range(rows)), "text": texts})
    pq.write_table(table, path, row_group_size=group_rows)
    return path


async def places(path: Path) -> list[int]:
    """Of all rows, as they come."""
    found: list[int] = []
    async with ParquetSource(paths=[path]).open(None) as reader:
        while (records := await reader.read()) is not None:
            found += records.column("at").to_pylist()
    return found


@pytest.mark.parametrize("group_rows", [RUN_ROWS, RUN_ROWS // 3, 1 << 20])
async def test_rows_come_in_order(tmp_path: Path, group_rows: int) -> None:
    """Of many runs, of runs of some row groups, of a single row group."""
    rows = 4 * RUN_ROWS + 17
    path = numbered(tmp_path / "a.parquet", rows=rows, group_rows=group_rows)
    assert await places(path) == list(range(rows))


async def test_rows_before_damage_come_out_before_it_is_told(tmp_path: Path) -> None:
    """Also where it lies in a run that is read ahead."""
    rows, group_rows = 3 * RUN_ROWS, RUN_ROWS
    path = numbered(tmp_path / "a.parquet", rows=rows, group_rows=group_rows)
    column = pq.read_metadata(path).row_group(1).column(1)
    data = bytearray(path.read_bytes())
    # In the middle of the column: within a page that is packed.
    at = column.data_page_offset + column.total_compressed_size // 2
    data[at : at + 2000] = bytes(2000)
    path.write_bytes(data)
    found: list[int] = []
    with pytest.raises(SourceError, match="damaged Parquet file") as caught:
        async with ParquetSource(paths=[path]).open(None) as reader:
            while (records := await reader.read()) is not None:
                found += records.column("at").to_pylist()
    assert found == list(range(len(found)))
    assert len(found) >= group_rows
    assert caught.value.row_index == len(found)


async def test_rows_before_a_bomb_come_out_before_it_is_refused(tmp_path: Path) -> None:
    """What is planned for later rows says nothing about earlier ones."""
    path = tmp_path / "a.parquet"
    usual = pa.table({"at": pa.array(range(2 * RUN_ROWS))}).append_column(
        "text", pa.repeat("usual", 2 * RUN_ROWS).cast(pa.large_string())
    )
    bomb = pa.table({"at": [-1]}).append_column(
        "text", pa.array(["a" * (100 * MIB)], pa.large_string())
    )
    with pq.ParquetWriter(
        path, usual.schema, compression="zstd", write_statistics=False
    ) as writer:
        writer.write_table(usual, row_group_size=RUN_ROWS)
        writer.write_table(bomb)
    found: list[int] = []
    with pytest.raises(SourceError, match="which is too much"):
        async with ParquetSource(paths=[path]).open(None) as reader:
            while (records := await reader.read()) is not None:
                found += records.column("at").to_pylist()
    assert found == list(range(2 * RUN_ROWS))


async def test_leaving_early_ends_every_thread(tmp_path: Path) -> None:
    """One reads, one has read ahead and waits, one plans."""
    before = threading.active_count()
    path = numbered(tmp_path / "a.parquet", rows=6 * RUN_ROWS, group_rows=RUN_ROWS)
    async with ParquetSource(paths=[path]).open(None) as reader:
        assert await reader.read() is not None
        during = threading.active_count()
    assert during >= before + 3
    # anyio keeps the thread that waited for the source, for a while.
    assert threading.active_count() <= before + 1


async def test_runs_of_large_pages_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Two of them would need twice the memory."""
    path = tmp_path / "a.parquet"
    # Bytes that cannot be packed: such pages are large on disk as well.
    rng = random.Random(1)
    texts = [rng.randbytes(12 * MIB).hex() for _ in range(4)]
    pq.write_table(
        pa.table({"at": pa.array(range(4)), "text": texts}),
        path,
        row_group_size=1,
        use_dictionary=False,
        compression="none",
    )
    assert await places(path) == list(range(4))
