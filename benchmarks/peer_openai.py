"""Run in an environment of its own: the official client, one task for each row.

    python peer_openai.py BASE_URL ROWS CONCURRENCY

Prints the rows answered and the seconds as JSON. Its own retries are on.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any

_RETRIES = 4  # five requests for a row at most, as ours by default


async def answered(base_url: str, numbers: range, concurrency: int) -> int:
    """Rows answered."""
    openai: Any = importlib.import_module("openai")
    slots = asyncio.Semaphore(concurrency)
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="none", max_retries=_RETRIES, timeout=600
    ) as client:

        async def ask(number: int) -> bool:
            messages = [{"role": "user", "content": f"text {number}"}]
            async with slots:
                try:
                    await client.chat.completions.create(model="m", messages=messages)
                except openai.OpenAIError:
                    return False
            return True

        asking = [ask(number) for number in numbers]
        return sum(await asyncio.gather(*asking))  # noqa: TID251 - what is compared


def main() -> None:
    """Run from the command line."""
    base_url, rows, concurrency = sys.argv[1:4]
    asyncio.run(answered(base_url, range(-1, 0), 1))  # lazy imports are start-up
    started_s = time.perf_counter()
    count = asyncio.run(answered(base_url, range(int(rows)), int(concurrency)))
    seconds = time.perf_counter() - started_s
    print(json.dumps({"answered": count, "seconds": seconds}))


if __name__ == "__main__":
    main()
