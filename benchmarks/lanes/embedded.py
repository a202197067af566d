"""Lane 7: the embedded engine, beside a direct client at the same server."""

from __future__ import annotations

import tempfile

from rig.plan import Lane, Plan
from rig.processes import run_program
from rig.report import Report
from systems.child import Work

_ROWS = 64
_LAPS_MORE = 1
_TABLE = "the same llama.cpp server, in the same minute"
_OURS, _DIRECT = "sutro_stream, LocalEngine", "aiohttp, direct"


def run(plan: Plan, report: Report) -> None:
    """Measure."""
    rows = plan.rows(_ROWS) if plan.scale > 1 else _ROWS
    laps = plan.repeats + _LAPS_MORE
    report.settings = {"rows": rows, "tokens_per_answer": 24, "parallel": 8}
    with tempfile.TemporaryDirectory() as folder:
        work = Work(
            base_url="",
            rows=rows,
            concurrency=0,
            table="",
            prompts_file=str(plan.table(10_000).with_suffix(".txt")),
            folder=folder,
            warm_rows=0,
            options={"laps": laps},
        )
        told = run_program("embedded", work).told
    if told["answered"] != 2 * laps * rows:
        raise SystemExit(f"{told['answered']} of {2 * laps * rows} rows answered")
    report.tables[_TABLE] = {
        _OURS: [{"rows_per_s": rate} for rate in told["ours"]],
        _DIRECT: [{"rows_per_s": rate} for rate in told["direct"]],
    }
    ratio = report.ratio(_TABLE, _OURS, _DIRECT)
    report.aim(f"{_OURS} / {_DIRECT}", ratio, 0.97, "at least")
    report.show({"rows_per_s": ".2f"})


LANE = Lane(
    number=7,
    name="embedded",
    title="the embedded engine beside a direct client",
    run=run,
)
