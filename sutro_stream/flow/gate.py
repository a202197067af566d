"""Whether the next request may go out: throttle and budget behind one question."""

from __future__ import annotations

from sutro_stream.errors import EngineError
from sutro_stream.flow.budget import BudgetMeter
from sutro_stream.flow.throttle import Throttle, Ticket
from sutro_stream.values.outcomes import Answer


class Gate:
    """The throttle and the budget of one run, either of which may be missing.

    Concurrency: one event loop; no method waits.
    """

    def __init__(self, throttle: Throttle | None, budget: BudgetMeter | None) -> None:
        self._throttle = throttle
        self._budget = budget
        self._is_open = throttle is None and budget is None

    @property
    def is_always_open(self) -> bool:
        """Whether nothing ever holds a request back here."""
        return self._is_open

    def admits(self, now_s: float) -> bool:
        """Whether a request may go out now."""
        return self.spent(now_s) is None and self.room(now_s) > 0

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
            )

    def failed(self, ticket: Ticket | None, now_s: float, error: EngineError) -> None:
        """Note that it ended in an error."""
        if self._budget is not None:
            self._budget.failed()
        if self._throttle is not None and ticket is not None:
            self._throttle.failed(ticket, now_s, error)

    def cancelled(self, ticket: Ticket | None, now_s: float) -> None:
        """Note that it was dropped by us."""
        if self._budget is not None:
            self._budget.failed()
        if self._throttle is not None and ticket is not None:
            self._throttle.cancelled(ticket, now_s)
