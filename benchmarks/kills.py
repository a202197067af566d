"""Lane of `faults.py`: runs that are killed, and gone on with."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import pyarrow.parquet as pq
from peers import Peer, installed, kill_peer, peer_command, run_peer

from sutro_stream.ledger.inspection import inspect
from sutro_stream.testing import ChatServerProcess, chat_server_process

ROWS = 4000
CONCURRENCY = 256
KILLS = 50
_SERVER = ("--latency-ms=100", "--latency-p99-ms=200")
_POLL_S = 0.01


@dataclass
class _Count:
    """What was seen over all kills.

    Attributes:
        killed: Runs that were killed.
        ended: Runs that came to their end before.
        in_flight: Requests in flight at the kills, by the ledger's account.
    """

    killed: int = 0
    ended: int = 0
    in_flight: int = 0


async def kills() -> None:
    """A run of 4,000 rows killed at 50 random points, and resumed each time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = "".join(f"{number},text {number}\n" for number in range(ROWS))
        (folder / "input.csv").write_text("id,text\n" + rows)
        async with chat_server_process(*_SERVER) as server:
            await _run_to_end(server, folder, folder / "undisturbed.parquet")
        async with chat_server_process(*_SERVER) as server:
            count = await _tormented(server, folder, random.Random(1))
            seen = await server.statistics()
        same = pq.read_table(folder / "out.parquet").equals(
            pq.read_table(folder / "undisturbed.parquet")
        )
    print(f"{ROWS:,} rows, {CONCURRENCY} in flight: {count.killed} kills")
    print(f"identical to an undisturbed run's file   {'yes' if same else 'NO'}")
    print(f"requests {seen.requests:,}, asked more than once {seen.repeated:,}")
    print(f"in flight at the kills, by the ledger    {count.in_flight:,}")
    print(f"most that {count.killed} kills may cost  {count.killed * CONCURRENCY:,}")
    for peer in installed():
        await _peer(peer)


async def _tormented(
    server: ChatServerProcess, folder: Path, rng: random.Random
) -> _Count:
    out = folder / "out.parquet"
    ledger = out.with_name("out.parquet.ledger")
    count = _Count()
    answered = 0
    while count.killed < KILLS and not out.exists():
        seen = await server.statistics()
        share = max(1, (ROWS - answered) // (KILLS - count.killed))
        after = seen.requests + rng.randint(1, share)
        async with await anyio.open_process(_command(server, folder, out)) as process:
            while process.returncode is None:
                if (await server.statistics()).requests >= after:
                    await anyio.sleep(rng.uniform(0, 0.05))
                    process.kill()
                    break
                await anyio.sleep(_POLL_S)
            await process.wait()
        if process.returncode == -signal.SIGKILL:
            count.killed += 1
        else:
            count.ended += 1
        if ledger.exists():
            kept = inspect(ledger).statistics
            answered, count.in_flight = kept.rows, kept.calls - kept.rows
    if not out.exists():
        await _run_to_end(server, folder, out)
    return count


async def _run_to_end(server: ChatServerProcess, folder: Path, out: Path) -> None:
    await anyio.run_process(_command(server, folder, out), stderr=None)


def _command(server: ChatServerProcess, folder: Path, out: Path) -> Sequence[str]:
    return [
        sys.executable,
        "-m",
        "sutro_stream",
        "run",
        str(folder / "input.csv"),
        "--column=text",
        f"--engine={server.base_url}",
        "--model=m",
        f"--concurrency={CONCURRENCY}",
        f"--output={out}",
        "--quiet",
    ]


async def _asked(server: ChatServerProcess, requests: int) -> None:
    """Wait until the endpoint, another process, has seen so many requests."""
    seen = await server.statistics()
    while seen.requests < requests:
        await anyio.sleep(_POLL_S)
        seen = await server.statistics()


async def _peer(peer: Peer) -> None:
    """One kill half-way, and what going on costs."""
    if not peer.resumes:
        print(f"{peer.name}: does not resume, all that was answered is paid again")
        return
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "out.jsonl"
        async with chat_server_process(*_SERVER) as server:
            command = peer_command(
                peer,
                server.base_url,
                rows=ROWS,
                concurrency=CONCURRENCY,
                output=output,
            )
            async with await anyio.open_process(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                await _asked(server, ROWS // 2)
                await kill_peer(process)
            run = await run_peer(
                peer,
                server.base_url,
                rows=ROWS,
                concurrency=CONCURRENCY,
                output=output,
            )
            seen = await server.statistics()
    print(
        f"{peer.name}, one kill half-way: {run.answered:,} rows answered, "
        f"{seen.repeated:,} asked more than once (warming up is two)"
    )
