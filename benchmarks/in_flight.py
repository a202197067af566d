"""How close a pipeline comes to a bare pool of aiohttp workers at 100 ms latency.

Both run in one process against the same scripted endpoint in another, one after
the other and several times. The endpoint counts the peak in flight. The pipeline
reads Parquet, renders, keeps order and validates nothing; the pool posts prepared
bytes and keeps nothing.

    python benchmarks/in_flight.py [--rows 20000] [--concurrency 256]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import anyio
from data import table_file
from machine import cpu_s, describe, peak_rss_mb

import sutro_stream as ss
from sutro_stream.testing import ChatServerProcess, chat_server_process

FUNCTION = ss.Function.validate(
    {
        "name": "bench",
        "inputs": [{"name": "product"}, {"name": "review"}],
        "system_prompt": "Classify the review.",
        "prompt_template": "Product: {{ product }}\nReview: {{ review }}",
    }
)


@dataclass(frozen=True)
class Lap:
    """One timed run."""

    rows_per_s: float
    cpu_ms_per_row: float
    peak_in_flight: int


async def pipeline_lap(server: ChatServerProcess, path: Path, concurrency: int) -> int:
    """Rows answered by the library."""
    rows = 0
    async with ss.ChatEngine(server.base_url, "bench") as engine:
        pipeline = (
            ss.read_parquet(path)
            | ss.render(FUNCTION)
            | ss.infer(engine, concurrency=concurrency)
        )
        async with pipeline.open() as results:
            async for result in results:
                rows += result.error is None
    return rows


async def pool_lap(server: ChatServerProcess, count: int, concurrency: int) -> int:
    """Rows answered by workers that share an iterator and one session."""
    body = (
        b'{"model":"bench","messages":[{"role":"system","content":'
        b'"Classify the review."},{"role":"user","content":"' + b"x" * 100 + b'"}]}'
    )
    url = f"{server.base_url}/chat/completions"
    rows = 0
    numbers = iter(range(count))
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def work() -> None:
            nonlocal rows
            for _ in numbers:
                async with session.post(url, data=body) as response:
                    await response.read()
                    rows += response.status == 200

        async with anyio.create_task_group() as tasks:
            for _ in range(concurrency):
                tasks.start_soon(work)
    return rows


async def lap(
    server: ChatServerProcess, run: Callable[[], Awaitable[int]], expected: int
) -> Lap:
    """Time one run and check that nothing is missing."""
    await server.reset_statistics()
    started_s, cpu_before_s = time.perf_counter(), cpu_s()
    rows = await run()
    elapsed_s, used_s = time.perf_counter() - started_s, cpu_s() - cpu_before_s
    if rows != expected:
        raise SystemExit(f"{rows} of {expected} rows were answered")
    seen = await server.statistics()
    return Lap(rows / elapsed_s, 1000 * used_s / rows, seen.peak_in_flight)


async def measure(rows: int, concurrency: int, repeats: int, latency_ms: int) -> None:
    """Warm up, then run both in turn and print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        path = table_file(Path(folder), rows, ".parquet")
        small = table_file(Path(folder), 2 * concurrency, ".parquet")
        async with chat_server_process("--latency-ms", str(latency_ms)) as server:
            await pipeline_lap(server, small, concurrency)
            await pool_lap(server, 2 * concurrency, concurrency)
            laps: dict[str, list[Lap]] = {"sutro_stream": [], "bare aiohttp pool": []}
            for _ in range(repeats):
                laps["bare aiohttp pool"].append(
                    await lap(server, lambda: pool_lap(server, rows, concurrency), rows)
                )
                laps["sutro_stream"].append(
                    await lap(
                        server, lambda: pipeline_lap(server, path, concurrency), rows
                    )
                )
    report(laps, concurrency, latency_ms)


def report(laps: dict[str, list[Lap]], concurrency: int, latency_ms: int) -> None:
    """Print medians and their ratio."""
    limit = concurrency / (latency_ms / 1000)
    print(f"latency alone permits {limit:,.0f} rows/s\n")
    print(f"{'':20} {'rows/s':>28} {'CPU ms/row':>22} {'peak in flight':>22}")
    medians = {}
    for name, runs in laps.items():
        rates = [run.rows_per_s for run in runs]
        medians[name] = statistics.median(rates)
        shown = (
            " ".join(f"{rate:,.0f}" for rate in rates),
            " ".join(f"{run.cpu_ms_per_row:.3f}" for run in runs),
            " ".join(str(run.peak_in_flight) for run in runs),
        )
        print(f"{name:20} {shown[0]:>28} {shown[1]:>22} {shown[2]:>22}")
    ratio = medians["sutro_stream"] / medians["bare aiohttp pool"]
    print(f"\nratio of medians {ratio:.3f}   peak RSS {peak_rss_mb():.0f} MiB")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--latency-ms", type=int, default=100)
    options = parser.parse_args()
    print(describe())
    anyio.run(
        measure,
        options.rows,
        options.concurrency,
        options.repeats,
        options.latency_ms,
        backend_options={"use_uvloop": True},
    )


if __name__ == "__main__":
    main()
