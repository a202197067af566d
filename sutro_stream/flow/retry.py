"""Whether and when a failed request is sent again: decided here, acted elsewhere."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    RateLimitedError,
    ServiceError,
    TransportError,
)

# 424: what it depends on has failed; 499: somebody on the way has hung up.
_RETRYABLE_STATUSES = frozenset({408, 409, 424, 425, 429, 499})
_SERVER_ERRORS = range(500, 600)
_NOT_IMPLEMENTED = frozenset({501, 505})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late to ask again.

    Delays grow by doubling and are drawn at random between nothing and the full
    step (full jitter), so that rows that failed together do not return together.
    A `Retry-After` is waited out in full, and then spread by the same draw. A
    refusal for the rate (429) costs a row time and none of its attempts, and delays
    behind refusals do not grow: how many are asked is what the throttle decides.

    Attributes:
        attempts: Most requests for one row, the first included; at least 1. Those
            refused for the rate, and those in an outage, are not counted.
        first_delay_s: Longest delay after the first failure, in seconds.
        longest_delay_s: Longest delay at all, in seconds; also caps `Retry-After`.
        retries_per_run: Most repeated requests of all rows together, `None` for no
            limit; a row that fails beyond it is not asked again.
    """

    attempts: int = 5
    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0
    retries_per_run: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits that cannot be met."""
        if self.attempts < 1:
            raise ConfigurationError("attempts must be at least 1")
        if self.first_delay_s < 0 or self.longest_delay_s < 0:
            raise ConfigurationError("delays must not be negative")

    def is_spent(self, retries: int) -> bool:
        """Whether a run with so many repeated requests may make no more."""
        return self.retries_per_run is not None and retries >= self.retries_per_run

    def delay_s(
        self, error: EngineError, *, attempts: int, rng: random.Random
    ) -> float | None:
        """Seconds to wait after so many attempts that count, `None` to give up.

        Pure but for the draw of the jitter from `rng`.
        """
        if not is_retryable(error):
            return None
        if isinstance(error, RateLimitedError):
            attempts = 1
        elif attempts >= self.attempts:
            return None
        step = min(self.longest_delay_s, self.first_delay_s * 2.0 ** (attempts - 1))
        jitter = rng.uniform(0, step)
        asked = error.retry_after_s if isinstance(error, ServiceError) else None
        if asked is None:
            return jitter
        return min(asked, self.longest_delay_s) + jitter


def is_retryable(error: EngineError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, TransportError):
        return True
    if isinstance(error, ServiceError):
        if error.retryable is not None:
            return error.retryable
        status = error.status
        return status in _RETRYABLE_STATUSES or (
            status in _SERVER_ERRORS and status not in _NOT_IMPLEMENTED
        )
    return False
