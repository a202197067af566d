"""Input files for the benchmarks, made from a seed."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

_CHUNK_ROWS = 50_000
_TEXT = (
    "the a and but it was not really very quite good bad fast slow box arrived late "
    "early battery screen price quality works broke again after week support refund"
)
_WORDS = _TEXT.split()
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("product", pa.string()),
        ("review", pa.string()),
        ("stars", pa.int64()),
    ]
)


def table_file(folder: Path, rows: int, suffix: str) -> Path:
    """A `.parquet` or `.csv` file with `rows` rows of about 100 bytes."""
    path = folder / f"rows-{rows}{suffix}"
    if path.exists():
        return path
    rng = random.Random(7)
    with path.open("wb") as out:
        if suffix == ".parquet":
            writer = pq.ParquetWriter(out, SCHEMA)
        else:
            writer = pa_csv.CSVWriter(out, SCHEMA)
        with writer:
            for start in range(0, rows, _CHUNK_ROWS):
                count = min(_CHUNK_ROWS, rows - start)
                writer.write_batch(_batch(rng, start, count))
    return path


def _batch(rng: random.Random, start: int, count: int) -> pa.RecordBatch:
    return pa.record_batch(
        [
            pa.array([f"{index:07d}" for index in range(start, start + count)]),
            pa.array([f"product {rng.randrange(500)}" for _ in range(count)]),
            pa.array([" ".join(rng.choices(_WORDS, k=14)) for _ in range(count)]),
            pa.array([rng.randrange(1, 6) for _ in range(count)], pa.int64()),
        ],
        schema=SCHEMA,
    )
