"""Pipelines as people write them, over an engine in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import anyio
import polars as pl
import pyarrow as pa
import pytest

import sutro_stream as ss
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["yes", "no"]}, "score": {"type": "integer"}},
    "required": ["label"],
}
SENTIMENT = ss.Function.validate(
    {
        "name": "sentiment",
        "inputs": [
            {"name": "review"},
            {"name": "region", "required": False, "default": "none"},
        ],
        "system_prompt": "Classify.",
        "prompt_template": "{{ review }} ({{ region }})",
        "output_schema": SCHEMA,
    }
)
GOOD = ScriptedReply(text='{"label": "yes", "score": 3}')


def numbered(count: int) -> Iterator[dict[str, object]]:
    """Rows with an id and a text."""
    return ({"id": index, "text": f"t{index}"} for index in range(count))


async def test_results_come_in_order_with_their_rows() -> None:
    """The iterator yields one result for each row, beside its input."""
    async with ScriptedEngine() as engine:
        pipeline = ss.from_rows(numbered(2500)) | ss.prompts("text") | ss.infer(engine)
        async with pipeline.open() as results:
            seen = [result async for result in results]
    assert [result.index for result in seen] == list(range(2500))
    assert [result.output for result in seen] == [f"t{i}" for i in range(2500)]
    assert seen[1234].row == {"id": 1234, "text": "t1234"}
    assert seen[1234].prompt == "t1234"
    assert all(result.error is None for result in seen)


async def test_a_function_renders_checks_and_parses() -> None:
    """Structured answers arrive parsed, refused rows in place."""
    rows = [{"review": "good"}, {"review": None}, {"review": "fine"}]
    async with ScriptedEngine(lambda *_: GOOD) as engine:
        pipeline = ss.from_rows(rows) | ss.render(SENTIMENT) | ss.infer(engine)
        async with pipeline.open() as results:
            seen = [result async for result in results]
        assert engine.instructions is SENTIMENT.instructions
        assert sorted(engine.calls) == ["fine (none)", "good (none)"]
    assert [result.output for result in seen] == [
        {"label": "yes", "score": 3},
        None,
        {"label": "yes", "score": 3},
    ]
    error = seen[1].error
    assert error is not None
    assert (error.kind, error.field) == (ss.ErrorKind.MISSING_VALUE, "review")
    assert seen[1].outcome.attempts == 0


@pytest.mark.parametrize(
    ("text", "finish_reason", "kind"),
    [
        ('{"label": "maybe"}', "stop", ss.ErrorKind.INVALID_OUTPUT),
        ("yes", "stop", ss.ErrorKind.INVALID_OUTPUT),
        ('```json\n{"label": "yes"}\n```', "stop", ss.ErrorKind.INVALID_OUTPUT),
        ('{"label": "ye', "length", ss.ErrorKind.TRUNCATED),
        ('{"label": "yes"}', "content_filter", ss.ErrorKind.FILTERED),
    ],
)
async def test_an_answer_that_does_not_pass_keeps_its_text_and_the_reason(
    text: str, finish_reason: str, kind: ss.ErrorKind
) -> None:
    """Nothing is repaired, nothing is thrown away."""
    reply = ScriptedReply(text=text, finish_reason=finish_reason)
    async with ScriptedEngine(lambda *_: reply) as engine:
        pipeline = (
            ss.from_rows(["a"]) | ss.prompts(json_schema=SCHEMA) | ss.infer(engine)
        )
        async with pipeline.open() as results:
            (result,) = [result async for result in results]
    assert result.output is None
    assert result.text == text
    assert result.error is not None
    assert result.error.kind is kind


async def test_a_complete_answer_at_the_token_limit_passes() -> None:
    """Closed brackets prove that nothing was cut."""
    reply = replace(GOOD, finish_reason="length")
    async with ScriptedEngine(lambda *_: reply) as engine:
        pipeline = (
            ss.from_rows(["a"]) | ss.prompts(json_schema=SCHEMA) | ss.infer(engine)
        )
        async with pipeline.open() as results:
            (result,) = [result async for result in results]
    assert result.output == {"label": "yes", "score": 3}


async def test_batches_are_tables_with_typed_columns() -> None:
    """Input columns by choice, output, error, and the schema's properties."""
    async with ScriptedEngine(lambda *_: GOOD) as engine:
        pipeline = (
            ss.from_rows(numbered(10))
            | ss.prompts("text", json_schema=SCHEMA)
            | ss.infer(engine)
        )
        async with pipeline.open() as results:
            tables = [batch async for batch in results.batches(columns=["id"])]
    table = pa.Table.from_batches(tables)
    assert table.schema.names == ["id", "output", "error", "label", "score"]
    assert table.schema.field("score").type == pa.int64()
    assert table.column("id").to_pylist() == list(range(10))
    assert table.column("label").to_pylist() == ["yes"] * 10


async def test_a_pipeline_may_end_after_any_stage() -> None:
    """It yields what its last stage makes."""
    source = ss.from_rows([{"text": "a"}, {"text": "b"}])
    async with source.open() as rows:
        assert [row.values async for row in rows] == [{"text": "a"}, {"text": "b"}]
    async with (source | ss.prompts("text")).open() as prompts:
        assert [prompt.text async for prompt in prompts] == ["a", "b"]


async def test_a_stage_of_ones_own_changes_drops_and_adds_rows() -> None:
    """Rows are numbered anew behind it."""

    async def twice_without_odd(batch: pa.RecordBatch) -> pa.RecordBatch:
        even = batch.filter(pa.array([v % 2 == 0 for v in batch["id"].to_pylist()]))
        return pa.concat_batches([even, even])

    pipeline = ss.from_rows(numbered(4)) | ss.map_batches(twice_without_odd)
    async with pipeline.open() as rows:
        seen = [(row.index, row.values["id"]) async for row in rows]
    assert seen == [(0, 0), (1, 2), (2, 0), (3, 2)]


async def test_calls_can_follow_each_other() -> None:
    """The answers of one call are the rows of the next."""

    async def renamed(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch([batch["output"]], names=["draft"])

    reply = lambda prompt, _: ScriptedReply(text=prompt + "!")  # noqa: E731
    async with ScriptedEngine(reply) as engine:
        pipeline = (
            ss.from_rows(["a", "b"])
            | ss.prompts()
            | ss.infer(engine)
            | ss.map_batches(renamed, schema=pa.schema([("draft", pa.string())]))
            | ss.prompts("draft")
            | ss.infer(engine)
        )
        async with pipeline.open() as results:
            assert [result.output async for result in results] == ["a!!", "b!!"]


async def test_a_stage_that_returns_other_columns_is_told_so() -> None:
    """The error says what was expected and how to declare the rest."""

    async def other(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch([batch["id"]], names=["number"])

    pipeline = ss.from_rows(numbered(4)) | ss.map_batches(other)
    with pytest.raises(ss.StageError, match=r"number: int64.*schema="):
        async with pipeline.open() as rows:
            assert [row async for row in rows] == []


async def test_a_limit_stops_the_reading() -> None:
    """No more of a generator is taken than the limit needs, by chunks."""
    taken = []

    def rows() -> Iterator[str]:
        for index in range(100_000):
            taken.append(index)
            yield str(index)

    async with ScriptedEngine() as engine:
        pipeline = (
            ss.from_rows(rows()) | ss.limit(1500) | ss.prompts() | ss.infer(engine)
        )
        async with pipeline.open() as results:
            seen = [result.index async for result in results]
    assert seen == list(range(1500))
    assert len(taken) <= 4000


async def test_unordered_results_come_as_they_complete() -> None:
    """A slow row comes last, and every row once."""

    async def scenario() -> list[int]:
        def script(prompt: str, _: int) -> ScriptedReply:
            return ScriptedReply(latency_s=9.0 if prompt == "0" else 1.0)

        async with ScriptedEngine(script) as engine:
            pipeline = (
                ss.from_rows([str(index) for index in range(20)])
                | ss.prompts()
                | ss.infer(engine, ordered=False)
            )
            async with pipeline.open() as results:
                return [result.index async for result in results]

    seen = await anyio.to_thread.run_sync(run_virtual, scenario)
    assert seen[-1] == 0
    assert sorted(seen) == list(range(20))


async def test_seeds_differ_by_row_and_agree_between_runs() -> None:
    """A function of the base seed and the row's index."""
    seen = []
    for _ in range(2):
        async with ScriptedEngine() as engine:
            pipeline = (
                ss.from_rows(["a", "b", "c"])
                | ss.prompts(sampling_params={"seed": 7})
                | ss.infer(engine, seed_per_row=True)
            )
            async with pipeline.open() as results:
                async for _result in results:
                    pass
            seen.append(dict(engine.seeds))
            assert engine.instructions is not None
            assert engine.instructions.sampling.seed is None
    assert seen[0] == seen[1]
    assert len(set(seen[0].values())) == 3
    assert None not in seen[0].values()


async def test_statistics_tell_rows_tokens_and_failures() -> None:
    """Also after the end."""
    error = ss.ServiceError("answered HTTP 400", status=400)

    def script(prompt: str, _: int) -> ScriptedReply:
        return ScriptedReply(error=error if prompt == "t5" else None)

    async with ScriptedEngine(script, default_concurrency=4) as engine:
        pipeline = ss.from_rows(numbered(50)) | ss.prompts("text") | ss.infer(engine)
        async with pipeline.open() as results:
            async for _ in results:
                pass
        statistics = results.statistics()
    assert statistics.rows_read == statistics.rows_done == 50
    assert statistics.failures == {ss.ErrorKind.REJECTED: 1}
    assert statistics.output_tokens == 49
    assert statistics.peak_in_flight == 4


async def test_an_async_source_is_read_as_it_produces() -> None:
    """Rows can come from anywhere."""

    async def rows() -> AsyncIterator[str]:
        for index in range(5):
            await anyio.lowlevel.checkpoint()
            yield f"p{index}"

    async with ScriptedEngine() as engine:
        pipeline = ss.from_rows(rows()) | ss.prompts() | ss.infer(engine)
        async with pipeline.open() as results:
            assert [r.output async for r in results] == [f"p{i}" for i in range(5)]


def test_misplaced_stages_are_told_before_anything_is_sent() -> None:
    """Each message says what goes where."""

    async def opened(pipeline: ss.Pipeline[ss.Result]) -> None:
        async with pipeline.open():
            pass

    engine = ScriptedEngine()
    with pytest.raises(ss.ConfigurationError, match="before it"):
        anyio.run(opened, ss.from_rows(["a"]) | ss.infer(engine))
    with pytest.raises(ss.ConfigurationError, match="not open"):
        anyio.run(opened, ss.from_rows(["a"]) | ss.prompts() | ss.infer(engine))
    with pytest.raises(ss.ConfigurationError, match=r"'nope'.*'text'"):
        anyio.run(
            opened,
            ss.from_rows(numbered(1)) | ss.prompts("nope") | ss.infer(engine),
        )


@pytest.mark.parametrize(
    "arguments", [{"concurrency": 0}, {"timeout_s": 0.0}, {"window_rows": 0}]
)
def test_impossible_numbers_are_refused(arguments: dict[str, float]) -> None:
    """When the stage is written, not when it runs."""
    with pytest.raises(ss.ConfigurationError):
        ss.infer(ScriptedEngine(), **arguments)  # type: ignore[arg-type]


async def test_a_run_writes_a_whole_file_and_reports(tmp_path: object) -> None:
    """Input columns, output, error and typed columns, in input order."""
    out = anyio.Path(str(tmp_path)) / "out.parquet"
    rows = [{"id": str(i), "review": None if i == 3 else f"r{i}"} for i in range(2500)]
    async with ScriptedEngine(lambda *_: GOOD) as engine:
        pipeline = ss.from_rows(rows) | ss.render(SENTIMENT) | ss.infer(engine)
        report = await (pipeline | ss.write_parquet(str(out))).run()
    frame = pl.read_parquet(str(out))
    assert frame.columns == ["id", "review", "output", "error", "label", "score"]
    assert frame["id"].to_list() == [str(i) for i in range(2500)]
    assert frame["error"].null_count() == 2499
    assert frame["score"].sum() == 3 * 2499
    assert (report.rows, report.rows_answered, report.rows_failed) == (2500, 2499, 1)
    assert report.status is ss.RunStatus.PARTIAL


async def test_a_run_in_which_every_row_failed_is_not_a_success(
    tmp_path: object,
) -> None:
    """The file still holds every row and its reason."""
    out = anyio.Path(str(tmp_path)) / "out.jsonl"
    reply = ScriptedReply(text="not json")
    async with ScriptedEngine(lambda *_: reply) as engine:
        pipeline = (
            ss.from_rows(["a", "b"])
            | ss.prompts(json_schema=SCHEMA)
            | ss.infer(engine)
            | ss.write_jsonl(str(out))
        )
        report = await pipeline.run()
    assert report.status is ss.RunStatus.FAILED
    assert (await out.read_text()).count("invalid_output") == 2


async def test_a_column_in_the_way_is_told_before_anything_is_sent(
    tmp_path: object,
) -> None:
    """The input's own `output` column would be hidden."""
    out = anyio.Path(str(tmp_path)) / "out.csv"
    async with ScriptedEngine() as engine:
        pipeline = ss.from_rows([{"output": "x"}]) | ss.prompts() | ss.infer(engine)
        with pytest.raises(ss.ConfigurationError, match="'output'"):
            await (pipeline | ss.write_csv(str(out))).run()
        assert not engine.calls
        await (pipeline | ss.write_csv(str(out), columns=[])).run()
    assert not await (anyio.Path(str(tmp_path)) / "missing").exists()


async def test_prompts_can_be_written_without_an_engine(tmp_path: object) -> None:
    """Rendering alone is a pipeline too; refused rows count as failures."""
    out = anyio.Path(str(tmp_path)) / "prompts.csv"
    rows = [{"review": "good"}, {"review": None}]
    pipeline = ss.from_rows(rows) | ss.render(SENTIMENT) | ss.write_csv(str(out))
    report = await pipeline.run()
    assert (report.rows, report.rows_failed) == (2, 1)
    frame = pl.read_csv(str(out))
    assert frame["prompt"].to_list() == ["good (none)", None]
