"""The longest value of a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.formats.parquet_dictionaries import PackedDictionary
from sutro_stream.formats.parquet_pages import pages


def dictionary(path: Path, texts: list[Any], **options: Any) -> PackedDictionary:
    """As a file of one column holds it."""
    pq.write_table(pa.table({"text": texts}), path, **options)
    column = pq.read_metadata(path).row_group(0).column(0)
    with path.open("rb", buffering=0) as file:
        page = next(pages(file, column))
        assert page.is_dictionary
        file.seek(page.start)
        data = file.read(page.packed_bytes)
    return PackedDictionary(
        codec=column.compression,
        data=data,
        unpacked_bytes=page.unpacked_bytes,
        values=page.values,
    )


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_longest_value_is_found(tmp_path: Path, codec: str, version: str) -> None:
    """Whatever packs it."""
    texts = [*(f"text {at}" for at in range(1000)), "\u00e9" * 5000, "", None]
    packed = dictionary(
        tmp_path / "a.parquet", texts, compression=codec, data_page_version=version
    )
    assert packed.longest_bytes() == 10_000


def test_what_cannot_be_unpacked_is_as_long_as_all_of_it(tmp_path: Path) -> None:
    """No value is longer."""
    packed = dictionary(tmp_path / "a.parquet", ["a" * 100, "b"], compression="lz4")
    unknown = PackedDictionary(
        codec="UNKNOWN",
        data=packed.data,
        unpacked_bytes=packed.unpacked_bytes,
        values=packed.values,
    )
    assert unknown.longest_bytes() == packed.unpacked_bytes


def test_more_values_than_can_be_in_it_are_not_believed(tmp_path: Path) -> None:
    """Room would be made for all of them."""
    packed = dictionary(tmp_path / "a.parquet", ["a" * 100, "b"])
    damaged = PackedDictionary(
        codec=packed.codec,
        data=packed.data,
        unpacked_bytes=packed.unpacked_bytes,
        values=1 << 31,
    )
    with pytest.raises(pa.ArrowInvalid, match="more values than fit"):
        damaged.longest_bytes()


def test_damaged_values_are_told(tmp_path: Path) -> None:
    """A length that leads beyond the end."""
    packed = dictionary(tmp_path / "a.parquet", ["a" * 100, "b"], compression="none")
    damaged = PackedDictionary(
        codec=packed.codec,
        data=b"\xff" * len(packed.data),
        unpacked_bytes=packed.unpacked_bytes,
        values=packed.values,
    )
    with pytest.raises((pa.ArrowException, OSError)):
        damaged.longest_bytes()
