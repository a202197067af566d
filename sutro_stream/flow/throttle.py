"""How many requests may be out now: the contract.

No I/O and no clock: the time comes as an argument, in seconds on any steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from sutro_stream.errors import EngineError
from sutro_stream.values.rate_hints import RateHint


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
