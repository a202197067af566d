"""Lane 3: a few answers take very long; how near a run comes to the ideal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rig.answers import Tail, ideal_s
from rig.clients import (
    OURS,
    OVER_AIOHTTP,
    ours,
    ours_over_aiohttp,
    peer_systems,
    person,
)
from rig.endpoints import scripted_endpoint
from rig.laps import Lap, System
from rig.plan import Lane, Plan
from rig.report import Report
from rig.rounds import run_rounds

SLOTS = 256
_ROWS = 30_000
_PEER_ROWS = {
    "openai": 2_000,
    "flexllm": 8_000,
    "datatrove": 8_000,
    "ray": 15_000,
    "curator": 2_000,
    "daft": 2_000,
}
_TABLE = f"{SLOTS} slots"
_WAYS: Mapping[str, Mapping[str, Any]] = {
    "unordered": {"form": "rows", "ordered": False},
    "to a file": {"form": "file", "ordered": True},
    "ordered iterator": {"form": "rows", "ordered": True},
}
_GOALS = {"unordered": 0.97, "to a file": 0.97, "ordered iterator": 0.95}


def run(plan: Plan, report: Report) -> None:
    """Measure."""
    tail = Tail()
    report.settings = {
        "service_times": "log-normal, by order of arrival",
        "median_ms": tail.median_ms,
        "p99_ms": tail.p99_ms,
        "cap_ms": tail.cap_ms,
        "seed": tail.seed,
        "slots": SLOTS,
        "repeats": plan.repeats,
    }
    with scripted_endpoint(tail_seed=tail.seed) as endpoint:
        rounds = run_rounds(
            _systems(plan, report),
            endpoint,
            table=plan.table(plan.rows(_ROWS)),
            concurrency=SLOTS,
            repeats=plan.repeats,
        )
    report.left_out |= rounds.left_out
    report.tables[_TABLE] = {
        name: [_judged(lap, tail) for lap in laps] for name, laps in rounds.laps.items()
    }
    report.notes += [
        (
            "of_ideal: seconds of the greedy schedule of the same service times over "
            "seconds of the run; its slots are never idle while rows remain."
        ),
        "utilisation: share of the slots' time in which a request was being served.",
        (
            "Ray, Daft, Curator and datatrove include reading and writing; sizes "
            "differ, each has the ideal of its own size."
        ),
    ]
    for system in (OURS, OVER_AIOHTTP):
        for way, goal in _GOALS.items():
            name = f"{system}, {way}"
            share = report.median(_TABLE, name, "of_ideal")
            report.aim(f"{name}, share of the ideal", share, goal, "at least")
    report.show(
        {
            "of_ideal": ".3f",
            "utilisation": ".3f",
            "rows_per_s": ",.0f",
            "cpu_ms_per_row": ".4f",
            "peak_in_flight": ",.0f",
        }
    )


def _systems(plan: Plan, report: Report) -> list[System]:
    rows = plan.rows(_ROWS)
    systems = [person(rows)]
    for way, options in _WAYS.items():
        systems.append(ours(way, rows, **options))
        systems.append(ours_over_aiohttp(way, rows, **options))
    for peer in plan.peers(report, *_PEER_ROWS):
        systems += peer_systems(peer, plan.rows(_PEER_ROWS[peer.key]), 1)
    return systems


def _judged(lap: Lap, tail: Tail) -> dict[str, Any]:
    ideal = ideal_s(tail, lap.rows, SLOTS)
    return lap.json() | {
        "ideal_s": ideal,
        "of_ideal": ideal / lap.seconds,
        "utilisation": lap.busy_s / (SLOTS * lap.seconds),
    }


LANE = Lane(
    number=3,
    name="tail",
    title="heavy-tailed answers: speed as a share of the ideal schedule",
    run=run,
)
