"""The embedded engine, and a direct client at the same server, in turn.

Answers have a fixed length, so that both ask for the same work. Rates of each round are
told as `ours` and `direct`.
"""

from __future__ import annotations

import time

import aiohttp
import anyio
import orjson

import sutro_stream as ss
from sutro_stream.engines.local_process import LocalServer
from systems.child import Work, timed

PARALLEL = 8
TOKENS = 24
_SYSTEM = "Answer in one sentence."


async def ours(engine: ss.LocalEngine, prompts: list[str]) -> int:
    """Rows answered, by a pipeline."""
    count = 0
    pipeline = (
        ss.from_rows({"review": prompt} for prompt in prompts)
        | ss.prompts(
            "review",
            system_prompt=_SYSTEM,
            sampling_params={"max_tokens": TOKENS, "ignore_eos": True},
        )
        | ss.infer(engine)
    )
    async with pipeline.open() as results:
        async for result in results:
            # Cut off at the length that was asked for, which is the point here.
            count += result.error is None or result.error.kind == "truncated"
    return count


async def direct(server: LocalServer, prompts: list[str]) -> int:
    """Rows answered, by workers over aiohttp."""
    count = 0
    rows = iter(prompts)
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def work() -> None:
            nonlocal count
            for prompt in rows:
                body = {
                    "messages": [
                        {"role": "system", "content": _SYSTEM},
                        {"role": "user", "content": prompt},
                    ],
                    "max_tokens": TOKENS,
                    "ignore_eos": True,
                }
                url = f"{server.address}/v1/chat/completions"
                async with session.post(url, json=body) as response:
                    reply = orjson.loads(await response.read())
                count += bool(reply["choices"])

        async with anyio.create_task_group() as tasks:
            for _ in range(PARALLEL):
                tasks.start_soon(work)
    return count


async def measured(work: Work) -> None:
    """Warm up, then both in turn, each first as often."""
    rates: dict[str, list[float]] = {"ours": [], "direct": []}
    prompts = work.prompts()
    async with ss.LocalEngine(parallel=PARALLEL) as engine:
        server = engine._server  # noqa: SLF001 - the same server, without the engine
        if server is None:
            raise SystemExit("the embedded engine is not open")
        await ours(engine, prompts[: 2 * PARALLEL])
        await direct(server, prompts[: 2 * PARALLEL])
        with timed(work) as count:
            for lap in range(work.options["laps"]):
                for name in ("ours", "direct") if lap % 2 else ("direct", "ours"):
                    started_s = time.perf_counter()
                    if name == "ours":
                        count.answered += await ours(engine, prompts)
                    else:
                        count.answered += await direct(server, prompts)
                    rates[name].append(len(prompts) / (time.perf_counter() - started_s))
            count.figures |= rates


if __name__ == "__main__":
    anyio.run(measured, Work.given(), backend_options={"use_uvloop": True})
