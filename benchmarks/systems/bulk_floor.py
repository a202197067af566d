"""The floor of the bulk lane: objects to JSON and answers from JSON, nothing else."""

from __future__ import annotations

import orjson
import pyarrow.parquet as pq

from systems.child import Work, timed

BATCH_ROWS = 10_000
COLUMNS = ["id", "product", "review"]


def main() -> None:
    """Run the clock over the whole work."""
    work = Work.given()
    with (
        timed(work) as count,
        pq.ParquetFile(work.table, pre_buffer=False) as file,
    ):
        for batch in file.iter_batches(BATCH_ROWS, columns=COLUMNS):
            body = orjson.dumps({"inputs": batch.to_pylist()})
            reply = orjson.dumps({"outputs": batch["review"].to_pylist()})
            count.answered += len(orjson.loads(reply)["outputs"])
            count.figures["body_bytes"] = len(body)


if __name__ == "__main__":
    main()
