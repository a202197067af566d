"""Several endpoints as one engine, on virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sutro_stream as ss
from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.endpoint_health import SetAside
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.group import EngineGroup, GroupResponder
from sutro_stream.errors import (
    AuthenticationError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    InputTooLongError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual
from sutro_stream.testing.engine_suite import EngineSuite
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer

FAULT = ServiceError("overloaded", status=503)
REFUSAL = ServiceError("bad request", status=400)
BAD_KEY = AuthenticationError("wrong key", status=401)
NO_MODEL = NotFoundError("no such model", status=404)


class NamedEngine(ScriptedEngine):
    """Says the same, or fails in the same way, however often it is asked."""

    def __init__(
        self,
        name: str,
        error: EngineError | None = None,
        *,
        latency_s: float = 0.1,
        default_concurrency: int = 8,
    ) -> None:
        super().__init__(self._reply, default_concurrency)
        self._name = name
        self.error = error
        self.latency_s = latency_s

    @property
    def name(self) -> str:
        return self._name

    def _reply(self, prompt: str, attempt: int) -> ScriptedReply:  # noqa: ARG002
        return ScriptedReply(
            text=self._name, latency_s=self.latency_s, error=self.error
        )


class UnopenableEngine(NamedEngine):
    """Cannot be started."""

    async def __aenter__(self) -> Self:
        raise EngineUnavailableError(f"{self.name} is not installed")


class UncloseableEngine(NamedEngine):
    """Fails while it is closed."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        raise RuntimeError("while closing")


def on_group(
    engines: Sequence[Engine],
    scenario: Callable[[EngineGroup, GroupResponder], Awaitable[None]],
    **arguments: Any,
) -> EngineGroup:
    """Run a scenario with an open group on virtual time."""
    group = EngineGroup(engines, rng=random.Random(1), **arguments)

    async def run() -> None:
        async with group:
            await scenario(group, group.bind(Instructions()))

    run_virtual(run)
    return group


async def ask_at_once(responder: GroupResponder, calls: int) -> list[Answer]:
    """Calls that overlap, and all their answers."""
    answers: list[Answer] = []

    async def ask(at: int) -> None:
        answers.append(await responder.answer(str(at)))

    async with anyio.create_task_group() as tasks:
        for at in range(calls):
            tasks.start_soon(ask, at)
    return answers


class TestEngineGroup(EngineSuite):
    @asynccontextmanager
    async def make_engine(self) -> AsyncIterator[Engine]:
        """Two that echo, except where they take a day."""
        self.members = [ScriptedEngine(self.reply), ScriptedEngine(self.reply)]
        yield EngineGroup(self.members)

    def reply(self, prompt: str, attempt: int) -> ScriptedReply:  # noqa: ARG002
        """The script."""
        latency_s = 86_400.0 if prompt == self.endless_prompt else 0.0
        return ScriptedReply(text=prompt, latency_s=latency_s)

    def check_answer(self, prompt: str, answer: Answer) -> None:
        """Each prompt has its echo."""
        assert answer.text == prompt

    async def wait_until_idle(self) -> None:
        """A cancelled request is gone at once."""
        assert not any(member.in_flight for member in self.members)

    async def wait_until_closed(self) -> None:
        """All are closed."""
        assert not any(member.is_open for member in self.members)


@pytest.mark.parametrize(
    ("engines", "weights"),
    [
        ([], None),
        ([NamedEngine("a")] * 2, None),
        ([NamedEngine("a")], [1.0, 2.0]),
        ([NamedEngine("a")], [0.0]),
    ],
)
def test_a_group_must_make_sense(
    engines: Sequence[Engine], weights: Sequence[float] | None
) -> None:
    """Told before anything is opened."""
    with pytest.raises(ConfigurationError):
        EngineGroup(engines, weights=weights)


def test_a_group_is_as_large_as_its_engines_together() -> None:
    """Their names and what suits them add up."""
    group = EngineGroup(
        [NamedEngine("a"), NamedEngine("b", default_concurrency=100)],
    )
    assert (group.name, group.default_concurrency) == ("a + b", 108)


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        ([None, None], None),
        (["m", "m"], "m"),
        (["org/m", None, "m"], "m | org/m"),
    ],
)
async def test_the_model_is_what_its_engines_call_it(
    names: Sequence[str | None], asked: str | None
) -> None:
    """The same for any number and order of endpoints."""
    engines = [ChatEngine("http://127.0.0.1:9/v1", name) for name in names]
    async with EngineGroup(engines) as group:
        assert group.bind(Instructions()).model == asked


async def test_a_group_is_not_opened_twice() -> None:
    """The message says so."""
    async with EngineGroup([NamedEngine("a")]) as group:
        with pytest.raises(ConfigurationError, match="open already"):
            await group.__aenter__()


async def test_an_engine_that_does_not_open_closes_the_others() -> None:
    """The group is not open then, and its error is that engine's."""
    first = NamedEngine("a")
    group = EngineGroup([first, UnopenableEngine("b"), NamedEngine("c")])
    with pytest.raises(EngineUnavailableError, match="b is not installed"):
        await group.__aenter__()
    assert not first.is_open
    with pytest.raises(ConfigurationError, match="not open"):
        group.bind(Instructions())


async def test_an_engine_that_fails_to_close_does_not_keep_others_open() -> None:
    """Its error is not lost."""
    first, last = NamedEngine("a"), NamedEngine("c")
    with pytest.raises(RuntimeError, match="while closing"):
        async with EngineGroup([first, UncloseableEngine("b"), last]):
            assert first.is_open
    assert not first.is_open
    assert not last.is_open


def test_calls_are_shared_out() -> None:
    """By what suits each engine."""
    small, large = NamedEngine("a"), NamedEngine("b", default_concurrency=24)

    async def scenario(_: EngineGroup, responder: GroupResponder) -> None:
        await ask_at_once(responder, 64)
        assert (small.peak_in_flight, large.peak_in_flight) == (16, 48)

    on_group([small, large], scenario)


def test_weights_can_be_given() -> None:
    """They win over what suits an engine."""
    light, heavy = NamedEngine("a", default_concurrency=100), NamedEngine("b")

    async def scenario(_: EngineGroup, responder: GroupResponder) -> None:
        await ask_at_once(responder, 40)
        assert (light.peak_in_flight, heavy.peak_in_flight) == (10, 30)

    on_group([light, heavy], scenario, weights=[1, 3])


def test_prompt_and_seed_reach_every_engine() -> None:
    """Also the second one that is asked."""
    engines = [NamedEngine("a", FAULT), NamedEngine("b")]

    async def scenario(_: EngineGroup, responder: GroupResponder) -> None:
        await responder.answer("hello", seed=5)

    on_group(engines, scenario)
    assert [engine.seeds for engine in engines] == [{"hello": 5}] * 2


@pytest.mark.parametrize(
    "error",
    [
        FAULT,
        TransportError("cut"),
        EngineUnavailableError("died"),
        RateLimitedError("slower", status=429),
        BAD_KEY,
    ],
)
def test_what_fails_at_one_endpoint_goes_to_another_at_once(
    error: EngineError,
) -> None:
    """The caller sees the answer, and the statistics both requests."""

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        answer = await responder.answer("hello")
        assert answer.text == "good"
        assert anyio.current_time() == pytest.approx(0.2)
        seen = group.statistics()
        assert (seen.calls, seen.requests) == (1, 2)
        assert [member.failed for member in seen.members] == [1, 0]
        assert [member.answered for member in seen.members] == [0, 1]

    on_group([NamedEngine("bad", error), NamedEngine("good")], scenario)


@pytest.mark.parametrize("error", [REFUSAL, InputTooLongError("too long")])
def test_a_rows_own_error_is_the_rows(error: EngineError) -> None:
    """No other endpoint is asked."""

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        with pytest.raises(EngineError) as caught:
            await responder.answer("hello")
        assert caught.value is error
        assert group.statistics().requests == 1

    on_group([NamedEngine("a", error), NamedEngine("b")], scenario)


def test_no_endpoint_is_asked_twice_by_one_call() -> None:
    """Then the error goes to the caller, who knows how long to wait."""
    engines = [NamedEngine("a", FAULT), NamedEngine("b", FAULT)]

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        with pytest.raises(ServiceError, match="overloaded"):
            await responder.answer("hello")
        assert [member.sent for member in group.statistics().members] == [1, 1]

    on_group(engines, scenario)


def test_the_error_that_may_pass_soonest_is_raised() -> None:
    """One endpoint's long `Retry-After` does not hold a row back from another."""

    async def scenario(_: EngineGroup, responder: GroupResponder) -> None:
        with pytest.raises(RateLimitedError) as caught:
            await responder.answer("hello")
        assert caught.value.retry_after_s == 2.0

    on_group(
        [
            NamedEngine(
                f"{wait_s}",
                RateLimitedError("slower", status=429, retry_after_s=wait_s),
            )
            for wait_s in (60.0, 2.0, 30.0)
        ],
        scenario,
    )


def test_a_failing_endpoint_gets_probes_only_until_it_works_again() -> None:
    """Nothing fails meanwhile, and later it has its share again."""
    bad, good = NamedEngine("bad", FAULT), NamedEngine("good")

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        async def ask_for(seconds: float) -> None:
            until_s = anyio.current_time() + seconds
            while anyio.current_time() < until_s:
                await ask_at_once(responder, 8)

        await ask_for(60.0)
        # Probes after about 1, 3, 7, 15, 31 and 63 seconds.
        assert bad.calls.total() <= 5 + 8 + 6
        assert group.statistics().members[0].reason == "overloaded"
        bad.error = None
        await ask_for(40.0)
        before = bad.calls.total()
        await ask_for(10.0)
        member = group.statistics().members[0]
        assert (member.set_aside_until_s, member.reason) == (None, None)
        assert bad.calls.total() - before == pytest.approx(400, rel=0.05)

    on_group([bad, good], scenario)


def test_a_throttled_endpoint_is_left_alone_as_long_as_it_asked() -> None:
    """The others take its calls."""
    throttled = NamedEngine(
        "throttled", RateLimitedError("slower", status=429, retry_after_s=5.0)
    )

    async def scenario(_: EngineGroup, responder: GroupResponder) -> None:
        while anyio.current_time() < 4.9:
            await responder.answer("hello")
        assert throttled.calls.total() == 1
        await anyio.sleep(0.5)
        await responder.answer("hello")
        await responder.answer("hello")
        assert throttled.calls.total() == 2

    on_group([throttled, NamedEngine("good")], scenario)


def test_an_endpoint_that_turns_us_away_is_left_for_good() -> None:
    """The run goes on without it, and the reason can be looked up."""
    closed = NamedEngine("closed", BAD_KEY)

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        for _ in range(20):
            await responder.answer("hello")
            await anyio.sleep(1000.0)
        member = group.statistics().members[0]
        assert (member.sent, member.reason) == (SetAside().failures, "wrong key")
        assert member.set_aside_until_s == float("inf")

    on_group([closed, NamedEngine("good")], scenario)


def test_a_group_without_any_endpoint_left_says_why() -> None:
    """Each reason, with its endpoint's name; also to calls that come later."""
    engines = [
        NamedEngine("a", EngineUnavailableError("no runtime")),
        NamedEngine("b", EngineUnavailableError("died")),
    ]

    async def scenario(_: EngineGroup, responder: GroupResponder) -> None:
        for _attempt in range(2):
            with pytest.raises(EngineUnavailableError) as caught:
                await responder.answer("hello")
            for part in ("a: no runtime", "b: died"):
                assert part in str(caught.value)

    on_group(engines, scenario)


def test_a_row_that_every_endpoint_refuses_gets_the_refusal() -> None:
    """It may be the row's fault: it closes no endpoint, however many come."""
    engines = [
        NamedEngine("a", AuthenticationError("wrong key", status=401)),
        NamedEngine("b", NotFoundError("no such model", status=404)),
    ]

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        for _ in range(20):
            with pytest.raises((AuthenticationError, NotFoundError)) as caught:
                await responder.answer("hello")
            assert caught.value.take_requests() == 2
        engines[0].error = engines[1].error = None
        assert (await responder.answer("hello")).text in {"a", "b"}
        assert all(m.reason is None for m in group.statistics().members)

    on_group(engines, scenario)


def test_one_refused_row_closes_no_endpoint() -> None:
    """Others answer it; answers between refusals begin the count anew."""
    picky = NamedEngine("picky")

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        for _ in range(3 * SetAside().failures):
            picky.error = BAD_KEY
            await responder.answer("refused")
            picky.error = None
            await responder.answer("plain")
            await responder.answer("plain")
        assert group.statistics().members[0].reason is None

    on_group([picky, NamedEngine("good")], scenario)


def test_the_only_endpoints_error_is_the_groups() -> None:
    """A group of one fails as its engine does."""

    async def scenario(_: EngineGroup, responder: GroupResponder) -> None:
        for _attempt in range(2 * SetAside().failures):
            with pytest.raises(AuthenticationError):
                await responder.answer("hello")

    on_group([NamedEngine("a", BAD_KEY)], scenario)


def test_a_wrong_key_ends_no_run_that_another_endpoint_may_still_serve() -> None:
    """Not even if that one is set aside just now."""
    failing = NamedEngine("failing", FAULT, default_concurrency=1000)
    closed = NamedEngine("closed", BAD_KEY, default_concurrency=1)

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        with pytest.raises(ServiceError, match="overloaded"):
            await responder.answer("hello")
        assert group.statistics().members[0].set_aside_until_s is not None
        assert closed.calls.total() == 1
        with pytest.raises(ServiceError, match="overloaded"):
            await responder.answer("hello")

    on_group([failing, closed], scenario, set_aside=SetAside(failures=1))


def test_cancelling_a_call_drops_its_request() -> None:
    """Nothing is in flight afterwards, and no other endpoint is asked."""
    engines = [NamedEngine("a"), NamedEngine("b")]

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        with anyio.move_on_after(0.05):
            await responder.answer("hello")
        first = group.statistics().members[0]
        assert (first.sent, first.dropped, first.in_flight) == (1, 1, 0)
        assert group.statistics().requests == 1
        assert engines[0].cancelled == 1

    on_group(engines, scenario)


def test_opening_a_group_again_forgets_the_past() -> None:
    """A new key may be right."""
    engine = NamedEngine("a", BAD_KEY)

    async def scenario() -> None:
        group = EngineGroup([engine])
        async with group:
            with pytest.raises(AuthenticationError):
                await group.bind(Instructions()).answer("hello")
        engine.error = None
        async with group:
            assert (await group.bind(Instructions()).answer("hello")).text == "a"
            assert group.statistics().requests == 1

    run_virtual(scenario)


def rows_through(
    engine: Engine, count: int, **arguments: Any
) -> ss.Pipeline[ss.Result]:
    """A pipeline that asks an engine for rows."""
    rows = [{"text": f"t{index}"} for index in range(count)]
    return ss.from_rows(rows) | ss.prompts("text") | ss.infer(engine, **arguments)


def test_a_run_outlives_one_of_its_endpoints() -> None:
    """No row fails and none waits, though one endpoint dies in the middle."""
    mortal, other = NamedEngine("mortal"), NamedEngine("other")

    async def scenario() -> None:
        async with EngineGroup([mortal, other]) as group:
            async with rows_through(group, 2000, concurrency=64).open() as results:
                outcomes = []
                async for result in results:
                    outcomes.append(result.outcome)
                    if len(outcomes) == 500:
                        mortal.error = TransportError("refused", connected=False)
            assert all(outcome.error is None for outcome in outcomes)
            sent = group.statistics().requests
            assert sum(outcome.attempts for outcome in outcomes) == sent
            # At full speed 32 rounds of 0.1 s, and one more for those that failed.
            assert anyio.current_time() < 3.6
            seen = group.statistics()
            assert seen.requests - seen.calls == seen.members[0].failed < 50
            assert all(member.in_flight == 0 for member in seen.members)

    run_virtual(scenario)


def test_an_endpoint_that_hangs_is_left() -> None:
    """Deadlines end its requests; the rows are answered by the other."""
    hung, good = NamedEngine("hung", latency_s=1e9), NamedEngine("good")

    async def scenario() -> None:
        async with EngineGroup([hung, good]) as group:
            pipeline = rows_through(group, 1000, concurrency=16, timeout_s=5.0)
            async with pipeline.open() as results:
                seen = [result.error async for result in results]
        assert seen == [None] * 1000
        assert hung.calls.total() < 16

    run_virtual(scenario)


ERRORS = st.sampled_from(
    [
        None,
        None,
        FAULT,
        REFUSAL,
        RateLimitedError("slower", status=429, retry_after_s=1.0),
        EngineUnavailableError("died"),
        BAD_KEY,
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    script=st.lists(st.tuples(st.floats(0.0, 3.0), ERRORS), min_size=1, max_size=20),
    members=st.integers(1, 4),
    calls=st.integers(1, 40),
    patience_s=st.floats(0.5, 5.0),
)
def test_every_call_ends_once_and_nothing_stays_in_flight(
    script: list[tuple[float, EngineError | None]],
    members: int,
    calls: int,
    patience_s: float,
) -> None:
    """Whatever endpoints do, and whenever callers leave."""
    replies = iter(script * (calls * members))
    ended: list[str] = []

    def reply(prompt: str, _: int) -> ScriptedReply:
        latency_s, error = next(replies)
        return ScriptedReply(text=prompt, latency_s=latency_s, error=error)

    async def scenario(group: EngineGroup, responder: GroupResponder) -> None:
        async def ask(at: int) -> None:
            await anyio.sleep(at * 0.1)
            with anyio.move_on_after(patience_s) as scope:
                try:
                    answer = await responder.answer(str(at))
                except EngineError:
                    ended.append("failed")
                else:
                    assert answer.text == str(at)
                    ended.append("answered")
            if scope.cancelled_caught:
                ended.append("dropped")

        async with anyio.create_task_group() as tasks:
            for at in range(calls):
                tasks.start_soon(ask, at)
        seen = group.statistics()
        assert len(ended) == seen.calls == calls
        assert seen.requests == sum(engine.calls.total() for engine in engines)
        assert seen.requests <= calls * members
        assert sum(member.answered for member in seen.members) == ended.count(
            "answered"
        )
        for member in seen.members:
            assert member.in_flight == 0
            assert member.sent == member.answered + member.failed + member.dropped

    engines = [ScriptedEngine(reply) for _ in range(members)]
    on_group(engines, scenario)
