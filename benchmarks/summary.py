"""The suite's table: this library and its peers, a line each, as Markdown.

    python benchmarks/summary.py                     prints it
    python benchmarks/summary.py --into README.md    puts it in place of the old one

`suite.py` writes it to `results/summary.md` as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
BEGIN = "<!-- from here to the end of the table: benchmarks/summary.py -->"
END = "<!-- end of the table -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A figure of one lane.

    Attributes:
        title: Above it.
        lane: The lane's file, without its ending.
        table: Name of the lane's table.
        figure: Which median.
        style: How it is written.
    """

    title: str
    lane: str
    table: str
    figure: str
    style: str


COLUMNS = (
    Column(
        title="rows/s, instant endpoint",
        lane="1-instant",
        table="256 in flight",
        figure="rows_per_s",
        style=",.0f",
    ),
    Column(
        title="CPU ms/row",
        lane="1-instant",
        table="256 in flight",
        figure="cpu_ms_per_row",
        style=".3f",
    ),
    Column(
        title="peak MB",
        lane="1-instant",
        table="256 in flight",
        figure="peak_rss_mb",
        style=",.0f",
    ),
    Column(
        title="rows/s at 100 ms (2,560 possible)",
        lane="2-latency",
        table="256 in flight",
        figure="rows_per_s",
        style=",.0f",
    ),
    Column(
        title="heavy tail, share of the ideal",
        lane="3-tail",
        table="256 slots",
        figure="of_ideal",
        style=".2f",
    ),
)
_OURS, _OVER_AIOHTTP = "sutro_stream", "sutro_stream over aiohttp"
_FULL, _FILE = "everything on", "to a file"
# What a system is called in the third lane, where that differs.
_IN_TAIL = {f"{name}, {_FULL}": f"{name}, {_FILE}" for name in (_OURS, _OVER_AIOHTTP)}
_SHOWN = {
    f"{_OURS}, {_FULL}": "**sutro_stream**",
    f"{_OVER_AIOHTTP}, {_FULL}": 'sutro_stream, `transport="aiohttp"`',
    "aiohttp pool, as written": "a pool over aiohttp, written by hand",
}
# Limits and parts of what is compared; docs/performance.md has them.
_LEFT_OUT = ("bare protocol", "wrk", "aiohttp pool, tuned", _OURS)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--into", type=Path, help="a file that has the table already")
    options = parser.parse_args()
    table = summary(options.results)
    if options.into is None:
        print(table)
        return
    options.into.write_text(replaced(options.into.read_text(), table))


def summary(results: Path) -> str:
    """The table, of what there are results for."""
    medians = _medians(results)
    first = COLUMNS[0]
    measured = medians.get(first.lane, {}).get(first.table, {})
    names = _SHOWN | {
        name: name
        for name in sorted(measured, key=lambda name: -measured[name][first.figure])
        if name not in _SHOWN and not name.startswith(_LEFT_OUT)
    }
    lines = [
        "| | " + " | ".join(column.title for column in COLUMNS) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for name, shown in names.items():
        cells = [_cell(medians, column, name) for column in COLUMNS]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def replaced(text: str, table: str) -> str:
    """A page with this table instead of the one it has.

    Raises:
        ValueError: The page does not say where the table is.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the table")
    return f"{before}{begin}\n{table}\n{end}{after}"


def _medians(results: Path) -> dict[str, Mapping[str, Any]]:
    paths = {lane: results / f"{lane}.json" for lane in {c.lane for c in COLUMNS}}
    return {
        lane: json.loads(path.read_text())["medians"]
        for lane, path in paths.items()
        if path.exists()
    }


def _cell(medians: Mapping[str, Any], column: Column, name: str) -> str:
    if column.lane == "3-tail":
        name = _IN_TAIL.get(name, name)
    figures = medians.get(column.lane, {}).get(column.table, {}).get(name, {})
    value = figures.get(column.figure)
    return "-" if value is None else format(value, column.style)


if __name__ == "__main__":
    main()
