"""Whether an endpoint answers anybody, decided from what becomes of requests.

An outage is a state of the endpoint, not a property of rows: what fails while nobody
is answered says nothing about the row that it was asked for. No I/O and no clock: the
time comes as an argument.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from sutro_stream.errors import (
    EngineError,
    RateLimitedError,
    RequestTimeoutError,
    ServiceError,
    TransportError,
)

# Failures without an answer between them that make an outage. Refusals within a few
# seconds take more: a quota that is used up is what the throttle is there for.
_FAILURES = 5
_REFUSALS = 20
# Where many requests fail by chance, so many more in a row that chance makes a run of
# them once in a million requests, but never more than this.
_CHANCE = math.log(1e-6)
_MOST_FAILURES = 200
_MEMORY = 0.02
_NO_SHARE = 1e-3
# An endpoint that asks for a longer pause, or refuses everything for longer, is out.
_LONG_PAUSE_S = 10.0

# A probe follows after an eighth of the time that the outage has lasted: its end is
# noticed late by as little, and an endpoint that restarts is left in peace.
_FIRST_DELAY_S = 0.3
_DELAY_SHARE = 0.125
_LONGEST_DELAY_S = 30.0
_JITTER = (0.75, 1.25)
_PROBE_S = 30.0

# Silence is an outage after so many times the usual latency, and a minute at least.
_SILENT_LATENCIES = 20.0
_SILENT_S = 60.0
_UNAVAILABLE = frozenset({503, 529})


class Outage:
    """Whether one endpoint, with one model, answers anybody.

    Shared by all that ask there. While it is on, nothing is to be sent but one probe
    at a time; the first answer ends it.

    Concurrency: one event loop; no method waits.

    Attributes:
        is_on: Whether nobody is answered at present.
        since_s: When the first of the failures came that made it.
        reason: What was said or seen last, for people.
        answers: Answers so far; a row that failed and fails again although this has
            grown fails by itself.
        forgiven: What `answers` was when the last outage began: failures since that
            many answers were its own.
        asked_until_s: Until when the endpoint asked to be left in peace.
        failed_probes: Probes of this outage that failed.
    """

    def __init__(
        self,
        *,
        rng: random.Random | None = None,
        forget: Callable[[], object] = lambda: None,
    ) -> None:
        """Nothing is known yet; `forget` is called when nobody asks there any more."""
        self.is_on = False
        self.since_s = 0.0
        self.reason = ""
        self.answers = 0
        self.forgiven = -1
        self.asked_until_s = -math.inf
        self.failed_probes = 0
        self._rng = rng or random.Random()
        self._forget = forget
        self._listeners: list[Callable[[], None]] = []
        self._streak = 0
        self._row: object = None
        self._has_several_rows = False
        self._is_certain = False
        self._share = self._share_before = 0.0
        self._usual_s = 0.0
        self._heard_s = -math.inf
        self._next_probe_s = 0.0
        self._is_probed = False
        self._slow_probes = 0

    def listen(self, changed: Callable[[], None]) -> None:
        """Have `changed` called when an outage begins and when it ends."""
        self._listeners.append(changed)

    def leave(self, changed: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners.remove(changed)
        if not self._listeners:
            self._forget()

    # What becomes of requests.

    def answered(self, latency_s: float) -> None:
        """Note an answer; called for every row."""
        self.answers += 1
        self._usual_s += 0.05 * (latency_s - self._usual_s)
        if self._streak or self._share > _NO_SHARE:
            self.showed_life()

    def showed_life(self) -> None:
        """Note a reply that only an endpoint at work gives."""
        self._share -= _MEMORY * self._share
        self._streak = 0
        if self.is_on:
            self._end()

    def failed(
        self,
        error: EngineError,
        now_s: float,
        *,
        row: object,
        is_suspect: bool,
        is_alone: bool,
    ) -> None:
        """Note a failure of a kind that may be an outage's (`flow.retry`).

        A row, told from others by identity, is suspect if it has failed while others
        were answered, and alone if no other is out, or could be.
        """
        self._heard_s = now_s
        asked_s = error.retry_after_s if isinstance(error, ServiceError) else None
        if asked_s is not None and (self.is_on or not is_suspect):
            self.asked_until_s = max(self.asked_until_s, now_s + asked_s)
        if self.is_on:
            self.reason = _said(error)
            return
        if is_suspect and not _is_nobody(error):
            return
        if not self._streak:
            self.since_s, self._share_before = now_s, self._share
            self._row, self._has_several_rows, self._is_certain = row, False, True
        self._share += _MEMORY * (1.0 - self._share)
        self._streak += 1
        self._has_several_rows |= row is not self._row
        self._is_certain &= speaks_for_endpoint(error)
        asked_long = asked_s is not None and asked_s > _LONG_PAUSE_S
        # One row that fails on and on is none, unless it is told what concerns all.
        is_likely = self._has_several_rows or self._is_certain
        if is_likely and (
            self._streak >= self._needed(error, now_s, asked_long=asked_long)
            or (asked_long and is_alone)
        ):
            self._begin(error, now_s)

    def silent(self, now_s: float, *, oldest_s: float) -> None:
        """Look whether requests sent since `oldest_s` are waited for in vain."""
        limit_s = max(_SILENT_S, _SILENT_LATENCIES * self._usual_s)
        quiet_s = now_s - max(oldest_s, self._heard_s)
        if not self.is_on and self.answers and quiet_s > limit_s:
            self.since_s = now_s
            self._begin(TransportError("no answer comes back"), now_s)

    def heard(self, now_s: float) -> None:
        """Note that answers came lately."""
        self._heard_s = now_s

    # Probes.

    @property
    def probe_limit_s(self) -> float:
        """Longest time of a probe; grows while nobody knows how long answers take."""
        if self.answers:
            return max(_PROBE_S, 3 * self._usual_s)
        return _PROBE_S * 2.0 ** min(self._slow_probes, 16)

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until the next probe, `None` while one is out."""
        return None if self._is_probed else max(0.0, self._next_probe_s - now_s)

    def began_probe(self) -> None:
        """Note a probe on its way."""
        self._is_probed = True

    def ended_probe(self, now_s: float, error: EngineError | None) -> None:
        """Note its end without an answer; `error` is `None` where we dropped it."""
        self._is_probed = False
        if error is None or not self.is_on:
            return
        self.failed_probes += 1
        self._slow_probes += isinstance(error, RequestTimeoutError)
        self._plan_probe(now_s)

    def _plan_probe(self, now_s: float) -> None:
        delay_s = _DELAY_SHARE * (now_s - self.since_s)
        delay_s = min(max(delay_s, _FIRST_DELAY_S), _LONGEST_DELAY_S)
        due_s = now_s + delay_s * self._rng.uniform(*_JITTER)
        self._next_probe_s = max(due_s, self.asked_until_s)

    # Beginning and end.

    def _needed(self, error: EngineError, now_s: float, *, asked_long: bool) -> float:
        is_long = asked_long or now_s - self.since_s > _LONG_PAUSE_S
        is_refusal = isinstance(error, RateLimitedError) and not is_long
        least = _REFUSALS if is_refusal else _FAILURES
        if self._share_before < _NO_SHARE:
            return least
        by_chance = _CHANCE / math.log(min(self._share_before, 1.0 - 1e-9))
        return max(least, min(by_chance, _MOST_FAILURES))

    def _begin(self, error: EngineError, now_s: float) -> None:
        self.is_on = True
        self._streak = max(1, self._streak)
        self.forgiven = self.answers
        self.reason = _said(error)
        self.failed_probes = self._slow_probes = 0
        self._is_probed = False
        self._plan_probe(now_s)
        self._tell()

    def _end(self) -> None:
        self.is_on = False
        self.asked_until_s = -math.inf
        self._streak = 0
        self._tell()

    def _tell(self) -> None:
        for changed in tuple(self._listeners):
            changed()


def _is_nobody(error: EngineError) -> bool:
    return isinstance(error, TransportError) and not error.connected


def speaks_for_endpoint(error: EngineError) -> bool:
    """Whether what was said concerns every row, and not only the one asked for."""
    if isinstance(error, ServiceError):
        is_refusal = isinstance(error, RateLimitedError)
        return is_refusal or error.status in _UNAVAILABLE
    return _is_nobody(error)


def _said(error: EngineError) -> str:
    if isinstance(error, ServiceError):
        return f"HTTP {error.status}"
    return str(error)
