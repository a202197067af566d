"""Lane 2: everything on, at an endpoint that takes 100 ms."""

from __future__ import annotations

from rig.clients import (
    EVERYTHING,
    OURS,
    OVER_AIOHTTP,
    PERSON,
    TUNED,
    ours,
    ours_over_aiohttp,
    peer_systems,
    person,
    tuned,
)
from rig.endpoints import scripted_endpoint
from rig.laps import System
from rig.plan import Lane, Plan
from rig.report import Report, laps_of
from rig.rounds import run_rounds

LATENCY_MS = 100
CONCURRENCIES = (256, 1024)
_ROWS = 40_000
_PEER_ROWS = {"openai": 1_500, "flexllm": 6_000, "curator": 1_500}
_FULL = f"{OURS}, everything on"
_AIOHTTP_FULL = f"{OVER_AIOHTTP}, everything on"


def run(plan: Plan, report: Report) -> None:
    """Measure."""
    report.settings = {"latency_ms": LATENCY_MS, "repeats": plan.repeats}
    table = plan.table(plan.rows(_ROWS))
    for concurrency in CONCURRENCIES:
        limit = concurrency * 1000 / LATENCY_MS
        name = f"{concurrency} in flight"
        print(f"  {name}: latency alone permits {limit:,.0f} rows/s", flush=True)
        with scripted_endpoint(latency_ms=LATENCY_MS) as endpoint:
            rounds = run_rounds(
                _systems(plan, report, concurrency),
                endpoint,
                table=table,
                concurrency=concurrency,
                repeats=plan.repeats,
            )
        report.tables[name] = laps_of(rounds.laps)
        report.left_out |= rounds.left_out
        report.settings[f"rows_per_s_permitted_at_{concurrency}"] = limit
        report.notes.append(f"{name}: latency alone permits {limit:,.0f} rows/s.")
        _aim(report, name)
    report.notes.append(
        "Asserted: every row answered, and (ours and bare pools) a peak in flight at "
        "the endpoint of exactly the number asked for."
    )
    report.show(
        {
            "rows_per_s": ",.0f",
            "cpu_ms_per_row": ".4f",
            "peak_rss_mb": ",.0f",
            "peak_in_flight": ",.0f",
            "endpoint_load": ".0%",
        }
    )


def _systems(plan: Plan, report: Report, concurrency: int) -> list[System]:
    rows = plan.rows(_ROWS)
    systems = [
        person(rows),
        ours("everything on", rows, **EVERYTHING),
        tuned(rows),
        ours_over_aiohttp("everything on", rows, **EVERYTHING),
    ]
    if concurrency == CONCURRENCIES[0]:
        for peer in plan.peers(report, *_PEER_ROWS):
            systems += peer_systems(peer, plan.rows(_PEER_ROWS[peer.key]), 1)
    return systems


def _aim(report: Report, table: str) -> None:
    for name in (_FULL, _AIOHTTP_FULL):
        for other in (PERSON, TUNED):
            ratio = report.ratio(table, name, other)
            report.aim(f"{table}: {name} / {other}", ratio, 0.97, "at least")
        used = report.median(table, name, "cpu_ms_per_row")
        report.aim(f"{table}: {name}, CPU ms/row", used, 0.30, "at most")


LANE = Lane(
    number=2,
    name="latency",
    title="Parquet to Parquet with everything on, at 100 ms a request",
    run=run,
)
