"""Waits that a run can do nothing about: told to people, and bounded."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sutro_stream.errors import RunStoppedError, StopReason

_LOG = logging.getLogger("sutro_stream")

LONG_WAIT_S = 10.0
"""A wait that is longer is told to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a run waits for at present.

    Attributes:
        reason: For people, as in "waiting for …".
        since_s: When it began, in seconds on the clock of the event loop.
        until_s: When it will be over, on the same clock, as far as is known; `None`
            where nobody can tell.
        ends_run: Why a run may end rather than wait, `None` for a wait that it was
            told to make.
    """

    reason: str
    since_s: float
    until_s: float | None = None
    ends_run: StopReason | None = StopReason.OUTAGE

    def told(self, now_s: float) -> str | None:
        """Words, as in "the endpoint (HTTP 503) for 0:42", if people should know."""
        waited_s, left_s = now_s - self.since_s, (self.until_s or now_s) - now_s
        if max(left_s, waited_s) < LONG_WAIT_S:
            return None
        text = self.reason
        if waited_s >= 1.0:
            text += f" for {clock(waited_s)}"
        return text if left_s <= 0 else f"{text}, {clock(left_s)} to go"


class Patience:
    """Tells of long waits in the log, and ends the run when one is too long.

    Concurrency: one event loop; no method waits.
    """

    def __init__(self, patience_s: float | None) -> None:
        self._patience_s = patience_s
        self._told: Waiting | None = None

    def look(self, waiting: Waiting | None, now_s: float) -> None:
        """Take in what is waited for now, `None` for nothing.

        Raises:
            RunStoppedError: It takes too long.
        """
        told = self._told
        if waiting is None:
            if told is not None:
                lasted = clock(now_s - told.since_s)
                _LOG.warning("going on; waited for %s for %s", told.reason, lasted)
            self._told = None
            return
        if told is None and (text := waiting.told(now_s)) is not None:
            _LOG.warning("waiting for %s", text)
            self._told = waiting
        reason, patience_s = waiting.ends_run, self._patience_s
        if reason is None or patience_s is None:
            return
        until_s = waiting.until_s
        if until_s is not None and until_s - waiting.since_s > patience_s:
            raise RunStoppedError(
                f"waiting for {waiting.reason} would take another "
                f"{clock(until_s - now_s)}, longer than the patience of "
                f"{clock(patience_s)}; come back then",
                reason=reason,
            )
        if now_s - waiting.since_s > patience_s:
            raise RunStoppedError(
                f"waited for {waiting.reason} for {clock(now_s - waiting.since_s)}, "
                f"longer than the patience of {clock(patience_s)}",
                reason=reason,
            )


def clock(seconds: float) -> str:
    """A length of time as `0:42`, or `1:02:03`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
