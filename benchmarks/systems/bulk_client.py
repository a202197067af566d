"""The client of a deployment: Parquet rows as objects, submitted, results to Parquet.

`options`: `url` and `key` of the deployment, `model`, `batch_rows`, `jobs` in flight.
"""

from __future__ import annotations

import anyio

import sutro_stream as ss
from sutro_stream.cli.process import suit_streaming
from systems.child import Work, timed

COLUMNS = ("id", "product", "review")


async def answered(work: Work, rows: int, name: str) -> int:
    """Rows with an answer."""
    options = work.options
    async with ss.Deployment(options["url"], options["key"]) as deployment:
        report = await (
            ss.read_parquet(work.table, columns=COLUMNS)
            | ss.limit(rows)
            | ss.submit(
                deployment,
                model=options["model"],
                batch_rows=options["batch_rows"],
                concurrency=options["jobs"],
            )
            | ss.write_parquet(work.file(name))
        ).run()
    return report.rows_answered


async def measured(work: Work) -> None:
    """Warm up, then run the clock over the whole work."""
    await answered(work, work.warm_rows, "warm.parquet")
    with timed(work) as count:
        count.answered = await answered(work, work.rows, "out.parquet")


if __name__ == "__main__":
    # As the command does for its own process.
    suit_streaming()
    anyio.run(measured, Work.given(), backend_options={"use_uvloop": True})
