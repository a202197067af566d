"""Several throttles as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sutro_stream.errors import EngineError
from sutro_stream.flow.throttle import (
    Throttle,
    ThrottleStatistics,
    Ticket,
    WaitReason,
)
from sutro_stream.values.rate_hints import RateHint

_ANY = 1 << 30


def combine(throttles: Sequence[Throttle]) -> Throttle:
    """One throttle that sends when all of the given ones have room.

    Args:
        throttles: At least one.
    """
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
        room = _ANY
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

    def answered(
        self,
        ticket: Ticket,
        now_s: float,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        hint: RateHint | None = None,
    ) -> None:
        for part, own in zip(self._parts, _parts_of(ticket), strict=True):
            part.answered(
                own,
                now_s,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                hint=hint,
            )

    def failed(
        self,
        ticket: Ticket,
        now_s: float,
        error: EngineError,
        *,
        hint: RateHint | None = None,
    ) -> None:
        for part, own in zip(self._parts, _parts_of(ticket), strict=True):
            part.failed(own, now_s, error, hint=hint)

    def cancelled(self, ticket: Ticket, now_s: float) -> None:
        for part, own in zip(self._parts, _parts_of(ticket), strict=True):
            part.cancelled(own, now_s)

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        for part, own in zip(self._parts, _parts_of(ticket), strict=True):
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


def _parts_of(ticket: Ticket) -> list[Ticket]:
    if not isinstance(ticket, _CombinedTicket):
        raise TypeError("a ticket of another throttle")
    return ticket.parts
