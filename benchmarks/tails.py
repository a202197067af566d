"""Lanes of `faults.py`: a few answers that fail or take much longer."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from data import table_file
from laps import our_lap, peer_lap
from peers import installed

import sutro_stream as ss
from sutro_stream.testing import ChatServerProcess, chat_server_process

CONCURRENCY = 256
_MEDIAN_MS = 50
_REPEATS = 3
_WINDOW_ROWS = 16_384

_Run: TypeAlias = Callable[[ChatServerProcess, Path], Awaitable[int]]


async def stragglers(rows: int = 2000) -> None:
    """2 % of 500s and 0.5 % of 8-second stragglers, 100 ms, 256 in flight."""
    server = (
        "--latency-ms=100",
        "--fail-share=0.02",
        "--fail-status=500",
        "--slow-share=0.005",
        "--slow-s=8",
    )
    laps = [
        await our_lap(
            f"sutro_stream, hedged, seed {seed}",
            (*server, f"--seed={seed}"),
            rows,
            concurrency=CONCURRENCY,
            hedge=ss.Hedge(),
        )
        for seed in range(3)
    ]
    laps.append(
        await our_lap("sutro_stream, not hedged", server, rows, concurrency=CONCURRENCY)
    )
    laps += [await peer_lap(peer, server, rows, CONCURRENCY) for peer in installed()]
    print(f"{'':32} {'s':>6} {'lost':>6} {'requests':>9} {'500s':>6} {'extra':>7}")
    for lap in laps:
        print(
            f"{lap.name:32} {lap.seconds:>6.2f} {lap.rows - lap.answered:>6} "
            f"{lap.seen.requests:>9} {lap.seen.by_status.get(500, 0):>6} "
            f"{lap.extra_percent:>6.2f}%"
        )


async def order(rows: int = 20_000) -> None:
    """Ordered beside unordered, under log-normal latencies of p99 = 20 x median."""
    runs: dict[str, _Run] = {
        "file, unordered": _file_run(ordered=False),
        "file, ordered": _file_run(ordered=True),
        "iterator, unordered": _iterator_run(ordered=False),
        "iterator, ordered": _iterator_run(ordered=True),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as folder:
        path = table_file(Path(folder), rows, ".parquet")
        for _ in range(_REPEATS):
            for name, run in runs.items():
                rates[name].append(await _rows_per_s(run, path, rows))
    print(f"{rows:,} rows, median {_MEDIAN_MS} ms, p99 {20 * _MEDIAN_MS} ms")
    medians = {name: statistics.median(each) for name, each in rates.items()}
    for name, each in rates.items():
        other = medians[f"{name.partition(',')[0]}, unordered"]
        raw = " ".join(f"{rate:,.0f}" for rate in each)
        print(f"{name:20} {raw:>24} rows/s  {medians[name] / other:.3f} of unordered")


async def _rows_per_s(run: _Run, path: Path, rows: int) -> float:
    async with chat_server_process(
        f"--latency-ms={_MEDIAN_MS}",
        f"--latency-p99-ms={20 * _MEDIAN_MS}",
        f"--latency-cap-ms={60 * _MEDIAN_MS}",
    ) as server:
        started_s = time.perf_counter()
        answered = await run(server, path)
        seconds = time.perf_counter() - started_s
    if answered != rows:
        raise SystemExit(f"{rows - answered} rows failed")
    return rows / seconds


def _file_run(*, ordered: bool) -> _Run:
    async def run(server: ChatServerProcess, path: Path) -> int:
        out = path.with_name("out.parquet")
        async with ss.ChatEngine(server.base_url, "m") as engine:
            asked = _asked(engine, path, ordered=ordered)
            report = await (asked | ss.write_parquet(out)).run()
        return report.rows_answered

    return run


def _iterator_run(*, ordered: bool) -> _Run:
    async def run(server: ChatServerProcess, path: Path) -> int:
        answered = 0
        async with (
            ss.ChatEngine(server.base_url, "m") as engine,
            _asked(engine, path, ordered=ordered).open() as results,
        ):
            async for result in results:
                answered += result.error is None
        return answered

    return run


def _asked(engine: ss.Engine, path: Path, *, ordered: bool) -> ss.Pipeline[ss.Result]:
    stage = ss.infer(
        engine, concurrency=CONCURRENCY, ordered=ordered, window_rows=_WINDOW_ROWS
    )
    return ss.read_parquet(path) | ss.prompts("review") | stage
