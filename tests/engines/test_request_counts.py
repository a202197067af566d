"""Requests behind one answer are counted, whoever sent them, on virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

import sutro_stream as ss
from sutro_stream.engines.group import EngineGroup
from sutro_stream.engines.hedging import Hedge, hedged
from sutro_stream.errors import EngineError, ServiceError, TransportError
from sutro_stream.flow.latency import LatencyQuantiles
from sutro_stream.ledger.inspection import inspect
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual
from sutro_stream.values.instructions import Instructions

USUAL_S = 0.1
FAULT = ServiceError("overloaded", status=503)
ANY = Instructions()


def engine_of(*replies: ScriptedReply) -> ScriptedEngine:
    """Gives these replies to the first requests for each prompt, then echoes it."""

    def script(prompt: str, attempt: int) -> ScriptedReply:
        if attempt <= len(replies):
            return replies[attempt - 1]
        return ScriptedReply(text=prompt, latency_s=USUAL_S)

    return ScriptedEngine(script)


def usual_latencies() -> LatencyQuantiles:
    """Knowledge of an endpoint that always takes as long."""
    latencies = LatencyQuantiles()
    for _ in range(1000):
        latencies.add(USUAL_S)
    return latencies


def test_an_ordinary_answer_took_one_request() -> None:
    """Neither a group nor hedging adds any."""

    async def scenario() -> None:
        async with (
            EngineGroup([engine_of()]) as group,
            hedged(group.bind(ANY), Hedge()) as responder,
        ):
            assert (await responder.answer("x")).requests == 1

    run_virtual(scenario)


def test_a_hedged_answer_counts_its_second_request() -> None:
    """Also the one that was cancelled."""
    late = ScriptedReply(text="late", latency_s=8.0)

    async def scenario() -> None:
        async with (
            engine_of(late) as engine,
            hedged(
                engine, Hedge(max_extra_percent=100.0), latencies=usual_latencies()
            ) as responder,
        ):
            answer = await responder.answer("x")
            assert (answer.text, answer.requests) == ("x", 2)

    run_virtual(scenario)


def test_an_answer_from_another_endpoint_counts_those_that_failed() -> None:
    """One for each endpoint that was asked."""
    engines = [engine_of(ScriptedReply(error=FAULT)), engine_of()]

    async def scenario() -> None:
        async with EngineGroup(engines, weights=[100, 1]) as group:
            assert (await group.bind(ANY).answer("x")).requests == 2

    run_virtual(scenario)


def test_a_hedged_group_counts_what_all_its_endpoints_were_asked() -> None:
    """The first request fails over, the second wins."""
    engines = [
        engine_of(ScriptedReply(error=FAULT)),
        engine_of(ScriptedReply(text="late", latency_s=0.15)),
    ]

    async def scenario() -> None:
        async with (
            EngineGroup(engines, weights=[100, 1]) as group,
            hedged(
                group.bind(ANY),
                Hedge(max_extra_percent=100.0),
                latencies=usual_latencies(),
            ) as responder,
        ):
            answer = await responder.answer("x")
            sent = sum(engine.calls.total() for engine in engines)
        assert sent == 3
        # What failed within a request that is cancelled is known to the group alone.
        assert 2 <= answer.requests <= sent

    run_virtual(scenario)


def test_an_error_counts_every_request_before_it() -> None:
    """Each call for itself, even when one object is raised by all."""
    refusing = ScriptedReply(error=FAULT)
    engines = [engine_of(*[refusing] * 9), engine_of(*[refusing] * 9)]

    async def scenario() -> None:
        async with EngineGroup(engines) as group:
            responder = group.bind(ANY)
            for _ in range(3):
                with pytest.raises(ServiceError) as caught:
                    await responder.answer("x")
                assert caught.value.take_requests() == 2
                assert caught.value.take_requests() == 1

    run_virtual(scenario)


def test_a_failed_hedged_call_counts_both_requests() -> None:
    """The error is that of the first."""
    replies = [
        ScriptedReply(error=TransportError("cut"), latency_s=0.3),
        ScriptedReply(error=FAULT, latency_s=0.05),
    ]

    async def scenario() -> None:
        hedge = Hedge(max_extra_percent=100.0, per_call=1)
        async with (
            engine_of(*replies) as engine,
            hedged(engine, hedge, latencies=usual_latencies()) as responder,
        ):
            with pytest.raises(EngineError) as caught:
                await responder.answer("x")
            assert caught.value.requests == 2

    run_virtual(scenario)


async def test_outcomes_report_and_ledger_count_all_requests(tmp_path: Path) -> None:
    """Two rows of which each fails over once."""
    engines = [engine_of(ScriptedReply(error=FAULT)), engine_of()]
    rows = [{"text": "a"}, {"text": "b"}]
    async with EngineGroup(engines, weights=[100, 1]) as group:
        pipeline = (
            ss.from_rows(rows)
            | ss.prompts("text")
            | ss.infer(group, concurrency=1)
            | ss.write_jsonl(tmp_path / "out.jsonl")
        )
        report = await pipeline.run(keep_ledger=True)
        sent = group.statistics().requests
    counted = inspect(tmp_path / "out.jsonl.ledger").statistics
    assert sent == 4
    assert (report.rows_answered, report.retries) == (2, 2)
    assert (counted.calls, counted.retries) == (sent, 2)


async def test_requests_on_top_are_no_attempts_of_the_policy() -> None:
    """A row that may be tried twice is, however many endpoints there are."""
    refusing = [ScriptedReply(error=FAULT)]
    engines = [engine_of(*refusing), engine_of(*refusing)]
    policy = ss.RetryPolicy(attempts=2, first_delay_s=0.0)
    async with EngineGroup(engines) as group:
        pipeline = (
            ss.from_rows([{"text": "a"}])
            | ss.prompts("text")
            | ss.infer(group, retry=policy)
        )
        async with pipeline.open() as results:
            outcomes = [result.outcome async for result in results]
    assert [(outcome.error, outcome.attempts) for outcome in outcomes] == [(None, 3)]
