"""Lane 5: reading files and rendering prompts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from data import table_file
from rig.plan import Lane, Plan
from rig.processes import run_program
from rig.report import Report
from systems.child import Work

_PARQUET_ROWS = 3_000_000
_CSV_ROWS = 1_000_000
_PARQUET = "reading Parquet"
_CSV = "reading CSV"
_RENDERING = "rendering three fields, from memory"
_OURS, _OURS_RENDERED = "sutro_stream", "sutro_stream, and rendered"
_ARROW = "pyarrow"
_GOAL = 0.7
# A lap is of a second or so, and the next may be a fourth faster.
_LAPS_MORE = 4
# A pass takes less than half a second, and the second is slower than those behind it.
_PASSES = {_PARQUET: 3, _CSV: 6, _RENDERING: 3}
_SLOW = "python_"
_LANES: Mapping[str, Mapping[str, str]] = {
    _PARQUET: {
        _ARROW: "arrow_parquet",
        _OURS: "our_scan",
        _OURS_RENDERED: "our_prompts",
        "polars, collected": "polars_parquet",
        "polars, and rendered": "polars_rendered",
    },
    _CSV: {
        _ARROW: "arrow_csv",
        _OURS: "our_scan",
        _OURS_RENDERED: "our_prompts",
        "polars, collected": "polars_csv",
        "csv.DictReader": "python_csv",
    },
    _RENDERING: {
        "pyarrow's kernel": "arrow_rendering",
        _OURS: "our_rendering",
        "f-strings over dicts": "python_rendering",
    },
}


def run(plan: Plan, report: Report) -> None:
    """Measure."""
    parquet = table_file(plan.folder, plan.rows(_PARQUET_ROWS), ".parquet")
    csv = table_file(plan.folder, plan.rows(_CSV_ROWS), ".csv")
    repeats = plan.repeats + _LAPS_MORE
    report.settings = {"repeats": repeats, "columns": 3, "passes": _PASSES}
    for name, systems in _LANES.items():
        path = csv if name == _CSV else parquet
        rows = plan.rows(_CSV_ROWS if name == _CSV else _PARQUET_ROWS)
        table = report.tables.setdefault(name, {})
        for _ in range(repeats):
            for system, what in systems.items():
                passes = 1 if what.startswith(_SLOW) else _PASSES[name]
                lap = _lap(path, rows, what, passes)
                table.setdefault(system, []).append(lap)
                rate = lap["rows_per_s"]
                print(f"  {name:36} {system:28} {rate:>12,.0f} rows/s", flush=True)
    for name in (_PARQUET, _CSV):
        ratio = report.ratio(name, _OURS, _ARROW)
        report.aim(f"{name}: {_OURS} / {_ARROW}", ratio, _GOAL, "at least")
        _aim_with_rendering(report, name)
    rendered = report.median(_RENDERING, _OURS, "rows_per_s")
    in_millions = None if rendered is None else rendered / 1e6
    report.aim("rendering, million rows/s", in_millions, 3.0, "at least")
    report.show({"rows_per_s": ",.0f", "cpu_us_per_row": ",.3f", "peak_rss_mb": ",.0f"})


def _aim_with_rendering(report: Report, name: str) -> None:
    """Aim at the same rate with rendering, or at what rendering alone leaves of it."""
    scanned = report.median(name, _ARROW, "rows_per_s")
    rendered = report.median(_RENDERING, _OURS, "rows_per_s")
    if scanned is None or rendered is None:
        return
    one_after_the_other = 1 / (1 + scanned / rendered)
    report.notes.append(
        f"{name}: {_ARROW}'s scan, and then our rendering on the same core, would have "
        f"{one_after_the_other:.2f} of the scan's rate."
    )
    ratio = report.ratio(name, _OURS_RENDERED, _ARROW)
    goal = min(_GOAL, one_after_the_other)
    report.aim(f"{name}: {_OURS_RENDERED} / {_ARROW}", ratio, goal, "at least")


def _lap(path: Path, rows: int, what: str, passes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        work = Work(
            base_url="",
            rows=rows,
            concurrency=0,
            table=str(path),
            prompts_file="",
            folder=folder,
            warm_rows=0,
            options={"what": what, "passes": passes},
        )
        told = run_program("reading", work).told
    rows *= passes
    if told["answered"] != rows:
        raise SystemExit(f"{what}: {told['answered']} of {rows} rows")
    return {
        "rows": rows,
        "rows_per_s": rows / told["seconds"],
        "cpu_us_per_row": 1e6 * told["cpu_s"] / rows,
        "peak_rss_mb": told["peak_rss_mb"],
    }


LANE = Lane(
    number=5, name="reading", title="reading files and rendering prompts", run=run
)
