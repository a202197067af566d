"""Which format a file name asks for."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.sinks.files import FileSink

ROWS = pa.record_batch({"a": [1, None], "b": ["x\ny", ""]})


async def _written(sink: FileSink, *batches: pa.RecordBatch) -> bytes:
    async with sink.open(ROWS.schema) as writer:
        for records in batches:
            await writer.write(records)
        await writer.finish()
    return sink.path.read_bytes()


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("out.parquet", b"PAR1"),
        ("out.csv", b'"a","b"'),
        ("out.csv.gz", b'"a","b"'),
        ("out.jsonl", b'{"a":1'),
        ("out.jsonl.gz", b'{"a":1'),
        ("out.ndjson", b'{"a":1'),
        ("out.json", b"[\n{"),
        ("b.parquet.2024.CSV", b'"a","b"'),
    ],
)
async def test_the_suffix_chooses_the_format(
    tmp_path: Path, name: str, start: bytes
) -> None:
    """In any case, and whatever else is in the name."""
    data = await _written(FileSink(tmp_path / name), ROWS)
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    assert data.startswith(start)


async def test_a_format_that_is_said_needs_no_suffix(tmp_path: Path) -> None:
    """And wins over one."""
    sink = FileSink(tmp_path / "out.csv", format="jsonl")
    assert json.loads((await _written(sink, ROWS)).splitlines()[0])["a"] == 1


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_json_is_one_array(tmp_path: Path, count: int) -> None:
    """However the rows come, and if none does."""
    data = await _written(FileSink(tmp_path / "out.json"), *[ROWS] * count)
    assert json.loads(data) == ROWS.to_pylist() * count


@pytest.mark.parametrize(
    "name", ["out", "out.xlsx", "out.gz", "out.csv.zst", "csv", "out.parquet.gz"]
)
def test_other_suffixes_are_refused(name: str) -> None:
    """The message names the file and what there is instead."""
    with pytest.raises(ConfigurationError, match=r"\.parquet, \.csv, .*\.jsonl") as e:
        FileSink(Path(name))
    assert str(e.value).startswith(f"{name}: ")
