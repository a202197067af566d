"""What a run may ask for in a minute, and in all."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.flow.budget import Budget, BudgetMeter
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.quotas import RateThrottle
from sutro_stream.flow.throttle import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one run, kept by waiting or by ending it.

    Attributes:
        requests_per_minute: Most requests, spread evenly; `None` for no limit.
        tokens_per_minute: Most tokens, input and output together, estimated before
            a request and corrected by its answer; `None` for no limit.
        budget: What the whole run may spend; it ends, resumable, when that is spent.
            `None` for no limit.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    budget: Budget | None = None

    def __post_init__(self) -> None:
        """Refuse limits that cannot be kept to."""
        self.gate(0.0)

    def gate(self, now_s: float) -> Gate:
        """What keeps the limits of a run that begins now."""
        throttle: Throttle | None = None
        if (self.requests_per_minute, self.tokens_per_minute) != (None, None):
            throttle = RateThrottle(
                requests_per_minute=self.requests_per_minute,
                tokens_per_minute=self.tokens_per_minute,
                started_s=now_s,
            )
        budget = self.budget
        meter = None if budget is None else BudgetMeter(budget, started_s=now_s)
        return Gate(throttle, meter)
