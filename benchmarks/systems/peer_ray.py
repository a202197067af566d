"""Ray Data, Parquet to Parquet, in one of two ways.

`options["way"]` is `actor`, an asynchronous actor as a person writes it over aiohttp,
or `processor`, Ray's own HTTP request processor.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from systems.child import MODEL, Work, leave, messages, timed

_BATCH = 256


class Ask:
    """Answers a batch of rows, so many at once."""

    def __init__(self, url: str, concurrency: int) -> None:
        aiohttp: Any = importlib.import_module("aiohttp")
        self._url = url
        self._slots = asyncio.Semaphore(concurrency)
        self._session: Any = None
        self._aiohttp = aiohttp

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The batch with a column of answers."""
        if self._session is None:
            connector = self._aiohttp.TCPConnector(limit=0)
            self._session = self._aiohttp.ClientSession(connector=connector)
        asking = [self._ask(str(prompt)) for prompt in batch["review"]]
        answers = await asyncio.gather(*asking)  # noqa: TID251 - as it is written
        yield batch | {"answer": answers}

    async def _ask(self, prompt: str) -> str:
        body = {"model": MODEL, "messages": messages(prompt)}
        async with self._slots, self._session.post(self._url, json=body) as response:
            reply = await response.json()
        return str(reply["choices"][0]["message"]["content"])


def asked(work: Work, rows: int) -> Any:
    """The data set with answers."""
    data: Any = importlib.import_module("ray.data")
    table = data.read_parquet(work.table).limit(rows)
    if work.options["way"] == "actor":
        return table.map_batches(
            Ask,
            fn_constructor_args=(work.chat_url, work.concurrency),
            batch_size=_BATCH,
            concurrency=1,
        )
    llm: Any = importlib.import_module("ray.data.llm")
    config = llm.HttpRequestProcessorConfig(
        url=work.chat_url, concurrency=1, batch_size=_BATCH, qps=None
    )
    processor = llm.build_processor(
        config,
        preprocess=lambda row: {
            "payload": {"model": MODEL, "messages": messages(row["review"])}
        },
        postprocess=lambda row: {
            "answer": row["http_response"]["choices"][0]["message"]["content"]
        },
    )
    return processor(table)


def run(work: Work, rows: int, name: str) -> int:
    """Rows with an answer."""
    pq: Any = importlib.import_module("pyarrow.parquet")
    out = work.file(name)
    asked(work, rows).write_parquet(str(out))
    column = pq.read_table(out, columns=["answer"])["answer"]
    return len(column) - int(column.null_count)


def main() -> None:
    """Start Ray, then run the clock over the whole work."""
    work = Work.given()
    ray: Any = importlib.import_module("ray")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    with timed(work) as count:
        count.answered = run(work, work.rows, "out")
    ray.shutdown()
    leave()


if __name__ == "__main__":
    # Its workers have this program's environment, and not one of their own.
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    }
    main()
