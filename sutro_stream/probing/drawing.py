"""Measurements as pictures: bars of text, and SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from sutro_stream.probing.levels import Level

_BAR = "█"
_PARTS = "▏▎▍▌▋▊▉█"

_WIDTH, _PANEL_HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _GAP = 70, 30, 46, 50
_RATE_COLOUR, _LATENCY_COLOUR, _FOUND_COLOUR = "#1f6feb", "#d9822b", "#2da44e"
_TICKS = 4


def bar(value: float, most: float, *, width: int) -> str:
    """A bar of text, in eighths of a character.

    Args:
        value: Its length, in any unit.
        most: What fills the width.
        width: In characters.
    """
    eighths = round(8 * width * min(value / most, 1.0)) if most > 0 else 0
    whole, rest = divmod(eighths, 8)
    return _BAR * whole + (_PARTS[rest - 1] if rest else "")


def svg(levels: Sequence[Level], *, title: str) -> str:
    """Rate and latency over requests in flight, one above the other.

    Args:
        levels: In any order; the one that was found is marked.
        title: Stands above.
    """
    return "\n".join(_elements(levels, title)) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One of the charts; logarithmic to the right, from 0 upwards."""

    top: float
    most_x: float
    most_y: float
    unit: str

    def x(self, value: float) -> float:
        span = math.log2(max(self.most_x, 2))
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log2(max(value, 1)) / span

    def y(self, value: float) -> float:
        return self.top + _PANEL_HEIGHT * (1 - value / self.most_y)

    def frame(self, steps: Sequence[int]) -> Iterator[str]:
        bottom = self.top + _PANEL_HEIGHT
        for number in range(_TICKS + 1):
            value = self.most_y * number / _TICKS
            yield (
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{self.y(value):.1f}" '
                f'y2="{self.y(value):.1f}" stroke="#e4e4e4"/>'
            )
            yield (
                f'<text x="{_LEFT - 8}" y="{self.y(value) + 4:.1f}" '
                f'text-anchor="end" fill="#555">{_short(value)}</text>'
            )
        for step in steps:
            yield (
                f'<text x="{self.x(step):.1f}" y="{bottom + 18:.1f}" '
                f'text-anchor="middle" fill="#555">{step}</text>'
            )
        yield (
            f'<text x="{_LEFT}" y="{self.top - 8:.1f}" fill="#222">'
            f"{escape(self.unit)}</text>"
        )

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> Iterator[str]:
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        yield (
            f'<polyline points="{path}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        for x, y in points:
            yield self.dot(x, y, colour)

    def dot(self, x: float, y: float, colour: str, *, radius: float = 3) -> str:
        return (
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}" '
            f'fill="{colour}"/>'
        )


def _elements(levels: Sequence[Level], title: str) -> Iterator[str]:
    fixed = sorted(
        (level for level in levels if not level.is_found),
        key=lambda level: level.in_flight,
    )
    found = [level for level in levels if level.is_found]
    most_x = max((level.in_flight for level in levels), default=1)
    rates = _Panel(
        top=_TOP,
        most_x=most_x,
        most_y=_round_up(max((level.rows_per_s for level in levels), default=1)),
        unit="rows/s",
    )
    latencies = _Panel(
        top=_TOP + _PANEL_HEIGHT + _GAP,
        most_x=most_x,
        most_y=_round_up(max((level.p95_s for level in levels), default=1)),
        unit="seconds until 95 in a hundred answers are there (p95)",
    )
    height = latencies.top + _PANEL_HEIGHT + _GAP
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        'font-family="sans-serif" font-size="12">'
    )
    yield f"<title>{escape(title)}</title>"
    yield f'<rect width="{_WIDTH}" height="{height:.0f}" fill="white"/>'
    yield f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>'
    for panel, colour, value in (
        (rates, _RATE_COLOUR, _rate),
        (latencies, _LATENCY_COLOUR, _latency),
    ):
        yield from panel.frame([level.in_flight for level in fixed])
        yield from panel.line([(each.in_flight, value(each)) for each in fixed], colour)
        for level in found:
            yield panel.dot(level.in_flight, value(level), _FOUND_COLOUR, radius=6)
    note = "requests in flight"
    if found:
        note += "; the large dot is what concurrency=auto found"
    yield (
        f'<text x="{_WIDTH / 2:.0f}" y="{height - 12:.0f}" text-anchor="middle" '
        f'fill="#555">{note}</text>'
    )
    yield "</svg>"


def _rate(level: Level) -> float:
    return level.rows_per_s


def _latency(level: Level) -> float:
    return level.p95_s


def _round_up(most: float) -> float:
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * nice for nice in (1, 2, 4, 5, 8, 10) if power * nice >= most)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
