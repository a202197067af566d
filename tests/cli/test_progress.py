"""The live display."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sutro_stream.cli.progress import LiveProgress, Pace, drawing
from sutro_stream.flow.meter import Meter, Statistics


def seen(elapsed_s: float, *, rows: int, total: int | None = None) -> Statistics:
    """The counters of a run that has answered some rows."""
    meter = Meter(rows_total=total, answered=rows, output_tokens=5 * rows)
    return meter.statistics(elapsed_s)


def drawn(now: Statistics, pace: Pace, *, width: int = 100) -> str:
    """The display as text."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(drawing(now, pace))
    return capture.get()


def test_the_pace_is_that_of_the_last_seconds() -> None:
    """A slow start is forgotten."""
    pace = Pace(window_s=10)
    for now in (seen(0, rows=0), seen(100, rows=1), seen(105, rows=501)):
        pace.add(now)
    assert pace.rows_per_s == pytest.approx(100)
    assert pace.tokens_per_s == pytest.approx(500)


def test_the_time_left_follows_from_the_pace() -> None:
    """Rows that remain, at the pace of the last seconds."""
    pace = Pace()
    pace.add(seen(0, rows=0, total=100))
    pace.add(seen(2, rows=20, total=100))
    assert pace.left_s == pytest.approx(8)


def test_the_time_left_is_not_guessed() -> None:
    """Without a total, or before the first row, nothing is said."""
    pace = Pace()
    assert pace.left_s is None
    pace.add(seen(0, rows=0, total=100))
    pace.add(seen(1, rows=0, total=100))
    assert pace.left_s is None
    pace.add(seen(2, rows=50))
    assert pace.left_s is None


def test_the_display_tells_the_counters() -> None:
    """Rows, both rates, what is in flight, failures, retries, time left."""
    pace = Pace()
    pace.add(seen(0, rows=0, total=4000))
    now = seen(2, rows=2000, total=4000)
    pace.add(now)
    text = drawn(now, pace)
    for part in (
        "2,000/4,000 rows",
        "2.0 s left",
        "1,000.0 rows/s",
        "5,000 tokens/s",
        "0 in flight",
        "0 failed",
        "0 retries",
    ):
        assert part in text


def test_the_display_keeps_to_two_lines() -> None:
    """Also on a narrow terminal, and with a total that is not known."""
    pace = Pace()
    assert drawn(seen(1, rows=3), pace, width=40).count("\n") == 2


def test_the_display_leaves_nothing_behind() -> None:
    """What is on the screen at the end is erased."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    with LiveProgress(console) as progress:
        progress.update(seen(1, rows=3))
    assert "3 rows" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")


def test_the_display_tells_what_is_allowed_now() -> None:
    """Where that is more than what is in flight, and where a rate is known."""
    now = replace(
        seen(2, rows=2000), rows_in_flight=30, concurrency=64, requests_per_s=391.7
    )
    shown = drawn(now, Pace())
    assert "30 of 64 in flight, at most 392 requests/s" in shown
