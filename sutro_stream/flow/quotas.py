"""Limits that the user gives: requests and tokens a minute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sutro_stream.errors import ConfigurationError, EngineError, RateLimitedError
from sutro_stream.flow.throttle import (
    UNLIMITED,
    LimitOf,
    ThrottleStatistics,
    Ticket,
    WaitReason,
)
from sutro_stream.values.rate_hints import RateHint

_MINUTE_S = 60.0

# Unused allowance is kept for so long, and no longer: a pause is not made up for by
# a burst that the endpoint would refuse.
_BURST_S = 1.0
_COST_MEMORY = 0.05
_GIVEN = WaitReason(limit_of=LimitOf.USER, text="the rate limit given with the run")


@dataclass(slots=True)
class _Bucket:
    """An allowance that refills steadily; it may be overdrawn and pays that back."""

    per_s: float
    left: float
    filled_s: float

    @classmethod
    def full(cls, per_minute: float | None, now_s: float) -> _Bucket | None:
        if per_minute is None:
            return None
        per_s = per_minute / _MINUTE_S
        return cls(per_s, max(1.0, per_s * _BURST_S), now_s)

    def fill(self, now_s: float) -> float:
        elapsed_s = now_s - self.filled_s
        if elapsed_s > 0:
            most = max(1.0, self.per_s * _BURST_S, self.left)
            self.left = min(most, self.left + elapsed_s * self.per_s)
            self.filled_s = now_s
        return self.left


class RateThrottle:
    """`Throttle` that keeps to requests and tokens, in and out, a minute.

    Both are spread evenly, with a second's worth at once at most. A request is
    charged with its expected tokens when it goes out, and with the difference when
    its answer tells what it took. Expected are the given estimate, times what
    answers have taken for each estimated token so far; without an estimate, what
    they have taken on average. A request larger than the allowance is sent when the
    allowance is full, and the next one waits for it to be paid off.

    There is no limit of requests in flight here.
    """

    limit = UNLIMITED

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        started_s: float,
    ) -> None:
        """Full, but for a small burst, at `started_s`; `None` for no limit.

        Raises:
            ConfigurationError: A limit is not above 0.
        """
        for name, limit in (
            ("requests_per_minute", requests_per_minute),
            ("tokens_per_minute", tokens_per_minute),
        ):
            if limit is not None and not 0 < limit < math.inf:
                raise ConfigurationError(f"{name} must be above 0, or None")
        self.in_flight = 0
        self._sent = 0
        self._refused = 0
        self._requests = _Bucket.full(requests_per_minute, started_s)
        self._tokens = _Bucket.full(tokens_per_minute, started_s)
        self._cost = 0.0
        self._factor = 1.0
        self._answered = False

    def room(self, now_s: float) -> int:
        room = float(UNLIMITED)
        if self._requests is not None:
            # A hair more than whole: time is rounded.
            room = self._requests.fill(now_s) + 1e-6
        if self._tokens is not None:
            left = self._tokens.fill(now_s)
            if left <= 0:
                return 0
            room = min(room, max(1.0, left / max(self._cost, 1.0)))
        return max(0, int(room))

    def wait_s(self, now_s: float) -> float | None:
        wait_s = 0.0
        if self._requests is not None:
            missing = 1.0 - self._requests.fill(now_s)
            wait_s = max(0.0, missing / self._requests.per_s)
        if self._tokens is not None and self._tokens.fill(now_s) <= 0:
            # A token's worth more than nothing.
            wait_s = max(wait_s, (1.0 - self._tokens.left) / self._tokens.per_s)
        return wait_s

    def sent(self, now_s: float, *, estimated_tokens: int = 0) -> Ticket:
        self.in_flight += 1
        self._sent += 1
        if self._requests is not None:
            self._requests.left -= 1
        ticket = _ChargedTicket(
            now_s, estimated_tokens, self._expected(estimated_tokens)
        )
        if self._tokens is not None:
            self._tokens.left -= ticket.charged
        return ticket

    def answered(
        self,
        ticket: Ticket,
        now_s: float,  # noqa: ARG002 - the past is not corrected, only the rest
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        hint: RateHint | None = None,  # noqa: ARG002
    ) -> None:
        self.in_flight -= 1
        taken = input_tokens + output_tokens
        if not taken:
            return
        self._settle(ticket, taken)
        weight = _COST_MEMORY if self._answered else 1.0
        self._answered = True
        self._cost += weight * (taken - self._cost)
        if ticket.estimated_tokens > 0:
            self._factor += weight * (taken / ticket.estimated_tokens - self._factor)

    def failed(
        self,
        ticket: Ticket,
        now_s: float,  # noqa: ARG002
        error: EngineError,
        **_told: Any,
    ) -> None:
        self.in_flight -= 1
        if isinstance(error, RateLimitedError):
            self._refused += 1
            self._settle(ticket, 0)

    def cancelled(self, ticket: Ticket, now_s: float) -> None:  # noqa: ARG002
        """See `Throttle`; it stays charged, since it may have been worked on."""
        self.in_flight -= 1

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        """See `Throttle`."""

    def waits_for(self, now_s: float) -> WaitReason | None:
        return _GIVEN if self.wait_s(now_s) else None

    def ends_after(self, requests: int | None) -> None:
        """See `Throttle`."""

    def statistics(self) -> ThrottleStatistics:
        rates = [] if self._requests is None else [self._requests.per_s]
        if self._tokens is not None and self._cost:
            rates.append(self._tokens.per_s / self._cost)
        return ThrottleStatistics(
            limit=self.limit,
            in_flight=self.in_flight,
            sent=self._sent,
            refused=self._refused,
            rate_per_s=min(rates, default=None),
        )

    def _expected(self, estimated_tokens: int) -> float:
        return estimated_tokens * self._factor if estimated_tokens else self._cost

    def _settle(self, ticket: Ticket, taken: int) -> None:
        if self._tokens is not None and isinstance(ticket, _ChargedTicket):
            self._tokens.left += ticket.charged - taken


@dataclass(slots=True, eq=False)
class _ChargedTicket(Ticket):
    charged: float
