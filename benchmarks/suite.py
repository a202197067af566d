"""The benchmark suite: each lane with every system beside ours, in one run.

    make bench                  all lanes, then the plots
    make bench LANES=1,3        some of them
    python benchmarks/suite.py --lanes 2 --without-peers --repeats 1 --scale 0.2

Results go to `benchmarks/results`, one file for each lane. Peers are installed on first
use, each in an environment of its own in the user's cache folder.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import subprocess
import sys
import time
from pathlib import Path

from machine import describe, facts
from peers import CHARTS, cache_folder, why_missing
from rig.plan import Lane, Plan
from rig.report import Report
from summary import summary

import sutro_stream

LANES = (
    "instant",
    "latency",
    "tail",
    "memory",
    "reading",
    "bulk",
    "embedded",
    "starting",
)
RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Run from the command line."""
    options = _parser().parse_args()
    lanes = _chosen(options.lanes)
    plan = Plan(
        folder=cache_folder() / "data",
        repeats=options.repeats,
        with_peers=not options.without_peers,
        scale=options.scale,
    )
    plan.folder.mkdir(parents=True, exist_ok=True)
    print(describe())
    # Compiling on the first run would be charged to whoever runs first.
    compileall.compile_dir(Path(sutro_stream.__file__).parent, quiet=2)
    compileall.compile_dir(Path(__file__).parent, quiet=2)
    started_s = time.monotonic()
    reports = []
    for lane in lanes:
        begun_s = time.monotonic()
        report = lane.measure(plan)
        path = report.write(options.results, facts())
        print(f"\n  {time.monotonic() - begun_s:,.0f} s; written to {path}", flush=True)
        reports.append(report)
    _draw(options.results)
    table = summary(options.results)
    (options.results / "summary.md").write_text(table + "\n")
    print(f"\n{table}")
    _targets(reports)
    print(f"\n{time.monotonic() - started_s:,.0f} s in all")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lanes", default="", help="numbers, as in 1,3 (default: all)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies numbers of rows"
    )
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


def _chosen(numbers: str) -> list[Lane]:
    known = {lane.number: lane for lane in map(_lane, LANES)}
    wanted = [int(number) for number in numbers.split(",") if number.strip()]
    unknown = [number for number in wanted if number not in known]
    if unknown:
        sys.exit(f"no lane {unknown[0]}; there are {', '.join(map(str, known))}")
    return [known[number] for number in wanted or known]


def _lane(name: str) -> Lane:
    return importlib.import_module(f"lanes.{name}").LANE  # type: ignore[no-any-return]


def _draw(results: Path) -> None:
    """Pictures of what there are results for, those of earlier runs included."""
    reason = why_missing(CHARTS)
    if reason is not None:
        print(f"\nno pictures: {CHARTS.name} cannot be installed ({reason})")
        return
    program = Path(__file__).with_name("charts.py")
    command = [str(CHARTS.python), str(program), str(results), str(results / "plots")]
    subprocess.run(command, check=True)


def _targets(reports: list[Report]) -> None:
    print("\n=== targets")
    for report in reports:
        for target in report.targets:
            verdict = "met" if target.is_met else "NOT MET"
            print(f"  {report.lane}  {target.name:66} {target.value:>9.4g}  {verdict}")


if __name__ == "__main__":
    main()
