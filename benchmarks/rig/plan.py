"""What every lane is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from data import table_file
from peers import PEERS, Peer, why_missing

from rig.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run of the suite goes.

    Attributes:
        folder: Of input files, made once.
        repeats: Runs of each system.
        with_peers: Whether other libraries run as well.
        scale: Multiplies numbers of rows; below 1 for a quick look.
    """

    folder: Path
    repeats: int
    with_peers: bool
    scale: float

    def rows(self, number: int) -> int:
        """So many, to scale."""
        return max(100, int(number * self.scale))

    def table(self, rows: int) -> Path:
        """A Parquet file, and its prompts beside it, one a line."""
        path = table_file(self.folder, rows, ".parquet")
        prompts = path.with_suffix(".txt")
        if not prompts.exists():
            texts = pq.read_table(path, columns=["review"])["review"]
            with prompts.open("w") as out:
                out.writelines(f"{text}\n" for text in texts.to_pylist())
        return path

    def peers(self, report: Report, *keys: str) -> list[Peer]:
        """Those that can be run; the others are left out with the reason."""
        if not self.with_peers:
            return []
        usable = []
        for peer in PEERS:
            if peer.key not in keys:
                continue
            reason = why_missing(peer)
            if reason is None:
                usable.append(peer)
            else:
                report.left_out[peer.name] = f"not installed: {reason}"
        return usable


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A part of the suite.

    Attributes:
        number: As it is chosen by.
        name: Also of its file of results.
        title: What it measures, in one line.
        run: Measures, and shows what it has found.
    """

    number: int
    name: str
    title: str
    run: Callable[[Plan, Report], None]

    def measure(self, plan: Plan) -> Report:
        """Run it."""
        print(f"\n=== lane {self.number}: {self.title}", flush=True)
        report = Report(lane=self.number, name=self.name, title=self.title)
        self.run(plan, report)
        return report
