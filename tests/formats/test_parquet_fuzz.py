"""Parquet files of which one byte is another: read, refused in part, or an error.

A process of its own reads them, since what is looked for could end it.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import SourceError
from sutro_stream.sources.files import FileSource

MAP = pa.map_(pa.string(), pa.int64())
ROWS = 300
# What follows after the last row group.
FOOTER_BYTES = 9000
MOST_MEMORY_BYTES = 1 << 30
HANGS_S = 600


def sound(path: Path) -> bytes:
    """A file with columns of many types, of about 20 kB."""
    rng = random.Random(0)
    strings = [f"text {rng.randrange(50)}" for _ in range(ROWS)]
    columns = {
        "id": pa.array(range(ROWS)),
        "kind": [None if at % 17 == 0 else text for at, text in enumerate(strings)],
        "text": [f"x{at} " * 10 for at in range(ROWS)],
        "float": [rng.random() for _ in range(ROWS)],
        "is": [rng.random() < 0.5 for _ in range(ROWS)],
        "list": [strings[at : at + at % 4] for at in range(ROWS)],
        "struct": [{"x": at, "y": str(at)} for at in range(ROWS)],
        "decimal": [Decimal(at) / 4 for at in range(ROWS)],
        "moment": pa.array(range(ROWS), pa.timestamp("us")),
        "map": pa.array([[("k", at)] for at in range(ROWS)], MAP),
        "bytes": [b"\xff%d" % at for at in range(ROWS)],
        "coded": pa.array(strings).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path, row_group_size=100, write_page_index=True)
    return path.read_bytes()


def changed(content: bytes, seed: int) -> bytes:
    """Another byte somewhere, in the footer half of the time."""
    rng = random.Random(seed)
    data = bytearray(content)
    start = 0 if seed % 2 else max(0, len(data) - FOOTER_BYTES)
    data[rng.randrange(start, len(data))] ^= rng.randrange(1, 256)
    return bytes(data)


async def read(path: Path, columns: frozenset[str] | None) -> None:
    """All rows there are, each of them usable."""
    rows = 0
    try:
        async with FileSource(paths=path).open(columns) as reader:
            while (batch := await reader.read()) is not None:
                batch.records.validate(full=True)
                rows += len(batch)
    except SourceError:
        return
    assert rows == ROWS


def main(folder: str, first: str, last: str) -> None:
    """Read one file after the other; the seed that is tried is told before."""
    limit = MOST_MEMORY_BYTES * 4
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    content = sound(Path(folder, "sound.parquet"))
    path = Path(folder, "changed.parquet")
    asked = [None, frozenset({"kind", "list"}), frozenset[str]()]
    for seed in range(int(first), int(last)):
        sys.stdout.write(f"{seed}\n")
        sys.stdout.flush()
        path.write_bytes(changed(content, seed))
        anyio.run(read, path, asked[seed % len(asked)])
    used = pa.default_memory_pool().max_memory()
    assert used < MOST_MEMORY_BYTES, used


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0, 100),
        *(
            pytest.param(first, first + 500, marks=pytest.mark.long)
            for first in range(100, 2100, 500)
        ),
    ],
)
def test_a_byte_that_is_another_ends_no_process(
    tmp_path: Path, first: int, last: int
) -> None:
    """And is no error of another kind than others, and takes no more memory."""
    ended = subprocess.run(
        [sys.executable, __file__, str(tmp_path), str(first), str(last)],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS_S,
    )
    seed = ended.stdout.strip().rpartition("\n")[2]
    assert (ended.returncode, seed) == (0, str(last - 1)), ended.stderr


if __name__ == "__main__":
    main(*sys.argv[1:])
