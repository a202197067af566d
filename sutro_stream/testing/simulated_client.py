"""A client in a loop of events: a throttle and retries against a simulated endpoint.

As the pool does it, without its tasks: a run of thousands of requests takes tens of
milliseconds, so control can be watched for many seeds.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.flow.throttle import Throttle, Ticket
from sutro_stream.testing.simulated_endpoint import SimulatedEndpoint, SimulatedReply
from sutro_stream.testing.simulated_trace import Moment, Trace

_PATIENT = RetryPolicy(attempts=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What the client has to do, and how well it can.

    Attributes:
        rows: Rows to be answered, `None` for as many as fit before `until_s`.
        until_s: When it stops at the latest, in seconds; `None` for when all is done.
        retry: When a failed request is sent again; `None` for practically always.
        handling_s: Time the client takes for each reply, one after the other.
        timer_lag_s: Timers fire up to so much late.
        idle: Spans of time, from and to, in which no row is sent.
        seed: Of its own randomness.
    """

    rows: int | None = None
    until_s: float | None = None
    retry: RetryPolicy = _PATIENT
    handling_s: float = 0.0
    timer_lag_s: float = 0.0
    idle: Sequence[tuple[float, float]] = ()
    seed: int = 0


@dataclass(slots=True)
class _Out:
    ticket: Ticket
    attempts: int


class SimulatedRun:
    """One run of a client against an endpoint."""

    def __init__(
        self, endpoint: SimulatedEndpoint, throttle: Throttle, client: Client
    ) -> None:
        """A run at time 0."""
        self._endpoint = endpoint
        self._throttle = throttle
        self._client = client
        self._rng = random.Random(client.seed)
        self._keys = count()
        self._fresh = math.inf if client.rows is None else client.rows
        self._delayed: list[tuple[float, int]] = []
        self._out: dict[int, _Out] = {}
        self._now_s = 0.0
        self._free_s = 0.0
        self.trace = Trace()

    def run(self) -> Trace:
        """Run to the end."""
        until_s = math.inf if self._client.until_s is None else self._client.until_s
        if self._client.rows is not None:
            self._throttle.ends_after(self._client.rows)
        while self._now_s < until_s:
            self._send()
            next_s = self._next_s()
            if next_s is None:
                break
            self._now_s = max(self._now_s, min(next_s, until_s))
            for key, reply in self._endpoint.replies(self._now_s):
                self._handle(key, reply)
                self._send()
        self._moment()
        return self.trace

    def _due(self) -> bool:
        return bool(self._delayed) and self._delayed[0][0] <= self._now_s

    def _is_idle(self) -> bool:
        return any(start <= self._now_s < end for start, end in self._client.idle)

    def _send(self) -> None:
        if self._client.idle and self._is_idle():
            return
        throttle, now_s = self._throttle, self._now_s
        room = throttle.room(now_s)
        while room > 0 and (self._fresh or self._due()):
            attempts = 1
            if self._due():
                attempts = heapq.heappop(self._delayed)[1]
            else:
                self._fresh -= 1
            key = next(self._keys)
            self._out[key] = _Out(throttle.sent(now_s), attempts)
            self._endpoint.arrive(key, now_s)
            self._moment().sent += 1
            room = throttle.room(now_s)

    def _next_s(self) -> float | None:
        times = [self._endpoint.next_event_s]
        idle_until = [end for start, end in self._client.idle if end > self._now_s]
        times += idle_until
        if self._delayed and not self._due():
            times.append(self._delayed[0][0])
        if self._fresh or self._due():
            wait_s = self._throttle.wait_s(self._now_s)
            if wait_s is not None and not (self._client.idle and self._is_idle()):
                lag_s = self._client.timer_lag_s
                wait_s += self._rng.uniform(0, lag_s) if lag_s else 0.0
                times.append(self._now_s + max(wait_s, 1e-7))
        return min((at_s for at_s in times if at_s is not None), default=None)

    def _handle(self, key: int, reply: SimulatedReply) -> None:
        cost_s = self._client.handling_s
        if cost_s:
            self._now_s = max(self._now_s, self._free_s) + cost_s
            self._free_s = self._now_s
        out, moment = self._out.pop(key), self._moment()
        error = reply.error()
        if error is None:
            moment.answered += 1
            self._throttle.answered(out.ticket, self._now_s, hint=reply.hint)
            return
        self._throttle.failed(out.ticket, self._now_s, error, hint=reply.hint)
        if reply.ending == "refused":
            moment.refused += 1
        else:
            moment.failed += 1
        delay_s = self._client.retry.delay_s(
            error, attempts=out.attempts, rng=self._rng
        )
        if delay_s is None:
            self.trace.given_up += 1
        else:
            due_s = self._now_s + delay_s
            heapq.heappush(self._delayed, (due_s, out.attempts + 1))

    def _moment(self) -> Moment:
        moment = self.trace.at(self._now_s)
        if moment.limit is None:
            statistics = self._throttle.statistics()
            moment.in_flight = statistics.in_flight
            moment.limit = statistics.limit
            moment.rate_per_s = statistics.rate_per_s
        return moment


def simulate(endpoint: SimulatedEndpoint, throttle: Throttle, client: Client) -> Trace:
    """Run a client against an endpoint, from time 0 to its end."""
    return SimulatedRun(endpoint, throttle, client).run()
