"""Parquet files that are small on disk and large in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import SourceError
from sutro_stream.formats.parquet_pages import PagesError, pages
from sutro_stream.sources.files import FileSource

MIB = 1 << 20
BATCH_BYTES = 64 * MIB


def written(path: Path, column: pa.Array, **options: Any) -> Path:
    """A file of one column, packed as well as it goes."""
    usual: dict[str, Any] = {"compression": "zstd", "write_statistics": False}
    pq.write_table(pa.table({"text": column}), path, **{**usual, **options})
    return path


async def sizes(path: Path) -> list[tuple[int, int]]:
    """Rows and bytes of each batch that is read."""
    found = []
    async with FileSource(paths=[path]).open(None) as reader:
        while (records := await reader.read()) is not None:
            found.append((len(records), records.records.nbytes))
    return found


def one_large(size_bytes: int) -> pa.Array:
    """A value among many small ones."""
    texts = [*(["small"] * 1000), "a" * size_bytes, *(["small"] * 1000)]
    return pa.array(texts, pa.large_string())


def one_row(values: pa.Array) -> pa.Array:
    """A list of all of them."""
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


BOMBS = {
    "a value": (one_large(100 * MIB), {"use_dictionary": False}),
    "a value of a dictionary": (
        one_large(100 * MIB),
        {"dictionary_pagesize_limit": 1 << 30},
    ),
    "numbers of one row": (one_row(pa.repeat(7, 50_000_000)), {}),
    "texts of one row": (one_row(pa.repeat("a" * 5000, 100_000)), {}),
}


@pytest.mark.parametrize(("column", "options"), BOMBS.values(), ids=BOMBS.keys())
async def test_what_would_fill_the_memory_is_refused(
    tmp_path: Path, column: pa.Array, options: dict[str, Any]
) -> None:
    """Before any of it is unpacked, and with the numbers."""
    path = written(tmp_path / "bomb.parquet", column, **options)
    assert path.stat().st_size < 100_000
    with pytest.raises(
        SourceError, match=r"column 'text': .* unpack.* too much; write"
    ):
        await sizes(path)


async def test_a_column_that_is_not_read_may_be_one(tmp_path: Path) -> None:
    """It is not looked at."""
    table = pa.table({"small": ["x"] * 2001, "large": one_large(100 * MIB)})
    path = tmp_path / "two.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    async with FileSource(paths=[path], columns=["small"]).open(None) as reader:
        records = await reader.read()
        assert records is not None
        assert len(records) == 2001


async def test_a_large_page_that_is_as_large_on_disk_is_read(tmp_path: Path) -> None:
    """Some write a page for each row group."""
    column = one_large(70 * MIB)
    options = {"compression": "none", "use_dictionary": False}
    path = written(tmp_path / "large.parquet", column, **options)
    assert sum(rows for rows, _ in await sizes(path)) == len(column)


async def test_large_values_beside_each_other_are_not_read_together(
    tmp_path: Path,
) -> None:
    """However small all the others make them on average."""
    large = [f"{number}" + "a" * (40 * MIB) for number in range(6)]
    texts = [*(["small"] * 20_000), *large, *(["small"] * 20_000)]
    path = written(
        tmp_path / "neighbours.parquet",
        pa.array(texts, pa.large_string()),
        use_dictionary=False,
        write_batch_size=1,
    )
    assert path.stat().st_size < 100_000
    found = await sizes(path)
    assert sum(rows for rows, _ in found) == len(texts)
    assert max(size for _, size in found) <= 2 * 40 * MIB + MIB


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_values_that_repeat_the_one_before_are_read_a_few_at_a_time(
    tmp_path: Path, version: str
) -> None:
    """In that encoding a repetition takes no space at all."""
    path = written(
        tmp_path / "prefixed.parquet",
        pa.repeat("a" * MIB, 200),
        use_dictionary=False,
        column_encoding={"text": "DELTA_BYTE_ARRAY"},
        data_page_version=version,
        data_page_size=1 << 30,
    )
    assert path.stat().st_size < 10_000
    found = await sizes(path)
    assert sum(rows for rows, _ in found) == 200
    assert max(size for _, size in found) <= BATCH_BYTES


LAYOUTS: Sequence[dict[str, Any]] = [
    {},
    {"use_dictionary": False},
    {"data_page_version": "2.0"},
    {"data_page_size": 1000, "write_statistics": True},
    {"write_page_index": True, "write_page_checksum": True},
    {"compression": "none", "row_group_size": 300},
    {"dictionary_pagesize_limit": 100, "data_page_size": 500},
]


@pytest.mark.parametrize("options", LAYOUTS, ids=range(len(LAYOUTS)))
def test_pages_are_found_whatever_the_layout(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """All values are in them, and they fill the column."""
    texts = pa.array([None if at % 7 == 0 else f"text {at}" for at in range(1000)])
    nested = pa.array([[at] * (at % 4) for at in range(1000)])
    path = tmp_path / "pages.parquet"
    pq.write_table(pa.table({"text": texts, "nested": nested}), path, **options)
    metadata = pq.read_metadata(path)
    with path.open("rb", buffering=0) as file:
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                there = list(pages(file, column))
                data = [page.values for page in there if not page.is_dictionary]
                assert sum(data) == column.num_values
                packed = sum(page.packed_bytes for page in there)
                headers = column.total_compressed_size - packed
                assert 0 < headers < 100 * len(there)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_no_page_is_told(tmp_path: Path, seed: int) -> None:
    """And never waited for, or believed without end."""
    path = written(tmp_path / "damaged.parquet", pa.array(["a", "b"] * 100))
    column = pq.read_metadata(path).row_group(0).column(0)
    damaged = bytearray(path.read_bytes())
    damaged[4 + seed % 30] = (seed * 89 + 1) % 256
    path.write_bytes(damaged)
    with path.open("rb", buffering=0) as file:
        try:
            found = sum(1 for _ in pages(file, column))
        except PagesError:
            return
    assert found <= 202


@pytest.mark.parametrize(
    "repeated", [b"\x19", b"\x1c", b"\x18\xff\xff\xff\x7f", b"\x80"]
)
def test_headers_that_never_end_are_told(tmp_path: Path, repeated: bytes) -> None:
    """Lists in lists, structs in structs, a text without an end, a number."""
    path = written(tmp_path / "endless.parquet", pa.array(["a"] * 100))
    column = pq.read_metadata(path).row_group(0).column(0)
    path.write_bytes(b"PAR1" + repeated * (2 * MIB))
    with path.open("rb", buffering=0) as file, pytest.raises(PagesError):
        list(pages(file, column))
