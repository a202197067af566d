"""The official client, one task for each row behind a semaphore.

`options["retries"]` is the number of its own retries.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from systems.child import MODEL, Work, messages, timed


async def answered(client: Any, prompts: list[str], concurrency: int) -> int:
    """Rows with an answer."""
    openai: Any = importlib.import_module("openai")
    slots = asyncio.Semaphore(concurrency)

    async def ask(prompt: str) -> bool:
        async with slots:
            try:
                reply = await client.chat.completions.create(
                    model=MODEL, messages=messages(prompt)
                )
            except openai.OpenAIError:
                return False
        return bool(reply.choices[0].message.content)

    asking = [ask(prompt) for prompt in prompts]
    return sum(await asyncio.gather(*asking))  # noqa: TID251 - what is compared


async def measured(work: Work) -> None:
    """Warm up, then run the clock over the whole work."""
    openai: Any = importlib.import_module("openai")
    async with openai.AsyncOpenAI(
        base_url=work.base_url,
        api_key="none",
        max_retries=work.options.get("retries", 2),
        timeout=600,
    ) as client:
        await answered(client, work.prompts(work.warm_rows), work.concurrency)
        with timed(work) as count:
            count.answered = await answered(client, work.prompts(), work.concurrency)


if __name__ == "__main__":
    asyncio.run(measured(Work.given()))
