"""Second requests for late answers, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sutro_stream.engines.hedging import (
    ExtraBudget,
    Hedge,
    HedgedResponder,
    HedgeStatistics,
    hedged,
)
from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.latency import LatencyQuantiles
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual
from sutro_stream.values.outcomes import Answer

USUAL_S = 0.1
FAULT = ServiceError("overloaded", status=503)
CUT = TransportError("cut")
WELCOME = Hedge(max_extra_percent=100.0)
Scenario = Callable[[HedgedResponder], Awaitable[None]]


def usual_latencies(count: int = 1000) -> LatencyQuantiles:
    """Knowledge of an endpoint that always takes as long."""
    latencies = LatencyQuantiles()
    for _ in range(count):
        latencies.add(USUAL_S)
    return latencies


def on_replies(
    replies: Sequence[ScriptedReply],
    scenario: Scenario,
    *,
    hedge: Hedge = WELCOME,
    latencies: LatencyQuantiles | None = None,
) -> ScriptedEngine:
    """Run a scenario; the prompt "x" gets these replies, others the usual one."""

    def script(prompt: str, attempt: int) -> ScriptedReply:
        if prompt != "x":
            return ScriptedReply(text=prompt, latency_s=USUAL_S)
        return replies[attempt - 1]

    async def run() -> None:
        known = usual_latencies() if latencies is None else latencies
        async with engine, hedged(engine, hedge, latencies=known) as responder:
            await scenario(responder)

    engine = ScriptedEngine(script)
    run_virtual(run)
    return engine


def reply(
    text: str, latency_s: float, error: EngineError | None = None
) -> ScriptedReply:
    """What one request gets."""
    return ScriptedReply(text=text, latency_s=latency_s, error=error)


async def others_answered(responder: HedgedResponder, count: int) -> None:
    """Calls that pay for further requests."""
    async with anyio.create_task_group() as tasks:
        for at in range(count):
            tasks.start_soon(responder.answer, f"other {at}")


def extras(seen: HedgeStatistics) -> int:
    """Requests beyond one for each call."""
    return seen.requests - seen.calls


def test_a_late_call_is_answered_by_its_second_request() -> None:
    """Sent a little after the usual time; the first one is cancelled."""

    async def scenario(responder: HedgedResponder) -> None:
        answer = await responder.answer("x", seed=7)
        assert answer.text == "second"
        assert 2 * USUAL_S < anyio.current_time() < 2.5 * USUAL_S
        seen = responder.statistics()
        assert (seen.calls, seen.requests, seen.in_flight) == (1, 2, 0)
        assert (seen.hedged, seen.hedges_won, seen.cancelled) == (1, 1, 1)

    engine = on_replies([reply("first", 8.0), reply("second", USUAL_S)], scenario)
    assert (engine.cancelled, engine.in_flight) == (1, 0)
    assert (engine.calls, engine.seeds) == ({"x": 2}, {"x": 7})


def test_the_first_request_may_still_win() -> None:
    """Then the second one is cancelled, before the call ends."""

    async def scenario(responder: HedgedResponder) -> None:
        assert (await responder.answer("x")).text == "first"
        assert anyio.current_time() == pytest.approx(0.15)
        seen = responder.statistics()
        assert (seen.requests, seen.in_flight) == (2, 0)
        assert (seen.hedges_won, seen.cancelled) == (0, 1)

    on_replies([reply("first", 0.15), reply("second", 8.0)], scenario)


def test_the_model_is_the_one_that_is_asked() -> None:
    """Hedging changes nothing about it."""

    async def scenario(responder: HedgedResponder) -> None:
        assert responder.model == "scripted"

    on_replies([], scenario)


def test_a_call_in_time_is_one_request() -> None:
    """Nothing is sent twice without need."""

    async def scenario(responder: HedgedResponder) -> None:
        for _ in range(20):
            await others_answered(responder, 20)
        assert extras(responder.statistics()) == 0

    on_replies([], scenario)


def test_nothing_is_late_before_enough_answers_are_known() -> None:
    """After them, a call from before them is late too."""

    async def scenario(responder: HedgedResponder) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(responder.answer, "x")
            await others_answered(responder, 49)
            assert responder.statistics().late_after_s is None
            await anyio.sleep(1.0)
            assert extras(responder.statistics()) == 0
            await responder.answer("the fiftieth")
            late_after_s = responder.statistics().late_after_s
            assert late_after_s == pytest.approx(USUAL_S, rel=0.25)
            await anyio.sleep(2 * USUAL_S)
            assert responder.statistics().hedges_won == 1

    on_replies(
        [reply("first", 8.0), reply("second", USUAL_S)],
        scenario,
        latencies=LatencyQuantiles(),
    )


def test_a_second_request_that_fails_is_not_seen() -> None:
    """The call goes on waiting for the first."""

    async def scenario(responder: HedgedResponder) -> None:
        assert (await responder.answer("x")).text == "first"
        assert responder.statistics().hedges_won == 0

    on_replies([reply("first", 1.0), *[reply("", 0.01, FAULT)] * 3], scenario)


def test_when_the_first_request_fails_the_second_is_waited_for() -> None:
    """Its answer is the call's."""

    async def scenario(responder: HedgedResponder) -> None:
        assert (await responder.answer("x")).text == "second"
        assert anyio.current_time() > 1.0

    on_replies([reply("", 0.2, FAULT), reply("second", 1.0)], scenario)


@pytest.mark.parametrize("second_s", [0.01, 1.0])
def test_when_all_requests_fail_the_first_ones_error_is_raised(second_s: float) -> None:
    """Whichever failed first."""

    async def scenario(responder: HedgedResponder) -> None:
        with pytest.raises(EngineError) as caught:
            await responder.answer("x")
        assert caught.value is FAULT
        assert responder.statistics().in_flight == 0

    on_replies([reply("", 0.3, FAULT), *[reply("", second_s, CUT)] * 3], scenario)


def test_an_error_in_time_is_raised_as_it_is() -> None:
    """Whether to ask again is decided elsewhere."""

    async def scenario(responder: HedgedResponder) -> None:
        with pytest.raises(EngineError) as caught:
            await responder.answer("x")
        assert caught.value is FAULT
        assert extras(responder.statistics()) == 0

    on_replies([reply("", USUAL_S, FAULT)], scenario)


def test_a_second_request_may_be_late_itself() -> None:
    """A further one follows, up to the limit for one call."""

    async def scenario(responder: HedgedResponder) -> None:
        await others_answered(responder, 3)
        started_s = anyio.current_time()
        assert (await responder.answer("x")).text == "fourth"
        assert anyio.current_time() - started_s < 5 * USUAL_S
        seen = responder.statistics()
        assert (extras(seen), seen.hedged, seen.cancelled) == (3, 1, 2)

    replies = [reply("", 8.0), reply("", 0.01, FAULT), reply("", 8.0)]
    on_replies([*replies, reply("fourth", USUAL_S)], scenario)


def test_a_call_gets_so_many_further_requests_and_no_more() -> None:
    """One that nobody can answer is not asked without end."""

    async def scenario(responder: HedgedResponder) -> None:
        await others_answered(responder, 50)
        assert (await responder.answer("x")).text == "x"
        assert extras(responder.statistics()) == 2

    hedge = Hedge(max_extra_percent=100.0, per_call=2)
    on_replies([reply("x", 8.0)] * 3, scenario, hedge=hedge)


def test_calls_pay_for_further_requests() -> None:
    """A late call waits until there is one to be had."""

    async def scenario(responder: HedgedResponder) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(responder.answer, "x")
            await others_answered(responder, 8)
            await anyio.sleep(1.0)
            assert extras(responder.statistics()) == 0
            await responder.answer("the tenth call")
            assert extras(responder.statistics()) == 1

    replies = [reply("first", 8.0), reply("second", 8.0)]
    on_replies(replies, scenario, hedge=Hedge(max_extra_percent=10.0))


def test_a_throttled_endpoint_gets_no_further_requests() -> None:
    """What was saved up for them is lost with its 429."""
    throttled = RateLimitedError("slower", status=429)

    async def scenario(responder: HedgedResponder) -> None:
        await others_answered(responder, 20)
        with pytest.raises(RateLimitedError):
            await responder.answer("x")
        assert (await responder.answer("x")).text == "late"
        assert extras(responder.statistics()) == 0

    replies = [reply("", USUAL_S, throttled), reply("late", 8.0)]
    on_replies(replies, scenario, hedge=Hedge(max_extra_percent=10.0))


@pytest.mark.parametrize("after_s", [0.05, 0.15])
def test_cancelling_a_call_cancels_all_its_requests(after_s: float) -> None:
    """None is in flight when the call has ended."""

    async def scenario(responder: HedgedResponder) -> None:
        with anyio.move_on_after(after_s) as scope:
            await responder.answer("x")
        assert scope.cancelled_caught
        seen = responder.statistics()
        assert seen.in_flight == 0
        assert seen.cancelled == seen.requests == (1 if after_s < USUAL_S else 2)

    engine = on_replies([reply("", 8.0), reply("", 8.0)], scenario)
    assert engine.in_flight == 0


def test_cancelling_while_only_the_second_request_is_out() -> None:
    """The first has failed; the call ends cancelled all the same."""

    async def scenario(responder: HedgedResponder) -> None:
        with anyio.move_on_after(0.5) as scope:
            await responder.answer("x")
        assert scope.cancelled_caught
        assert responder.statistics().in_flight == 0

    engine = on_replies([reply("", 0.2, FAULT), reply("", 8.0)], scenario)
    assert (engine.in_flight, engine.cancelled) == (0, 1)


def test_leaving_the_context_ends_hedging_and_no_call() -> None:
    """Calls that are out are answered by their first request."""
    replies = [reply("first", 1.0), reply("second", 2.0)]
    engine = ScriptedEngine(lambda _, attempt: replies[attempt - 1])
    answers: list[Answer] = []

    async def scenario() -> None:
        async def ask(responder: HedgedResponder) -> None:
            answers.append(await responder.answer("x"))

        async with engine, anyio.create_task_group() as tasks:
            known = usual_latencies()
            async with hedged(engine, WELCOME, latencies=known) as responder:
                tasks.start_soon(ask, responder)
                await anyio.sleep(0.5)
                assert engine.in_flight == 2
            assert engine.in_flight == 1
        assert [answer.text for answer in answers] == ["first"]

    run_virtual(scenario)


def test_an_error_inside_the_context_is_that_error() -> None:
    """Not a group around it."""

    async def scenario() -> None:
        async with hedged(ScriptedEngine(), WELCOME):
            raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        run_virtual(scenario)


def test_a_responder_with_nothing_to_do_sets_no_timer() -> None:
    """It waits for the next call, not for time."""

    async def scenario(responder: HedgedResponder) -> None:
        await others_answered(responder, 5)
        await anyio.sleep(1.0)
        seen = len(wakes)
        await anyio.sleep(3600.0)
        assert len(wakes) == seen

    class Watched(LatencyQuantiles):
        """Notes when somebody looks for late calls."""

        def quantile_s(self, share: float) -> float | None:
            wakes.append(share)
            return super().quantile_s(share)

    wakes: list[float] = []
    latencies = Watched()
    for _ in range(50):
        latencies.add(USUAL_S)
    on_replies([], scenario, latencies=latencies)


def test_a_defect_in_a_further_request_is_not_hidden() -> None:
    """Only errors of engines are what a loser may end in."""
    defect = ValueError("defect")

    def script(_: str, attempt: int) -> ScriptedReply:
        return ScriptedReply(latency_s=8.0 / attempt, error=defect)

    async def scenario() -> None:
        known, engine = usual_latencies(), ScriptedEngine(script)
        async with engine, hedged(engine, WELCOME, latencies=known) as responder:
            await responder.answer("x")

    with pytest.raises(ValueError, match="defect"):
        run_virtual(scenario)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_extra_percent": 0.0},
        {"max_extra_percent": 101.0},
        {"quantile": 1.0},
        {"quantile": 0.0},
        {"burst": 0},
        {"least_known": 0},
        {"per_call": 0},
    ],
)
def test_options_must_make_sense(arguments: dict[str, float]) -> None:
    """Told on construction."""
    with pytest.raises(ConfigurationError):
        Hedge(**arguments)  # type: ignore[arg-type]


@given(
    percent=st.floats(0.1, 100.0),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 5)), max_size=30),
)
def test_further_requests_never_exceed_their_share(
    percent: float, burst: int, steps: list[tuple[int, int]]
) -> None:
    """Of all calls so far, and of any calls in a row but for the burst."""
    budget = ExtraBudget(percent=percent, burst=burst)
    calls = spent = 0
    for earned, wanted in steps:
        for _ in range(earned):
            budget.earn()
        calls += earned
        before = spent
        spent += sum(budget.spend() for _ in range(wanted))
        assert spent <= calls * percent / 100 + 1e-6
        assert spent - before <= burst


@settings(max_examples=60, deadline=None)
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.05, 0.1, 0.11, 0.2, 0.3, 5.0]),
            st.sampled_from([None, None, None, FAULT, CUT]),
        ),
        min_size=1,
        max_size=30,
    ),
    percent=st.sampled_from([1.0, 10.0, 50.0, 100.0]),
    calls=st.integers(1, 120),
    patience_s=st.floats(0.05, 4.0),
)
def test_every_call_ends_once_and_nothing_stays_in_flight(
    script: list[tuple[float, EngineError | None]],
    percent: float,
    calls: int,
    patience_s: float,
) -> None:
    """Whatever is late, fails or is cancelled; the cap holds and counts add up."""
    replies = iter(script * (5 * calls))
    ended: list[str] = []
    errors: list[EngineError] = []

    def next_reply(prompt: str, _: int) -> ScriptedReply:
        latency_s, error = next(replies)
        return ScriptedReply(text=prompt, latency_s=latency_s, error=error)

    async def ask(responder: HedgedResponder, at: int) -> None:
        await anyio.sleep(at * 0.01)
        with anyio.move_on_after(patience_s) as scope:
            try:
                assert (await responder.answer(str(at))).text == str(at)
            except EngineError as error:
                ended.append("failed")
                errors.append(error)
            else:
                ended.append("answered")
        if scope.cancelled_caught:
            ended.append("cancelled")

    async def run() -> None:
        engine = ScriptedEngine(next_reply)
        hedge = Hedge(max_extra_percent=percent, least_known=5)
        async with engine, hedged(engine, hedge) as responder:
            async with anyio.create_task_group() as tasks:
                for at in range(calls):
                    tasks.start_soon(ask, responder, at)
            seen = responder.statistics()
        assert len(ended) == seen.calls == calls
        assert all(error in {FAULT, CUT} for error in errors)
        assert seen.in_flight == engine.in_flight == 0
        assert seen.requests == engine.calls.total()
        assert seen.cancelled == engine.cancelled
        assert extras(seen) <= calls * percent / 100
        assert seen.hedges_won <= seen.hedged <= calls

    run_virtual(run)
