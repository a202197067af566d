"""A throttle that allows a number of requests in flight, and learns nothing."""

from __future__ import annotations

from sutro_stream.errors import ConfigurationError, EngineError, RateLimitedError
from sutro_stream.flow.throttle import ThrottleStatistics, Ticket, WaitReason
from sutro_stream.values.rate_hints import RateHint


class FixedThrottle:
    """Exactly so many requests in flight, whatever the endpoint says."""

    def __init__(self, concurrency: int) -> None:
        """An idle throttle.

        Raises:
            ConfigurationError: `concurrency` is below 1.
        """
        if concurrency < 1:
            raise ConfigurationError("concurrency must be at least 1")
        self.limit = concurrency
        self.in_flight = 0
        self._sent = 0
        self._refused = 0

    def room(self, now_s: float) -> int:  # noqa: ARG002 - time changes nothing
        """See `Throttle`."""
        return max(0, self.limit - self.in_flight)

    def wait_s(self, now_s: float) -> float | None:
        """See `Throttle`."""
        return 0.0 if self.room(now_s) else None

    def sent(self, now_s: float, *, estimated_tokens: int = 0) -> Ticket:
        """See `Throttle`."""
        self.in_flight += 1
        self._sent += 1
        return Ticket(now_s, estimated_tokens)

    def answered(
        self,
        ticket: Ticket,  # noqa: ARG002 - nothing is learned
        now_s: float,  # noqa: ARG002
        *,
        input_tokens: int = 0,  # noqa: ARG002
        output_tokens: int = 0,  # noqa: ARG002
        hint: RateHint | None = None,  # noqa: ARG002
    ) -> None:
        """See `Throttle`."""
        self.in_flight -= 1

    def failed(
        self,
        ticket: Ticket,  # noqa: ARG002 - nothing is learned
        now_s: float,  # noqa: ARG002
        error: EngineError,
        *,
        hint: RateHint | None = None,  # noqa: ARG002
    ) -> None:
        """See `Throttle`."""
        self.in_flight -= 1
        self._refused += isinstance(error, RateLimitedError)

    def cancelled(self, ticket: Ticket, now_s: float) -> None:  # noqa: ARG002
        """See `Throttle`."""
        self.in_flight -= 1

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        """See `Throttle`."""

    def waits_for(self, now_s: float) -> WaitReason | None:  # noqa: ARG002
        """See `Throttle`."""
        return None

    def ends_after(self, requests: int | None) -> None:
        """See `Throttle`."""

    def statistics(self) -> ThrottleStatistics:
        """See `Throttle`."""
        return ThrottleStatistics(
            limit=self.limit,
            in_flight=self.in_flight,
            sent=self._sent,
            refused=self._refused,
        )
