"""No space left: a clear error and no half file, in every format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="needs a limit on the size of files")

# In a process of its own: a limit on the size of files holds for a whole process.
SCRIPT = """
import os, random, resource, sys
from pathlib import Path
import anyio
import pyarrow as pa
from sutro_stream.errors import SinkError
from sutro_stream.sinks.files import FileSink

async def fill(path, batches):
    generator = random.Random(0)
    schema = pa.schema([("text", pa.string())])
    async with FileSink(path).open(schema) as writer:
        for _ in range(batches):
            text = generator.randbytes(500_000).hex()
            await writer.write(pa.record_batch([pa.array([text])], schema=schema))
        await writer.finish()

async def main(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    for name in ("o.parquet", "o.csv", "o.jsonl", "o.csv.gz", "o.jsonl.gz"):
        for batches in (1, 80):
            path = folder / name
            path.write_bytes(b"old")
            try:
                await fill(path, batches)
            except SinkError as error:
                reason = str(error).removeprefix(f"cannot write {path}: ")
                print(name, batches, reason, path.read_bytes(), sep="|")
            path.unlink()
    print("left", os.listdir(folder), sep="|")

anyio.run(main, Path(sys.argv[1]))
"""


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """While rows are written or at the end, the old file stays and no other."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    expected = [
        f"{name}|{batches}|file too large|b'old'"
        for name in ("o.parquet", "o.csv", "o.jsonl", "o.csv.gz", "o.jsonl.gz")
        for batches in (1, 80)
    ]
    assert done.stderr == ""
    assert done.stdout.splitlines() == [*expected, "left|[]"]
