"""Row groups that are read two runs at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import SourceError
from sutro_stream.formats.parquet_runs import run_batches
from sutro_stream.sources.files import FileSource
from sutro_stream.storage.files import find_files

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
    async with FileSource(paths=[path]).open(None) as reader:
        while (records := await reader.read()) is not None:
            found += records.records.column("at").to_pylist()
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
        async with FileSource(paths=[path]).open(None) as reader:
            while (records := await reader.read()) is not None:
                found += records.records.column("at").to_pylist()
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
        async with FileSource(paths=[path]).open(None) as reader:
            while (records := await reader.read()) is not None:
                found += records.records.column("at").to_pylist()
    assert found == list(range(2 * RUN_ROWS))


async def test_leaving_early_ends_every_thread(tmp_path: Path) -> None:
    """One reads, one has read ahead and waits, one plans."""
    before = threading.active_count()
    path = numbered(tmp_path / "a.parquet", rows=6 * RUN_ROWS, group_rows=RUN_ROWS)
    async with FileSource(paths=[path]).open(None) as reader:
        assert await reader.read() is not None
        during = threading.active_count()
    assert during >= before + 3
    # anyio keeps the thread that waited for the source, for a while.
    assert threading.active_count() <= before + 1


class Watched:
    """A Parquet file that tells when a run of it is begun."""

    def __init__(self, parquet: Any, begun: Callable[[list[int]], None]) -> None:
        self._parquet = parquet
        self._begun = begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parquet, name)

    def iter_batches(self, *args: Any, row_groups: Any = None, **kwargs: Any) -> Any:
        """As the file does; looking at its first rows is no run."""
        if row_groups is not None:
            self._begun(row_groups)
            kwargs["row_groups"] = row_groups
        return self._parquet.iter_batches(*args, **kwargs)


def read_ahead(path: Path, *, rows_of_group: int) -> bool:
    """Whether a run was begun while rows of the one before were still to come."""
    taken, ahead = 0, threading.Event()

    def begun(groups: list[int]) -> None:
        if taken < groups[0] * rows_of_group:
            ahead.set()

    @contextmanager
    def opened() -> Iterator[Any]:
        with pq.ParquetFile(path) as parquet:
            yield Watched(parquet, begun)

    file = find_files(path, accept=[bool], told=lambda _: None)[0]
    names = ["at", "text"]
    with closing(run_batches(file, opened, names, chunk_rows=4096)) as batches:
        for batch in batches:
            taken += batch.num_rows
            if not ahead.is_set():
                # Time to plan the next run; who takes the next batch begins it.
                ahead.wait(0.02)
    assert taken == pq.read_metadata(path).num_rows
    return ahead.is_set()


@pytest.mark.parametrize(("width", "is_ahead"), [(20, True), (900, False)])
def test_only_runs_of_usual_pages_are_read_ahead(
    tmp_path: Path, width: int, *, is_ahead: bool
) -> None:
    """Two runs with pages of 18 MB (20,000 rows) would need twice the memory."""
    path = tmp_path / "a.parquet"
    texts = [f"{at} ".ljust(width, "x") for at in range(2 * RUN_ROWS)]
    table = pa.table({"at": pa.array(range(2 * RUN_ROWS)), "text": texts})
    options = {"use_dictionary": False, "data_page_size": 1 << 30}
    pq.write_table(table, path, row_group_size=RUN_ROWS, **options)
    assert read_ahead(path, rows_of_group=RUN_ROWS) is is_ahead


async def test_many_tiny_row_groups_are_read_in_order(tmp_path: Path) -> None:
    """They are read together."""
    path = numbered(tmp_path / "a.parquet", rows=3000, group_rows=1)
    assert await places(path) == list(range(3000))
