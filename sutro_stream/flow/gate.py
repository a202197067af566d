"""Whether the next request may go out: throttle and budget behind one question."""

from __future__ import annotations

from collections.abc import Callable

from sutro_stream.errors import EngineError, RateLimitedError
from sutro_stream.flow.budget import BudgetMeter
from sutro_stream.flow.sharing import Share
from sutro_stream.flow.throttle import Throttle, ThrottleStatistics, Ticket
from sutro_stream.values.outcomes import Answer
from sutro_stream.values.rate_hints import RateHint


class Gate:
    """The throttle and the budget of one run, either of which may be missing.

    Concurrency: one event loop; no method waits.

    Attributes:
        is_always_open: Whether nothing holds a request back here at present; to be
            read only.
    """

    def __init__(
        self,
        throttle: Throttle | None,
        budget: BudgetMeter | None,
        *,
        share: Share | None = None,
        after_refusal: Callable[[], Throttle] | None = None,
    ) -> None:
        """A gate before the first request.

        Args:
            throttle: Says when the next one may go out, `None` for at any time.
            budget: What may be spent in all, `None` for no limit.
            share: The part of `throttle` that other runs have a part in as well.
            after_refusal: Makes the throttle of a gate without one as soon as a
                request is answered with 429; until then it costs nothing.
        """
        self._throttle = throttle
        self._budget = budget
        self._share = share
        self._after_refusal = None if throttle is not None else after_refusal
        self._ends_after: int | None = None
        # Looked at several times for every row: an attribute is read in a fifth of
        # the time that a property takes.
        self.is_always_open = throttle is None and budget is None

    def room(self, now_s: float) -> int:
        """How many requests the throttle has room for."""
        return 1 << 30 if self._throttle is None else self._throttle.room(now_s)

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until time alone may make room, `None` when only an answer can."""
        return None if self._throttle is None else self._throttle.wait_s(now_s)

    def spent(self, now_s: float) -> str | None:
        """Why the budget permits no further request, `None` while it does."""
        return None if self._budget is None else self._budget.exhausted(now_s)

    def sent(self, now_s: float, *, estimated_tokens: int) -> Ticket | None:
        """Note a request going out."""
        if self._budget is not None:
            self._budget.sent()
        if self._throttle is None:
            return None
        return self._throttle.sent(now_s, estimated_tokens=estimated_tokens)

    def answered(self, ticket: Ticket | None, now_s: float, answer: Answer) -> None:
        """Note its answer."""
        usage = answer.usage
        read = 0 if usage is None else usage.input_tokens
        written = 0 if usage is None else usage.output_tokens
        if self._budget is not None:
            self._budget.answered(input_tokens=read, output_tokens=written)
        if self._throttle is not None and ticket is not None:
            self._throttle.answered(
                ticket,
                now_s,
                input_tokens=read,
                output_tokens=written,
                hint=answer.rate_hint,
            )

    def failed(self, ticket: Ticket | None, now_s: float, error: EngineError) -> None:
        """Note that it ended in an error."""
        if self._after_refusal is not None and isinstance(error, RateLimitedError):
            self._throttle, self._after_refusal = self._after_refusal(), None
            self._throttle.ends_after(self._ends_after)
            self.is_always_open = False
        if self._budget is not None:
            self._budget.failed()
        if self._throttle is not None and ticket is not None:
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
        """Have `wake` called when other runs may have made room."""
        if self._share is not None:
            self._share.wake = wake

    def close(self) -> None:
        """Leave what is shared to the others; nothing is sent any more."""
        if self._share is not None:
            self._share.leave()

    def statistics(self) -> ThrottleStatistics | None:
        """What the throttle allows and has seen, `None` without one."""
        return None if self._throttle is None else self._throttle.statistics()
