"""Line charts as SVG: pictures in the documentation need no plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 140, 40, 44
_LABEL_GAP = 15.0
_NEAR_END = 0.9
_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart.

    Attributes:
        label: Stands beside its right end.
        points: Seconds and values, from left to right.
        color: As CSS writes it.
        dashed: Whether it is dashed, for what is given and not measured.
    """

    label: str
    points: Sequence[tuple[float, float]]
    color: str
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A chart over time, from 0 on both axes."""

    title: str
    lines: Sequence[Line]

    def svg(self) -> str:
        """The chart as a document of its own, on white."""
        return "\n".join(self._elements()) + "\n"

    def _elements(self) -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="sans-serif" font-size="12">'
        )
        yield f"<title>{escape(self.title)}</title>"
        yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        yield (
            f'<text x="{_LEFT}" y="22" font-size="14" fill="#222">'
            f"{escape(self.title)}</text>"
        )
        yield from self._grid()
        for line in self.lines:
            path = " ".join(
                f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in line.points
            )
            dashes = ' stroke-dasharray="5 4"' if line.dashed else ""
            yield (
                f'<polyline points="{path}" fill="none" stroke="{line.color}" '
                f'stroke-width="1.6"{dashes}/>'
            )
        yield from self._labels()
        yield "</svg>"

    def _grid(self) -> Iterator[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for value in _ticks(self._most_y):
            y = self._y(value)
            yield (
                f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" '
                'stroke="#e4e4e4"/>'
            )
            yield (
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" '
                f'fill="#555">{value:g}</text>'
            )
        for value in _ticks(self._most_x):
            yield (
                f'<text x="{self._x(value):.1f}" y="{bottom + 18}" '
                f'text-anchor="middle" fill="#555">{value:g} s</text>'
            )
        yield (
            f'<line x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" '
            'stroke="#999"/>'
        )

    def _labels(self) -> Iterator[str]:
        last = -math.inf
        for line in sorted(self.lines, key=_end, reverse=True):
            last = max(self._y(_end(line)), last + _LABEL_GAP)
            yield (
                f'<text x="{_WIDTH - _RIGHT + 8}" y="{last + 4:.1f}" '
                f'fill="{line.color}">{escape(line.label)}</text>'
            )

    @property
    def _most_x(self) -> float:
        return max(x for line in self.lines for x, _ in line.points)

    @property
    def _most_y(self) -> float:
        return 1.05 * max(y for line in self.lines for _, y in line.points)

    def _x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / self._most_x

    def _y(self, value: float) -> float:
        height = _HEIGHT - _TOP - _BOTTOM
        return _HEIGHT - _BOTTOM - height * value / self._most_y


def smoothed(
    times: Sequence[float], values: Sequence[float], *, width: int = 5
) -> Sequence[tuple[float, float]]:
    """Means over so many values, at the middle of their times."""
    points = []
    for start in range(max(1, len(values) - width + 1)):
        window = values[start : start + width]
        middle = times[start + len(window) // 2]
        points.append((middle, sum(window) / len(window)))
    return points


def _end(line: Line) -> float:
    # Shortly before the end: some lines fall to nothing there.
    return line.points[int(_NEAR_END * (len(line.points) - 1))][1]


def _ticks(most: float) -> Sequence[float]:
    """Round numbers from 0 to `most`."""
    rough = most / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough)
    return [step * number for number in range(int(most / step) + 1)]
