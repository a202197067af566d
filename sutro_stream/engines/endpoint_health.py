"""Which of several endpoints gets the next request: decided here, sent elsewhere."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from sutro_stream.errors import (
    AuthenticationError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RateLimitedError,
    TransportError,
)
from sutro_stream.flow.retry import is_retryable

_JITTER = (0.8, 1.2)
_MOST_DOUBLINGS = 64
_FIRST_CEILING = 2
_TRUSTED_CEILING = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """When an endpoint is set aside, and for how long.

    Attributes:
        failures: Failures in a row, without an answer between them, that set it
            aside; at least 1. So many refusals (key, quota, model) of rows that
            another endpoint answered set it aside for good.
        first_pause_s: Seconds before the first probe; each probe that fails
            doubles the pause. Also how long a 429 without `Retry-After` counts.
        longest_pause_s: Longest pause, in seconds.
    """

    failures: int = 5
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if self.failures < 1:
            raise ConfigurationError("failures must be at least 1")
        if not 0 < self.first_pause_s <= self.longest_pause_s:
            raise ConfigurationError(
                "first_pause_s must be above 0 and at most longest_pause_s"
            )


class Blame(Enum):
    """What an error says about the endpoint that it came from."""

    ROW = "row"
    """It is alive, and refused this one row."""
    THROTTLED = "throttled"
    """It is alive, and asked too often."""
    FAULT = "fault"
    """It may be failing."""
    DOWN = "down"
    """It answers nobody."""
    REFUSED = "refused"
    """It is alive, and turns us away: for this row, or for good (key, quota, model)."""


def blame(error: EngineError) -> Blame:
    """Whether the row or its endpoint is at fault."""
    if isinstance(error, (AuthenticationError, QuotaError, NotFoundError)):
        return Blame.REFUSED
    if isinstance(error, EngineUnavailableError):
        return Blame.DOWN
    if isinstance(error, RateLimitedError):
        return Blame.THROTTLED
    if isinstance(error, ProtocolError) or is_retryable(error):
        return Blame.FAULT
    return Blame.ROW


class Standing(IntEnum):
    """How much an endpoint is preferred, best first."""

    DUE = 0
    """Set aside, and it is time for a probe."""
    READY = 1
    """Healthy, as far as known."""
    RELUCTANT = 2
    """Throttled, or recovering and not yet trusted with more."""
    ASIDE = 3
    """Set aside; the next probe is not due, or still out."""
    CLOSED = 4
    """Set aside for good."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request at one endpoint, from its start to its end.

    Attributes:
        index: Which endpoint.
        is_probe: Whether the request finds out if the endpoint works again.
        episode: How often the endpoint had been set aside before.
        replies: How many replies it had sent before.
    """

    index: int
    is_probe: bool
    episode: int
    replies: int


class EndpointHealth:
    """What is known about one endpoint.

    No I/O and no clock: time is an argument.

    Attributes:
        index: Position among its kind.
        sent: Requests so far; always the sum of the next four.
        answered: Those that were answered.
        failed: Those that ended in an error, the row's own errors among them.
        dropped: Those that were cancelled before their reply.
        in_flight: Those that are out.
        last_sent: Number of the latest request among those of all endpoints.
        aside_until_s: When its next probe is due, infinite when it is set aside
            for good, `None` while it is trusted.
        reason: Why it is set aside, `None` while it is not.
    """

    def __init__(
        self, index: int, *, weight: float, rules: SetAside, rng: random.Random
    ) -> None:
        """A healthy endpoint without a request.

        Args:
            index: Position among its kind.
            weight: Requests in flight that suit it, compared with others.
            rules: When it is set aside.
            rng: Source of the jitter.
        """
        self.index = index
        self.sent = self.answered = self.failed = self.dropped = self.in_flight = 0
        self.last_sent = 0
        self.aside_until_s: float | None = None
        self.reason: EngineError | None = None
        self._weight = weight
        self._rules = rules
        self._rng = rng
        self._throttled_until_s = -math.inf
        self._ceiling: int | None = None
        self._streak = self._refusals = 0
        self._replies = 0
        self._episode = 0
        self._pauses = 0
        self._is_probed = False

    @property
    def load(self) -> float:
        """Requests in flight if it got one more, relative to its weight."""
        return (self.in_flight + 1) / self._weight

    def standing(self, now_s: float) -> Standing:
        """Whether it should get a request now."""
        until_s = self.aside_until_s
        if until_s is not None:
            if until_s == math.inf:
                return Standing.CLOSED
            is_due = now_s >= until_s and not self._is_probed
            return Standing.DUE if is_due else Standing.ASIDE
        is_full = self._ceiling is not None and self.in_flight >= self._ceiling
        if is_full or now_s < self._throttled_until_s:
            return Standing.RELUCTANT
        return Standing.READY

    def begin(self, now_s: float) -> Ticket:
        """Note a request on its way."""
        is_probe = self.standing(now_s) is Standing.DUE
        self._is_probed |= is_probe
        self.sent += 1
        self.in_flight += 1
        return Ticket(self.index, is_probe, self._episode, self._replies)

    def end_answered(self, ticket: Ticket) -> None:
        """Note the answer."""
        self._end(ticket)
        self.answered += 1
        self._refusals = 0
        self._showed_life(ticket)

    def end_failed(self, ticket: Ticket, error: EngineError, *, now_s: float) -> None:
        """Note an error."""
        self._end(ticket)
        self.failed += 1
        match blame(error):
            case Blame.ROW | Blame.REFUSED:
                self._showed_life(ticket)
            case Blame.THROTTLED:
                self._showed_life(ticket)
                self._throttle(error, now_s)
            case Blame.FAULT:
                self._misbehaved(ticket, error, now_s)
            case Blame.DOWN:
                self._misbehaved(ticket, error, now_s, is_certain=True)

    def turned_away(self, error: EngineError) -> None:
        """Note that another endpoint has answered what this one refused."""
        self._refusals += 1
        if self._refusals >= self._rules.failures:
            self.aside_until_s = math.inf
            self.reason = error

    def end_dropped(self, ticket: Ticket, *, now_s: float) -> None:
        """Note that the request was cancelled before its reply.

        It counts as a failure if no reply at all came while it waited: nothing
        but deadlines and lost races tells of an endpoint that hangs.
        """
        self._end(ticket)
        self.dropped += 1
        if ticket.replies == self._replies:
            self._misbehaved(ticket, TransportError("requests to it hang"), now_s)

    def _end(self, ticket: Ticket) -> None:
        self.in_flight -= 1
        if ticket.is_probe:
            self._is_probed = False

    def _showed_life(self, ticket: Ticket) -> None:
        self._replies += 1
        # What was sent before it was set aside tells nothing new.
        if ticket.episode != self._episode or self.aside_until_s == math.inf:
            return
        self._streak = 0
        if self.aside_until_s is not None:
            self.aside_until_s = self.reason = None
            # Having nothing in flight, it would get everybody's requests at once.
            self._ceiling = _FIRST_CEILING
        elif self._ceiling is not None:
            self._ceiling += 1
            if self._ceiling > _TRUSTED_CEILING:
                self._ceiling = None
                self._pauses = 0

    def _misbehaved(
        self,
        ticket: Ticket,
        error: EngineError,
        now_s: float,
        *,
        is_certain: bool = False,
    ) -> None:
        if ticket.episode != self._episode:
            return
        if self.aside_until_s is not None:
            # With all others set aside too, it gets requests although no probe is
            # due; that those fail is no reason to wait longer.
            if ticket.is_probe and self.aside_until_s != math.inf:
                self._set_aside(error, now_s)
            return
        self._streak += 1
        if is_certain or self._streak >= self._rules.failures:
            self._set_aside(error, now_s)

    def _set_aside(self, error: EngineError, now_s: float) -> None:
        rules = self._rules
        growth = 2.0 ** min(self._pauses, _MOST_DOUBLINGS)
        pause_s = min(rules.longest_pause_s, rules.first_pause_s * growth)
        self.aside_until_s = now_s + pause_s * self._rng.uniform(*_JITTER)
        self.reason = error
        self._ceiling = None
        self._streak = 0
        self._pauses += 1
        self._episode += 1

    def _throttle(self, error: EngineError, now_s: float) -> None:
        asked_s = error.retry_after_s if isinstance(error, RateLimitedError) else None
        pause_s = self._rules.first_pause_s if asked_s is None else asked_s
        self._throttled_until_s = max(self._throttled_until_s, now_s + pause_s)


class EndpointChooser:
    """Chooses among endpoints: the best standing, then the least load.

    No I/O and no clock: time is an argument.

    Attributes:
        endpoints: In the order of their weights.
    """

    def __init__(
        self, weights: Sequence[float], *, rules: SetAside, rng: random.Random
    ) -> None:
        """Endpoints without a request.

        Args:
            weights: For each endpoint the requests in flight that suit it,
                compared with others.
            rules: When one is set aside.
            rng: Source of the jitter.
        """
        self.endpoints = [
            EndpointHealth(index, weight=weight, rules=rules, rng=rng)
            for index, weight in enumerate(weights)
        ]
        self._sent = 0

    def choose(
        self,
        now_s: float,
        *,
        excluded: Collection[int] = (),
        worst: Standing = Standing.ASIDE,
    ) -> Ticket | None:
        """Note a request at the endpoint that should get it.

        A single request goes to one whose probe is due. Among equals, the one
        that waited longest is next.

        Args:
            now_s: Time, in seconds.
            excluded: Endpoints that may not get it.
            worst: The least standing that will do.

        Returns:
            The request's ticket, to be given to its endpoint when it ends; `None`
            if there is no such endpoint.
        """
        best: EndpointHealth | None = None
        best_key: tuple[float, ...] = (worst, math.inf)
        for endpoint in self.endpoints:
            if endpoint.index in excluded:
                continue
            key = (endpoint.standing(now_s), endpoint.load, endpoint.last_sent)
            if key < best_key:
                best, best_key = endpoint, key
        if best is None:
            return None
        self._sent += 1
        best.last_sent = self._sent
        return best.begin(now_s)
