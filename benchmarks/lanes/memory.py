"""Lane 4: memory of a run, by the number of its rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from data import table_file
from rig.plan import Lane, Plan
from rig.processes import Watched, run_program
from rig.report import Report
from systems.child import Work

SIZES = (10_000, 100_000, 1_000_000, 3_000_000)
_TABLE = "Parquet to Parquet, with schema and ledger"
_READING = "reading and rendering alone"
_READ_SIZES = (100_000, 1_000_000)
_CONCURRENCY = 256
_CURVE_POINTS = 200


def run(plan: Plan, report: Report) -> None:
    """Measure; once, since memory does not scatter as time does."""
    report.settings = {"concurrency": _CONCURRENCY, "engine": "in memory, instant"}
    report.tables[_TABLE] = {}
    peaks: list[tuple[int, float]] = []
    for size in SIZES:
        rows = plan.rows(size)
        seen = _seen("memory_run", plan.table(rows), rows)
        lap = _lap(seen, rows)
        peak = lap["peak_rss_mb"]
        peaks.append((rows, peak))
        report.tables[_TABLE][f"{rows:,} rows"] = [lap]
        step = max(1, len(seen.rss) // _CURVE_POINTS)
        report.series[f"{rows:,} rows"] = list(seen.rss[::step])
        print(
            f"  {rows:>9,} rows  peak {peak:,.0f} MB  {seen.whole_s:,.0f} s", flush=True
        )
    _reading(plan, report)
    (less, low), (more, high) = peaks[-2:]
    slope = (high - low) / ((more - less) / 1e6)
    report.aim("RSS slope, MB per million rows", slope, 10.0, "at most")
    report.aim(f"peak RSS at {more:,} rows, MB", high, 250.0, "at most")
    report.notes.append(
        "Resident memory as the system counts it, pages of mapped files included; "
        "slope between the two largest."
    )
    report.show({"rows_per_s": ",.0f", "cpu_us_per_row": ",.1f", "peak_rss_mb": ",.0f"})


def _reading(plan: Plan, report: Report) -> None:
    """Reading and rendering alone, of files that are laid out in several ways."""
    table = report.tables.setdefault(_READING, {})
    for size in _READ_SIZES:
        rows = plan.rows(size)
        parquet = plan.table(rows)
        single = parquet.with_name(f"one-group-{rows}.parquet")
        if not single.exists():
            pq.write_table(pq.read_table(parquet), single, row_group_size=rows)
        csv = table_file(plan.folder, rows, ".csv")
        forms = {"Parquet": parquet, "Parquet of one row group": single, "CSV": csv}
        for form, path in forms.items():
            seen = _seen("reading", path, rows, what="our_prompts")
            table[f"{form}, {rows:,} rows"] = [_lap(seen, rows)]


def _seen(module: str, path: Path, rows: int, **options: str) -> Watched:
    with tempfile.TemporaryDirectory() as folder:
        work = Work(
            base_url="",
            rows=rows,
            concurrency=_CONCURRENCY,
            table=str(path),
            prompts_file="",
            folder=folder,
            warm_rows=0,
            options=dict(options),
        )
        seen = run_program(module, work)
    if seen.told["answered"] != rows:
        raise SystemExit(f"{seen.told['answered']} of {rows} rows answered")
    return seen


def _lap(seen: Watched, rows: int) -> dict[str, float]:
    return {
        "rows": rows,
        "rows_per_s": rows / seen.told["seconds"],
        "peak_rss_mb": max(seen.told["peak_rss_mb"], *(mb for _, mb in seen.rss)),
        "cpu_us_per_row": 1e6 * seen.told["cpu_s"] / rows,
    }


LANE = Lane(
    number=4, name="memory", title="memory of a run, by the number of its rows", run=run
)
