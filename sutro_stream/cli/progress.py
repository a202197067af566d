"""The live display of a run on a terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sutro_stream.cli.messages import duration
from sutro_stream.flow.meter import Statistics

_PACE_WINDOW_S = 10.0
_BAR_WIDTH = 30


class Pace:
    """How fast a run goes, over its last seconds."""

    def __init__(self, *, window_s: float = _PACE_WINDOW_S) -> None:
        """Nothing seen yet.

        Args:
            window_s: Time the rates are taken over, in seconds.
        """
        self._window_s = window_s
        self._seen: deque[Statistics] = deque()

    def add(self, seen: Statistics) -> None:
        """Take the run's counters now."""
        self._seen.append(seen)
        while seen.elapsed_s - self._seen[0].elapsed_s > self._window_s:
            self._seen.popleft()

    @property
    def rows_per_s(self) -> float:
        """Rows that got their outcome, in each second."""
        if not self._seen:
            return 0.0
        return self._rate(self._seen[-1].rows_done - self._seen[0].rows_done)

    @property
    def tokens_per_s(self) -> float:
        """Tokens read and written, in each second."""
        if not self._seen:
            return 0.0
        return self._rate(_tokens(self._seen[-1]) - _tokens(self._seen[0]))

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this pace, `None` while that cannot be told."""
        if not self._seen or not self.rows_per_s:
            return None
        last = self._seen[-1]
        if last.rows_total is None:
            return None
        return max(0, last.rows_total - last.rows_done) / self.rows_per_s

    def _rate(self, count: int) -> float:
        span_s = self._seen[-1].elapsed_s - self._seen[0].elapsed_s
        return count / span_s if span_s > 0 else 0.0


class LiveProgress:
    """Two lines that follow a run, and leave the screen with it.

    Draws only when told of new counters: no thread, no timer.
    """

    def __init__(self, console: Console) -> None:
        """A display that is not shown yet."""
        self._pace = Pace()
        self._live = Live(
            Text("starting ..."), console=console, auto_refresh=False, transient=True
        )

    def __enter__(self) -> Self:
        """Show it."""
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove it from the screen."""
        self._live.stop()

    def update(self, seen: Statistics) -> None:
        """Draw the run's counters."""
        self._pace.add(seen)
        self._live.update(drawing(seen, self._pace), refresh=True)


def drawing(seen: Statistics, pace: Pace) -> RenderableType:
    """The display for these counters."""
    top = Table.grid(padding=(0, 2))
    top.add_row(*_headline(seen, pace))
    return Group(top, Text("  ".join(_details(seen, pace)), no_wrap=True))


def _headline(seen: Statistics, pace: Pace) -> Iterator[RenderableType]:
    if seen.rows_total is None:
        yield Text(f"{seen.rows_done:,} rows", no_wrap=True)
    else:
        yield Text(f"{seen.rows_done:,}/{seen.rows_total:,} rows", no_wrap=True)
        bar = ProgressBar(
            total=max(seen.rows_total, 1), completed=seen.rows_done, width=_BAR_WIDTH
        )
        yield bar
    left_s = pace.left_s
    if left_s is not None:
        yield Text(f"{duration(left_s)} left", no_wrap=True)


def _details(seen: Statistics, pace: Pace) -> Iterator[str]:
    if seen.waiting is not None:
        yield f"waiting for {seen.waiting}"
    yield f"{pace.rows_per_s:,.1f} rows/s"
    yield f"{pace.tokens_per_s:,.0f} tokens/s"
    yield _in_flight(seen)
    yield f"{seen.rows_failed:,} failed"
    yield f"{seen.retries:,} retries"
    if seen.cost_usd is not None:
        yield f"{seen.cost_usd:,.2f} USD"
    if seen.rows_backing_off:
        yield f"{seen.rows_backing_off:,} to be sent again"


def _in_flight(seen: Statistics) -> str:
    shown = f"{seen.rows_in_flight:,} in flight"
    if seen.concurrency is not None and seen.concurrency > seen.rows_in_flight:
        shown = f"{seen.rows_in_flight:,} of {seen.concurrency:,} in flight"
    if seen.requests_per_s is not None:
        shown += f", at most {seen.requests_per_s:,.0f} requests/s"
    return shown


def _tokens(seen: Statistics) -> int:
    return seen.input_tokens + seen.output_tokens
