"""Lanes of `faults.py`: what the ledger costs, and what equal prompts save."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import sutro_stream as ss
from sutro_stream.testing import chat_server_process

CONCURRENCY = 256
_DUPLICATED = 0.4


async def ledger() -> None:
    """Rate and memory with the ledger on: `ledger.py` with both its parts."""
    script = Path(__file__).with_name("ledger.py")
    subprocess.run([sys.executable, str(script)], check=True)  # noqa: ASYNC221 - alone


async def dedupe(rows: int = 10_000) -> None:
    """40 % of the rows have the prompt of another."""
    distinct = round(rows * (1 - _DUPLICATED))
    numbers = [*range(distinct), *range(rows - distinct)]
    random.Random(3).shuffle(numbers)
    texts = [{"text": f"text {number}"} for number in numbers]
    for name, is_on in (("dedupe", True), ("without", False)):
        async with (
            chat_server_process("--latency-ms=20") as server,
            ss.ChatEngine(server.base_url, "m") as engine,
        ):
            stage = ss.infer(engine, concurrency=CONCURRENCY, dedupe=is_on)
            pipeline = ss.from_rows(texts) | ss.prompts("text") | stage
            started_s = time.perf_counter()
            async with pipeline.open() as results:
                outputs = [result.output async for result in results]
                saved = results.statistics().rows_shared
            seconds = time.perf_counter() - started_s
            seen = await server.statistics()
        right = outputs == [f"echo: text {number}" for number in numbers]
        print(
            f"{name:8} {rows:,} rows, {distinct:,} distinct prompts: "
            f"{seen.requests:,} calls, {saved:,} saved, {seconds:.2f} s, "
            f"answers {'right' if right else 'WRONG'}"
        )
