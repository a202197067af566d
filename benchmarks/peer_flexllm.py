"""Run in an environment of its own: flexllm's batch.

    python peer_flexllm.py BASE_URL ROWS CONCURRENCY [OUTPUT]

Prints the rows answered and the seconds as JSON. With an output file it goes on
where an earlier run stopped.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any

_RETRIES = 4  # five requests for a row at most, as ours by default
_MAX_QPS = 1_000_000


async def answered(
    base_url: str, numbers: range, concurrency: int, output: str | None
) -> int:
    """Rows answered."""
    flexllm: Any = importlib.import_module("flexllm")
    client = flexllm.LLMClient(
        base_url=base_url,
        api_key="none",
        model="m",
        concurrency_limit=concurrency,
        max_qps=_MAX_QPS,
        retry_times=_RETRIES,
    )
    prompts = [[{"role": "user", "content": f"text {n}"}] for n in numbers]
    results = await client.chat_batch(prompts, show_progress=False, output_jsonl=output)
    return sum(result.error is None for result in results)


def main() -> None:
    """Run from the command line."""
    base_url, rows, concurrency, *output = sys.argv[1:5]
    asyncio.run(answered(base_url, range(-1, 0), 1, None))  # lazy imports are start-up
    started_s = time.perf_counter()
    path = output[0] if output else None
    count = asyncio.run(answered(base_url, range(int(rows)), int(concurrency), path))
    seconds = time.perf_counter() - started_s
    print(json.dumps({"answered": count, "seconds": seconds}))


if __name__ == "__main__":
    main()
