"""Several systems in turn, over and over, at one endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rig.endpoints import Endpoint
from rig.laps import Lap, LapError, System, run_lap


@dataclass
class Rounds:
    """What came of them.

    Attributes:
        laps: By system, in the order of the systems.
        left_out: Why a peer has none, by name.
    """

    laps: dict[str, list[Lap]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def run_rounds(
    systems: Sequence[System],
    endpoint: Endpoint,
    *,
    table: Path,
    concurrency: int,
    repeats: int,
) -> Rounds:
    """Each system once in every round, so that what drifts meets them all alike.

    A peer that fails is left out from then on, with the reason.

    Raises:
        LapError: One of ours, or a bare client, failed.
    """
    rounds = Rounds()
    for number in range(repeats):
        for system in systems if number % 2 == 0 else systems[::-1]:
            beyond = system.laps is not None and number >= system.laps
            if beyond or system.name in rounds.left_out:
                continue
            try:
                lap = run_lap(system, endpoint, table=table, concurrency=concurrency)
            except LapError as error:
                if not system.is_peer:
                    raise
                rounds.left_out[system.name] = str(error)
                print(f"  left out: {error}", flush=True)
                continue
            rounds.laps.setdefault(system.name, []).append(lap)
            print(f"  {number + 1}  {shown(lap)}", flush=True)
    rounds.laps = {
        system.name: rounds.laps[system.name]
        for system in systems
        if system.name in rounds.laps
    }
    return rounds


def shown(lap: Lap) -> str:
    """One run in one line."""
    flights = "" if lap.peak_in_flight is None else f"  peak {lap.peak_in_flight}"
    return (
        f"{lap.system:32} {lap.rows_per_s:>9,.0f} rows/s  "
        f"{lap.cpu_ms_per_row:>7.4f} CPU ms/row  whole {lap.whole_s:>6.1f} s  "
        f"{lap.peak_rss_mb:>6.0f} MB  {lap.connections:>5} connections{flights}  "
        f"endpoint {lap.endpoint_load:.0%}"
    )
