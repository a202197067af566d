"""litellm's `acompletion`, one task for each row behind a semaphore."""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import Any

from systems.child import MODEL, Work, leave, messages, timed


async def answered(work: Work, prompts: list[str]) -> int:
    """Rows with an answer."""
    litellm: Any = importlib.import_module("litellm")
    slots = asyncio.Semaphore(work.concurrency)

    async def ask(prompt: str) -> bool:
        async with slots:
            reply = await litellm.acompletion(
                model=f"openai/{MODEL}",
                messages=messages(prompt),
                api_base=work.base_url,
                api_key="none",
            )
        return bool(reply.choices[0].message.content)

    asking = [ask(prompt) for prompt in prompts]
    return sum(await asyncio.gather(*asking))  # noqa: TID251 - what is compared


async def measured(work: Work) -> None:
    """Warm up, then run the clock over the whole work."""
    await answered(work, work.prompts(work.warm_rows))
    with timed(work) as count:
        count.answered = await answered(work, work.prompts())
    leave()


if __name__ == "__main__":
    # Prices and such would be fetched from the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    asyncio.run(measured(Work.given()))
