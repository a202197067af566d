"""How many requests may be out now: the contract, and several throttles as one.

No I/O and no clock: the time comes as an argument, in seconds on any steady clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from sutro_stream.errors import EngineError
from sutro_stream.values.rate_hints import RateHint

UNLIMITED = 1 << 30
"""A number of requests that nobody reaches."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request that is out.

    Made by a throttle when the request is sent, and given back to it exactly once.

    Attributes:
        sent_s: When it was sent.
        estimated_tokens: What it was expected to cost, input and output together.
    """

    sent_s: float
    estimated_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleStatistics:
    """What a throttle allows and has seen.

    Attributes:
        limit: Most requests in flight now.
        in_flight: Requests out now.
        sent: Requests so far.
        refused: Of these, answered with 429.
        rate_per_s: Most requests a second now, `None` while no limit is known.
        ceiling: In-flight number at which the endpoint refused or failed, as far
            as it is remembered, `None` for none.
        cuts: How often the limit or the rate was cut.
    """

    limit: int
    in_flight: int
    sent: int
    refused: int
    rate_per_s: float | None = None
    ceiling: int | None = None
    cuts: int = 0


class LimitOf(Enum):
    """Whose limit holds requests back."""

    USER = auto()
    """It was given with the run: waiting is what was asked for."""
    ENDPOINT = auto()
    """The endpoint told or imposed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReason:
    """Why time has to pass before a request may go out.

    Attributes:
        limit_of: Whose limit it is.
        text: For people, to be put after "waiting for".
    """

    limit_of: LimitOf
    text: str


class Throttle(Protocol):
    """Says when the next request may go out.

    Each request is announced by `sent`, whose ticket comes back once, by
    `answered`, `failed` or `cancelled`. The throttle counts what is in flight
    itself, so that several pipelines can share one.

    Concurrency: one event loop; no method waits.
    """

    @property
    def limit(self) -> int:
        """Most requests in flight now; at least 1. Changes over time."""

    @property
    def in_flight(self) -> int:
        """Requests sent and not yet given back."""

    def room(self, now_s: float) -> int:
        """How many more requests may be sent now; at least 0."""

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until time alone may make room, 0 if there is room.

        `None` when only an answer can.
        """

    def sent(self, now_s: float, *, estimated_tokens: int = 0) -> Ticket:
        """Note a request going out."""

    def answered(
        self,
        ticket: Ticket,
        now_s: float,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        hint: RateHint | None = None,
    ) -> None:
        """Note its answer: tokens as counted by the engine, 0 when it did not."""

    def failed(
        self,
        ticket: Ticket,
        now_s: float,
        error: EngineError,
        *,
        hint: RateHint | None = None,
    ) -> None:
        """Note that it ended in an error; every attempt, also one to be retried."""

    def cancelled(self, ticket: Ticket, now_s: float) -> None:
        """Note that it was dropped by us; says nothing about the endpoint."""

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        """Note that a request given back by `cancelled` had failed by itself.

        A server error or a broken connection, and others were answered since: no
        outage, but perhaps more in flight than the endpoint can bear.
        """

    def waits_for(self, now_s: float) -> WaitReason | None:
        """Whose limit `wait_s` waits for, `None` when it does not wait."""

    def ends_after(self, requests: int | None) -> None:
        """Note that so many more requests will be sent, retries aside.

        Said once, when the source has ended: towards the end, a request that is
        refused would come back when all others are done. `None`: not known.
        """

    def statistics(self) -> ThrottleStatistics:
        """What it allows and has seen."""


def combine(throttles: Sequence[Throttle]) -> Throttle:
    """One throttle that sends when all of the given ones, at least one, have room."""
    return throttles[0] if len(throttles) == 1 else _Combined(tuple(throttles))


@dataclass(slots=True, eq=False)
class _CombinedTicket(Ticket):
    parts: list[Ticket]


class _Combined:
    """`Throttle` made of several: the narrowest decides."""

    def __init__(self, parts: tuple[Throttle, ...]) -> None:
        self._parts = parts

    @property
    def limit(self) -> int:
        return min(part.limit for part in self._parts)

    @property
    def in_flight(self) -> int:
        return max(part.in_flight for part in self._parts)

    def room(self, now_s: float) -> int:
        room = UNLIMITED
        for part in self._parts:
            room = min(room, part.room(now_s))
            if room <= 0:
                return 0
        return room

    def wait_s(self, now_s: float) -> float | None:
        longest_s = 0.0
        for part in self._parts:
            wait_s = part.wait_s(now_s)
            if wait_s is None:
                return None
            longest_s = max(longest_s, wait_s)
        return longest_s

    def sent(self, now_s: float, *, estimated_tokens: int = 0) -> Ticket:
        own = [
            part.sent(now_s, estimated_tokens=estimated_tokens) for part in self._parts
        ]
        return _CombinedTicket(now_s, estimated_tokens, own)

    # Called for every row: each argument by name, as a dict of them takes longer.
    def answered(
        self,
        ticket: Ticket,
        now_s: float,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        hint: RateHint | None = None,
    ) -> None:
        for part, own in self._each(ticket):
            part.answered(
                own,
                now_s,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                hint=hint,
            )

    def failed(
        self, ticket: Ticket, now_s: float, error: EngineError, **told: Any
    ) -> None:
        for part, own in self._each(ticket):
            part.failed(own, now_s, error, **told)

    def cancelled(self, ticket: Ticket, now_s: float) -> None:
        for part, own in self._each(ticket):
            part.cancelled(own, now_s)

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        for part, own in self._each(ticket):
            part.troubled(own, now_s)

    def waits_for(self, now_s: float) -> WaitReason | None:
        longest = max(self._parts, key=lambda part: part.wait_s(now_s) or 0.0)
        return longest.waits_for(now_s)

    def ends_after(self, requests: int | None) -> None:
        for part in self._parts:
            part.ends_after(requests)

    def statistics(self) -> ThrottleStatistics:
        found = [part.statistics() for part in self._parts]
        rates = [one.rate_per_s for one in found if one.rate_per_s is not None]
        ceilings = [one.ceiling for one in found if one.ceiling is not None]
        return ThrottleStatistics(
            limit=self.limit,
            in_flight=self.in_flight,
            rate_per_s=min(rates, default=None),
            ceiling=min(ceilings, default=None),
            sent=found[0].sent,
            refused=found[0].refused,
            cuts=sum(one.cuts for one in found),
        )

    def _each(self, ticket: Ticket) -> Iterator[tuple[Throttle, Ticket]]:
        if not isinstance(ticket, _CombinedTicket):
            raise TypeError("a ticket of another throttle")
        return zip(self._parts, ticket.parts, strict=True)
