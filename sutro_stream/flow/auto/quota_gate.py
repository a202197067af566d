"""What may still be sent, by what an endpoint's headers say.

No I/O and no clock: the time comes as an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sutro_stream.values.rate_hints import RateHint

_COST_MEMORY = 0.05
# Nobody tells of more than a daily quota; a longer time is a mistake.
_LONGEST_RESET_S = 86_400.0
_SHORTEST_WINDOW_S = 1.0
# So many later requests were answered after a reply said that nothing is left, and
# none was refused: it does not mean it. A few may have overtaken each other.
_CONTRADICTIONS = 4
_SLOW_PER_S = 1.0


@dataclass(slots=True, eq=False)
class _Quota:
    """One quota, as the reply to one request told it.

    Attributes:
        left: What was left.
        most: What a full quota holds.
        per_s: How it refills; 0 when it does so at once, at `full_s`.
        full_s: When it is full again.
        window_s: How long that was from the reply on.
        sequence: Number of the request.
        sent_s: When it was sent.
    """

    left: float
    most: float
    per_s: float
    full_s: float
    window_s: float
    sequence: int
    sent_s: float

    def left_now(self, now_s: float, sequence: int, cost: float) -> float:
        """What is left when all requests sent since are counted.

        A quota that is full again begins anew, with the next request.
        """
        if not self.per_s and now_s >= self.full_s:
            # Until a reply tells better: it lasts as long as this time.
            self.left, self.sequence = self.most, sequence - 1
            self.full_s = now_s + max(self.window_s, _SHORTEST_WINDOW_S)
        since = (sequence - self.sequence - 1) * cost
        if not self.per_s:
            return self.left - since
        refilled = self.per_s * (now_s - self.sent_s)
        return min(self.most, self.left - since + refilled)

    def room(self, now_s: float, sequence: int, cost: float) -> float:
        # A request above the whole quota goes out when that is full.
        return self.left_now(now_s, sequence, cost) / max(min(cost, self.most), 1e-9)

    def wait_s(self, now_s: float, sequence: int, cost: float) -> float:
        missing = min(cost, self.most) - self.left_now(now_s, sequence, cost)
        if missing <= 0:
            return 0.0
        if self.per_s:
            return missing / self.per_s
        return self.full_s - now_s


class QuotaGate:
    """Keeps requests within the quotas that the latest reply told.

    Requests sent after the one that was replied to are taken off what was left, and
    what has been refilled since is added: the reply may be older than it looks.
    """

    def __init__(self) -> None:
        """A gate that was told nothing, and is open."""
        self.is_active = False
        self._requests: _Quota | None = None
        self._tokens: _Quota | None = None
        self._cost = 0.0
        self._contradictions = 0

    def told(
        self,
        hint: RateHint,
        *,
        sequence: int,
        sent_s: float,
        now_s: float,
        is_answer: bool = True,
    ) -> None:
        """Note what a reply told.

        Args:
            hint: What it told.
            sequence: Number of its request, from 0, in the order of sending.
            sent_s: When that was sent.
            now_s: The time now.
            is_answer: Whether the reply was an answer.
        """
        if not is_answer:
            self._contradictions = 0
        elif _is_none_left(hint) and self._denies(sequence):
            self._contradictions += 1
        if _is_none_left(hint) and self._contradictions >= _CONTRADICTIONS:
            self._requests = self._tokens = None
            self.is_active = False
            return
        self._requests = _newer(
            self._requests,
            _quota(
                hint.remaining_requests,
                hint.limit_requests,
                hint.reset_requests_s,
                hint=hint,
                sequence=sequence,
                sent_s=sent_s,
                now_s=now_s,
            ),
        )
        self._tokens = _newer(
            self._tokens,
            _quota(
                hint.remaining_tokens,
                hint.limit_tokens,
                hint.reset_tokens_s,
                hint=hint,
                sequence=sequence,
                sent_s=sent_s,
                now_s=now_s,
            ),
        )
        self.is_active = self._requests is not None or self._tokens is not None

    def _denies(self, sequence: int) -> bool:
        """Whether an earlier reply told that nothing is left for a request."""
        known = (self._requests, self._tokens)
        return self._contradictions >= _CONTRADICTIONS or any(
            one is not None
            and one.left <= 0
            # One that refills quickly has one left again when the next one arrives.
            and one.per_s < _SLOW_PER_S
            and one.sequence < sequence
            for one in known
        )

    def cost(self, tokens: int) -> None:
        """Note what an answer cost, for the expectation of what others will."""
        weight = _COST_MEMORY if self._cost else 1.0
        self._cost += weight * (tokens - self._cost)

    def room(self, now_s: float, sequence: int) -> float:
        """How many requests may be sent now.

        Args:
            now_s: The time now.
            sequence: Number of the next request.
        """
        room = math.inf
        if self._requests is not None:
            room = self._requests.room(now_s, sequence, 1.0)
        if self._tokens is not None and self._cost:
            room = min(room, self._tokens.room(now_s, sequence, self._cost))
        return room

    def wait_s(self, now_s: float, sequence: int) -> float:
        """Seconds until one may be sent, as far as is known."""
        wait_s = 0.0
        if self._requests is not None:
            wait_s = self._requests.wait_s(now_s, sequence, 1.0)
        if self._tokens is not None and self._cost:
            wait_s = max(wait_s, self._tokens.wait_s(now_s, sequence, self._cost))
        return wait_s


def _is_none_left(hint: RateHint) -> bool:
    return hint.remaining_requests == 0 or hint.remaining_tokens == 0


def _newer(known: _Quota | None, told: _Quota | None) -> _Quota | None:
    if told is None or (known is not None and known.sequence > told.sequence):
        return known
    return told


def _quota(
    left: int | None,
    most: int | None,
    reset_s: float | None,
    *,
    hint: RateHint,
    sequence: int,
    sent_s: float,
    now_s: float,
) -> _Quota | None:
    """The quota that was told, `None` where it makes no sense."""
    if left is None or reset_s is None or left < 0 or not 0 <= reset_s < math.inf:
        return None
    if (most is not None and most <= 0) or (left == 0 and reset_s == 0):
        return None
    reset_s = min(reset_s, _LONGEST_RESET_S)
    most = None if most is None else max(most, left)
    per_s = 0.0
    if hint.refills:
        # Without knowing the whole, or while it is full, the refill cannot be told;
        # what is left is then all that counts until the reset.
        missing = 0 if most is None else most - left
        per_s = missing / reset_s if reset_s > 0 else 0.0
    return _Quota(
        left=left,
        most=math.inf if most is None else most,
        per_s=max(per_s, 0.0),
        full_s=now_s + reset_s,
        window_s=reset_s,
        sequence=sequence,
        sent_s=sent_s,
    )
