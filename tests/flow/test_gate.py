"""The gate: open until it has a reason, and a part of something shared."""

from __future__ import annotations

from sutro_stream.errors import (
    EngineError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.outage import Outage
from sutro_stream.flow.sharing import SharedLimits
from sutro_stream.flow.throttle import Ticket
from sutro_stream.testing.fixed_throttle import FixedThrottle
from sutro_stream.values.outcomes import Answer, Usage
from sutro_stream.values.rate_hints import RateHint

REFUSED = RateLimitedError("answered HTTP 429", status=429)
ANSWER = Answer(text="yes", usage=Usage(input_tokens=3, output_tokens=1))


class Listening(FixedThrottle):
    """Keeps the hints that it is given."""

    def __init__(self) -> None:
        super().__init__(4)
        self.hints: list[RateHint | None] = []

    def answered(
        self,
        ticket: Ticket,
        now_s: float,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        hint: RateHint | None = None,
    ) -> None:
        super().answered(
            ticket, now_s, input_tokens=input_tokens, output_tokens=output_tokens
        )
        self.hints.append(hint)

    def failed(
        self,
        ticket: Ticket,
        now_s: float,
        error: EngineError,
        *,
        hint: RateHint | None = None,
    ) -> None:
        super().failed(ticket, now_s, error)
        self.hints.append(hint)


class Troubled(FixedThrottle):
    """Counts what it is told of failures among answers."""

    troubles = 0

    def __init__(self) -> None:
        super().__init__(8)

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        super().troubled(ticket, now_s)
        self.troubles += 1


def test_a_gate_without_limits_is_open() -> None:
    """Nothing needs to be told to it."""
    gate = Gate(None, None, outage=Outage())
    assert gate.is_always_open
    assert gate.statistics() is None


def test_the_first_refusal_closes_an_open_gate() -> None:
    """From then on its throttle is asked; requests from before do not count."""
    gate = Gate(None, None, outage=Outage(), after_refusal=lambda: FixedThrottle(2))
    gate.failed(None, 0.0, TransportError("the connection broke"))
    before = gate.is_always_open
    gate.failed(None, 0.0, REFUSED)
    assert (before, gate.is_always_open) == (True, False)
    gate.answered(None, 0.1, ANSWER, estimated=(1, 1))
    ticket = gate.sent(0.2, estimated_tokens=1)
    assert gate.room(0.2) == 1
    gate.answered(ticket, 0.3, ANSWER, estimated=(1, 1))
    assert gate.room(0.3) == 2


def test_what_the_endpoint_tells_reaches_the_throttle() -> None:
    """With answers and with errors."""
    throttle, hint = Listening(), RateHint(remaining_requests=5, reset_requests_s=1.0)
    gate = Gate(throttle, None, outage=Outage())
    ticket = gate.sent(0.0, estimated_tokens=1)
    gate.answered(ticket, 0.1, Answer(text="yes", rate_hint=hint), estimated=(1, 1))
    error = RateLimitedError("answered HTTP 429", status=429)
    error.rate_hint = hint
    gate.failed(ticket, 0.1, error)
    gate.failed(ticket, 0.1, REFUSED)
    assert throttle.hints == [hint, hint, None]


def test_closing_leaves_what_is_shared_to_the_others() -> None:
    """Who waits is told."""
    woken = []
    shared = SharedLimits(lambda: FixedThrottle(1))
    first, second = shared.join("here"), shared.join("here")
    leaving = Gate(first, None, outage=Outage(), share=first)
    staying = Gate(second, None, outage=Outage(), share=second)
    staying.listen(lambda: woken.append(True))
    leaving.cancelled(leaving.sent(0.0, estimated_tokens=1), 0.0)
    first.sent(0.0)
    assert staying.room(0.0) == 0
    leaving.close()
    assert woken == [True]


def test_nothing_is_learned_of_limits_from_an_outage() -> None:
    """Failures are told only once an answer shows that they were none of its."""
    throttle, outage = Troubled(), Outage()
    gate = Gate(throttle, None, outage=outage)
    broken = ServiceError("answered HTTP 500", status=500)
    tickets = [gate.sent(0.0, estimated_tokens=1) for _ in range(3)]
    gate.failed(tickets[0], 0.1, broken)
    assert throttle.troubles == 0
    gate.answered(tickets[1], 0.1, ANSWER, estimated=(1, 1))
    assert throttle.troubles == 1
    for row in range(5):
        outage.failed(broken, 0.2, row=row, is_suspect=False, is_alone=False)
    gate.failed(tickets[2], 0.2, broken)
    gate.answered(gate.sent(1.0, estimated_tokens=1), 1.1, ANSWER, estimated=(1, 1))
    assert throttle.troubles == 1


def test_while_nobody_is_answered_one_probe_goes_out_at_a_time() -> None:
    """An open gate closes for as long, and opens again by itself."""
    outage = Outage()
    gate = Gate(None, None, outage=outage)
    for row in range(5):
        error = TransportError("refused", connected=False)
        outage.failed(error, 1.0, row=row, is_suspect=False, is_alone=False)
    assert not gate.is_always_open
    wait_s = gate.wait_s(1.0)
    assert wait_s is not None
    assert (gate.room(1.0), gate.room(1.0 + wait_s)) == (0, 1)
    assert gate.begins_probe()
    assert (gate.room(9.0), gate.wait_s(9.0)) == (0, None)
    outage.answered(0.1)
    assert gate.is_always_open
