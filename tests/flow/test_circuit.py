"""What becomes of a row whose request failed, and when a run stops asking."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from sutro_stream.errors import (
    AuthenticationError,
    EngineError,
    EngineUnavailableError,
    InputTooLongError,
    QuotaError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.circuit import Circuit, Fate
from sutro_stream.flow.outage import Outage
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

BROKEN = ServiceError("answered HTTP 500", status=500)
INVALID = ServiceError("answered HTTP 400", status=400)
FORBIDDEN = AuthenticationError("answered HTTP 403: moderation", status=403)
NOBODY = TransportError("connection refused", connected=False)
TOO_MANY = RateLimitedError("answered HTTP 429", status=429)
BATCH = PromptBatch(
    rows=RowBatch(records=pa.record_batch({"row": pa.array(["a"])}), first_index=0),
    texts=pa.array(["a"]),
)


class Bench:
    """A circuit, and rows that fail one after the other."""

    def __init__(
        self,
        *,
        attempts: int = 3,
        patience_s: float | None = 600.0,
        is_known: bool = False,
    ) -> None:
        self.outage = Outage(rng=random.Random(0))
        self.circuit = Circuit(
            RetryPolicy(attempts=attempts),
            self.outage,
            patience_s=patience_s,
            is_known=is_known,
            rng=random.Random(0),
        )
        self.now_s = 0.0

    def answer(self) -> None:
        self.outage.answered(0.1)
        self.circuit.answered()

    def fail(
        self, error: EngineError, task: Task | None = None, *, is_alone: bool = False
    ) -> float | Fate:
        task = task or Task(batch=BATCH, offset=0, payload="a")
        task.attempts += 1
        self.now_s += 0.1
        return self.circuit.failed(
            task,
            error,
            self.now_s,
            retries=0,
            others_out=not is_alone,
            is_last=is_alone,
        )


def row() -> Task:
    """One that was never asked."""
    return Task(batch=BATCH, offset=0, payload="a")


def test_a_row_that_fails_while_others_are_answered_spends_its_attempts() -> None:
    """Whatever it fails by, refusals for the rate aside."""
    bench, poison = Bench(), row()
    bench.answer()
    fates = []
    for _ in range(3):
        fates.append(bench.fail(BROKEN, poison))
        bench.answer()
    assert fates[-1] is Fate.FAILED
    assert all(isinstance(fate, float) for fate in fates[:-1])
    assert not bench.outage.is_on


def test_one_row_alone_is_no_outage() -> None:
    """It fails by itself, as far as anybody can tell."""
    bench, only = Bench(), row()
    assert [bench.fail(BROKEN, only, is_alone=True) for _ in range(3)][
        -1
    ] is Fate.FAILED


def test_one_row_that_is_told_of_an_outage_waits() -> None:
    """HTTP 503 concerns every row that there could be."""
    bench, only = Bench(), row()
    loading = ServiceError("answered HTTP 503: loading model", status=503)
    assert all(isinstance(bench.fail(loading, only), float) for _ in range(2))
    assert bench.fail(loading, only, is_alone=True) is Fate.HELD
    ((task, _),) = bench.circuit.let_go(bench.now_s)[1]
    assert task.attempts == 0
    assert isinstance(bench.fail(loading, only), float)
    assert isinstance(bench.fail(loading, only), float)
    assert bench.outage.is_on
    assert only.attempts == 0


def test_what_failed_before_an_outage_was_known_is_forgiven() -> None:
    """Attempts are given back, requests stay counted."""
    bench = Bench()
    bench.answer()
    tasks = [row() for _ in range(5)]
    for task in tasks:
        bench.fail(NOBODY, task)
    assert bench.outage.is_on
    assert (tasks[-1].attempts, tasks[-1].extra_requests) == (0, 1)
    bench.answer()
    bench.fail(BROKEN, tasks[0])
    assert tasks[0].attempts == 1


def test_with_one_attempt_a_row_is_not_failed_by_the_beginning_of_an_outage() -> None:
    """Until it is known what it is, nobody is failed by it."""
    bench = Bench(attempts=1)
    bench.answer()
    assert [bench.fail(NOBODY) for _ in range(4)] == [Fate.HELD] * 4
    assert isinstance(bench.fail(NOBODY), float)
    failed, again = bench.circuit.let_go(bench.now_s)
    assert not failed
    assert [task.attempts for task, _ in again] == [0] * 4


def test_a_row_that_is_held_fails_once_a_later_request_is_answered() -> None:
    """An answer to an earlier one may have been on its way before all went down."""
    bench = Bench(attempts=1)
    bench.answer()
    assert bench.fail(BROKEN) is Fate.HELD
    assert bench.circuit.let_go(1.0, answered_s=0.05) == ([], [])
    failed, again = bench.circuit.let_go(1.0, answered_s=0.5)
    assert (len(failed), len(again)) == (1, 0)


def test_nobody_there_at_the_start_ends_the_run_at_once() -> None:
    """No use in trying every row at an address where nobody ever answered."""
    with pytest.raises(EngineUnavailableError, match="check the address"):
        Bench().fail(NOBODY)


@pytest.mark.parametrize(
    "bench", [Bench(is_known=True), Bench(patience_s=None)], ids=["resumed", "forever"]
)
def test_who_was_there_before_is_waited_for(bench: Bench) -> None:
    """As is anybody by those who wait for ever."""
    assert isinstance(bench.fail(NOBODY), float)


def test_a_refusal_for_the_rate_costs_time_and_no_attempt() -> None:
    """How often it is refused does not matter while others are answered."""
    bench, task = Bench(), row()
    for _ in range(50):
        assert isinstance(bench.fail(TOO_MANY, task), float)
        bench.answer()
    assert (task.attempts, task.extra_requests) == (0, 50)


def test_a_row_refused_beyond_patience_fails() -> None:
    """Others are answered all the while."""
    bench, task = Bench(patience_s=2.0), row()
    fates = []
    for _ in range(25):
        fates.append(bench.fail(TOO_MANY, task))
        bench.answer()
    assert fates[-1] is Fate.FAILED


def test_one_forbidden_row_is_held_until_an_answer_shows_that_it_is_its_own() -> None:
    """Before the first answer as well."""
    bench = Bench()
    assert bench.fail(FORBIDDEN) is Fate.HELD
    bench.answer()
    failed, again = bench.circuit.let_go(bench.now_s, answered_s=bench.now_s)
    assert [error for _, error in failed] == [FORBIDDEN]
    assert not again


def test_twenty_forbidden_rows_in_a_row_end_the_run() -> None:
    """With the provider's words; what was answered before is kept."""
    bench = Bench()
    bench.answer()
    for _ in range(19):
        assert bench.fail(FORBIDDEN) is Fate.HELD
    with pytest.raises(AuthenticationError, match="moderation"):
        bench.fail(FORBIDDEN)


def test_a_key_that_is_revoked_near_the_end_fails_no_row() -> None:
    """Some rows may be forbidden; a key that is none is none for all."""
    bench, revoked = Bench(), AuthenticationError("HTTP 401", status=401)
    bench.answer()
    for _ in range(4):
        assert bench.fail(revoked) is Fate.HELD
    with pytest.raises(AuthenticationError):
        bench.circuit.let_go(bench.now_s, is_end=True)
    forbidden = Bench()
    forbidden.answer()
    for _ in range(4):
        assert forbidden.fail(FORBIDDEN) is Fate.HELD
    assert len(forbidden.circuit.let_go(forbidden.now_s, is_end=True)[0]) == 4


def test_a_key_that_never_worked_is_an_error() -> None:
    """There is nothing to go on with."""
    bench = Bench()
    for _ in range(19):
        bench.fail(FORBIDDEN)
    with pytest.raises(AuthenticationError):
        bench.fail(FORBIDDEN)
    few = Bench()
    few.fail(FORBIDDEN)
    with pytest.raises(AuthenticationError):
        few.circuit.let_go(few.now_s, is_end=True)


def test_invalid_requests_end_a_run_only_before_its_first_answer() -> None:
    """A setting that the endpoint refuses would be refused for every row."""
    bench = Bench()
    for _ in range(19):
        assert bench.fail(INVALID) is Fate.HELD
    with pytest.raises(EngineUnavailableError, match="HTTP 400"):
        bench.fail(INVALID)
    answered = Bench()
    answered.answer()
    assert all(answered.fail(INVALID) is Fate.FAILED for _ in range(50))


def test_long_rows_say_nothing_about_the_endpoint() -> None:
    """A sorted input may start with a thousand of them."""
    bench = Bench()
    long = InputTooLongError("long")
    assert all(bench.fail(long) is Fate.FAILED for _ in range(50))


def test_an_account_without_money_ends_the_run() -> None:
    """At once."""
    empty = QuotaError("nothing is left", status=402)
    with pytest.raises(QuotaError):
        Bench().fail(empty)
    bench = Bench()
    bench.answer()
    with pytest.raises(QuotaError):
        bench.fail(empty)
