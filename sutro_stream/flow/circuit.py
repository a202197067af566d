"""What becomes of a row whose request failed: decided here, done by the pool.

No I/O and no clock: the time comes as an argument.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from sutro_stream.errors import (
    AuthenticationError,
    EngineError,
    EngineUnavailableError,
    InputTooLongError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    ServiceError,
    TransportError,
    UnreadableInputError,
)
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.outage import Outage, speaks_for_endpoint
from sutro_stream.flow.retry import RetryPolicy, is_retryable

# Rows in a row that must be refused before all would be.
_ROWS = 20
# Before the first answer, the first few tell whether anybody is let in at all.
_FIRST_ROWS = 4

# What a row's prompt is at fault for, whoever is asked.
_OF_THE_ROW = (InputTooLongError, UnreadableInputError)


class Fate(Enum):
    """What a row's failure leads to, other than another attempt."""

    FAILED = auto()
    """The row has failed."""
    HELD = auto()
    """It has, unless others fail alike: that would be the endpoint's doing."""


class _Held(NamedTuple):
    """A row that has failed, it seems: by what, and when."""

    task: Task
    error: EngineError
    at_s: float


class Circuit:
    """Tells a row that fails from an endpoint that refuses everyone, or nobody hears.

    What is refused with 401, 403 or 404, has failed in any way before the first
    answer, or has spent its attempts while an outage may be beginning, is held until
    an answer shows that it was the row's own fault.

    Concurrency: one event loop; no method waits.

    Attributes:
        held: Rows that are held, and why; to be read only.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        outage: Outage,
        *,
        patience_s: float | None,
        is_known: bool,
        rng: random.Random,
    ) -> None:
        """Nothing has failed yet; the rest is as in `PoolConfig`.

        `is_known` says that the endpoint has answered rows of this work before.
        """
        self._policy = policy
        self._outage = outage
        self._patience_s = patience_s
        self._is_known = is_known
        self._rng = rng
        self._has_answered = False
        self.held: list[_Held] = []
        self._refused_rows = 0

    def is_doubtful(self, out: int) -> bool:
        """Whether those that are out should tell first whether anybody is let in."""
        is_refusal = not self._has_answered and _is_refusal(self.held[-1].error)
        return is_refusal and len(self.held) + out >= _FIRST_ROWS

    def answered(self) -> None:
        """Note an answer."""
        self._has_answered = True
        self._refused_rows = 0

    def let_go(
        self, now_s: float, *, answered_s: float | None = None, is_end: bool = False
    ) -> tuple[list[tuple[Task, EngineError]], list[tuple[Task, float]]]:
        """What becomes of held rows, now that something is known.

        A request sent at `answered_s` has been answered; `None`: nothing is out, and
        nothing was. At the end, no other row is left.

        Returns:
            Rows that have failed, and those to be asked again and when.

        Raises:
            EngineError: The endpoint refuses everything.
        """
        held, self.held = self.held, []
        if held and is_end and self._shuts_out([each.error for each in held]):
            raise held[-1].error
        failed, again = [], []
        for each in held:
            task, error = each.task, each.error
            is_trouble = is_retryable(error)
            if is_trouble and self._outage.is_on:
                again.append((task, now_s))
            elif answered_s is not None and answered_s < each.at_s:
                self.held.append(each)
            elif is_trouble and answered_s is None and speaks_for_endpoint(error):
                delay_s = self._policy.delay_s(error, attempts=0, rng=self._rng)
                again.append((task, now_s + (delay_s or 0.0)))
            else:
                failed.append((task, error))
        for task, _ in again:
            _forgive(task, task.failures)
            task.failures = 0
        return failed, again

    def failed(
        self,
        task: Task,
        error: EngineError,
        now_s: float,
        *,
        retries: int,
        others_out: int,
        is_last: bool,
    ) -> float | Fate:
        """Note a failed request.

        Args:
            task: The row; its attempts and failures are brought up to date.
            error: What the request ended in.
            now_s: The time now.
            retries: Repeated requests of the run so far.
            others_out: Other requests that are out.
            is_last: Whether there is no other row that could be asked.

        Returns:
            When the row is to be asked again, or what else becomes of it.

        Raises:
            EngineError: The run cannot go on.
        """
        if isinstance(error, (EngineUnavailableError, QuotaError)):
            raise error
        if not is_retryable(error):
            self._outage.showed_life()
            return self._refused(_Held(task, error, now_s), others_out)
        outage = self._outage
        self._require_somebody(error)
        if task.failed_at == outage.forgiven:
            _forgive(task, task.failures)
            task.failed_at, task.failures = -1, 0
        task.is_suspect |= 0 <= task.failed_at < outage.answers
        if task.failed_at != outage.answers:
            task.failed_at, task.failures = outage.answers, 0
        is_alone = is_last and not others_out
        outage.failed(
            error, now_s, row=task, is_suspect=task.is_suspect, is_alone=is_alone
        )
        if outage.is_on:
            # What failed before it was known to be one is forgiven as well.
            _forgive(task, 1 + task.failures)
            task.failed_at, task.is_suspect = -1, False
            return now_s
        if isinstance(error, RateLimitedError):
            return self._refused_for_rate(task, error, now_s, retries)
        task.failures += 1
        delay_s = self._policy.delay_s(error, attempts=task.attempts, rng=self._rng)
        if self._policy.is_spent(retries):
            return Fate.FAILED
        if delay_s is not None:
            return now_s + delay_s
        if task.is_suspect or (is_alone and not speaks_for_endpoint(error)):
            return Fate.FAILED
        self.held.append(_Held(task, error, now_s))
        return Fate.HELD

    def _refused_for_rate(
        self, task: Task, error: EngineError, now_s: float, retries: int
    ) -> float | Fate:
        _forgive(task, 1)
        if task.refused_s is None:
            task.refused_s = now_s
        limit_s, policy = self._patience_s, self._policy
        is_late = limit_s is not None and now_s - task.refused_s > limit_s
        delay_s = policy.delay_s(error, attempts=1, rng=self._rng)
        if is_late or delay_s is None or policy.is_spent(retries):
            return Fate.FAILED
        return now_s + delay_s

    def _require_somebody(self, error: EngineError) -> None:
        """Raise if nobody is there and never was: it may be a mistyped address."""
        nobody = isinstance(error, TransportError) and not error.connected
        heard = self._is_known or self._has_answered or self._outage.answers
        if nobody and not heard and self._patience_s is not None:
            raise EngineUnavailableError(
                f"cannot reach the endpoint: {error}; "
                "check the address and that the server is running"
            ) from error
        self._is_known |= not nobody

    def _refused(self, held: _Held, others_out: int) -> Fate:
        error = held.error
        is_refusal = _is_refusal(error)
        is_own = self._has_answered and not is_refusal
        if is_own or isinstance(error, _OF_THE_ROW):
            return Fate.FAILED
        self.held.append(held)
        self._refused_rows += 1
        is_over = is_refusal and not others_out and self.is_doubtful(0)
        if self._refused_rows < _ROWS and not is_over:
            return Fate.HELD
        if is_refusal:
            raise error
        raise EngineUnavailableError(
            f"gave up after {_ROWS} rows in a row without an answer; "
            f"the last one: {error}"
        ) from error

    def _shuts_out(self, errors: Sequence[EngineError]) -> bool:
        """Whether the last rows tell that nobody is let in any more.

        Some rows may be forbidden (403) or lead nowhere (404); a key that is none
        (401) is none for all.
        """
        if not self._has_answered:
            return _is_refusal(errors[-1])
        keys = [isinstance(e, ServiceError) and e.status == 401 for e in errors]
        return len(errors) >= _FIRST_ROWS and all(keys)


def _forgive(task: Task, attempts: int) -> None:
    """Count some attempts as requests only."""
    task.attempts -= attempts
    task.extra_requests += attempts


def _is_refusal(error: EngineError) -> bool:
    return isinstance(error, (AuthenticationError, NotFoundError))
