"""A model of an endpoint under load: no I/O, no event loop, time as an argument."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.testing.chat_server.latency import Constant, Distribution
from sutro_stream.testing.simulated_quota import RateLimit, SimulatedQuota
from sutro_stream.values.rate_hints import RateHint

Speed = Callable[[int], float]
"""From the number of requests being served to the share of full speed at which
each of them proceeds."""

_FULL = 1e-9
_USUAL = Constant(seconds=0.1)


def knee(slots: int) -> Speed:
    """Full speed up to so many requests; beyond, they share what there is."""
    return lambda serving: min(1.0, slots / serving)


def peak(slots: int, *, fall: float = 0.5) -> Speed:
    """As `knee`, but throughput falls beyond it.

    Args:
        slots: Where throughput is highest.
        fall: Exponent: at twice the slots, `2 ** -fall` of the peak is left.
    """
    return lambda serving: min(1.0, (slots / serving) ** (1 + fall))


def gradual(half: int) -> Speed:
    """Each request slows down all others a little, as in batched inference.

    Throughput rises with each request and approaches a maximum.

    Args:
        half: Requests at which half of the maximum is reached.
    """
    return lambda serving: half / (half + serving)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How an endpoint behaves for a while.

    Attributes:
        latency: Time of a request that is served alone.
        speed: How requests slow each other down.
        slots: Requests served at once, `None` for any number; more wait in line.
        rate: Its rate limit, `None` for none.
        most_in_flight: More are refused with 429, `None` for no limit.
        refusing: Share of requests that are refused with 429 at random, whatever
            their rate.
        retry_after_s: `Retry-After` of those, `None` for none.
        told: What every reply tells of rate limits, true or not; `None` for what
            `rate` says.
        refusal_s: Time of a 429, and of whatever `down` says.
        down: Nobody answers: every request ends in a 503 (`"unavailable"`), or in
            a refused connection while those being served break
            (`"unreachable"`). `None` while it is up.
        failing: Share of requests that end in a 500.
        straggling: Share of requests that take `straggler_s`.
        straggler_s: See `straggling`.
        jitter_s: Requests arrive up to so much later than they were sent.
    """

    latency: Distribution = _USUAL
    speed: Speed | None = None
    slots: int | None = None
    rate: RateLimit | None = None
    most_in_flight: int | None = None
    refusing: float = 0.0
    retry_after_s: float | None = None
    told: RateHint | None = None
    refusal_s: float = 0.005
    down: Literal["unavailable", "unreachable"] | None = None
    failing: float = 0.0
    straggling: float = 0.0
    straggler_s: float = 8.0
    jitter_s: float = 0.0


Ending = Literal[
    "answered", "refused", "failed", "unavailable", "unreachable", "broken"
]


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """How a request ended.

    Attributes:
        ending: In which way.
        retry_after_s: As a 429 tells it.
        hint: What the reply tells about rate limits.
    """

    ending: Ending
    retry_after_s: float | None = None
    hint: RateHint | None = None

    def error(self) -> EngineError | None:
        """The error that an engine raises for it, `None` for an answer."""
        if self.ending == "answered":
            return None
        if self.ending == "unreachable":
            return TransportError("refused the connection", connected=False)
        if self.ending == "broken":
            return TransportError("the connection broke", connected=True)
        status = 503 if self.ending == "unavailable" else 500
        error = ServiceError(f"answered HTTP {status}", status=status)
        if self.ending == "refused":
            error = RateLimitedError(
                "answered HTTP 429", status=429, retry_after_s=self.retry_after_s
            )
        error.rate_hint = self.hint
        return error


@dataclass(slots=True)
class _Request:
    work_s: float
    reply: SimulatedReply


@dataclass(slots=True)
class _Service:
    """Requests that share an endpoint's speed, by the progress they end at.

    All proceed at the same speed, so one clock of progress serves them all, and
    the order of endings never changes.
    """

    progress_s: float = 0.0
    at_s: float = 0.0
    ends: list[tuple[float, int, int]] = field(default_factory=list)
    left: set[int] = field(default_factory=set)

    @property
    def serving(self) -> int:
        return len(self.ends) - len(self.left)

    def speed(self, conditions: Conditions) -> float:
        if conditions.speed is None or not self.serving:
            return 1.0
        return conditions.speed(self.serving)

    def advance(self, conditions: Conditions, now_s: float) -> None:
        self.progress_s += (now_s - self.at_s) * self.speed(conditions)
        self.at_s = now_s

    def next_end_s(self, conditions: Conditions) -> float | None:
        while self.ends and self.ends[0][2] in self.left:
            self.left.discard(heapq.heappop(self.ends)[2])
        if not self.ends:
            return None
        missing_s = max(0.0, self.ends[0][0] - self.progress_s)
        return self.at_s + missing_s / self.speed(conditions)


class SimulatedEndpoint:
    """An endpoint that serves, queues, refuses and fails as its conditions say.

    Deterministic: the same requests at the same times get the same replies.
    """

    def __init__(
        self,
        conditions: Conditions = Conditions(),
        *,
        changes: Sequence[tuple[float, Conditions]] = (),
        seed: int = 0,
    ) -> None:
        """An idle endpoint at time 0.

        Args:
            conditions: How it behaves to begin with.
            changes: Times at which that changes, in seconds and in order.
            seed: Of latencies and failures.

        Raises:
            ConfigurationError: The changes are not in order.
        """
        times = [at_s for at_s, _ in changes]
        if times != sorted(times):
            raise ConfigurationError("changes must be in the order of time")
        self._conditions = conditions
        self._changes = deque(changes)
        self._rng = random.Random(seed)
        self._order = count()
        self._service = _Service()
        self._queue: deque[int] = deque()
        self._requests: dict[int, _Request] = {}
        self._events: list[tuple[float, int, int]] = []
        self._quota = SimulatedQuota(
            left=conditions.rate.quota if conditions.rate else 0.0
        )

    @property
    def conditions(self) -> Conditions:
        """How it behaves now."""
        return self._conditions

    @property
    def present(self) -> int:
        """Requests being served or waiting in line."""
        return self._service.serving + len(self._queue)

    @property
    def next_event_s(self) -> float | None:
        """When something may happen next, `None` while nothing is pending."""
        ends_s = self._service.next_end_s(self._conditions)
        if not self._events:
            return ends_s
        first_s = self._events[0][0]
        return first_s if ends_s is None else min(ends_s, first_s)

    def arrive(self, key: int, now_s: float) -> None:
        """Take a request that was sent now, under a key not in use."""
        self._turn(now_s)
        jitter_s = self._conditions.jitter_s
        if jitter_s:
            self._schedule(key, now_s + self._rng.uniform(0.0, jitter_s))
        else:
            self._admit(key, now_s)

    def leave(self, key: int, now_s: float) -> None:
        """Drop a request whose reply is not wanted any more."""
        self._turn(now_s)
        request = self._requests.pop(key, None)
        if request is None or request.reply.ending not in {"answered", "failed"}:
            self._events = [event for event in self._events if event[2] != key]
            heapq.heapify(self._events)
        elif key in self._queue:
            self._queue.remove(key)
        else:
            self._service.advance(self._conditions, now_s)
            self._service.left.add(key)
            self._serve_queue()

    def replies(self, now_s: float) -> list[tuple[int, SimulatedReply]]:
        """Requests that ended up to now, in order, and how."""
        found: list[tuple[int, SimulatedReply]] = []
        while (at_s := self.next_event_s) is not None and at_s <= now_s + _FULL:
            self._turn(at_s)
            if self._events and self._events[0][0] <= at_s:
                self._happen(heapq.heappop(self._events), found)
            else:
                self._end_one(at_s, found)
        self._turn(now_s)
        return found

    def _turn(self, now_s: float) -> None:
        while self._changes and self._changes[0][0] <= now_s:
            at_s, conditions = self._changes.popleft()
            self._service.advance(self._conditions, at_s)
            rate = conditions.rate
            if rate is not None and self._conditions.rate is None:
                self._quota = SimulatedQuota(left=rate.quota, filled_s=at_s)
            self._conditions = conditions
            if conditions.down == "unreachable":
                self._break(at_s)

    def _break(self, now_s: float) -> None:
        service = self._service
        served = [key for _, _, key in service.ends if key not in service.left]
        service.ends.clear()
        service.left.clear()
        for key in (*served, *self._queue):
            self._end(key, now_s, SimulatedReply("broken"))
        self._queue.clear()

    def _end(self, key: int, now_s: float, reply: SimulatedReply) -> None:
        self._requests[key] = _Request(0.0, reply)
        self._schedule(key, now_s + self._conditions.refusal_s)

    def _schedule(self, key: int, at_s: float) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), key))

    def _happen(
        self, event: tuple[float, int, int], found: list[tuple[int, SimulatedReply]]
    ) -> None:
        at_s, _, key = event
        request = self._requests.pop(key, None)
        if request is None:
            self._admit(key, at_s)
        else:
            found.append((key, request.reply))

    def _admit(self, key: int, now_s: float) -> None:
        conditions, rate = self._conditions, self._conditions.rate
        most = conditions.most_in_flight
        if conditions.down is not None:
            self._end(key, now_s, SimulatedReply(conditions.down))
            return
        if conditions.refusing and self._rng.random() < conditions.refusing:
            after_s, told = conditions.retry_after_s, conditions.told
            self._end(key, now_s, SimulatedReply("refused", after_s, told))
            return
        crowded = most is not None and self.present >= most
        if crowded or (rate is not None and not self._quota.take(rate, now_s)):
            after_s = None if rate is None else self._quota.retry_after_s(rate, now_s)
            self._end(key, now_s, SimulatedReply("refused", after_s, self._hint(now_s)))
            return
        self._requests[key] = self._drawn(self._hint(now_s))
        self._queue.append(key)
        self._service.advance(conditions, now_s)
        self._serve_queue()

    def _hint(self, now_s: float) -> RateHint | None:
        rate, told = self._conditions.rate, self._conditions.told
        return self._quota.hint(rate, now_s) if rate and not told else told

    def _drawn(self, hint: RateHint | None) -> _Request:
        conditions, rng = self._conditions, self._rng
        work_s = conditions.latency.quantile_s(rng.random() or 0.5)
        if conditions.straggling and rng.random() < conditions.straggling:
            work_s = conditions.straggler_s
        fails = conditions.failing and rng.random() < conditions.failing
        return _Request(
            work_s, SimulatedReply("failed" if fails else "answered", hint=hint)
        )

    def _serve_queue(self) -> None:
        slots, service = self._conditions.slots, self._service
        while self._queue and (slots is None or service.serving < slots):
            key = self._queue.popleft()
            end = service.progress_s + self._requests[key].work_s
            heapq.heappush(service.ends, (end, next(self._order), key))

    def _end_one(self, at_s: float, found: list[tuple[int, SimulatedReply]]) -> None:
        service = self._service
        service.advance(self._conditions, at_s)
        _, _, key = heapq.heappop(service.ends)
        found.append((key, self._requests.pop(key).reply))
        self._serve_queue()
