"""Limits of a run: kept by waiting, or by an end that can be gone on from."""

from __future__ import annotations

from pathlib import Path

import anyio
import polars as pl
import pytest

import sutro_stream as ss
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual

TEXTS = [f"a b c {number}" for number in range(200)]


def elapsed_s(limits: ss.Limits | None, **arguments: object) -> float:
    """Virtual time that 200 rows of 0.1 s take."""

    async def scenario() -> float:
        async with ScriptedEngine(lambda *_: ScriptedReply(latency_s=0.1)) as engine:
            infer = ss.infer(engine, limits=limits, **arguments)  # type: ignore[arg-type]
            async with (ss.from_rows(TEXTS) | ss.prompts() | infer).open() as results:
                rows = [result.index async for result in results]
            assert rows == list(range(200))
        return anyio.current_time()

    return run_virtual(scenario)


def test_requests_a_minute_are_spread_evenly() -> None:
    """600 a minute are ten a second, with a second's worth at once."""
    assert elapsed_s(None, concurrency=50) == pytest.approx(0.4)
    limited = elapsed_s(ss.Limits(requests_per_minute=600), concurrency=50)
    assert 18.9 <= limited <= 19.5


def test_tokens_a_minute_follow_what_answers_have_taken() -> None:
    """Four tokens in and one out for each row, whatever was estimated."""
    limited = elapsed_s(ss.Limits(tokens_per_minute=5 * 600), concurrency=50)
    assert 15.0 <= limited <= 24.0


async def test_a_spent_budget_ends_an_iterator() -> None:
    """With the reason, and not a call too many."""
    limits = ss.Limits(budget=ss.Budget(calls=50))
    async with ScriptedEngine() as engine:
        infer = ss.infer(engine, limits=limits)
        with pytest.raises(ss.BudgetExhaustedError, match="50 calls"):
            async with (ss.from_rows(TEXTS) | ss.prompts() | infer).open() as results:
                async for _ in results:
                    pass
        assert engine.calls.total() == 50


async def test_a_run_over_its_budget_is_incomplete_and_goes_on(tmp_path: Path) -> None:
    """Nothing is asked twice when the budget is renewed."""
    out = tmp_path / "out.parquet"
    async with ScriptedEngine() as engine:

        def run(calls: int) -> ss.FilePipeline:
            limits = ss.Limits(budget=ss.Budget(calls=calls))
            rows = ss.from_rows(TEXTS) | ss.prompts()
            return rows | ss.infer(engine, limits=limits) | ss.write_parquet(out)

        report = await run(120).run()
        assert report.status is ss.RunStatus.INCOMPLETE
        assert report.stopped == "the budget of 120 calls is used up"
        assert not out.exists()
        report = await run(120).run()
        assert report.status is ss.RunStatus.SUCCEEDED
        assert report.rows_kept == 120
        assert engine.calls.total() == 200
    assert pl.read_parquet(out).height == 200


@pytest.mark.parametrize(
    "arguments",
    [{"requests_per_minute": 0}, {"tokens_per_minute": -1.0}],
    ids=["requests", "tokens"],
)
def test_impossible_limits_are_refused(arguments: dict[str, float]) -> None:
    """When they are written, not when they are run."""
    with pytest.raises(ss.ConfigurationError, match="must be above 0"):
        ss.Limits(**arguments)  # type: ignore[arg-type]


def test_a_budget_in_money_needs_prices() -> None:
    """The message says which."""
    with pytest.raises(ss.ConfigurationError, match="input_usd_per_million"):
        ss.Budget(usd=5)


async def test_a_late_row_is_asked_a_second_time() -> None:
    """The first answer counts, and the run does not wait for the straggler."""
    texts = [str(number) for number in range(400)]

    def script(prompt: str, attempt: int) -> ScriptedReply:
        late = prompt == "300" and attempt == 1
        return ScriptedReply(text=prompt, latency_s=60.0 if late else 0.01)

    async with ScriptedEngine(script) as engine:
        infer = ss.infer(engine, hedge=ss.Hedge())
        async with (ss.from_rows(texts) | ss.prompts() | infer).open() as results:
            outputs = [result.output async for result in results]
        assert engine.calls["300"] == 2
    assert outputs == texts
