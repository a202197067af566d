"""Lane 6: a million rows through a deployment and back."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
from anyio import to_thread
from rig.plan import Lane, Plan
from rig.processes import resident_mb, run_program
from rig.report import Report
from systems.child import Work

from sutro_stream.testing.deployment import (
    create_key,
    deployment_process,
    publish_function,
)

_ROWS = 1_000_000
_BATCH_ROWS = 25_000
_JOBS = 4
_WARM_ROWS = 2_000
_TABLE = "objects through submit to a deployment, results to Parquet"
_OURS, _FLOOR = "sutro_stream", "JSON alone, in one process"
_MOST_LAPS = 3
_ACCOUNT = "bench"
_FUNCTION = {
    "name": "bench",
    "model": "instant",
    "inputs": [{"name": "product"}, {"name": "review"}, {"name": "id"}],
    "prompt_template": "{{ product }}: {{ review }} ({{ id }})",
}
_CONFIG = """
[models.instant]
endpoints = [{ url = "http://127.0.0.1:9/v1" }]

[quotas.1]
rows = 100_000_000
tokens = 100_000_000_000
"""


def run(plan: Plan, report: Report) -> None:
    """Measure."""
    rows = plan.rows(_ROWS)
    table = plan.table(rows)
    report.settings = {
        "rows": rows,
        "batch_rows": _BATCH_ROWS,
        "jobs_in_flight": _JOBS,
        "engine": "in the deployment's memory, instant",
    }
    systems = report.tables.setdefault(_TABLE, {_OURS: [], _FLOOR: []})
    for _ in range(min(_MOST_LAPS, plan.repeats)):
        with tempfile.TemporaryDirectory() as folder:
            lap = anyio.run(_round_trip, Path(folder), table, rows)
        systems[_OURS].append(lap)
        systems[_FLOOR].append(_floor(table, rows))
        print(
            f"  {rows:,} rows in {lap['seconds']:.1f} s; CPU us/row: client "
            f"{lap['client_cpu_us_per_row']:.2f}, server "
            f"{lap['server_cpu_us_per_row']:.2f}; peak MB: client "
            f"{lap['client_rss_mb']:.0f}, server {lap['server_rss_mb']:.0f}",
            flush=True,
        )
    used = report.median(_TABLE, _OURS, "client_cpu_us_per_row")
    report.aim("client CPU, us a row", used, 4.0, "at most")
    seconds = report.median(_TABLE, _OURS, "seconds")
    report.aim(f"round trip of {rows:,} rows, s", seconds, 60.0, "at most")
    report.show(
        {
            "seconds": ".1f",
            "rows_per_s": ",.0f",
            "client_cpu_us_per_row": ".2f",
            "server_cpu_us_per_row": ".2f",
            "client_rss_mb": ",.0f",
            "server_rss_mb": ",.0f",
        }
    )


async def _round_trip(folder: Path, table: Path, rows: int) -> dict[str, Any]:
    data_dir, config, spec = folder / "data", folder / "c.toml", folder / "f.json"
    config.write_text(_CONFIG)
    spec.write_text(json.dumps(_FUNCTION))
    key = create_key(data_dir, _ACCOUNT)
    publish_function(data_dir, _ACCOUNT, spec)
    async with deployment_process(data_dir, config=config, is_instant=True) as server:
        work = _work(table, rows, folder)
        work.options.update(
            url=server.url,
            key=key,
            model=_FUNCTION["name"],
            batch_rows=min(_BATCH_ROWS, rows),
            jobs=_JOBS,
        )
        peak = 0.0

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, resident_mb(server.pid) or 0.0)
                await anyio.sleep(0.2)

        before_s = _cpu_s(server.pid)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            seen = await to_thread.run_sync(partial(run_program, "bulk_client", work))
            tasks.cancel_scope.cancel()
        used_s = _cpu_s(server.pid) - before_s
    told = seen.told
    if told["answered"] != rows:
        raise SystemExit(f"{told['answered']} of {rows} rows answered")
    return {
        "rows": rows,
        "seconds": told["seconds"],
        "rows_per_s": rows / told["seconds"],
        "client_cpu_us_per_row": 1e6 * told["cpu_s"] / rows,
        "server_cpu_us_per_row": 1e6 * used_s / (rows + _WARM_ROWS),
        "client_rss_mb": told["peak_rss_mb"],
        "server_rss_mb": peak,
    }


def _floor(table: Path, rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        told = run_program("bulk_floor", _work(table, rows, Path(folder))).told
    return {
        "rows": rows,
        "seconds": told["seconds"],
        "rows_per_s": rows / told["seconds"],
        "client_cpu_us_per_row": 1e6 * told["cpu_s"] / rows,
        "client_rss_mb": told["peak_rss_mb"],
    }


def _work(table: Path, rows: int, folder: Path) -> Work:
    return Work(
        base_url="",
        rows=rows,
        concurrency=0,
        table=str(table),
        prompts_file="",
        folder=str(folder),
        warm_rows=min(_WARM_ROWS, rows),
    )


def _cpu_s(pid: int) -> float:
    """Processor time of a process, and of those it has started."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    gone = process.cpu_times()
    spent = sum(each.user + each.system for each in times)
    return float(spent + gone.children_user + gone.children_system)


LANE = Lane(
    number=6, name="bulk", title="objects through a deployment and back", run=run
)
