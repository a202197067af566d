"""Whether the next request may go out: outage, throttle and budget behind one question.

What decides, in this order: while the endpoint answers nobody (`Outage`), one probe at
a time; else the throttle, which is the narrowest of what the user gave (`quotas`), of
what was found while running (`auto`) and of what other runs leave (`sharing`); and the
budget, beyond which nothing goes out.
"""

from __future__ import annotations

from collections.abc import Callable

from sutro_stream.errors import EngineError, RateLimitedError
from sutro_stream.flow.budget import BudgetMeter
from sutro_stream.flow.outage import Outage
from sutro_stream.flow.retry import is_retryable
from sutro_stream.flow.sharing import Share
from sutro_stream.flow.throttle import Throttle, ThrottleStatistics, Ticket, WaitReason
from sutro_stream.values.outcomes import Answer
from sutro_stream.values.rate_hints import RateHint

_ROUNDING_S = 1e-6


class Gate:
    """Outage, throttle and budget of one run; the latter two may be missing.

    Concurrency: one event loop; no method waits.

    Attributes:
        outage: Of the endpoint, shared with all that ask there.
        is_always_open: Whether nothing holds a request back here at present; to be
            read only.
    """

    def __init__(
        self,
        throttle: Throttle | None,
        budget: BudgetMeter | None,
        *,
        outage: Outage,
        share: Share | None = None,
        after_refusal: Callable[[], Throttle] | None = None,
    ) -> None:
        """A gate before the first request; to be closed at the end.

        Args:
            throttle: Says when the next one may go out, `None` for at any time.
            budget: What may be spent in all, `None` for no limit.
            outage: Whether the endpoint answers anybody.
            share: The part of `throttle` that other runs have a part in as well.
            after_refusal: Makes the throttle of a gate without one as soon as a
                request is answered with 429; until then it costs nothing.
        """
        self.outage = outage
        self._throttle = throttle
        self._budget = budget
        self._share = share
        self._after_refusal = None if throttle is not None else after_refusal
        self._ends_after: int | None = None
        # Failed requests of which an answer will tell whether they were an outage's.
        self._doubtful: list[Ticket] = []
        self._wake: Callable[[], None] | None = None
        # Looked at several times for every row: an attribute is read in a fifth of
        # the time that a property takes.
        self.is_always_open = False
        outage.listen(self._changed)
        self._changed()

    def room(self, now_s: float) -> int:
        """How many requests may be sent now."""
        if self.outage.is_on:
            wait_s = self.wait_s(now_s)
            return int(wait_s is not None and wait_s < _ROUNDING_S)
        return 1 << 30 if self._throttle is None else self._throttle.room(now_s)

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until time alone may make room, `None` when only an answer can."""
        wait_s = None if self._throttle is None else self._throttle.wait_s(now_s)
        if not self.outage.is_on:
            return wait_s
        # Requests that hang leave no room for others, and are no reason not to probe.
        probe_s = self.outage.wait_s(now_s)
        return None if probe_s is None else max(wait_s or 0.0, probe_s)

    def waits_for(self, now_s: float) -> WaitReason | None:
        """Whose limit is waited for, `None` where none is."""
        return None if self._throttle is None else self._throttle.waits_for(now_s)

    def spent(self, now_s: float) -> str | None:
        """Why the budget permits no further request, `None` while it does."""
        return None if self._budget is None else self._budget.exhausted(now_s)

    def begins_probe(self) -> bool:
        """Note that the request that goes out now is a probe, if it is one."""
        if self.outage.is_on:
            self.outage.began_probe()
        return self.outage.is_on

    def sent(self, now_s: float, *, estimated_tokens: int) -> Ticket | None:
        """Note a request going out."""
        if self._budget is not None:
            self._budget.sent()
        if self._throttle is None:
            return None
        return self._throttle.sent(now_s, estimated_tokens=estimated_tokens)

    def answered(
        self,
        ticket: Ticket | None,
        now_s: float,
        answer: Answer,
        *,
        estimated: tuple[int, int],
    ) -> None:
        """Note its answer; `estimated` are its tokens, in and out, if it is silent."""
        usage = answer.usage
        read = 0 if usage is None else usage.input_tokens
        written = 0 if usage is None else usage.output_tokens
        if self._budget is not None:
            self._budget.answered(
                input_tokens=read,
                output_tokens=written,
                cached_tokens=0 if usage is None else usage.cached_tokens,
                estimated=estimated,
                model=answer.model,
            )
        if self._throttle is None or ticket is None:
            return
        for doubtful in self._doubtful:
            self._throttle.troubled(doubtful, now_s)
        self._doubtful.clear()
        self._throttle.answered(
            ticket,
            now_s,
            input_tokens=read,
            output_tokens=written,
            hint=answer.rate_hint,
        )

    def failed(self, ticket: Ticket | None, now_s: float, error: EngineError) -> None:
        """Note that it ended in an error."""
        is_refusal = isinstance(error, RateLimitedError)
        if self._after_refusal is not None and is_refusal:
            self._throttle, self._after_refusal = self._after_refusal(), None
            self._throttle.ends_after(self._ends_after)
            self._changed()
        if self._budget is not None:
            self._budget.failed()
        if self._throttle is None or ticket is None:
            return
        if is_retryable(error) and not is_refusal:
            # Nothing is to be learned of limits from an endpoint that is away.
            self._throttle.cancelled(ticket, now_s)
            if not self.outage.is_on:
                self._doubtful.append(ticket)
            return
        hint = error.rate_hint if isinstance(error.rate_hint, RateHint) else None
        self._throttle.failed(ticket, now_s, error, hint=hint)

    def cancelled(self, ticket: Ticket | None, now_s: float) -> None:
        """Note that it was dropped by us."""
        if self._budget is not None:
            self._budget.failed()
        if self._throttle is not None and ticket is not None:
            self._throttle.cancelled(ticket, now_s)

    def ends_after(self, requests: int) -> None:
        """Note that so many more requests will be sent, retries aside."""
        self._ends_after = requests
        if self._throttle is not None:
            self._throttle.ends_after(requests)

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when there may be room that neither time nor we made."""
        self._wake = wake
        if self._share is not None:
            self._share.wake = wake

    def close(self) -> None:
        """Leave what is shared to the others; nothing is sent any more."""
        self.outage.leave(self._changed)
        if self._share is not None:
            self._share.leave()

    def statistics(self) -> ThrottleStatistics | None:
        """What the throttle allows and has seen, `None` without one."""
        return None if self._throttle is None else self._throttle.statistics()

    def _changed(self) -> None:
        is_free = self._throttle is None and self._budget is None
        self.is_always_open = is_free and not self.outage.is_on
        if self.outage.is_on:
            self._doubtful.clear()
        if self._wake is not None:
            self._wake()
