"""Lane 8: how long until anything happens."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

from rig.endpoints import instant_endpoint
from rig.plan import Lane, Plan
from rig.report import Report

_TABLE = "from the start of the process to its end"
_EXTRA_LAPS = 5
_PYTHON, _IMPORT, _HELP = "python -c pass", "import sutro_stream", "sutro-stream --help"
_FIRST = "first result of a pipeline"
_FIRST_RESULT = """
import sys, anyio, sutro_stream as ss
async def main():
    async with ss.ChatEngine(sys.argv[1], "bench") as engine:
        rows = ss.from_rows([{"text": "one"}])
        asked = rows | ss.prompts("text") | ss.infer(engine)
        async with asked.open() as results:
            async for result in results:
                assert result.error is None
anyio.run(main)
"""


def run(plan: Plan, report: Report) -> None:
    """Measure; the first round, which finds files cold, is not counted."""
    script = Path(sys.executable).with_name("sutro-stream")
    laps: dict[str, list[dict[str, float]]] = {}
    with instant_endpoint() as endpoint:
        programs = {
            _PYTHON: [sys.executable, "-c", "pass"],
            _IMPORT: [sys.executable, "-c", "import sutro_stream"],
            _HELP: [str(script), "--help"],
            _FIRST: [sys.executable, "-c", _FIRST_RESULT, endpoint.base_url],
        }
        for number in range(plan.repeats + _EXTRA_LAPS):
            for name, command in programs.items():
                started_s, used_s = time.perf_counter(), _children_cpu_s()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                lap = {
                    "ms": 1000 * (time.perf_counter() - started_s),
                    "cpu_ms": 1000 * (_children_cpu_s() - used_s),
                }
                if number:
                    laps.setdefault(name, []).append(lap)
    report.tables[_TABLE] = {name: list(each) for name, each in laps.items()}
    report.aim(
        "import sutro_stream, ms", report.median(_TABLE, _IMPORT, "ms"), 250, "at most"
    )
    report.aim(
        "sutro-stream --help, ms", report.median(_TABLE, _HELP, "ms"), 400, "at most"
    )
    report.show({"ms": ",.0f", "cpu_ms": ",.0f"})


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


LANE = Lane(number=8, name="starting", title="start-up", run=run)
