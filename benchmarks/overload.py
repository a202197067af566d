"""Lanes of `faults.py`: endpoints that permit less than we could send."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import anyio
from laps import AUTO, Lap, has_auto, our_lap, peer_lap
from peers import installed

import sutro_stream as ss
from sutro_stream.testing import chat_server_process

CONCURRENCY = 256
_RATE = 400
_BURST = 40
_LATENCY_S = 0.1
# Against a server that refuses most of what it gets, five attempts are soon used up.
_PATIENT = ss.RetryPolicy(attempts=100)

_STEPS = ((0.0, 400.0), (8.0, 100.0), (16.0, 800.0))
_DRIFT_S = 26.0
_WINDOW_S = 1.0
_WITHIN_S = 5.0

_BEST = 64
_LONG = 5
_FIXED = (32, 48, 64, 96, 128, 256)


async def rate(rows: int = 2000) -> None:
    """2,000 rows against 400 requests/s, 429 with Retry-After 1 beyond."""
    server = (
        f"--rate-per-s={_RATE}",
        f"--rate-burst={_BURST}",
        "--retry-after-s=1",
        f"--latency-ms={1000 * _LATENCY_S:g}",
    )
    ideal_s = (rows - _BURST) / _RATE + _LATENCY_S
    told = ss.Limits(requests_per_minute=60 * _RATE)
    runs: list[tuple[str, dict[str, Any]]] = [
        ("requests_per_minute", {"concurrency": CONCURRENCY, "limits": told}),
        ("fixed 256", {"concurrency": CONCURRENCY, "retry": _PATIENT}),
        ("fixed 40", {"concurrency": 40}),
    ]
    if has_auto():
        runs.insert(0, ("auto", {"concurrency": AUTO}))
    laps = [
        await our_lap(f"sutro_stream, {name}", server, rows, **options)
        for name, options in runs
    ]
    laps += [await peer_lap(peer, server, rows, CONCURRENCY) for peer in installed()]
    print(f"the limit permits {rows:,} rows in {ideal_s:.1f} s")
    print(f"{'':32} {'s':>6} {'of permitted':>13} {'lost':>6} {'429':>6} {'wasted':>8}")
    for lap in laps:
        share = ideal_s / lap.seconds * lap.answered / lap.rows
        wasted = lap.refused / lap.seen.requests
        print(
            f"{lap.name:32} {lap.seconds:>6.2f} {share:>13.1%} "
            f"{lap.rows - lap.answered:>6} {lap.refused:>6} {wasted:>8.1%}"
        )


async def drift() -> None:
    """The limit steps 400, 100, 800 requests/s without telling."""
    options: dict[str, Any] = {"concurrency": CONCURRENCY, "retry": _PATIENT}
    name = "fixed 256"
    if has_auto():
        name, options = "auto", {"concurrency": AUTO, "retry": _PATIENT}
    times_s, refused = await _drifting(**options)
    steps = ", ".join(f"{rate:g} from {start_s:g} s" for start_s, rate in _STEPS)
    print(f"sutro_stream, {name}: {len(times_s):,} answers, {refused:,} refusals")
    print(f"requests/s permitted: {steps}")
    per_second = [
        bisect_left(times_s, second + 1) - bisect_left(times_s, second)
        for second in range(int(_DRIFT_S))
    ]
    print("answers in each second:", " ".join(map(str, per_second)))
    for start_s, permitted in _STEPS:
        back_s = _back_after_s(times_s, start_s, permitted)
        shown = "not" if back_s is None else f"after {back_s:.1f} s"
        print(f"{permitted:>6g}/s: back at 90 % {shown} (asked for: {_WITHIN_S:g} s)")


async def _drifting(**options: Any) -> tuple[Sequence[float], int]:
    """Times of answers since the start, and how many requests were refused."""
    steps = ",".join(f"{rate:g}@{start_s:g}" for start_s, rate in _STEPS)
    times_s: list[float] = []
    endless = ({"text": f"text {number}"} for number in itertools.count())
    async with (
        chat_server_process(
            f"--rate-steps={steps}",
            "--rate-burst=10",
            "--retry-after-s=1",
            f"--latency-ms={1000 * _LATENCY_S:g}",
        ) as server,
        ss.ChatEngine(server.base_url, "m") as engine,
    ):
        stage = ss.infer(engine, ordered=False, **options)
        started_s = time.perf_counter()
        with anyio.move_on_after(_DRIFT_S):
            pipeline = ss.from_rows(endless) | ss.prompts("text") | stage
            async with pipeline.open() as results:
                async for result in results:
                    elapsed_s = time.perf_counter() - started_s
                    times_s += [elapsed_s] if result.error is None else []
        seen = await server.statistics()
    return times_s, seen.by_status.get(429, 0)


def _back_after_s(
    times_s: Sequence[float], start_s: float, permitted: float
) -> float | None:
    """Seconds after a step until a window brings 90 % of what is permitted."""
    end_s = min([at for at, _ in _STEPS if at > start_s], default=_DRIFT_S)
    at_s = start_s
    while at_s + _WINDOW_S <= end_s:
        count = bisect_left(times_s, at_s + _WINDOW_S) - bisect_left(times_s, at_s)
        if 0.9 * permitted * _WINDOW_S <= count <= 1.1 * permitted * _WINDOW_S:
            return at_s + _WINDOW_S - start_s
        at_s += _WINDOW_S / 20
    return None


async def knee(rows: int = 4000) -> None:
    """An endpoint whose throughput peaks at 64 requests in flight."""
    server = (f"--best-in-flight={_BEST}", f"--latency-ms={1000 * _LATENCY_S:g}")
    laps: list[Lap] = [
        await our_lap(f"fixed {fixed}", server, rows, concurrency=fixed)
        for fixed in _FIXED
    ]
    best = max(laps, key=lambda lap: lap.rows_per_s)
    print(f"{rows:,} rows; at {_BEST} in flight {_BEST / _LATENCY_S:,.0f} rows/s")
    _print_knee(laps, best)
    if not has_auto():
        return
    # What the search costs at the beginning weighs less in a longer run.
    for many in (rows, _LONG * rows):
        fixed = await our_lap("fixed, best", server, many, concurrency=_BEST)
        auto = await our_lap("auto", server, many, concurrency=AUTO)
        print(f"{many:,} rows")
        _print_knee([fixed, auto], fixed)


def _print_knee(laps: list[Lap], best: Lap) -> None:
    print(f"{'':12} {'rows/s':>8} {'of best':>8} {'peak in flight':>15}")
    for lap in laps:
        print(
            f"{lap.name:12} {lap.rows_per_s:>8,.0f} "
            f"{lap.rows_per_s / best.rows_per_s:>8.1%} {lap.seen.peak_in_flight:>15}"
        )
