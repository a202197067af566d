"""However a run ends: soon, and with nothing left behind."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import anyio
import psutil
import pytest

import sutro_stream as ss
from sutro_stream.testing import (
    Hang,
    Reply,
    ScriptedChatServer,
    ScriptedEngine,
    ScriptedReply,
    always,
    first_of,
    run_virtual,
    when,
)

LIMIT_S = 20.0


@pytest.fixture(autouse=True)
async def nothing_is_left(tmp_path: Path) -> AsyncIterator[None]:
    """No task, no socket, no child process and no temporary file afterwards."""
    process = psutil.Process()
    tasks = len(anyio.get_running_tasks())
    sockets = len(process.net_connections())
    others = set(process.children(recursive=True))
    yield
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
    assert len(anyio.get_running_tasks()) == tasks
    assert len(process.net_connections()) <= sockets
    assert set(process.children(recursive=True)) <= others
    # What was answered is kept on purpose, and nothing else.
    kept = {"out.parquet.ledger", "out.parquet.ledger-rows"}
    assert {path.name for path in tmp_path.iterdir()} <= kept


@pytest.fixture
def clock() -> Iterator[None]:
    """The test must be over soon."""
    started_s = time.monotonic()
    yield
    assert time.monotonic() - started_s < LIMIT_S


def endless() -> Iterator[str]:
    """A source that never ends."""
    number = 0
    while True:
        yield f"row {number}"
        number += 1


def hanging_server() -> ScriptedChatServer:
    """Answers ten rows and leaves all others hanging."""
    few = when(lambda request: request.sequence < 10, Reply(text="ok"))
    return ScriptedChatServer(first_of(few, always(Reply(fault=Hang()))))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("stream", [False, True])
async def test_breaking_out_drops_what_is_in_flight(stream: bool) -> None:
    """The endpoint sees every request go."""
    async with hanging_server() as server:
        async with ss.ChatEngine(server.base_url, "m", stream=stream) as engine:
            pipeline = ss.from_rows(endless()) | ss.prompts() | ss.infer(engine)
            async with pipeline.open() as results:
                async for result in results:
                    assert result.output == "ok"
                    if result.index == 5:
                        break
        await server.wait_until(lambda seen: seen.connections_open == 0)
        assert server.statistics().in_flight == 0


@pytest.mark.usefixtures("clock")
async def test_an_error_of_the_consumer_reaches_its_caller_alone() -> None:
    """Not wrapped in a group, and not hidden by the cancellation it causes."""
    async with hanging_server() as server:
        async with ss.ChatEngine(server.base_url, "m") as engine:
            pipeline = ss.from_rows(endless()) | ss.prompts() | ss.infer(engine)
            with pytest.raises(LookupError, match="mine"):
                async with pipeline.open() as results:
                    async for _ in results:
                        raise LookupError("mine")
        await server.wait_until(lambda seen: seen.connections_open == 0)


@pytest.mark.usefixtures("clock")
async def test_cancelling_from_outside_ends_everything() -> None:
    """A deadline around the whole is enough."""
    async with hanging_server() as server:
        async with ss.ChatEngine(server.base_url, "m") as engine:
            pipeline = ss.from_rows(endless()) | ss.prompts() | ss.infer(engine)
            with anyio.move_on_after(0.3) as scope:
                async with pipeline.open() as results:
                    async for _ in results:
                        pass
            assert scope.cancelled_caught
        await server.wait_until(lambda seen: seen.connections_open == 0)


@pytest.mark.usefixtures("clock")
async def test_a_cancelled_run_leaves_no_file(tmp_path: Path) -> None:
    """Neither the output nor a temporary one; only the ledger of what was answered."""
    async with hanging_server() as server:
        async with ss.ChatEngine(server.base_url, "m") as engine:
            run = (
                ss.from_rows(endless())
                | ss.prompts()
                | ss.infer(engine)
                | ss.write_parquet(tmp_path / "out.parquet")
            )
            with anyio.move_on_after(0.3):
                await run.run()
        await server.wait_until(lambda seen: seen.connections_open == 0)


@pytest.mark.usefixtures("clock")
async def test_an_endpoint_that_refuses_the_key_ends_the_run(tmp_path: Path) -> None:
    """One error, no file, and no call for each of the rows."""
    async with ScriptedChatServer(api_key="right") as server:
        async with ss.ChatEngine(server.base_url, "m", api_key="wrong") as engine:
            run = (
                ss.from_rows(f"row {number}" for number in range(10_000))
                | ss.prompts()
                | ss.infer(engine, concurrency=8)
                | ss.write_csv(tmp_path / "out.csv")
            )
            with pytest.raises(ss.AuthenticationError, match="API key"):
                await run.run()
        assert server.statistics().requests <= 8


async def test_a_dying_engine_ends_the_run_soon() -> None:
    """The embedded model's process is killed while rows are out."""
    async with ss.LocalEngine(parallel=2, context_tokens=256) as engine:
        pipeline = (
            ss.from_rows(endless())
            | ss.prompts(sampling_params={"max_tokens": 8})
            | ss.infer(engine)
        )
        with pytest.raises(ss.EngineUnavailableError, match="stopped in the middle"):
            async with pipeline.open() as results:
                async for _ in results:
                    assert engine.process_id is not None
                    killed_s = time.monotonic()
                    psutil.Process(engine.process_id).kill()
    assert time.monotonic() - killed_s < LIMIT_S


@pytest.mark.usefixtures("clock")
async def test_a_source_that_breaks_ends_the_run_with_its_error() -> None:
    """Rows before the break are handed out, then the error comes."""

    def rows() -> Iterator[str]:
        for number in range(2500):
            yield f"row {number}"
        raise ss.SourceError("the input broke", row_index=2500)

    seen = 0
    async with ScriptedEngine() as engine:
        pipeline = ss.from_rows(rows()) | ss.prompts() | ss.infer(engine)
        with pytest.raises(ss.SourceError, match="the input broke"):
            async with pipeline.open() as results:
                async for _ in results:
                    seen += 1
                pytest.fail("the end came before the error")
    assert seen <= 2500


@pytest.mark.usefixtures("clock")
async def test_a_stage_that_raises_ends_the_run_with_its_error() -> None:
    """A user's own exception comes out as it is."""

    async def broken(_: object) -> NoReturn:
        raise ZeroDivisionError("in my stage")

    async with ScriptedEngine() as engine:
        pipeline = (
            ss.from_rows(endless())
            | ss.prompts()
            | ss.infer(engine)
            | ss.map_batches(broken)
        )
        with pytest.raises(ZeroDivisionError, match="in my stage"):
            async with pipeline.open() as rows:
                async for _ in rows:
                    pass


def test_a_consumer_that_stops_reading_stops_the_source() -> None:
    """Backpressure reaches the reader within the window."""
    taken = 0

    def rows() -> Iterator[str]:
        nonlocal taken
        for text in endless():
            taken += 1
            yield text

    async def scenario() -> None:
        reply = ScriptedReply(latency_s=1.0)
        async with ScriptedEngine(lambda *_: reply) as engine:
            pipeline = (
                ss.from_rows(rows()) | ss.prompts() | ss.infer(engine, concurrency=8)
            )
            async with pipeline.open() as results:
                await anext(results)
                await anyio.sleep(1000.0)
                asked = engine.calls.total()
                await anyio.sleep(1000.0)
                assert engine.calls.total() == asked
                assert asked < 1000
                assert taken <= 4000

    run_virtual(scenario)
