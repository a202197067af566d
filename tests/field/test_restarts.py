"""Endpoints that go away and come back, over real sockets and by the command."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import polars as pl
import pytest
from anyio.abc import Process

from sutro_stream.testing import (
    ChatRequest,
    Reply,
    Script,
    ScriptedChatServer,
    chat_server_process,
    first_of,
    read_record,
    when,
    with_latency,
)
from sutro_stream.testing.chat_server import Constant, echo

OUTAGE_S = 6.0
LATENCY_MS = 50
# To notice the end of patience, to store and to leave; a run that did not would take
# the ten minutes of the usual patience. On a machine where all stands still at times.
LEAVING_S = 60.0
# No command is longer on its way, on a busy machine either.
LONGEST_S = 150.0

pytestmark = pytest.mark.timeout(200)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended, and how long it took from some moment on."""

    code: int
    out: str
    err: str
    took_s: float


class Endpoint:
    """A server process that is killed and started again, always on one port."""

    def __init__(self, record: Path) -> None:
        self.record = record
        with socket.socket() as finding:
            finding.bind(("127.0.0.1", 0))
            self.port = finding.getsockname()[1]
        self._running = AsyncExitStack()
        self._pid: int | None = None

    @property
    def url(self) -> str:
        """Its address, whether anybody is there or not."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        """Have somebody there, who says so."""
        server = chat_server_process(
            *("--port", str(self.port), "--record", str(self.record)),
            *("--latency-ms", str(LATENCY_MS)),
        )
        self._pid = (await self._running.enter_async_context(server)).pid

    async def kill(self) -> None:
        """Have nobody there any more, from one moment to the next."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._pid = None
        await self._running.aclose()

    async def asked(self, requests: int) -> None:
        """Wait until it was asked so often."""
        with anyio.fail_after(30):
            while len(read_record(self.record)) < requests:  # noqa: ASYNC110 - a file
                await anyio.sleep(0.02)

    def asked_twice(self) -> int:
        """Requests whose prompt had been asked before."""
        times = Counter(request.prompt for request in read_record(self.record))
        return sum(times.values()) - len(times)

    def most_in_flight(self) -> int:
        """Most requests that were ever unanswered at once."""
        return max(request.in_flight for request in read_record(self.record))


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncGenerator[Endpoint]:
    """An endpoint where nobody is yet."""
    endpoint = Endpoint(tmp_path / "asked.jsonl")
    yield endpoint
    await endpoint.kill()


def rows_file(folder: Path, rows: int) -> Path:
    """A CSV file of distinct texts."""
    path = folder / "rows.csv"
    path.write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(rows)))
    return path


def undisturbed(rows: int) -> pl.DataFrame:
    """The output of a run whose endpoint was always there."""
    return pl.DataFrame(
        {
            "id": [str(n) for n in range(rows)],
            "text": [f"text {n}" for n in range(rows)],
            "output": [f"echo: text {n}" for n in range(rows)],
            "error": pl.Series([None] * rows, dtype=pl.String),
        }
    )


def command(folder: Path, url: str, *more: str) -> list[str]:
    """The command line of a run over the rows of a folder."""
    return [
        *(sys.executable, "-m", "sutro_stream", "run", str(folder / "rows.csv")),
        *("--column", "text", "--engine", url, "--model", "m"),
        *("--output", str(folder / "out.parquet"), *more),
    ]


@asynccontextmanager
async def running(folder: Path, url: str, *more: str) -> AsyncGenerator[Process]:
    """The command, which is over when the block is left, whatever becomes of it."""
    process = await anyio.open_process(command(folder, url, *more))
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def ended(process: Process, *, since_s: float) -> Ended:
    """Wait for the end of a command, and hear what it said."""
    assert process.stdout is not None
    assert process.stderr is not None
    said: dict[str, bytes] = {}

    async def hear(name: str, stream: AsyncIterator[bytes]) -> None:
        said[name] = b"".join([part async for part in stream])

    with anyio.fail_after(LONGEST_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, "out", process.stdout)
            tasks.start_soon(hear, "err", process.stderr)
        code = await process.wait()
    return Ended(
        code=code,
        out=said["out"].decode(),
        err=said["err"].decode(),
        took_s=time.monotonic() - since_s,
    )


async def ran(folder: Path, url: str, *more: str) -> Ended:
    """Run the command to its end."""
    began_s = time.monotonic()
    async with running(folder, url, *more) as process:
        return await ended(process, since_s=began_s)


# A server process is killed, and started again.


@pytest.mark.parametrize(
    ("concurrency", "rows", "transport"),
    [
        pytest.param("auto", 4000, "fast", id="auto"),
        pytest.param("32", 2000, "fast", id="32", marks=pytest.mark.long),
        pytest.param("256", 8000, "fast", id="256", marks=pytest.mark.long),
        pytest.param("auto", 4000, "aiohttp", id="aiohttp", marks=pytest.mark.long),
    ],
)
async def test_a_run_outlasts_a_restart_of_its_endpoint(
    tmp_path: Path, endpoint: Endpoint, concurrency: str, rows: int, transport: str
) -> None:
    """No row fails, and at most what was in flight is asked a second time."""
    rows_file(tmp_path, rows)
    more = ("--concurrency", concurrency, "--transport", transport, "--quiet")
    await endpoint.start()
    async with running(tmp_path, endpoint.url, *more) as process:
        await endpoint.asked(rows // 3)
        await endpoint.kill()
        in_flight = endpoint.most_in_flight()
        await anyio.sleep(OUTAGE_S)
        await endpoint.start()
        result = await ended(process, since_s=time.monotonic())
    assert result.code == 0, result.err
    assert "error" not in result.err
    assert pl.read_parquet(tmp_path / "out.parquet").equals(undisturbed(rows))
    assert endpoint.asked_twice() <= in_flight
    assert not (tmp_path / "out.parquet.ledger").exists()


@pytest.mark.long
async def test_a_run_outlasts_three_restarts_in_a_row(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    """Each costs the requests in flight and nothing more."""
    rows_file(tmp_path, 6000)
    await endpoint.start()
    in_flight = 0
    async with running(
        tmp_path, endpoint.url, "--concurrency", "64", "--quiet"
    ) as process:
        for restart in range(1, 4):
            await endpoint.asked(1200 * restart)
            await endpoint.kill()
            in_flight += 64
            await anyio.sleep(2)
            await endpoint.start()
        result = await ended(process, since_s=time.monotonic())
    assert result.code == 0, result.err
    assert "error" not in result.err
    assert pl.read_parquet(tmp_path / "out.parquet").equals(undisturbed(6000))
    assert endpoint.asked_twice() <= in_flight


@pytest.mark.long
async def test_an_outage_is_told_beside_a_run_without_a_terminal(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    """Once it is longer than ten seconds, with its reason."""
    rows_file(tmp_path, 2000)
    await endpoint.start()
    async with running(tmp_path, endpoint.url, "--concurrency", "32") as process:
        await endpoint.asked(500)
        await endpoint.kill()
        await anyio.sleep(14)
        await endpoint.start()
        result = await ended(process, since_s=time.monotonic())
    assert result.code == 0
    assert "waiting for the endpoint" in result.err
    assert "error" not in result.err


# A server process stays away.


@pytest.mark.parametrize(
    ("patience_s", "concurrency"),
    [
        pytest.param(1, "32", id="1s"),
        pytest.param(5, "auto", id="5s-auto", marks=pytest.mark.long),
        pytest.param(5, "256", id="5s-256", marks=pytest.mark.long),
    ],
)
async def test_an_outage_beyond_patience_ends_the_run_resumably(
    tmp_path: Path, endpoint: Endpoint, patience_s: int, concurrency: str
) -> None:
    """Exit code 3; the same command completes it once somebody is there again."""
    rows = 4000
    rows_file(tmp_path, rows)
    more = ("--concurrency", concurrency, "--patience", f"{patience_s}s")
    ledger = tmp_path / "out.parquet.ledger"
    await endpoint.start()
    async with running(tmp_path, endpoint.url, *more) as process:
        await endpoint.asked(rows // 3)
        await endpoint.kill()
        first = await ended(process, since_s=time.monotonic())
    in_flight = endpoint.most_in_flight()
    assert first.code == 3, first.err
    assert patience_s - 0.5 < first.took_s < patience_s + LEAVING_S
    assert ledger.exists()
    assert not (tmp_path / "out.parquet").exists()
    assert f"what was answered is kept in {ledger}" in first.err
    assert "give the same command again to go on" in first.err
    await endpoint.start()
    second = await ran(tmp_path, endpoint.url, *more)
    assert second.code == 0, second.err
    assert "error" not in second.err
    assert pl.read_parquet(tmp_path / "out.parquet").equals(undisturbed(rows))
    assert endpoint.asked_twice() <= in_flight
    assert not ledger.exists()


async def test_a_resumed_run_that_finds_nobody_can_be_resumed_again(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    """Exit code 3, not the 1 of a mistyped address: somebody was there before."""
    rows_file(tmp_path, 400)
    await endpoint.start()
    spent = await ran(tmp_path, endpoint.url, "--budget", "calls=100")
    assert spent.code == 3
    await endpoint.kill()
    nobody = await ran(tmp_path, endpoint.url, "--patience", "1s")
    assert nobody.code == 3, nobody.err
    assert nobody.took_s < 1 + LEAVING_S
    ledger = tmp_path / "out.parquet.ledger"
    assert f"what was answered is kept in {ledger}" in nobody.err
    assert ledger.exists()
    await endpoint.start()
    last = await ran(tmp_path, endpoint.url)
    assert last.code == 0, last.err
    assert "error" not in last.err
    assert pl.read_parquet(tmp_path / "out.parquet").equals(undisturbed(400))
    assert endpoint.asked_twice() == 0


# Nobody ever was there.


@pytest.mark.parametrize("concurrency", ["auto", "32"])
async def test_an_address_where_nobody_is_fails_at_once(
    tmp_path: Path, endpoint: Endpoint, concurrency: str
) -> None:
    """It is mistyped, most likely: exit code 1, and no ledger to clean up."""
    rows_file(tmp_path, 200)
    result = await ran(tmp_path, endpoint.url, "--concurrency", concurrency)
    assert result.code == 1
    assert result.took_s < LEAVING_S
    assert result.err.startswith("error: ")
    assert f"127.0.0.1:{endpoint.port}" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.long
async def test_an_address_that_swallows_connections_fails_within_seconds(
    tmp_path: Path,
) -> None:
    """Connecting has a limit of its own, which is not that of an answer."""
    rows_file(tmp_path, 200)
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Its queue is full with one that nobody accepts: others get no reply at all.
        waiting.connect(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        result = await ran(tmp_path, url, "--concurrency", "4")
    assert result.code == 1, result.err
    assert result.took_s < 90
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


# Somebody is there and not ready.


def loading(seconds: float) -> Script:
    """503 as llama.cpp has it while it reads its model, then answers."""
    began_s: float | None = None

    def decide(_request: ChatRequest) -> Reply | None:
        nonlocal began_s
        began_s = began_s or time.monotonic()
        if time.monotonic() - began_s < seconds:
            return Reply(status=503, message="Loading model")
        return None

    return first_of(decide, with_latency(echo(), Constant(seconds=LATENCY_MS / 1000)))


@pytest.mark.parametrize(
    ("loading_s", "concurrency"),
    [
        pytest.param(3, "auto", id="3s-auto"),
        pytest.param(3, "32", id="3s-32", marks=pytest.mark.long),
        pytest.param(15, "32", id="15s-32", marks=pytest.mark.long),
        pytest.param(15, "auto", id="15s-auto", marks=pytest.mark.long),
    ],
)
async def test_a_model_that_is_being_loaded_is_waited_for(
    tmp_path: Path, loading_s: int, concurrency: str
) -> None:
    """From the very first request on: who says so is there."""
    rows_file(tmp_path, 400)
    async with ScriptedChatServer(loading(loading_s)) as server:
        result = await ran(tmp_path, server.base_url, "--concurrency", concurrency)
        refused = server.statistics().by_status[503]
    assert result.code == 0, result.err
    assert pl.read_parquet(tmp_path / "out.parquet").equals(undisturbed(400))
    # A first burst, and then probes.
    assert refused <= 64 + 5 * loading_s
    if loading_s > 10:
        assert "waiting for the endpoint" in result.err
        assert "503" in result.err


# One row is refused.


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(2000, id="2000"),
        pytest.param(100_000, id="100000", marks=pytest.mark.long),
    ],
)
async def test_one_row_that_a_firewall_refuses_is_one_failed_row(
    tmp_path: Path, rows: int
) -> None:
    """The others are answered, and the provider's words say why this one is not."""
    rows_file(tmp_path, rows)
    refused = rows // 2
    words = "Request blocked by our content policy"
    script = when(
        lambda request: request.prompt == f"text {refused}",
        Reply(status=403, message=words),
    )
    async with ScriptedChatServer(script) as server:
        result = await ran(tmp_path, server.base_url)
        seen = server.statistics()
    assert result.code == 0, result.err
    output = pl.read_parquet(tmp_path / "out.parquet")
    failed = output.filter(pl.col("error").is_not_null())
    assert failed["text"].to_list() == [f"text {refused}"]
    assert words in failed["error"][0]
    kept = pl.col("text") != f"text {refused}"
    assert output.filter(kept).equals(undisturbed(rows).filter(kept))
    assert seen.by_status[200] == rows - 1
