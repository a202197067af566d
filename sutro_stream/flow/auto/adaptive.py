"""A throttle that finds an endpoint's best rate by itself."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.auto.concurrency_search import ConcurrencySearch
from sutro_stream.flow.auto.latency_window import LatencyWindow
from sutro_stream.flow.auto.quota_gate import QuotaGate
from sutro_stream.flow.auto.rate_search import RateSearch, Refusal
from sutro_stream.flow.auto.trouble_watch import Advice, TroubleWatch
from sutro_stream.flow.throttle import (
    LimitOf,
    ThrottleStatistics,
    Ticket,
    WaitReason,
)
from sutro_stream.values.rate_hints import RateHint

_START = 32
_CAP = 1024

_TOLD = WaitReason(
    limit_of=LimitOf.ENDPOINT, text="the endpoint's rate limit, told in its headers"
)
_ASKED = WaitReason(
    limit_of=LimitOf.ENDPOINT, text="the endpoint, which asked to wait (Retry-After)"
)
_REFUSED = WaitReason(
    limit_of=LimitOf.ENDPOINT,
    text="the endpoint, which refuses requests (HTTP 429)",
)
_NEAR = 0.9
# So few in flight are new highs by and by; what is refused then is a matter of rate.
_FEW = 8
_SAME = 0.05


@dataclass(slots=True, eq=False)
class AdaptiveTicket(Ticket):
    """A ticket with what learning needs."""

    sequence: int
    in_flight: int
    peak_before: int
    window: LatencyWindow | None


class AdaptiveThrottle:
    """`Throttle` for `concurrency="auto"`: finds the best rate by itself.

    Three limits, each learned by a part of its own: requests in flight, from the
    latency of answers (`ConcurrencySearch`); requests a second, from refusals
    (`RateSearch`); and what the endpoint's headers say is left (`QuotaGate`).
    Failures that come in bursts cut the first one, once for a burst.
    """

    def __init__(
        self, *, start: int = _START, cap: int = _CAP, searches: bool = True
    ) -> None:
        """A throttle that has seen nothing yet.

        Args:
            start: Requests in flight to begin with.
            cap: Most requests in flight.
            searches: Whether it limits requests in flight; otherwise it keeps to the
                endpoint's rate limits only.

        Raises:
            ConfigurationError: A number is below 1.
        """
        if start < 1 or cap < 1:
            raise ConfigurationError("start and cap must be at least 1")
        self._search = ConcurrencySearch(start=start, cap=cap, searches=searches)
        self._rates = RateSearch()
        self._gate = QuotaGate()
        self._sequence = 0
        self._refused = 0
        self._cuts = 0
        self._peak = 0
        self._met = 0
        self._troubles = TroubleWatch()

    @property
    def limit(self) -> int:
        return self._search.limit

    @property
    def in_flight(self) -> int:
        return self._search.in_flight

    def room(self, now_s: float) -> int:
        search = self._search
        free = search.limit - search.in_flight
        if free <= 0:
            return 0
        paced = self._rates.room(now_s)
        if self._gate.is_active:
            paced = min(paced, self._gate.room(now_s, self._sequence))
        return free if paced >= free else max(0, int(paced))

    def wait_s(self, now_s: float) -> float | None:
        if self._search.in_flight >= self._search.limit:
            return None
        wait_s = self._rates.wait_s(now_s)
        if self._gate.is_active:
            return max(wait_s, self._gate.wait_s(now_s, self._sequence))
        return wait_s

    def sent(self, now_s: float, *, estimated_tokens: int = 0) -> AdaptiveTicket:
        sequence = self._sequence
        self._sequence = sequence + 1
        self._rates.sent(sequence, now_s)
        search = self._search
        window = search.sent(sequence, now_s)
        in_flight, peak = search.in_flight, self._peak
        if in_flight > peak:
            self._peak = in_flight
        return AdaptiveTicket(
            now_s, estimated_tokens, sequence, in_flight, peak, window
        )

    def answered(
        self,
        ticket: Ticket,
        now_s: float,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        hint: RateHint | None = None,
    ) -> None:
        own = _own(ticket)
        self._search.answered(own.window, own.sequence, now_s - own.sent_s, now_s)
        self._rates.answered(own.sequence, now_s)
        if hint is not None:
            self._gate.told(hint, sequence=own.sequence, sent_s=own.sent_s, now_s=now_s)
        if self._gate.is_active:
            self._gate.cost(input_tokens + output_tokens)

    def failed(
        self,
        ticket: Ticket,
        now_s: float,
        error: EngineError,
        *,
        hint: RateHint | None = None,
    ) -> None:
        own = _own(ticket)
        self._search.lost(own.window, now_s)
        if hint is not None:
            self._gate.told(
                hint,
                sequence=own.sequence,
                sent_s=own.sent_s,
                now_s=now_s,
                is_answer=False,
            )
        if not isinstance(error, (ServiceError, TransportError)):
            return
        if isinstance(error, RateLimitedError):
            self._after_refusal(own, now_s, error.retry_after_s)
        elif isinstance(error, TransportError) or error.status >= 500:
            self.troubled(own, now_s)

    def cancelled(self, ticket: Ticket, now_s: float) -> None:
        self._search.lost(_own(ticket).window, now_s)

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        advice = self._troubles.failed(
            _own(ticket).sequence,
            self._sequence,
            now_s,
            limit=self._search.limit,
            most=self._search.in_flight + 1,
        )
        if advice is Advice.CUT:
            self._search.overloaded(now_s)
            self._cuts += 1
        elif advice is Advice.TAKE_BACK:
            self._search.restore(now_s)

    def waits_for(self, now_s: float) -> WaitReason | None:
        wait_s = self.wait_s(now_s)
        if not wait_s:
            return None
        if wait_s > self._rates.wait_s(now_s):
            return _TOLD
        return _ASKED if self._rates.is_asked_to_wait else _REFUSED

    def ends_after(self, requests: int | None) -> None:
        self._rates.ends_after(requests)

    def statistics(self) -> ThrottleStatistics:
        return ThrottleStatistics(
            limit=self.limit,
            in_flight=self._search.in_flight,
            sent=self._sequence,
            refused=self._refused,
            rate_per_s=self._rates.rate_per_s,
            ceiling=self._search.ceiling,
            cuts=self._cuts + self._rates.cuts,
        )

    def _after_refusal(
        self, ticket: AdaptiveTicket, now_s: float, retry_after_s: float | None
    ) -> None:
        self._refused += 1
        search, met = self._search, ticket.in_flight
        is_new_high = met > ticket.peak_before
        ceiling = search.ceiling
        if ceiling is not None and met > ceiling and is_new_high:
            # It was tried whether the ceiling still stands.
            self._rates.ignored(ticket.sequence)
            search.refused(now_s, at=met)
            return
        refusal = self._rates.refused(
            ticket.sequence, ticket.sent_s, now_s, retry_after_s
        )
        if refusal is Refusal.IN_VAIN:
            search.restore(now_s)
        if refusal in {Refusal.IN_VAIN, Refusal.STALE, Refusal.EMPTY, Refusal.CHANCE}:
            return
        if is_new_high and met >= _FEW:
            again = abs(met - self._met) <= 1 + _SAME * met
            if again or met >= _NEAR * search.limit:
                search.refused(now_s, at=met)
            self._met = met
        elif refusal is Refusal.EXCESS:
            # As many had been let through before: it is not their number.
            search.forget_ceiling()
        if refusal is Refusal.EXCESS:
            self._peak = 0


def _own(ticket: Ticket) -> AdaptiveTicket:
    if not isinstance(ticket, AdaptiveTicket):
        raise TypeError("a ticket of another throttle")
    return ticket
