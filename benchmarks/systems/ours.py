"""This library; `options` say how.

form       what is taken: `rows`, one result after the other; `batches`, of Arrow;
           `file`, a Parquet file with a ledger beside it
ordered    whether results come in the order of the rows
schema     whether every answer is validated
transport  name of the transport, left out for the default
"""

from __future__ import annotations

from typing import Any

import anyio

import sutro_stream as ss
from sutro_stream.cli.process import suit_streaming
from systems.child import MODEL, SCHEMA, SYSTEM_PROMPT, Work, timed


def engine_of(work: Work) -> ss.ChatEngine:
    """The endpoint, over the transport that is asked for."""
    options: dict[str, Any] = {}
    if "transport" in work.options:
        options["transport"] = work.options["transport"]
    return ss.ChatEngine(work.base_url, MODEL, **options)


async def answered(engine: ss.Engine, work: Work, rows: int, name: str) -> int:
    """Rows with an answer."""
    asked = (
        ss.read_parquet(work.table)
        | ss.limit(rows)
        | ss.prompts(
            "review",
            system_prompt=SYSTEM_PROMPT,
            json_schema=SCHEMA if work.options.get("schema") else None,
        )
        | ss.infer(
            engine,
            concurrency=work.concurrency,
            ordered=bool(work.options.get("ordered")),
        )
    )
    form = work.options["form"]
    if form == "file":
        report = await (asked | ss.write_parquet(work.file(name))).run()
        return report.rows_answered
    count = 0
    async with asked.open() as results:
        if form == "batches":
            async for records in results.batches():
                column = records.column("error")
                count += column.null_count
        else:
            async for result in results:
                count += result.error is None
    return count


async def measured(work: Work) -> None:
    """Warm up, then run the clock over the whole work."""
    async with engine_of(work) as engine:
        await answered(engine, work, work.warm_rows, "warm.parquet")
        with timed(work) as count:
            count.answered = await answered(engine, work, work.rows, "out.parquet")


if __name__ == "__main__":
    # As the command does for its own process.
    suit_streaming()
    anyio.run(measured, Work.given(), backend_options={"use_uvloop": True})
