"""A pool of workers over aiohttp, without any of what a library adds.

`options["tuned"]` says whose: false, as a person writes it (`json=`, `.json()`); true,
with everything that makes aiohttp faster (bytes in and out, a prepared address, no
cookies). Both on uvloop, with a connection for each worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import anyio
import orjson
from yarl import URL

from systems.child import MODEL, Work, messages, timed

_HEADERS = {"Content-Type": "application/json"}


async def pool(
    ask: Callable[[str], Awaitable[str]], prompts: list[str], workers: int
) -> int:
    """Answers that are there in the end."""
    answers: list[str | None] = [None] * len(prompts)
    rows = iter(enumerate(prompts))

    async def work() -> None:
        for index, prompt in rows:
            answers[index] = await ask(prompt)

    async with anyio.create_task_group() as tasks:
        for _ in range(workers):
            tasks.start_soon(work)
    return sum(answer is not None for answer in answers)


async def measured(work: Work) -> None:
    """Warm up, then run the clock over the whole work."""
    tuned = work.options["tuned"]
    jar = aiohttp.DummyCookieJar() if tuned else None
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=jar
    ) as session:
        asking = _tuned(session, work) if tuned else _plain(session, work)
        await pool(asking, work.prompts(work.warm_rows), work.concurrency)
        with timed(work) as count:
            count.answered = await pool(asking, work.prompts(), work.concurrency)


def _plain(
    session: aiohttp.ClientSession, work: Work
) -> Callable[[str], Awaitable[str]]:
    async def ask(prompt: str) -> str:
        body = {"model": MODEL, "messages": messages(prompt)}
        async with session.post(work.chat_url, json=body) as response:
            response.raise_for_status()
            reply = await response.json()
        return str(reply["choices"][0]["message"]["content"])

    return ask


def _tuned(
    session: aiohttp.ClientSession, work: Work
) -> Callable[[str], Awaitable[str]]:
    url = URL(work.chat_url)
    whole = orjson.dumps({"model": MODEL, "messages": messages("")})
    prefix, suffix = whole[:-4], whole[-3:]

    async def ask(prompt: str) -> str:
        body = b"".join((prefix, orjson.dumps(prompt), suffix))
        async with session.post(url, data=body, headers=_HEADERS) as response:
            reply = orjson.loads(await response.read())
        return str(reply["choices"][0]["message"]["content"])

    return ask


if __name__ == "__main__":
    anyio.run(measured, Work.given(), backend_options={"use_uvloop": True})
