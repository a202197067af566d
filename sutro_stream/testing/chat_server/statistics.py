"""What the server has seen: counted live, read as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatServerStatistics:
    """Counts of chat requests and connections.

    Every request is in exactly one place: `requests` is the sum of `in_flight`,
    `answered`, `cut` and `disconnected`. A request is no longer in flight just
    before the last byte of its answer is sent, so a client that reacts at once
    never inflates the peak.

    Attributes:
        requests: Chat requests that arrived, refused ones included.
        repeated: Those whose prompt had been asked before, in a well-formed request;
            of the newest prompts, some ten thousand.
        in_flight: Requests arrived and not yet answered.
        peak_in_flight: Highest `in_flight` so far.
        answered: Complete answers, errors included.
        by_status: Complete answers by HTTP status.
        cut: Requests whose connection the script cut.
        disconnected: Requests whose client left before the answer was complete,
            or that were still waiting when the server stopped.
        connections_opened: TCP connections accepted, also those of other routes.
        connections_open: TCP connections open now.
    """

    requests: int
    repeated: int
    in_flight: int
    peak_in_flight: int
    answered: int
    by_status: Mapping[int, int]
    cut: int
    disconnected: int
    connections_opened: int
    connections_open: int

    def to_json(self) -> bytes:
        """The statistics as a JSON object."""
        return orjson.dumps(self, option=orjson.OPT_NON_STR_KEYS)

    @classmethod
    def from_json(cls, raw: bytes) -> ChatServerStatistics:
        """The statistics that `to_json` wrote."""
        fields = orjson.loads(raw)
        by_status = {int(key): value for key, value in fields["by_status"].items()}
        return cls(**{**fields, "by_status": by_status})


class Tally:
    """Counts requests and connections as they come and go.

    Concurrency: for the tasks of one event loop.
    """

    def __init__(self) -> None:
        self._sequence = 0
        self._repeated = 0
        self._in_flight = 0
        self._peak_in_flight = 0
        self._connections_open = 0
        self._connections_opened = 0
        self._by_status: dict[int, int] = {}
        self._cut = 0
        self._disconnected = 0
        self._changed: anyio.Event | None = None

    @property
    def in_flight(self) -> int:
        """Requests arrived and not yet answered."""
        return self._in_flight

    def statistics(self) -> ChatServerStatistics:
        """The counts at this moment."""
        answered = sum(self._by_status.values())
        return ChatServerStatistics(
            requests=self._in_flight + answered + self._cut + self._disconnected,
            repeated=self._repeated,
            in_flight=self._in_flight,
            peak_in_flight=self._peak_in_flight,
            answered=answered,
            by_status=dict(self._by_status),
            cut=self._cut,
            disconnected=self._disconnected,
            connections_opened=self._connections_opened,
            connections_open=self._connections_open,
        )

    def reset(self) -> None:
        """Start counting anew; what is in flight and open now stays counted."""
        self._peak_in_flight = self._in_flight
        self._connections_opened = self._connections_open
        self._repeated = 0
        self._by_status = {}
        self._cut = 0
        self._disconnected = 0
        self._notify()

    def arrived(self) -> int:
        """Count one request in and return its sequence number, 0-based."""
        sequence = self._sequence
        self._sequence += 1
        self._in_flight += 1
        self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
        self._notify()
        return sequence

    def repeated(self) -> None:
        """Note that the prompt of a request had been asked before."""
        self._repeated += 1

    def answered(self, status: int) -> None:
        """Count one request as answered in full."""
        self._by_status[status] = self._by_status.get(status, 0) + 1
        self._left()

    def cut(self) -> None:
        """Count one request as cut by the script."""
        self._cut += 1
        self._left()

    def disconnected(self) -> None:
        """Count one request as given up by its client."""
        self._disconnected += 1
        self._left()

    def connection_opened(self) -> None:
        """Count one connection in."""
        self._connections_opened += 1
        self._connections_open += 1
        self._notify()

    def connection_closed(self) -> None:
        """Count one connection out."""
        self._connections_open -= 1
        self._notify()

    async def changed(self) -> None:
        """Wait for the next change of any count."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _left(self) -> None:
        self._in_flight -= 1
        self._notify()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
