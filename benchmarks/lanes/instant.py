"""Lane 1: what a row costs, at an endpoint that answers at once."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from rig.answers import COMPLETION
from rig.clients import (
    EVERYTHING,
    OURS,
    OVER_AIOHTTP,
    PERSON,
    TUNED,
    WIRE,
    ours,
    ours_over_aiohttp,
    peer_systems,
    person,
    tuned,
    wire,
)
from rig.endpoints import Endpoint, instant_endpoint
from rig.laps import System
from rig.plan import Lane, Plan
from rig.report import Report, laps_of
from rig.rounds import run_rounds

CONCURRENCY = 256
_ROWS = 20_000
_FAST_ROWS = 60_000
# Rates are compared, not times: these take some ten seconds each.
_PEER_ROWS = {
    "openai": 1_500,
    "flexllm": 5_000,
    "datatrove": 6_000,
    "ray": 20_000,
    "curator": 1_500,
    "litellm": 1_000,
    "daft": 1_500,
}
_FEW_LAPS = 2
# Of ours and of the bare pools, whose ratios are read to the hundredth.
_LAPS_MORE = 2
_TABLE = f"{CONCURRENCY} in flight"
_BARE, _FULL = f"{OURS}, rows only", f"{OURS}, everything on"
_AIOHTTP_BARE = f"{OVER_AIOHTTP}, rows only"
_AIOHTTP_FULL = f"{OVER_AIOHTTP}, everything on"
_WRK = "wrk"
_WRK_S = 4
_WHOLE_RUN = (
    "datatrove",
    "flexllm",
    "Ray Data, async actor",
    "Ray Data, HTTP processor",
)
_SLOW = ("AsyncOpenAI + gather", "Curator", "litellm", "Daft prompt")


def run(plan: Plan, report: Report) -> None:
    """Measure."""
    systems = _systems(plan, report)
    most = max(system.rows for system in systems)
    table = plan.table(max(most, 2 * CONCURRENCY))
    repeats = plan.repeats + _LAPS_MORE
    report.settings = {"concurrency": CONCURRENCY, "repeats": repeats}
    with instant_endpoint() as endpoint:
        report.settings["endpoint"] = endpoint.name
        rounds = run_rounds(
            systems,
            endpoint,
            table=table,
            concurrency=CONCURRENCY,
            repeats=repeats,
        )
        report.tables[_TABLE] = laps_of(rounds.laps)
        report.left_out |= rounds.left_out
        _wire_limit(endpoint, plan, report)
    report.notes.append(
        "steady: requests as they came to the endpoint, from a tenth to nine tenths of "
        "them; Daft sends all at once. CPU of Ray and Curator: all processes, start-up "
        "included."
    )
    report.notes.append(
        "Asserted: every row answered, as many requests at the endpoint, and (ours and "
        "bare pools) as many connections open at it as requests in flight."
    )
    _aim(report)
    report.show(
        {
            "rows_per_s": ",.0f",
            "steady_rows_per_s": ",.0f",
            "whole_rows_per_s": ",.0f",
            "cpu_ms_per_row": ".4f",
            "peak_rss_mb": ",.0f",
        }
    )


def _systems(plan: Plan, report: Report) -> list[System]:
    rows, fast_rows = plan.rows(_ROWS), plan.rows(_FAST_ROWS)
    systems = [
        person(rows),
        ours_over_aiohttp("rows only", rows, form="rows"),
        tuned(rows),
        ours_over_aiohttp("everything on", rows, **EVERYTHING),
        wire(fast_rows),
        ours("rows only", fast_rows, form="rows"),
        ours("everything on", fast_rows, **EVERYTHING),
    ]
    for peer in plan.peers(report, *_PEER_ROWS):
        systems += peer_systems(peer, plan.rows(_PEER_ROWS[peer.key]), _FEW_LAPS)
    return systems


def _wire_limit(endpoint: Endpoint, plan: Plan, report: Report) -> None:
    """Measure wrk, at the same number of connections."""
    wrk = shutil.which("wrk")
    if wrk is None:
        report.left_out[_WRK] = "not on this machine (Debian: apt install wrk)"
        return
    script = f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{COMPLETION[:200]}]]
"""
    laps = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "post.lua"
        path.write_text(script)
        command = [wrk, "-t1", f"-c{CONCURRENCY}", f"-d{_WRK_S}s", "-s", str(path)]
        command.append(f"{endpoint.base_url}/chat/completions")
        for _ in range(plan.repeats):
            started_s, served_s = time.perf_counter(), endpoint.cpu_s()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            load = (endpoint.cpu_s() - served_s) / (time.perf_counter() - started_s)
            found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
            if found is None:
                raise SystemExit(f"wrk said: {done.stdout}")
            laps.append({"rows_per_s": float(found[1]), "endpoint_load": load})
    report.tables[_TABLE][_WRK] = list(laps)


def _aim(report: Report) -> None:
    for name, other, goal in (
        (_AIOHTTP_BARE, PERSON, 1.0),
        (_AIOHTTP_BARE, TUNED, 0.8),
        (_AIOHTTP_FULL, PERSON, 0.75),
        (_BARE, _AIOHTTP_BARE, 4.0),
    ):
        report.aim(
            f"{name} / {other}", report.ratio(_TABLE, name, other), goal, "at least"
        )
    _against_peers(report)
    for name in (_BARE, _FULL):
        share = report.ratio(_TABLE, name, WIRE)
        if share is not None:
            report.notes.append(f"{name}: {share:.2f} of the bare protocol pool.")


def _against_peers(report: Report) -> None:
    """Ours with everything on, over either transport."""
    for ours_on in (_FULL, _AIOHTTP_FULL):
        for name in _WHOLE_RUN:
            ratio = report.ratio(_TABLE, ours_on, name, "whole_rows_per_s")
            report.aim(f"{ours_on} / {name}, whole runs", ratio, 5.0, "at least")
        for name in _SLOW:
            ratio = report.ratio(_TABLE, ours_on, name)
            report.aim(f"{ours_on} / {name}", ratio, 20.0, "at least")


LANE = Lane(
    number=1,
    name="instant",
    title="rows at an endpoint that answers at once: what a row costs",
    run=run,
)
