"""What a lane has found: raw figures, medians, and how they compare."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

Lap: TypeAlias = Mapping[str, Any]
Sense: TypeAlias = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure that has a goal.

    Attributes:
        name: What it is.
        value: The figure, from medians.
        goal: What it shall be.
        sense: On which side of the goal it shall lie.
    """

    name: str
    value: float
    goal: float
    sense: Sense = "at least"

    @property
    def is_met(self) -> bool:
        """Whether it is what it shall be."""
        if self.sense == "at least":
            return self.value >= self.goal
        return self.value <= self.goal


@dataclass(slots=True, kw_only=True)
class Report:
    """A lane's figures.

    Attributes:
        lane: Its number.
        name: Its name, also of its file.
        title: What it measures, in one line.
        settings: What was the same for all.
        tables: By name, the runs of each system.
        targets: Figures that have a goal.
        left_out: Who has no figures, and why.
        notes: What to know when reading them.
        series: For plots: by name, pairs.
    """

    lane: int
    name: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, list[Lap]]] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def median(self, table: str, system: str, figure: str) -> float | None:
        """A system's median, `None` if it has none."""
        laps = self.tables.get(table, {}).get(system, [])
        values = [lap[figure] for lap in laps if lap.get(figure) is not None]
        return float(statistics.median(values)) if values else None

    def aim(self, name: str, value: float | None, goal: float, sense: Sense) -> None:
        """Add a target; one without a value is left out."""
        if value is not None:
            self.targets.append(Target(name=name, value=value, goal=goal, sense=sense))

    def ratio(
        self, table: str, ours: str, other: str, figure: str = "rows_per_s"
    ) -> float | None:
        """Ours as a multiple of the other's, by medians."""
        mine = self.median(table, ours, figure)
        theirs = self.median(table, other, figure)
        return None if mine is None or not theirs else mine / theirs

    def show(self, columns: Mapping[str, str]) -> None:
        """Print medians of the columns (figure to format), raw rates, and targets."""
        for table, systems in self.tables.items():
            names = [name.replace("_", " ") for name in columns]
            print(f"\n{table}: medians")
            print(f"  {'':44}" + "".join(f"{name:>19}" for name in names))
            for system in systems:
                cells = [
                    _cell(self.median(table, system, figure), style)
                    for figure, style in columns.items()
                ]
                print(f"  {system:44}" + "".join(f"{cell:>19}" for cell in cells))
        for name, reason in self.left_out.items():
            print(f"  left out: {name}: {reason}")
        for note in self.notes:
            print(f"  {note}")
        if self.targets:
            print()
        for target in self.targets:
            verdict = "met" if target.is_met else "NOT MET"
            print(
                f"  {target.name:66} {target.value:>9.4g}  "
                f"({target.sense} {target.goal:g}) {verdict}"
            )

    def write(self, folder: Path, machine: Mapping[str, Any]) -> Path:
        """Write all of it as JSON."""
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.lane}-{self.name}.json"
        whole = {
            "lane": self.lane,
            "name": self.name,
            "title": self.title,
            "machine": machine,
            "settings": self.settings,
            "tables": self.tables,
            "medians": self._medians(),
            "targets": [
                {
                    "name": target.name,
                    "value": target.value,
                    "goal": target.goal,
                    "sense": target.sense,
                    "met": target.is_met,
                }
                for target in self.targets
            ],
            "left_out": self.left_out,
            "notes": self.notes,
            "series": self.series,
        }
        path.write_text(json.dumps(whole, indent=1) + "\n")
        return path

    def _medians(self) -> dict[str, dict[str, dict[str, float]]]:
        found: dict[str, dict[str, dict[str, float]]] = {}
        for table, systems in self.tables.items():
            found[table] = {}
            for system, laps in systems.items():
                figures = [name for name, cell in laps[0].items() if _is_number(cell)]
                found[table][system] = {
                    name: value
                    for name in figures
                    if (value := self.median(table, system, name)) is not None
                }
        return found


def laps_of(laps: Mapping[str, Sequence[Any]]) -> dict[str, list[Lap]]:
    """Runs of systems, as a table has them."""
    return {name: [lap.json() for lap in each] for name, each in laps.items()}


def _cell(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)
