"""What a run may ask for at once, in a minute, and in all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.auto.adaptive import AdaptiveThrottle
from sutro_stream.flow.budget import Budget, BudgetMeter
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.quotas import RateThrottle
from sutro_stream.flow.sharing import SharedLimits, outage_of
from sutro_stream.flow.throttle import Throttle, combine


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one run, kept by waiting or by ending it.

    Attributes:
        requests_per_minute: Most requests, spread evenly; `None` for no limit.
        tokens_per_minute: Most tokens, input and output together, estimated before
            a request and corrected by its answer; `None` for no limit.
        budget: What the whole run may spend; it ends, resumable, when that is spent.
            `None` for no limit.
        in_flight: Most requests in flight, whatever `concurrency` says or finds;
            `None` for no limit.
        shared: Object that `concurrency="auto"` has in common with other runs in
            this event loop: what one of them learns of an endpoint, all know, and
            the limits that are found are kept by all together. `None` for a run
            that finds its own.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    budget: Budget | None = None
    in_flight: int | None = None
    shared: SharedLimits | None = None

    def __post_init__(self) -> None:
        """Refuse limits that cannot be kept to."""
        if self.in_flight is not None and self.in_flight < 1:
            raise ConfigurationError("in_flight must be at least 1, or None")
        self._given(0.0)

    def gate(
        self, now_s: float, *, is_auto: bool, endpoint: str, model: str | None = None
    ) -> Gate:
        """What keeps the limits of a run that begins now; to be closed at its end.

        With `is_auto` the number of requests in flight is to be found; `endpoint` is
        the name of what is asked, for what is shared with others; `model` the one that
        is asked for, for its price.
        """
        throttles, share = self._given(now_s), None
        keeps_to_endpoint = partial(AdaptiveThrottle, searches=False)
        if is_auto and self.shared is not None:
            share = self.shared.join(endpoint)
            throttles.append(share)
        elif is_auto:
            throttles.append(AdaptiveThrottle())
        elif throttles:
            throttles.append(keeps_to_endpoint())
        budget = self.budget
        return Gate(
            combine(throttles) if throttles else None,
            None
            if budget is None
            else BudgetMeter(budget, started_s=now_s, model=model),
            outage=outage_of(endpoint),
            share=share,
            after_refusal=keeps_to_endpoint,
        )

    def _given(self, now_s: float) -> list[Throttle]:
        if (self.requests_per_minute, self.tokens_per_minute) == (None, None):
            return []
        return [
            RateThrottle(
                requests_per_minute=self.requests_per_minute,
                tokens_per_minute=self.tokens_per_minute,
                started_s=now_s,
            )
        ]
