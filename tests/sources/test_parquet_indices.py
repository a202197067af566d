"""How often rows share a value of a dictionary."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.formats.parquet_columns import flat_columns, read_columns
from sutro_stream.formats.parquet_indices import PackedIndices
from sutro_stream.formats.parquet_pages import pages
from sutro_stream.formats.parquet_strides import within_dictionaries
from sutro_stream.sources.files import FileSource
from sutro_stream.storage.files import find_files

MIB = 1 << 20
BATCH_BYTES = 64 * MIB


def packed(path: Path, texts: pa.Array, **options: Any) -> PackedIndices:
    """As a file of one column holds them."""
    is_nullable = bool(texts.null_count)
    schema = pa.schema([pa.field("text", texts.type, nullable=is_nullable)])
    pq.write_table(pa.table([texts], schema=schema), path, **options)
    column = pq.read_metadata(path).row_group(0).column(0)
    data = path.read_bytes()
    with path.open("rb", buffering=0) as file:
        there = list(pages(file, column))
    assert there[0].is_dictionary
    referring = [page for page in there if page.refers]
    return PackedIndices(
        codec=column.compression,
        pages=b"".join(
            data[page.at : page.start + page.packed_bytes] for page in referring
        ),
        rows=sum(page.values for page in referring),
        values=there[0].values,
        is_nullable=is_nullable,
    )


def most_shared(texts: Sequence[str | None]) -> int:
    """What is true."""
    return max(Counter(text for text in texts if text is not None).values(), default=0)


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("nullable", [False, True])
def test_texts_that_are_all_different_are_each_of_one_row(
    tmp_path: Path, codec: str, version: str, *, nullable: bool
) -> None:
    """Whatever packs them, on as many pages as there are."""
    texts: list[str | None] = [f"text {at}" for at in range(5000)]
    if nullable:
        texts[7::100] = [None] * 50
    indices = packed(
        tmp_path / "a.parquet",
        pa.array(texts),
        compression=codec,
        data_page_version=version,
        data_page_size=2000,
        write_batch_size=100,
    )
    assert indices.most_shared() == 1


@pytest.mark.parametrize("seed", range(20))
def test_it_is_never_less_than_what_is_true(tmp_path: Path, seed: int) -> None:
    """However often texts come, and in whatever order."""
    rng = random.Random(seed)
    kinds = rng.choice([1, 3, 50, 1000])
    texts = [
        None if rng.random() < 0.02 else f"text {rng.randrange(kinds)}"
        for _ in range(rng.choice([1, 10, 2000]))
    ]
    texts.append("one at least")
    indices = packed(tmp_path / "a.parquet", pa.array(texts))
    assert indices.most_shared() >= most_shared(texts)


def test_few_texts_that_come_again_make_few_more(tmp_path: Path) -> None:
    """Of each of them there are two steps to something else than the next one."""
    texts = [f"text {at}" for at in range(3000)]
    texts[500] = texts[1500] = texts[2500] = "text 100"
    indices = packed(tmp_path / "a.parquet", pa.array(texts))
    assert most_shared(texts) == 4
    assert 4 <= indices.most_shared() <= 7


def imitation(rows: int, *, long_bytes: int) -> pa.Array:
    """As many values in the dictionary as rows, all of which refer to the long one."""
    values = [f"text {at}" for at in range(rows - 1)]
    values.append("a" * long_bytes)
    indices = pa.array([rows - 1] * rows, pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(values))


async def test_rows_that_all_refer_to_a_long_value_are_read_a_few_at_a_time(
    tmp_path: Path,
) -> None:
    """Also where the dictionary has as many values as there are rows."""
    path = tmp_path / "imitation.parquet"
    rows = 5000
    pq.write_table(
        pa.table({"text": imitation(rows, long_bytes=MIB // 4)}),
        path,
        store_schema=False,
    )
    column = pq.read_metadata(path).row_group(0).column(0)
    with path.open("rb", buffering=0) as file:
        there = list(pages(file, column))
    assert there[0].values == rows == sum(page.values for page in there[1:])
    found = []
    async with FileSource(paths=[path]).open(None) as reader:
        while (records := await reader.read()) is not None:
            found.append((len(records), records.records.nbytes))
    assert sum(count for count, _ in found) == rows
    assert max(size for _, size in found) <= BATCH_BYTES


class Sought(io.FileIO):
    """A file that tells where it was read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.places: list[int] = []

    def seek(self, at: int, whence: int = 0, /) -> int:
        """Note the place."""
        self.places.append(at)
        return super().seek(at, whence)


@pytest.mark.parametrize(("repeated", "is_unpacked"), [(False, False), (True, True)])
def test_only_a_dictionary_that_rows_share_is_unpacked(
    tmp_path: Path, *, repeated: bool, is_unpacked: bool
) -> None:
    """What refers to the other shows that no text can be in many rows."""
    path = tmp_path / "a.parquet"
    kinds = 5000
    rows = 2 * kinds if repeated else kinds
    texts = [f"{at % kinds} " + "x" * 60 for at in range(rows)]
    pq.write_table(pa.table({"text": texts}), path)
    file = find_files(path, accept=[bool], told=lambda _: None)[0]
    with pq.ParquetFile(path) as parquet, Sought(path) as raw:
        group, flat = parquet.metadata.row_group(0), flat_columns(parquet)
        columns = read_columns(file, raw, group, ["text"], flat)
        dictionary = next(page for page in columns[0].pages if page.is_dictionary)
        raw.places.clear()
        assert within_dictionaries(raw, columns, 16_384) == 16_384
    assert (dictionary.start in raw.places) is is_unpacked
