"""Runs that go on: answered rows are kept, and nothing is asked twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import sutro_stream as ss
from sutro_stream.ledger.inspection import inspect
from sutro_stream.testing import EngineScript, ScriptedEngine, ScriptedReply

ROWS = 3000


class Interrupted(Exception):  # noqa: N818 - what a user's own error may be called
    """Stops a run in the middle."""


def written(path: Path, texts: Iterator[str] | list[str]) -> Path:
    """A CSV file with an id and a text."""
    rows = [f"{number},{text}" for number, text in enumerate(texts)]
    path.write_text("\n".join(["id,text", *rows]) + "\n")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An input file with distinct texts."""
    return written(tmp_path / "input.csv", [f"t{n}" for n in range(ROWS)])


def interrupting(after: int) -> EngineScript:
    """Answers so many requests, and then meets what ends a run."""
    asked = 0

    def script(prompt: str, _: int) -> ScriptedReply:
        nonlocal asked
        asked += 1
        if asked > after:
            raise Interrupted
        return ScriptedReply(text=prompt.upper())

    return script


def upper(prompt: str, _: int) -> ScriptedReply:
    """Answer with the prompt in capitals."""
    return ScriptedReply(text=prompt.upper())


def run_of(
    source: Path, engine: ScriptedEngine, out: Path, **arguments: object
) -> ss.FilePipeline:
    """CSV to Parquet through the engine."""
    infer = ss.infer(engine, **arguments)  # type: ignore[arg-type]
    pipeline = ss.read_csv(source) | ss.prompts("text") | infer
    return pipeline | ss.write_parquet(out)


@pytest.fixture
async def interrupted(source: Path, tmp_path: Path) -> Path:
    """The output path of a run that stopped after 1,000 answers."""
    out = tmp_path / "out.parquet"
    async with ScriptedEngine(interrupting(1000)) as engine:
        with pytest.raises(Interrupted):
            await run_of(source, engine, out).run()
    assert not out.exists()
    return out


async def test_a_run_goes_on_where_it_stopped(source: Path, interrupted: Path) -> None:
    """Every row is asked once over both runs, and the file is whole."""
    async with ScriptedEngine(upper) as engine:
        report = await run_of(source, engine, interrupted).run()
        assert engine.calls.total() == ROWS - 1000
    assert report.rows_kept == 1000
    assert (report.rows, report.rows_answered) == (ROWS, ROWS)
    frame = pl.read_parquet(interrupted)
    assert frame["output"].to_list() == [f"T{n}" for n in range(ROWS)]
    assert frame["id"].to_list() == [str(n) for n in range(ROWS)]


async def test_the_ledger_knows_of_calls_that_came_to_nothing(
    source: Path, tmp_path: Path
) -> None:
    """What was out when a run ended was paid for, and is counted."""
    out = tmp_path / "out.parquet"
    async with ScriptedEngine(interrupting(500)) as engine:
        with pytest.raises(Interrupted):
            await run_of(source, engine, out).run()
        seen = inspect(tmp_path / "out.parquet.ledger").statistics
        assert (seen.rows, seen.calls) == (500, engine.calls.total())
    async with ScriptedEngine(upper) as again:
        await run_of(source, again, out).run(keep_ledger=True)
    seen = inspect(tmp_path / "out.parquet.ledger").statistics
    assert seen.calls == engine.calls.total() + again.calls.total()
    assert seen.calls_repeated == engine.calls.total() - 500


async def test_a_finished_run_leaves_no_ledger(source: Path, tmp_path: Path) -> None:
    """Unless it is told to."""
    out = tmp_path / "out.parquet"
    async with ScriptedEngine(upper) as engine:
        await run_of(source, engine, out).run()
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "input.csv",
            "out.parquet",
        ]
        await run_of(source, engine, out).run(keep_ledger=True)
        assert (tmp_path / "out.parquet.ledger").exists()
        report = await run_of(source, engine, out).run()
    assert report.rows_kept == ROWS


async def test_restart_forgets_what_was_answered(
    source: Path, interrupted: Path
) -> None:
    """Everything is asked anew."""
    async with ScriptedEngine(upper) as engine:
        run = run_of(source, engine, interrupted)
        report = await run.run(mode=ss.OpenMode.RESTART)
        assert engine.calls.total() == ROWS
    assert report.rows_kept == 0


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"system_prompt": "Other."}, "system prompt"),
        ({"sampling_params": {"temperature": 1}}, "sampling parameters"),
        ({"json_schema": {"type": "object"}}, "output schema"),
        ({"column": "id"}, "columns"),
    ],
    ids=["system prompt", "sampling", "schema", "columns"],
)
async def test_other_work_does_not_get_the_answers(
    source: Path, interrupted: Path, change: dict[str, object], part: str
) -> None:
    """The error names what differs; nothing is sent, nothing is lost."""
    async with ScriptedEngine(upper) as engine:
        prompts = ss.prompts(**({"column": "text"} | change))  # type: ignore[arg-type]
        other = ss.read_csv(source) | prompts | ss.infer(engine)
        with pytest.raises(ss.WorkChangedError, match=part):
            await (other | ss.write_parquet(interrupted)).run()
        assert not engine.calls
        report = await run_of(source, engine, interrupted).run()
    assert report.rows_kept == 1000


async def test_a_changed_input_is_noticed(source: Path, interrupted: Path) -> None:
    """By its content, not by its name or date."""
    text = source.read_text()
    source.write_text(text.replace("t2999", "t2998"))
    async with ScriptedEngine(upper) as engine:
        with pytest.raises(ss.WorkChangedError, match="input"):
            await run_of(source, engine, interrupted).run()
        moved = source.with_name("moved.csv")
        moved.write_text(text)
        report = await run_of(moved, engine, interrupted).run()
    assert report.rows_kept == 1000


async def test_only_what_failed_is_asked_again(source: Path, tmp_path: Path) -> None:
    """Answers stay; the new outcomes take the place of the failures."""
    out = tmp_path / "out.parquet"
    refused = ss.ServiceError("answered HTTP 400", status=400)

    def picky(prompt: str, attempt: int) -> ScriptedReply:
        bad = prompt.endswith("7") and attempt == 1
        return ScriptedReply(text=prompt.upper(), error=refused if bad else None)

    async with ScriptedEngine(picky) as engine:
        first = await run_of(source, engine, out).run(keep_ledger=True)
        assert first.rows_failed == ROWS // 10
        asked = engine.calls.total()
        run = run_of(source, engine, out)
        second = await run.run(mode=ss.OpenMode.RETRY_FAILED)
        assert engine.calls.total() - asked == ROWS // 10
    assert (second.rows_failed, second.rows_kept) == (0, ROWS - ROWS // 10)
    assert pl.read_parquet(out)["output"].to_list() == [f"T{n}" for n in range(ROWS)]


async def test_a_second_run_on_the_same_output_is_refused(
    source: Path, tmp_path: Path
) -> None:
    """While the first one is at work."""
    out = tmp_path / "out.parquet"
    second: list[Exception] = []

    async with ScriptedEngine(upper) as engine:

        class Nosy(ScriptedEngine):
            async def answer(
                self, prompt: str, *, seed: int | None = None
            ) -> ss.Answer:
                if prompt == "t5":
                    with pytest.raises(ss.StoreError, match="another run") as caught:
                        await run_of(source, engine, out).run()
                    second.append(caught.value)
                return await super().answer(prompt, seed=seed)

        async with Nosy(upper) as first:
            await run_of(source, first, out).run()
        assert not engine.calls
    assert len(second) == 1
    assert pl.read_parquet(out).height == ROWS


@pytest.mark.parametrize("ordered", [True, False])
async def test_failed_rows_go_to_a_file_of_their_own(
    source: Path, tmp_path: Path, *, ordered: bool
) -> None:
    """As they came in, so that they are an input again."""
    refused = ss.ServiceError("answered HTTP 400", status=400)

    def picky(prompt: str, _: int) -> ScriptedReply:
        return ScriptedReply(error=refused if prompt.endswith("7") else None)

    failed = tmp_path / "failed.csv"
    async with ScriptedEngine(picky) as engine:
        run = run_of(source, engine, tmp_path / "out.parquet", ordered=ordered)
        await run.run(failures_to=ss.write_csv(failed))
    async with ScriptedEngine(upper) as engine:
        report = await run_of(failed, engine, tmp_path / "again.parquet").run()
        assert sorted(engine.calls) == sorted(f"t{n}" for n in range(7, ROWS, 10))
    assert report.rows == ROWS // 10


@pytest.mark.parametrize("ordered", [True, False])
async def test_equal_prompts_are_asked_once(tmp_path: Path, *, ordered: bool) -> None:
    """Also while the first is in flight; every row gets the answer."""
    texts = [f"t{n % 600}" for n in range(1000)]
    source = written(tmp_path / "input.csv", texts)
    async with ScriptedEngine(upper) as engine:
        run = run_of(
            source, engine, tmp_path / "o.parquet", dedupe=True, ordered=ordered
        )
        report = await run.run()
        assert engine.calls.total() == 600
    assert report.rows_shared == 400
    frame = pl.read_parquet(tmp_path / "o.parquet")
    assert frame["output"].to_list() == [t.upper() for t in frame["text"].to_list()]
    assert sorted(frame["text"].to_list()) == sorted(texts)
    assert not ordered or frame["text"].to_list() == texts


async def test_equal_prompts_are_asked_once_for_an_iterator_too() -> None:
    """Far apart as well, beyond what is remembered in memory."""
    texts = [f"t{n}" for n in range(20_000)] + [f"t{n}" for n in range(50)]
    async with ScriptedEngine(upper) as engine:
        pipeline = ss.from_rows(texts) | ss.prompts() | ss.infer(engine, dedupe=True)
        async with pipeline.open() as results:
            outputs = [result.output async for result in results]
        assert engine.calls.total() == 20_000
    assert outputs == [text.upper() for text in texts]


async def test_an_iterator_replays_what_was_answered(
    source: Path, tmp_path: Path
) -> None:
    """From its ledger, in order, without a request."""
    ledger = tmp_path / "kept.ledger"
    async with ScriptedEngine(upper) as engine:
        pipeline = ss.read_csv(source) | ss.prompts("text") | ss.infer(engine)
        async with pipeline.open(ledger=ledger) as results:
            async for result in results:
                if result.index == 499:
                    break
        asked = engine.calls.total()
        assert 500 <= asked < ROWS
        async with pipeline.open(ledger=ledger) as results:
            outputs = [result.output async for result in results]
        kept = results.statistics().rows_kept
        # What was in flight when the consumer left is asked again.
        assert asked - engine.default_concurrency <= kept <= asked
        assert engine.calls.total() == ROWS + asked - kept
    assert outputs == [f"T{n}" for n in range(ROWS)]


async def test_structured_answers_are_replayed_as_they_were(tmp_path: Path) -> None:
    """Parsed values, refused rows and failures included."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    function = ss.Function.validate(
        {"name": "f", "inputs": [{"name": "x"}], "output_schema": schema}
    )
    rows = [{"x": None if n % 5 == 4 else str(n)} for n in range(50)]

    def script(prompt: str, _: int) -> ScriptedReply:
        number = int(prompt.rpartition(" ")[2])
        text = "no json" if number % 5 == 3 else json.dumps({"n": number})
        return ScriptedReply(text=text)

    seen = []
    async with ScriptedEngine(script) as engine:
        for _ in range(2):
            pipeline = ss.from_rows(rows) | ss.render(function) | ss.infer(engine)
            async with pipeline.open(ledger=tmp_path / "l") as results:
                seen.append([(r.index, r.output, r.outcome) async for r in results])
        assert engine.calls.total() == 40
    assert seen[0] == seen[1]


async def test_two_calls_in_a_chain_are_both_kept(source: Path, tmp_path: Path) -> None:
    """Each has its ledger, and neither is paid twice."""

    async def renamed(batch: object) -> object:
        import pyarrow as pa  # noqa: PLC0415

        return pa.record_batch([batch["output"]], names=["draft"])  # type: ignore[index]

    import pyarrow as pa  # noqa: PLC0415

    def chain(first: ScriptedEngine, second: ScriptedEngine) -> ss.FilePipeline:
        return (
            ss.read_csv(source)
            | ss.prompts("text")
            | ss.infer(first)
            | ss.map_batches(renamed, schema=pa.schema([("draft", pa.string())]))
            | ss.prompts("draft")
            | ss.infer(second)
            | ss.write_parquet(tmp_path / "out.parquet")
        )

    async with ScriptedEngine(upper) as first:
        async with ScriptedEngine(interrupting(700)) as second:
            with pytest.raises(Interrupted):
                await chain(first, second).run()
        async with ScriptedEngine(upper) as second:
            await chain(first, second).run()
            assert second.calls.total() == ROWS - 700
        # What was in flight at the first when the second broke is asked again.
        assert first.calls.total() <= ROWS + first.default_concurrency
    assert pl.read_parquet(tmp_path / "out.parquet").height == ROWS


async def test_rows_from_memory_are_checked_one_by_one(tmp_path: Path) -> None:
    """There is no file to compare, so every known row is."""
    out = tmp_path / "out.jsonl"

    def pipeline(engine: ScriptedEngine, texts: list[str]) -> ss.FilePipeline:
        rows = ss.from_rows(texts) | ss.prompts() | ss.infer(engine)
        return rows | ss.write_jsonl(out)

    texts = [f"t{n}" for n in range(100)]
    async with ScriptedEngine(interrupting(50)) as engine:
        with pytest.raises(Interrupted):
            await pipeline(engine, texts).run()
    async with ScriptedEngine(upper) as engine:
        with pytest.raises(ss.WorkChangedError, match="row 3"):
            await pipeline(engine, [*texts[:3], "other", *texts[4:]]).run()
        report = await pipeline(engine, texts).run()
    assert report.rows_kept == 50


async def test_a_straggler_does_not_hold_up_a_file(
    source: Path, tmp_path: Path
) -> None:
    """All other rows are asked while the first is still out."""

    def script(prompt: str, _: int) -> ScriptedReply:
        if prompt == "t0":
            return ScriptedReply(text="late", latency_s=1.0)
        return ScriptedReply(text="soon")

    async with ScriptedEngine(script) as engine:
        run = run_of(source, engine, tmp_path / "o.parquet", window_rows=100)
        report = await run.run()
    assert report.elapsed_s < 30
    frame = pl.read_parquet(tmp_path / "o.parquet")
    assert frame["output"].to_list() == ["late", *["soon"] * (ROWS - 1)]


async def test_what_waits_behind_a_straggler_is_read_back_from_the_ledger(
    source: Path, tmp_path: Path
) -> None:
    """More than memory may hold, failures among it; the file is in order."""
    long = "x" * 24_000

    def script(prompt: str, _: int) -> ScriptedReply:
        if prompt == "t0":
            return ScriptedReply(text="late", latency_s=1.0)
        if prompt == "t2500":
            return ScriptedReply(error=ss.InputTooLongError("too long"))
        return ScriptedReply(text=f"{prompt} {long}")

    out, failures = tmp_path / "o.parquet", tmp_path / "failed.csv"
    async with ScriptedEngine(script) as engine:
        await run_of(source, engine, out).run(failures_to=ss.write_csv(failures))
    rows = pl.read_parquet(out)
    texts: list[str | None] = [f"t{n} {long}" for n in range(ROWS)]
    texts[0], texts[2500] = "late", None
    assert rows["output"].to_list() == texts
    assert rows["id"].to_list() == [str(n) for n in range(ROWS)]
    assert failures.read_text().splitlines() == ['"id","text"', '"2500","t2500"']
