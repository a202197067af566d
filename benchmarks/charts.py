"""The suite's pictures, from its results: PNG and SVG.

    python benchmarks/charts.py RESULTS FOLDER

Runs in an environment of its own, which has matplotlib; `suite.py` calls it.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OURS, _BARE, _PEER = "#1f5fa8", "#8a8a8a", "#d98200"
_BARE_NAMES = ("aiohttp pool", "bare protocol", "wrk")
_DPI = 150


def main() -> None:
    """Draw what there are results for."""
    results, folder = Path(sys.argv[1]), Path(sys.argv[2])
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("agg")
    # Text stays text, and the same results make the same file.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "sutro-stream"}
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("1-instant", _instant),
        ("3-tail", _tail),
        ("4-memory", _memory),
    ):
        path = results / f"{name}.json"
        if path.exists():
            figure = draw(json.loads(path.read_text()))
            figure.savefig(folder / f"{name}.png", dpi=_DPI)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            print(f"drawn: {folder / name}.png, .svg")


def _instant(result: Mapping[str, Any]) -> Any:
    return _bars(
        result,
        figure="rows_per_s",
        title="Rows a second, one process, 256 in flight, instant endpoint",
        log=True,
        style=",.0f",
    )


def _tail(result: Mapping[str, Any]) -> Any:
    return _bars(
        result,
        figure="of_ideal",
        title="Heavy-tailed answers: speed as a share of the ideal schedule",
        log=False,
        style=".2f",
    )


def _bars(
    result: Mapping[str, Any], *, figure: str, title: str, log: bool, style: str
) -> Any:
    """Horizontal bars, the longest on top."""
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    (systems,) = result["medians"].values()
    values = {name: each[figure] for name, each in systems.items() if figure in each}
    names = sorted(values, key=lambda name: values[name])
    picture, axes = pyplot.subplots(figsize=(9, 0.8 + 0.32 * len(names)))
    axes.barh(names, [values[name] for name in names], color=list(map(_color, names)))
    for row, name in enumerate(names):
        axes.annotate(
            format(values[name], style),
            (values[name], row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    if log:
        axes.set_xscale("log")
        least, most = min(values.values()), max(values.values())
        axes.set_xlim(10 ** (math.ceil(math.log10(least)) - 2), 2.5 * most)
    else:
        axes.set_xlim(0, 1.1)
    _tidy(axes, title)
    picture.tight_layout()
    return picture


def _memory(result: Mapping[str, Any]) -> Any:
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    picture, axes = pyplot.subplots(figsize=(9, 3.6))
    for name, points in result["series"].items():
        whole_s = points[-1][0]
        shares = [100 * seconds / whole_s for seconds, _ in points]
        axes.plot(shares, [mb for _, mb in points], label=name, linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("% of the run")
    axes.set_ylabel("resident MB")
    axes.legend(frameon=False)
    _tidy(axes, "Memory of a run, Parquet to Parquet with schema and ledger")
    picture.tight_layout()
    return picture


def _color(name: str) -> str:
    if name.startswith("sutro_stream"):
        return _OURS
    return _BARE if name.startswith(_BARE_NAMES) else _PEER


def _tidy(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    main()
