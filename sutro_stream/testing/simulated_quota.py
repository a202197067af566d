"""A rate limit of a simulated endpoint, and what is left of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sutro_stream.values.rate_hints import RateHint

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What an endpoint lets through; the rest is answered with 429.

    Attributes:
        per_s: Requests a second, on average.
        burst: Requests at once after a pause; at least 1.
        window_s: Refill all of `per_s * window_s` at once each time so many seconds
            have passed, `None` to refill steadily.
        retry_after_s: `Retry-After` of refusals, `None` for none. With a window,
            the time until it ends is told instead.
        told: Whether replies carry what is left.
    """

    per_s: float
    burst: float = 1.0
    window_s: float | None = None
    retry_after_s: float | None = None
    told: bool = False

    @property
    def quota(self) -> float:
        """Requests of a full quota."""
        return self.burst if self.window_s is None else self.per_s * self.window_s


@dataclass(slots=True)
class SimulatedQuota:
    """What is left of a rate limit."""

    left: float
    filled_s: float = 0.0

    def take(self, limit: RateLimit, now_s: float) -> bool:
        """Take one request off it, if one is left."""
        if limit.window_s is None:
            refilled = self.left + (now_s - self.filled_s) * limit.per_s
            self.left = min(limit.burst, refilled)
            self.filled_s = now_s
        elif now_s >= self.filled_s + limit.window_s:
            self.left = limit.quota
            self.filled_s = now_s - now_s % limit.window_s
        if self.left < 1 - _ROUNDING:
            return False
        self.left -= 1
        return True

    def retry_after_s(self, limit: RateLimit, now_s: float) -> float | None:
        """What a refusal tells now."""
        if limit.retry_after_s is None or limit.window_s is None:
            return limit.retry_after_s
        return math.ceil(self.filled_s + limit.window_s - now_s)

    def hint(self, limit: RateLimit, now_s: float) -> RateHint | None:
        """What the headers of a reply tell now."""
        if not limit.told:
            return None
        if limit.window_s is None:
            reset_s = (limit.burst - self.left) / limit.per_s
        else:
            reset_s = self.filled_s + limit.window_s - now_s
        return RateHint(
            limit_requests=int(limit.quota),
            remaining_requests=int(self.left),
            reset_requests_s=reset_s,
            refills=limit.window_s is None,
        )
