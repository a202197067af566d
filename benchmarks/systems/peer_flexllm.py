"""flexllm's batch of chats.

`options["output"]` is a file that it goes on with, `options["retries"]` the number of
its own retries.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from systems.child import MODEL, Work, messages, timed

_MAX_QPS = 1_000_000


async def answered(work: Work, prompts: list[str], output: str | None) -> int:
    """Rows with an answer."""
    flexllm: Any = importlib.import_module("flexllm")
    client = flexllm.LLMClient(
        base_url=work.base_url,
        api_key="none",
        model=MODEL,
        concurrency_limit=work.concurrency,
        max_qps=_MAX_QPS,
        retry_times=work.options.get("retries", 2),
    )
    asked = [messages(prompt) for prompt in prompts]
    results = await client.chat_batch(asked, show_progress=False, output_jsonl=output)
    return sum(result.error is None for result in results)


def main() -> None:
    """Warm up, then run the clock over the whole work."""
    work = Work.given()
    asyncio.run(answered(work, work.prompts(work.warm_rows), None))
    with timed(work) as count:
        output = work.options.get("output")
        count.answered = asyncio.run(answered(work, work.prompts(), output))


if __name__ == "__main__":
    main()
