"""What an endpoint says about its rate limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateHint:
    """Quotas of one endpoint at the moment it replied; `None` where not said.

    Attributes:
        limit_requests: Requests of a full quota.
        remaining_requests: Requests left of it.
        reset_requests_s: Seconds until it is full again.
        limit_tokens: Tokens of a full quota.
        remaining_tokens: Tokens left of it.
        reset_tokens_s: Seconds until it is full again.
        refills: Whether the quota refills steadily; otherwise all at once when
            the time is over.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None
    refills: bool = True
