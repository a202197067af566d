"""Runs killed at any moment lose nothing and pay for nothing twice."""

from __future__ import annotations

import random
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio
import polars as pl
import pytest
from anyio.abc import Process

from sutro_stream.testing import (
    ChatServerStatistics,
    ScriptedChatServer,
    Uniform,
    echo,
    with_latency,
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run is tormented."""

    rows: int
    concurrency: int
    kills: int
    seed: int


def input_file(folder: Path, rows: int) -> Path:
    """A CSV file of distinct texts."""
    path = folder / "input.csv"
    path.write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(rows)))
    return path


def expected(rows: int) -> pl.DataFrame:
    """The output of a run that nobody disturbs."""
    return pl.DataFrame(
        {
            "id": [str(n) for n in range(rows)],
            "text": [f"text {n}" for n in range(rows)],
            "output": [f"echo: text {n}" for n in range(rows)],
            "error": pl.Series([None] * rows, dtype=pl.String),
        }
    )


async def started(server: ScriptedChatServer, folder: Path, plan: Plan) -> Process:
    """The command, as a person would start it, again and again."""
    return await anyio.open_process(
        [
            sys.executable,
            "-m",
            "sutro_stream",
            "run",
            str(folder / "input.csv"),
            "--column=text",
            f"--engine={server.base_url}",
            "--model=m",
            f"--concurrency={plan.concurrency}",
            f"--output={folder / 'out.parquet'}",
            "--quiet",
        ],
        stderr=None,
    )


async def killed(
    server: ScriptedChatServer, folder: Path, plan: Plan, *, after: int, pause_s: float
) -> None:
    """Start the command and kill it once the server has seen so many requests."""

    def far_enough(seen: ChatServerStatistics) -> bool:
        return seen.requests >= after

    async with await started(server, folder, plan) as process:
        async with anyio.create_task_group() as tasks:

            async def ended() -> None:
                await process.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(ended)
            await server.wait_until(far_enough)
            await anyio.sleep(pause_s)
            process.send_signal(signal.SIGKILL)
        # It may have come to its end before the kill; with an error it must not.
        assert process.returncode in {0, -signal.SIGKILL}
    # What the server still does for a client that is gone is no new request.
    await server.wait_until(lambda seen: seen.connections_open == 0)


async def torment(folder: Path, plan: Plan) -> None:
    """Kill a run again and again, let it end, and look at what it made."""
    rng = random.Random(plan.seed)
    input_file(folder, plan.rows)
    out = folder / "out.parquet"
    script = with_latency(echo(), Uniform(low_s=0.005, high_s=0.05), seed=plan.seed)
    async with ScriptedChatServer(script) as server:
        for number in range(plan.kills):
            seen = server.statistics().requests
            share = (plan.rows - seen) // (plan.kills - number)
            after = seen + rng.randint(0, max(0, share))
            await killed(
                server, folder, plan, after=after, pause_s=rng.uniform(0, 0.05)
            )
            if out.exists():
                assert number >= plan.kills - 2
                break
        async with await started(server, folder, plan) as process:
            assert await process.wait() == 0 or out.exists()
        requests = server.statistics().requests
    assert pl.read_parquet(out).equals(expected(plan.rows))
    assert plan.rows <= requests <= plan.rows + plan.kills * plan.concurrency
    assert not list(folder.glob("*.ledger*"))


@pytest.mark.parametrize("seed", [1])
async def test_five_kills(tmp_path: Path, seed: int) -> None:
    """Each at a random moment of a run of 2,000 rows."""
    await torment(tmp_path, Plan(rows=2000, concurrency=64, kills=5, seed=seed))


async def test_kills_while_finishing(tmp_path: Path) -> None:
    """When every row is answered and the file is being written."""
    plan = Plan(rows=300, concurrency=64, kills=3, seed=0)
    input_file(tmp_path, plan.rows)
    out = tmp_path / "out.parquet"
    async with ScriptedChatServer() as server:
        for pause_s in (0.0, 0.01, 0.03):
            await killed(server, tmp_path, plan, after=plan.rows, pause_s=pause_s)
            if out.exists():
                assert pl.read_parquet(out).equals(expected(plan.rows))
                out.unlink()
        async with await started(server, tmp_path, plan) as process:
            assert await process.wait() == 0
    assert pl.read_parquet(out).equals(expected(plan.rows))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
async def test_fifty_kills(tmp_path: Path, seed: int) -> None:
    """Each at a random moment of a run of 4,000 rows, 256 in flight."""
    await torment(tmp_path, Plan(rows=4000, concurrency=256, kills=50, seed=seed))
