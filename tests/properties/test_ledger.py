"""A ledger against a model of it, whatever happens in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sutro_stream.ledger.counting import LedgerStatistics
from sutro_stream.ledger.encoding import decode, encode
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.inspection import inspect
from sutro_stream.ledger.ledger import Ledger, OpenMode, open_ledger
from sutro_stream.values.outcomes import (
    TRANSPORT_FAILURES,
    Answer,
    ErrorKind,
    Outcome,
    RowError,
    TokenLogprob,
    Usage,
)

WORK = WorkIdentity(parts={"model": "m"})

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SHORT = st.none() | st.sampled_from(["stop", "length", "", "\0"])
COUNTS = st.integers(0, 2**40)
LOGARITHMS = st.floats(max_value=0, allow_nan=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)
USAGES = st.builds(
    Usage, input_tokens=COUNTS, output_tokens=COUNTS, cached_tokens=COUNTS
)
LOGPROBS = st.lists(
    st.builds(
        TokenLogprob,
        token=TEXTS,
        logprob=LOGARITHMS,
        alternatives=st.lists(st.tuples(TEXTS, LOGARITHMS), max_size=2).map(tuple),
    ),
    max_size=3,
).map(tuple)
ERRORS = st.builds(
    RowError, kind=st.sampled_from(ErrorKind), message=TEXTS, field=st.none() | TEXTS
)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """Anything that can become of a row."""
    value = draw(JSON)
    text = draw(
        st.just(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()) | TEXTS
    )
    answer = Answer(
        text=text,
        finish_reason=draw(SHORT),
        usage=draw(st.none() | USAGES),
        model=draw(SHORT),
        reasoning=draw(st.none() | TEXTS),
        refusal=draw(SHORT),
        logprobs=draw(st.none() | LOGPROBS),
    )
    return Outcome(
        answer=draw(st.sampled_from([answer, None])),
        value=draw(st.sampled_from([value, None])),
        error=draw(st.none() | ERRORS),
        attempts=draw(st.integers(0, 5)),
    )


@given(outcomes())
def test_any_outcome_comes_back_equal(outcome: Outcome) -> None:
    """Value included, with the types that it had."""
    found = decode(encode(outcome))
    assert found == outcome
    assert isinstance(found, Outcome)
    assert repr(found) == repr(outcome)


@dataclass(frozen=True)
class Record:
    """Record an outcome; for some rows that of an earlier row, shared."""

    index: int
    outcome: Outcome
    leader: int | None


@dataclass(frozen=True)
class Ask:
    """Count a request."""

    index: int


@dataclass(frozen=True)
class Flush:
    """Bring the log into the database."""


@dataclass(frozen=True)
class Reopen:
    """Leave the ledger, or be killed in the middle, and open it again."""

    mode: OpenMode
    killed: bool


Step: TypeAlias = Record | Ask | Flush | Reopen

INDICES = st.integers(0, 12)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Record, index=INDICES, outcome=outcomes(), leader=st.none() | INDICES),
    st.builds(Ask, index=INDICES),
    st.builds(Flush),
    st.builds(
        Reopen,
        mode=st.sampled_from(
            # What becomes of a changed input has tests of its own.
            [mode for mode in OpenMode if mode is not OpenMode.REUSE]
        ),
        killed=st.booleans(),
    ),
)


@dataclass
class Model:
    """What a ledger should hold, in plain dictionaries."""

    rows: dict[int, tuple[int, Outcome, int | None]] = field(default_factory=dict)
    in_flight: Counter[int] = field(default_factory=Counter)
    spent: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    kept: int = 0

    def record(self, step: Record) -> Callable[[Ledger], Any]:
        """Take the step; returns how the ledger takes it."""
        index, outcome, leader = step.index, step.outcome, step.leader
        led = self.rows.get(-1 if leader is None else leader)
        if led is None or led[2] is not None or leader == index:
            leader, digest = None, 1000 + index
        else:
            digest = led[0]
            outcome = replace(led[1], attempts=outcome.attempts)
        if index not in self.rows:
            self.rows[index] = (digest, outcome, leader)
            self.in_flight.pop(index, None)
        return lambda ledger: ledger.record(index, digest, outcome, leader=leader)

    def ask(self, step: Ask) -> None:
        """Count a request."""
        self.in_flight[step.index] += 1

    def reopened(self, mode: OpenMode) -> Model:
        """The model of the next run."""
        if mode is OpenMode.RESTART:
            return Model()
        self.retries += sum(count - 1 for count in self.in_flight.values())
        self.spent += self.in_flight
        self.in_flight.clear()
        # What failed on its way to the endpoint and back is always asked again.
        forgotten = (
            set(ErrorKind) if mode is OpenMode.RETRY_FAILED else TRANSPORT_FAILURES
        )
        for index, (_, outcome, leader) in [*self.rows.items()]:
            if outcome.error is not None and outcome.error.kind in forgotten:
                del self.rows[index]
                self.count_tokens(outcome, leader)
                self.spent[index] += outcome.attempts
                self.retries += max(outcome.attempts - 1, 0)
        self.kept = len(self.rows)
        return self

    def count_tokens(self, outcome: Outcome, leader: int | None) -> None:
        """Count what was spent on an outcome that is forgotten."""
        if outcome.attempts:
            self.tokens += used(outcome, leader)

    def statistics(self) -> LedgerStatistics:
        """What the ledger should say."""
        found = list(self.rows.values())
        tokens = sum((used(row[1], row[2]) for row in found), self.tokens)
        again = [
            index
            for index, (_, outcome, _) in self.rows.items()
            if outcome.attempts and self.spent[index]
        ]
        attempts = [row[1].attempts for row in found]
        errors = [row[1].error for row in found]
        failed = Counter(error.kind for error in errors if error is not None)
        return LedgerStatistics(
            rows=len(found),
            answered=errors.count(None),
            failed=dict(failed),
            shared=sum(row[2] is not None for row in found),
            calls=sum(attempts) + self.spent.total() + self.in_flight.total(),
            retries=self.retries + sum(max(count - 1, 0) for count in attempts),
            calls_repeated=sum(self.spent[index] for index in again),
            input_tokens=tokens["input"],
            output_tokens=tokens["output"],
            kept=self.kept,
        )


def used(outcome: Outcome, leader: int | None) -> Counter[str]:
    """Tokens that an outcome took, none when it is shared or nothing was asked."""
    if leader is not None or not outcome.attempts:
        return Counter()
    if outcome.answer is None or outcome.answer.usage is None:
        return Counter()
    usage = outcome.answer.usage
    return Counter(input=usage.input_tokens, output=usage.output_tokens)


async def play(folder: Path, steps: list[Step]) -> None:
    """Take all steps, and compare after each that shows something."""
    model, runs = Model(), 0
    async with AsyncExitStack() as stack:
        path = folder / "0" / "ledger"
        path.parent.mkdir()
        ledger = await stack.enter_async_context(open_ledger(path, WORK))
        for step in [*steps, Flush(), Reopen(mode=OpenMode.RESUME, killed=True)]:
            if isinstance(step, Record):
                model.record(step)(ledger)
            elif isinstance(step, Ask):
                model.ask(step)
                ledger.asked(step.index)
            elif isinstance(step, Flush):
                await ledger.flush()
                await compare(ledger, model)
            else:
                model = model.reopened(step.mode)
                runs += 1
                if step.killed:
                    # The files as they are at this moment, as a kill leaves them.
                    shutil.copytree(path.parent, folder / str(runs))
                    path = folder / str(runs) / "ledger"
                await stack.aclose()
                opened = open_ledger(path, WORK, mode=step.mode)
                ledger = await stack.enter_async_context(opened)
                await compare(ledger, model)
                assert ledger.kept == model.kept
            assert inspect(path).statistics == model.statistics()


async def compare(ledger: Ledger, model: Model) -> None:
    """What the ledger knows is what the model knows."""
    rows = await ledger.known(0, 100)
    found = {index: (row.digest, row.outcome) for index, row in rows.items()}
    assert found == {index: row[:2] for index, row in model.rows.items()}
    assert ledger.statistics() == model.statistics()
    some = await ledger.known(3, 4)
    assert some == {index: row for index, row in rows.items() if 3 <= index < 7}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_a_ledger_does_what_its_model_does(steps: list[Step]) -> None:
    """Recorded rows and all counters, over runs that end in any way."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(play, Path(folder), steps)
