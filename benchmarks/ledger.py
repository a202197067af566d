"""What the ledger costs, and the memory of a long run with it.

`--cost`: rows from Parquet to Parquet through a scripted endpoint in another process,
with and without the ledger, in turn, in a process set up as the command sets up its
own. `--memory`: 100,000 and 1,000,000 rows through an engine in memory with the ledger
on, each in a process of its own.

    python benchmarks/ledger.py [--cost] [--memory]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio
from data import table_file
from machine import cpu_s, describe, peak_rss_mb

import sutro_stream as ss
from sutro_stream.cli.process import suit_streaming
from sutro_stream.testing import ScriptedEngine, chat_server_process

CONCURRENCY = 256


async def file_run(engine: ss.Engine, path: Path, out: Path, *, ledger: bool) -> None:
    """Parquet to Parquet; without a ledger, through a stage that changes nothing."""
    asked = (
        ss.read_parquet(path)
        | ss.prompts("review")
        | ss.infer(engine, concurrency=CONCURRENCY)
    )
    if ledger:
        report = await (asked | ss.write_parquet(out)).run()
        if report.rows_answered != report.rows:
            raise SystemExit(f"{report.rows_failed} rows failed")
        return
    writer = ss.write_parquet(out)
    async with asked.open() as results:
        layout = results.shape.layout(None)
        async with writer.open(layout.schema) as file:
            async for records in results.batches():
                await file.write(records)
            await file.finish()


async def cost(rows: int, latency_ms: int, repeats: int) -> None:
    """Rates and processor time with and without, and how they compare."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    cpu_ms: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = table_file(folder, rows, ".parquet")
        warm = table_file(folder, 1000, ".parquet")
        async with (
            chat_server_process("--latency-ms", str(latency_ms)) as server,
            ss.ChatEngine(server.base_url, "bench") as engine,
        ):
            await file_run(engine, warm, folder / "warm.parquet", ledger=True)
            for lap in range(repeats):
                # Each goes first as often: what else the machine does drifts.
                for ledger in (False, True) if lap % 2 else (True, False):
                    started_s, used_s = time.perf_counter(), cpu_s()
                    await file_run(engine, path, folder / "o.parquet", ledger=ledger)
                    rate = rows / (time.perf_counter() - started_s)
                    rates[ledger].append(rate)
                    label = "with" if ledger else "without"
                    per_row_ms = 1000 * (cpu_s() - used_s) / rows
                    cpu_ms[ledger].append(per_row_ms)
                    print(f"{label:8} {rate:8,.0f} rows/s  {per_row_ms:.3f} CPU ms/row")
    ratio = statistics.median(rates[True]) / statistics.median(rates[False])
    without, with_ledger = (statistics.median(cpu_ms[on]) for on in (False, True))
    print(
        f"{latency_ms} ms, medians: rate with / without {ratio:.3f}; CPU ms/row "
        f"{without:.3f} without, {with_ledger:.3f} with, {with_ledger - without:.3f} "
        "more\n"
    )


async def long_run(path: Path) -> None:
    """Every row through an engine that answers at once."""
    out = path.with_suffix(".out.parquet")
    started_s = time.perf_counter()
    async with ScriptedEngine(default_concurrency=CONCURRENCY) as engine:
        engine.calls = _NoCounter()
        engine.seeds = _NoSeeds()
        await file_run(engine, path, out, ledger=True)
    print(f"{time.perf_counter() - started_s:7.1f} s  peak RSS {peak_rss_mb():.0f} MiB")


class _NoCounter(Counter[str]):
    """Forgets every prompt, so that the engine's memory is not measured."""

    def __setitem__(self, key: str, value: int) -> None:
        """Forget."""


class _NoSeeds(dict[str, int | None]):
    """As `_NoCounter`, for seeds."""

    def __setitem__(self, key: str, value: int | None) -> None:
        """Forget."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", type=Path)
    options = parser.parse_args()
    suit_streaming()
    if options.child:
        anyio.run(long_run, options.child, backend_options={"use_uvloop": True})
        return
    print(describe())
    if options.cost or not options.memory:
        for latency_ms in (0, 100):
            anyio.run(
                cost,
                options.rows,
                latency_ms,
                options.repeats,
                backend_options={"use_uvloop": True},
            )
    if options.memory or not options.cost:
        with tempfile.TemporaryDirectory() as folder:
            for rows in (100_000, 1_000_000):
                path = table_file(Path(folder), rows, ".parquet")
                print(f"{rows:>10,} rows", end=" ", flush=True)
                subprocess.run([sys.executable, __file__, "--child", path], check=True)


if __name__ == "__main__":
    main()
