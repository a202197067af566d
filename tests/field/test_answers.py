"""Answers that are not JSON alone, or not of the right form: taken out, asked again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

import sutro_stream as ss
from sutro_stream.cli.summary import summary
from sutro_stream.pipeline.extraction import extracted
from sutro_stream.testing import (
    ChatRequest,
    Reply,
    ScriptedChatServer,
    ScriptedEngine,
    ScriptedReply,
)
from sutro_stream.values.outcomes import ErrorKind, Result
from sutro_stream.values.schema import OutputSchema

DEFINITION = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["label"],
}
SCHEMA = OutputSchema.parse(DEFINITION)
JSON = '{"label": "good", "score": 3}'
VALUE = {"label": "good", "score": 3}
WRAPPINGS = [
    "<think>Is it {label}? Or [1]?</think>%s",
    '<think>\nMaybe {"label": "bad"}\n</think>\n\n%s\n',
    "so it must be good\n</think>\n%s",
    "<thinking>hm</thinking>%s",
    "<reasoning>hm</reasoning>\n%s",
    "[THINK]hm[/THINK]%s",
    "<think>a</think>Well. <think>b</think>%s",
    "```json\n%s\n```",
    "```\n%s\n```",
    "~~~\n%s\n~~~",
    "Here it is:\n\n```json\n%s\n```\nTell me if [you] need more.",
    "<think>hm</think>\n```JSON\n%s\n```",
    'Of the form {"label": ...}, the answer is: %s',
    "Within [1, 2) it is %s, see [3].",
]
UNCHANGED_FAILURES = [
    '<think>never ended {"label": "good"}',
    '<think>x {"label": "bad"}</think>I cannot say.',
    "```json\n{'label': 'good'}\n```",
    '{"label": "good",}',
    '{"outer": {"label": "good"}, oops',
    '[{"label": "good"}]',
    '<think>hm</think>{"score": 3}',
    '{"label": "good"} no: {"label": "b',
]


async def asked(engine: Any, texts: list[str], **arguments: Any) -> list[Result]:
    """The results of an inference under the schema."""
    prompts = ss.prompts(json_schema=DEFINITION)
    pipeline = ss.from_rows(texts) | prompts | ss.infer(engine, **arguments)
    async with pipeline.open() as results:
        return [result async for result in results]


def wrapped(prompt: str, _attempt: int) -> ScriptedReply:
    """One of the wrappings, by the prompt's number."""
    return ScriptedReply(text=WRAPPINGS[int(prompt) % len(WRAPPINGS)] % JSON)


async def test_json_in_a_text_counts_where_that_is_wanted() -> None:
    """40 of 40 rows; what was said stays as it was."""
    rows = [str(number) for number in range(40)]
    async with ScriptedEngine(wrapped) as engine:
        results = await asked(engine, rows, answers="extract")
    assert [result.output for result in results] == [VALUE] * 40
    assert all(result.outcome.extracted for result in results)
    assert results[0].text == WRAPPINGS[0] % JSON


async def test_a_failed_row_names_what_takes_the_json_out() -> None:
    """Where it would, and for every wrapping."""
    rows = [str(number) for number in range(40)]
    async with ScriptedEngine(wrapped) as engine:
        results = await asked(engine, rows)
    for result in results:
        assert result.error is not None
        assert result.error.kind is ErrorKind.INVALID_OUTPUT
        assert "--answers extract" in result.error.message


async def test_json_alone_is_not_said_to_be_taken_out() -> None:
    """With the option as without."""
    async with ScriptedEngine(lambda *_: ScriptedReply(text=JSON)) as engine:
        (result,) = await asked(engine, ["a"], answers="extract")
    assert result.output == VALUE
    assert not result.outcome.extracted


@pytest.mark.parametrize("text", UNCHANGED_FAILURES)
async def test_nothing_is_repaired(text: str) -> None:
    """What does not conform fails, and asking again is what may help."""
    async with ScriptedEngine(lambda *_: ScriptedReply(text=text)) as engine:
        (result,) = await asked(engine, ["a"], answers="extract")
    assert result.error is not None
    assert "--answers" not in result.error.message
    assert "--reask" in result.error.message


async def test_what_is_cut_off_stays_cut_off() -> None:
    """Whole JSON in it may be a draft."""
    reply = ScriptedReply(text=f"</think>{JSON} or", finish_reason="length")
    async with ScriptedEngine(lambda *_: reply) as engine:
        (result,) = await asked(engine, ["a"], answers="extract")
    assert result.error is not None
    assert result.error.kind is ErrorKind.TRUNCATED


@pytest.mark.parametrize("wrapping", ["%s", "</think> %s ", "```\n%s\n```"])
def test_a_scalar_is_taken_out_as_a_whole(wrapping: str) -> None:
    """Words around it make it no answer."""
    schema = OutputSchema.parse({"enum": ["good", "bad"]})
    assert extracted(wrapping % '"good"', schema) == "good"
    assert extracted('It is "good".', schema) is None


@pytest.mark.parametrize(
    "part",
    [
        "{",
        "[",
        '{"',
        '{"a":',
        "[1,",
        "[ ",
        "</think>",
        "<think>",
        "```\n",
        "[1] ",
        "{}",
    ],
)
def test_a_hostile_text_is_looked_through_once(part: str) -> None:
    """A megabyte of beginnings: at the limit of a test's time if it were not so."""
    assert extracted(part * (1_000_000 // len(part)), SCHEMA) is None


async def test_what_was_taken_out_is_known_to_the_next_run(tmp_path: Path) -> None:
    """From the ledger, without a request."""
    prompts = ss.prompts(json_schema=DEFINITION)
    ledger = tmp_path / "ledger"
    async with ScriptedEngine(wrapped) as engine:
        infer = ss.infer(engine, answers="extract")
        pipeline = ss.from_rows(["1", "2"]) | prompts | infer
        for _ in range(2):
            async with pipeline.open(ledger=ledger) as results:
                seen = [result async for result in results]
            assert [result.outcome.extracted for result in seen] == [True, True]
            assert [result.output for result in seen] == [VALUE, VALUE]
        assert engine.calls.total() == 2


# Asked again.


def one_in_eight(request: ChatRequest) -> Reply:
    """Invalid for one in eight requests, by row and attempt."""
    messages = request.body["messages"]
    number, asked_again = int(messages[0]["content"]), len(messages) > 1
    is_bad = is_invalid(number, asked_again=asked_again)
    return Reply(text="no" if is_bad else JSON)


def is_invalid(number: int, *, asked_again: bool) -> bool:
    """What `one_in_eight` does."""
    return random.Random(f"{number} {asked_again}").random() < 1 / 8


async def test_what_is_invalid_twice_stays_failed(tmp_path: Path) -> None:
    """Attempts, tokens and the summary say what was spent."""
    rows = range(400)
    once = [number for number in rows if is_invalid(number, asked_again=False)]
    twice = [number for number in once if is_invalid(number, asked_again=True)]
    assert twice
    prompts = ss.prompts(json_schema=DEFINITION)
    out = tmp_path / "out.parquet"
    async with (
        ScriptedChatServer(one_in_eight) as server,
        ss.ChatEngine(server.base_url, "m") as engine,
    ):
        infer = ss.infer(engine, reask=1)
        source = ss.from_rows([str(number) for number in rows])
        report = await (source | prompts | infer | ss.write_parquet(out)).run()
    written = pl.read_parquet(out)
    failed = written.filter(pl.col("error").is_not_null())
    assert failed["prompt"].to_list() == [str(number) for number in twice]
    assert report.reasks == report.retries == len(once)
    answered = 4 * (len(rows) - len(twice))
    assert report.output_tokens == answered + len(once) + len(twice)
    assert f"asked again      {len(once):>10,}" in summary(report)


async def test_the_model_is_told_what_was_wrong() -> None:
    """Behind the prompt as it was; the seed is the row's."""
    seen: list[Any] = []

    def script(prompt: str, _attempt: int) -> ScriptedReply:
        seen.append(prompt)
        return ScriptedReply(text=JSON if prompt.startswith("[") else "no")

    async with ScriptedEngine(script) as engine:
        (result,) = await asked(engine, ['say "hi"'], reask=2, seed_per_row=True)
        assert len(set(engine.seeds.values())) == 1
    assert result.output == VALUE
    assert result.outcome.attempts == 2
    question, said, request = orjson.loads(seen[1])
    assert question == {"role": "user", "content": 'say "hi"'}
    assert said == {"role": "assistant", "content": "no"}
    assert request["role"] == "user"
    assert "not valid JSON" in request["content"]


async def test_each_further_request_shows_all_that_was_said() -> None:
    """Three requests for two times."""
    seen: list[str] = []

    def script(prompt: str, _attempt: int) -> ScriptedReply:
        seen.append(prompt)
        return ScriptedReply(text="no")

    async with ScriptedEngine(script) as engine:
        (result,) = await asked(engine, ["a"], reask=2)
    assert result.outcome.attempts == 3
    assert result.error is not None
    assert "--reask" not in result.error.message
    roles = [message["role"] for message in orjson.loads(seen[2])]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


async def test_a_failure_on_the_way_asks_the_row_anew() -> None:
    """What was answered before is counted as paid for."""

    def script(prompt: str, attempt: int) -> ScriptedReply:
        if not prompt.startswith("["):
            return ScriptedReply(text="no")
        error = ss.TransportError("reset") if attempt == 1 else None
        return ScriptedReply(text=JSON, error=error)

    prompts = ss.prompts(json_schema=DEFINITION)
    retry = ss.RetryPolicy(first_delay_s=0.001)
    async with ScriptedEngine(script) as engine:
        infer = ss.infer(engine, reask=1, retry=retry)
        async with (ss.from_rows(["a"]) | prompts | infer).open() as results:
            (result,) = [result async for result in results]
            told = results.statistics()
    assert result.outcome.attempts == 4
    assert result.usage is not None
    assert told.input_tokens == result.usage.input_tokens + 1


@pytest.mark.parametrize(
    "arguments",
    [{"reask": 1}, {"answers": "extract"}, {"response_format": "none"}],
)
async def test_options_of_structured_answers_need_a_schema(
    arguments: dict[str, Any],
) -> None:
    """They would do nothing."""
    async with ScriptedEngine() as engine:
        pipeline = ss.from_rows(["a"]) | ss.prompts() | ss.infer(engine, **arguments)
        with pytest.raises(ss.ConfigurationError, match="schema"):
            async with pipeline.open():
                pass


@pytest.mark.parametrize("format_", ["json_schema", "json_object", "none"])
async def test_the_endpoint_is_told_of_the_schema_as_chosen(format_: Any) -> None:
    """And answers are checked in any case."""
    async with (
        ScriptedChatServer(lambda _: Reply(text="no"), record_last=1) as server,
        ss.ChatEngine(server.base_url, "m") as engine,
    ):
        (result,) = await asked(engine, ["a"], response_format=format_, strict=False)
        told = server.requests[-1].body.get("response_format", {"type": "none"})
    assert result.error is not None
    if format_ == "json_schema":
        assert told["json_schema"]["strict"] is False
    assert told["type"] == format_


# What it cost.

PRICES = ss.Prices(input=2.0, output=8.0)


async def test_prices_without_a_budget_say_what_a_run_cost(tmp_path: Path) -> None:
    """All attempts of all rows."""
    prompts = ss.prompts(json_schema=DEFINITION)
    out = tmp_path / "out.parquet"
    async with ScriptedEngine(lambda *_: ScriptedReply(text="no")) as engine:
        infer = ss.infer(engine, reask=1, prices=PRICES)
        source = ss.from_rows(["a b c"] * 10)
        report = await (source | prompts | infer | ss.write_parquet(out)).run()
    assert report.rows_failed == 10
    assert report.cost_usd == pytest.approx(
        (report.input_tokens * 2 + report.output_tokens * 8) / 1e6
    )
    assert report.output_tokens == 20
    assert f"cost             {report.cost_usd:>10,.4f}  USD" in summary(report)


async def test_a_model_that_no_price_is_known_of_is_told(tmp_path: Path) -> None:
    """The engine's model is called `scripted`."""
    for name, unpriced in (("scripted", 0), ("other", 3)):
        listed = ss.PriceList(models={name: PRICES})
        async with ScriptedEngine() as engine:
            pipeline = (
                ss.from_rows(["a", "b", "c"])
                | ss.prompts()
                | ss.infer(engine, prices=listed)
                | ss.write_parquet(tmp_path / f"{name}.parquet")
            )
            report = await pipeline.run()
        assert report.rows_unpriced == unpriced
        assert bool(report.cost_usd) == (not unpriced)
        assert ("without 3 answers" in summary(report)) == bool(unpriced)


async def test_a_budget_counts_cached_tokens_at_their_price() -> None:
    """Nothing here is cached, and the price of others holds."""
    budget = ss.Budget(
        usd=1e-6 * (20 * 2 + 20 * 8),
        input_usd_per_million=2.0,
        output_usd_per_million=8.0,
        cached_input_usd_per_million=0.0,
    )
    async with ScriptedEngine() as engine:
        infer = ss.infer(engine, concurrency=1, limits=ss.Limits(budget=budget))
        pipeline = ss.from_rows([f"a{n}" for n in range(99)]) | ss.prompts() | infer
        with pytest.raises(ss.BudgetExhaustedError, match="USD"):
            async with pipeline.open() as results:
                async for _ in results:
                    pass
            assert results.statistics().cost_usd is not None
        assert engine.calls.total() == 20
