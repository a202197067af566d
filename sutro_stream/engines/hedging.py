"""A second request for answers that are late; the first answer wins.

What a call costs that is not late: its place in a table, two looks at the clock,
and a cancel scope, since a call can be ended by another's answer. No task is
started for it. One task for all calls looks for late ones, and second requests run
in that task's group. A call ends only when all its requests have ended.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import anyio
from anyio.abc import TaskGroup

from sutro_stream.engines.engine import Responder, request_identity
from sutro_stream.errors import ConfigurationError, EngineError, RateLimitedError
from sutro_stream.flow.groups import single_error
from sutro_stream.flow.latency import LatencyQuantiles
from sutro_stream.values.outcomes import Answer

# The latency that is found is off by a few per cent; a call that is late by less
# would usually be answered before its second request.
_SLACK = 1.1
_SHORTEST_LATE_S = 0.005
_LOOKS_PER_LATENCY = 16
_LONGEST_LOOK_S = 0.25
_CLEANUP_S = 5.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """When a call gets further requests, and how many.

    Attributes:
        max_extra_percent: Further requests allowed, in per cent of all calls so
            far; above 0 and at most 100.
        burst: Most of them saved up for later; at least 1.
        quantile: The share of calls that is on time; a call is late beyond the
            latency that this share stays under. Above 0 and below 1.
        least_known: Answers needed before any call counts as late.
        per_call: Most further requests for one call, one after the other: each
            may fail or be late itself. At least 1.
    """

    max_extra_percent: float = 3.0
    burst: int = 16
    quantile: float = 0.99
    least_known: int = 50
    per_call: int = 3

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if not 0 < self.max_extra_percent <= 100:
            raise ConfigurationError("max_extra_percent must be above 0, at most 100")
        if not 0 < self.quantile < 1:
            raise ConfigurationError("quantile must be between 0 and 1")
        if min(self.burst, self.least_known, self.per_call) < 1:
            raise ConfigurationError("burst, least_known and per_call start at 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStatistics:
    """What hedging has done.

    Attributes:
        calls: Prompts that were to be answered.
        requests: Requests sent for them.
        hedged: Calls that got a further request.
        hedges_won: Calls answered by a further request.
        cancelled: Requests given up because another one of their call was
            answered, or the call was cancelled.
        in_flight: Requests that are out.
        late_after_s: Latency beyond which a call is late, `None` while unknown.
    """

    calls: int
    requests: int
    hedged: int
    hedges_won: int
    cancelled: int
    in_flight: int
    late_after_s: float | None


class ExtraBudget:
    """How many further requests the calls so far have paid for.

    A token bucket filled by calls: starting empty, it never lets out more than its
    percentage of all calls, nor, after a long time without, many at once.
    """

    def __init__(self, *, percent: float, burst: int) -> None:
        """An empty bucket."""
        self._share = percent / 100
        self._most = float(burst)
        self._saved = 0.0

    def earn(self) -> None:
        """Note a call."""
        self._saved = min(self._most, self._saved + self._share)

    def spend(self) -> bool:
        """Take one further request, if there is one."""
        if self._saved < 1.0 - _ROUNDING:
            return False
        self._saved = max(0.0, self._saved - 1.0)
        return True

    def forfeit(self) -> None:
        """Save up anew."""
        self._saved = 0.0


@asynccontextmanager
async def hedged(
    responder: Responder, hedge: Hedge, *, latencies: LatencyQuantiles | None = None
) -> AsyncIterator[HedgedResponder]:
    """A responder that hedges, until the context is left.

    Leaving cancels the further requests that are out; calls go on without any.

    Args:
        responder: Sends the requests.
        hedge: When a call gets further ones.
        latencies: Those known of the endpoint, `None` for none yet.
    """
    if latencies is None:
        latencies = LatencyQuantiles()
    with single_error():
        async with anyio.create_task_group() as tasks:
            hedging = HedgedResponder(responder, hedge, tasks, latencies=latencies)
            tasks.start_soon(hedging.watch)
            yield hedging
            tasks.cancel_scope.cancel()


class _Extras:
    """The further requests of one call."""

    def __init__(self) -> None:
        self.sent = 0
        self._out: set[anyio.CancelScope] = set()
        self._ended = anyio.Event()

    def begin(self) -> anyio.CancelScope:
        """A request on its way, and the scope to send it in."""
        if not self._out:
            self._ended = anyio.Event()
        scope = anyio.CancelScope()
        self._out.add(scope)
        self.sent += 1
        return scope

    def end(self, scope: anyio.CancelScope) -> None:
        """Note that one has ended."""
        self._out.remove(scope)
        if not self._out:
            self._ended.set()

    def cancel(self) -> None:
        """Give up those that are out."""
        for scope in self._out:
            scope.cancel()

    async def wait(self) -> None:
        """Wait until none is out."""
        if self._out:
            await self._ended.wait()


@dataclass(slots=True, eq=False)
class _Call:
    """One prompt on its way to its answer.

    Attributes:
        prompt: As given.
        seed: As given.
        started_s: When its first request was sent.
        waited_from_s: When its latest request was sent.
        scope: Around its first request.
        extras: Its further ones, `None` while there was none.
        answer: The first that came.
        requests: Those sent for it, as the responder counts them.
    """

    prompt: str
    seed: int | None
    started_s: float
    waited_from_s: float
    scope: anyio.CancelScope
    extras: _Extras | None = None
    answer: Answer | None = None
    requests: int = 0


class HedgedResponder:
    """`Responder` that sends a late prompt again; made by `hedged`.

    Invariants: a call ends only when all its requests have ended; the error of a
    request that lost is not seen; calls have paid for every further request.
    """

    def __init__(
        self,
        responder: Responder,
        hedge: Hedge,
        tasks: TaskGroup,
        *,
        latencies: LatencyQuantiles,
    ) -> None:
        """A responder without a call.

        Args:
            responder: Sends the requests.
            hedge: When a call gets further ones.
            tasks: Where these run, beside `watch`.
            latencies: Those known of the endpoint.
        """
        self._responder = responder
        self._hedge = hedge
        self._tasks = tasks
        self._latencies = latencies
        self._budget = ExtraBudget(percent=hedge.max_extra_percent, burst=hedge.burst)
        # anyio.current_time() looks for the event loop first, at ten times the price.
        self._clock = asyncio.get_running_loop().time
        # Those that may get a further request, in the order of `waited_from_s`.
        self._waiting: dict[_Call, None] = {}
        self._alarm = anyio.Event()
        self._is_dozing = False
        self._calls = self._requests = self._in_flight = 0
        self._hedged = self._hedges_won = self._cancelled = 0

    @property
    def model(self) -> str | None:
        return self._responder.model

    @property
    def identity(self) -> Mapping[str, str]:
        return request_identity(self._responder)

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`: one request, and further ones if it is late."""
        call = self._begin(prompt, seed)
        error = None
        try:
            with call.scope:
                error = await self._request(call)
            if error is not None and call.extras is not None:
                self._waiting.pop(call, None)
                await call.extras.wait()
        finally:
            self._waiting.pop(call, None)
            if call.extras is not None:
                await self._drop(call.extras)
        if error is not None and call.answer is None:
            error.requests = call.requests
            raise error
        # Its scope is cancelled only once there is an answer.
        answer = cast("Answer", call.answer)
        if answer.requests == call.requests:
            return answer
        return replace(answer, requests=call.requests)

    async def watch(self) -> None:
        """Look for late calls until cancelled."""
        while True:
            wait_s = self._look(self._clock())
            self._alarm = anyio.Event()
            with anyio.move_on_after(wait_s):
                await self._alarm.wait()

    def statistics(self) -> HedgeStatistics:
        """What has been done so far."""
        return HedgeStatistics(
            calls=self._calls,
            requests=self._requests,
            hedged=self._hedged,
            hedges_won=self._hedges_won,
            cancelled=self._cancelled,
            in_flight=self._in_flight,
            late_after_s=self._late_after_s(),
        )

    def _begin(self, prompt: str, seed: int | None) -> _Call:
        now_s = self._clock()
        call = _Call(prompt, seed, now_s, now_s, anyio.CancelScope())
        self._calls += 1
        self._budget.earn()
        self._waiting[call] = None
        if self._is_dozing:
            self._rouse()
        return call

    async def _request(
        self, call: _Call, *, is_extra: bool = False
    ) -> EngineError | None:
        """Send one request, and keep its answer if it is the call's first."""
        self._requests += 1
        self._in_flight += 1
        call.requests += 1
        try:
            answer = await self._responder.answer(call.prompt, seed=call.seed)
        except EngineError as error:
            call.requests += error.take_requests() - 1
            if isinstance(error, RateLimitedError):
                # No time to ask for more than is needed.
                self._budget.forfeit()
            return error
        except anyio.get_cancelled_exc_class():
            # The loser of two requests.
            self._cancelled += 1
            raise
        finally:
            self._in_flight -= 1
        call.requests += answer.requests - 1
        if call.answer is None:
            call.answer = answer
            self._hedges_won += is_extra
            # For a call that lost its first request this is less than that would
            # have taken; leaving it out would make late calls seem rarer still.
            self._latencies.add(self._clock() - call.started_s)
            if self._is_dozing:
                self._rouse()
        return None

    async def _drop(self, extras: _Extras) -> None:
        extras.cancel()
        with anyio.move_on_after(_CLEANUP_S, shield=True):
            await extras.wait()

    # Further requests.

    def _late_after_s(self) -> float | None:
        if self._latencies.count < self._hedge.least_known:
            return None
        latency_s = self._latencies.quantile_s(self._hedge.quantile)
        return None if latency_s is None else max(_SHORTEST_LATE_S, latency_s * _SLACK)

    def _rouse(self) -> None:
        if self._latencies.count >= self._hedge.least_known:
            self._is_dozing = False
            self._alarm.set()

    def _look(self, now_s: float) -> float:
        """Send what is due; seconds until the next look."""
        late_after_s = self._late_after_s()
        if late_after_s is None or not self._waiting:
            self._is_dozing = True
            return math.inf
        shortest_s = min(late_after_s / _LOOKS_PER_LATENCY, _LONGEST_LOOK_S)
        while self._waiting:
            call = next(iter(self._waiting))
            due_in_s = call.waited_from_s + late_after_s - now_s
            if due_in_s > 0:
                return min(max(due_in_s, shortest_s), _LONGEST_LOOK_S)
            if not self._budget.spend():
                break
            self._send_extra(call, now_s)
        return shortest_s

    def _send_extra(self, call: _Call, now_s: float) -> None:
        extras = call.extras
        if extras is None:
            extras = call.extras = _Extras()
            self._hedged += 1
        del self._waiting[call]
        scope = extras.begin()
        if extras.sent < self._hedge.per_call:
            call.waited_from_s = now_s
            self._waiting[call] = None
        self._tasks.start_soon(self._ask_again, call, extras, scope)

    async def _ask_again(
        self, call: _Call, extras: _Extras, scope: anyio.CancelScope
    ) -> None:
        try:
            with scope:
                # The call may have ended before this task came to run.
                if not scope.cancel_called:
                    await self._request(call, is_extra=True)
        finally:
            extras.end(scope)
        if call.answer is not None:
            self._waiting.pop(call, None)
            call.scope.cancel()
            extras.cancel()
