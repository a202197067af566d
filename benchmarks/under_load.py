"""A deployment under load: what everybody else notices of a huge job.

Deployment and scripted endpoint run in processes of their own; this process is the
clients, and serves the big job's Parquet file.

    python benchmarks/under_load.py [--lane prototypes,accounts,lag] [--rows 1000000]

prototypes  20-row jobs of priority 0 beside the big job of priority 1: how long they
            take, and what the big job loses while they come.
accounts    Two accounts with equal jobs, a second apart: when they finish.
lag         The server's event loop while 200 MB submissions arrive and the big job's
            results are downloaded, over and over.
"""

from __future__ import annotations

import argparse
import bisect
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import orjson
import psutil
from data import table_file
from deployment_memory import file_server, peak_mb, received_bytes
from machine import describe

from sutro_stream.testing import ChatServerProcess, chat_server_process
from sutro_stream.testing.deployment import (
    DeploymentProcess,
    create_key,
    deployment_process,
)

CONFIG = """
[urls]
allow_private = true

[models.wide]
endpoints = [{{ url = "{url}" }}]
concurrency = {concurrency}

[models.narrow]
endpoints = [{{ url = "{url}" }}]
concurrency = 64

[quotas.1]
rows = 100_000_000
tokens = 100_000_000_000
"""
PROTOTYPE_ROWS = 20
ACCOUNT_ROWS = 5_000
LATENCY_MS = 100
BODY_BYTES = 200_000_000
ROW_CHARACTERS = 196
LAG_S = 75.0


@dataclass
class Bench:
    """A deployment under load, its endpoint, and a client for each account.

    Attributes:
        server: The deployment.
        models: The endpoint.
        files: Where the big job's input is served.
        rows: Rows of the big job.
        table: Name of its input.
        phase_s: Length of a phase with, and of one without prototypes.
        clients: By account.
        big_job: The big job, once it has been submitted.
        marks: Moments, and rows of the big job done by then.
        slots: Requests that the deployment allowed itself, by second.
    """

    server: DeploymentProcess
    models: ChatServerProcess
    files: str
    rows: int
    table: str
    phase_s: float
    clients: Mapping[str, aiohttp.ClientSession]
    big_job: str | None = None
    marks: list[tuple[float, int]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)

    async def submit(self, account: str, body: Mapping[str, Any]) -> str:
        """Submit a job; its ID."""
        async with self.clients[account].post("/v1/batch-inference", json=body) as got:
            got.raise_for_status()
            return str((await got.json())["results"])

    async def follow(self, account: str, job_id: str) -> AsyncGenerator[int]:
        """Rows done, as they are told, until the job has succeeded."""
        client = self.clients[account]
        async with client.get(f"/v1/stream-job-progress/{job_id}") as response:
            async for line in response.content:
                news = orjson.loads(line)
                if news["update_type"] == "progress":
                    yield news["result"]
        async with client.get(f"/v1/jobs/{job_id}") as got:
            job = (await got.json())["job"]
        if job["status"] != "SUCCEEDED":
            raise SystemExit(f"a job ended {job['status']}: {job['failure_reason']}")

    async def run(self, account: str, body: Mapping[str, Any]) -> None:
        """Submit a job and wait until it has succeeded."""
        async for _ in self.follow(account, await self.submit(account, body)):
            pass

    async def big(self) -> None:
        """Run the big job, and note how far it is."""
        job = {
            "model": "wide",
            "inputs": f"{self.files}/{self.table}",
            "column_name": "review",
            "job_priority": 1,
        }
        self.big_job = await self.submit("alice", job)
        shown_s = 0.0
        async for rows in self.follow("alice", self.big_job):
            now_s = time.perf_counter()
            self.marks.append((now_s, rows))
            if now_s > shown_s + 30:
                shown_s = now_s
                print(f"  {rows:>10,} of {self.rows:,} rows", flush=True)

    def rows_at(self, when_s: float) -> float:
        """Rows of the big job done at a moment."""
        after = bisect.bisect_left(self.marks, (when_s, 0))
        after = min(max(after, 1), len(self.marks) - 1)
        (from_s, before), (to_s, then) = self.marks[after - 1], self.marks[after]
        share = (when_s - from_s) / (to_s - from_s)
        return before + (then - before) * min(max(share, 0.0), 1.0)

    async def look(self) -> None:
        """Note once a second how many requests the deployment allows itself."""
        while True:
            self.slots.append((await self.health())["models"]["wide"]["limit"] or 0)
            await anyio.sleep(1)

    async def health(self) -> dict[str, Any]:
        """What `/healthz` says."""
        async with self.clients["alice"].get("/healthz") as response:
            found: dict[str, Any] = await response.json()
            return found


@asynccontextmanager
async def under_load(
    folder: Path, *, rows: int, concurrency: int, phase_s: float
) -> AsyncGenerator[Bench]:
    """Everything started, nothing submitted."""
    table = table_file(folder, rows, ".parquet")
    data_dir, config = folder / "data", folder / "deployment.toml"
    keys = {name: create_key(data_dir, name) for name in ("alice", "bob")}
    async with (
        chat_server_process(f"--latency-ms={LATENCY_MS}") as models,
        file_server(folder) as files,
    ):
        config.write_text(CONFIG.format(url=models.base_url, concurrency=concurrency))
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                deployment_process(data_dir, config=config)
            )
            clients = {
                name: await stack.enter_async_context(_client(server, key))
                for name, key in keys.items()
            }
            yield Bench(server, models, files, rows, table.name, phase_s, clients)


def _client(server: DeploymentProcess, key: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        server.url,
        headers={"Authorization": f"Key {key}"},
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def prototypes(bench: Bench) -> None:
    """Jobs of 20 rows beside the big one."""
    took_s: list[float] = []
    phases: list[tuple[bool, float, float]] = []
    cpu_before = cpu_s(bench)
    started_s = time.perf_counter()
    async with anyio.create_task_group() as tasks:

        async def run_big() -> None:
            await bench.big()
            tasks.cancel_scope.cancel()

        tasks.start_soon(run_big)
        await anyio.sleep(10)
        tasks.start_soon(bench.look)
        while True:
            for with_them in (False, True):
                began_s = time.perf_counter()
                with anyio.move_on_after(bench.phase_s):
                    if with_them:
                        await _submit_prototypes(bench, took_s)
                    await anyio.sleep_forever()
                phases.append((with_them, began_s, time.perf_counter()))
    print_prototypes(took_s)
    print_phases(bench, phases)
    seconds = time.perf_counter() - started_s
    answered = bench.rows + PROTOTYPE_ROWS * len(took_s)
    print(f"big job: {bench.rows:,} rows in {seconds:.0f} s, file and all")
    for name, now in cpu_s(bench).items():
        each_ms = 1e3 * (now - cpu_before[name]) / answered
        print(
            f"{name}: {each_ms:.3f} ms of processor a row, so at most "
            f"{1e3 / each_ms:,.0f} rows/s on one core"
        )
    print(
        f"requests it allowed itself: p50 {statistics.median(bench.slots):g}, "
        f"from {min(bench.slots)} to {max(bench.slots)}"
    )
    print(f"server's peak RSS {peak_mb(bench.server.pid):.0f} MiB")
    print_lag(await bench.health(), "in the last minute")


async def _submit_prototypes(bench: Bench, took_s: list[float]) -> None:
    """One job every two seconds, each followed to its end."""

    async def one(number: int) -> None:
        began_s = time.perf_counter()
        inputs = [f"prototype {number}, row {row}" for row in range(PROTOTYPE_ROWS)]
        await bench.run("bob", {"model": "wide", "inputs": inputs})
        took_s.append(time.perf_counter() - began_s)

    async with anyio.create_task_group() as tasks:
        while True:
            tasks.start_soon(one, len(took_s))
            await anyio.sleep(2)


async def accounts(bench: Bench) -> None:
    """Two equal jobs of two accounts, submitted a second apart."""
    started_s = time.perf_counter()
    ended_s: dict[str, float] = {}

    async def run(account: str, delay_s: float) -> None:
        await anyio.sleep(delay_s)
        inputs = [f"{account} {row}" for row in range(ACCOUNT_ROWS)]
        body = {"model": "narrow", "inputs": inputs, "job_priority": 1}
        await bench.run(account, body)
        ended_s[account] = time.perf_counter() - started_s

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "alice", 0.0)
        tasks.start_soon(run, "bob", 1.0)
    first, last = sorted(ended_s.values())
    apart = f"{1 - first / last:.1%} apart (asked for: 10 %)"
    print(
        f"finished {first:.2f} s and {last:.2f} s after the first submission: {apart}"
    )


async def lag(bench: Bench) -> None:
    """Huge bodies in, huge results out, and the event loop meanwhile."""
    if bench.big_job is None:
        await bench.big()
    body = big_body()
    counts = {"bodies": 0, "JSON": 0, "Parquet": 0}

    async def send() -> None:
        while True:
            began_s = time.perf_counter()
            async with bench.clients["alice"].post(
                "/v1/batch-inference", data=body
            ) as response:
                response.raise_for_status()
                job_id = (await response.json())["results"]
            seconds = time.perf_counter() - began_s
            counts["bodies"] += 1
            print(f"  {len(body) / 1e6:.0f} MB accepted after {seconds:.1f} s")
            async with bench.clients["alice"].post(f"/v1/job-cancel/{job_id}"):
                pass

    async def fetch() -> None:
        client = bench.clients["alice"]
        while True:
            asked = {"job_id": bench.big_job, "include_inputs": True}
            async with client.post("/v1/job-results", json=asked) as response:
                await received_bytes(response)
            counts["JSON"] += 1
            async with client.get(f"/v1/jobs/{bench.big_job}/results-url") as response:
                url = (await response.json())["urls"]["get"]
            async with aiohttp.ClientSession() as plain, plain.get(url) as response:
                await received_bytes(response)
            counts["Parquet"] += 1

    with anyio.move_on_after(LAG_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(fetch)
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    print_lag(await bench.health(), "over the last minute of it (asked for: p99 50 ms)")


def big_body() -> bytes:
    """A submission of 200 MB."""
    row = orjson.dumps("x" * ROW_CHARACTERS)
    rows = BODY_BYTES // (len(row) + 1)
    inputs = b"[" + b",".join([row] * rows) + b"]"
    return b'{"model":"wide","job_priority":1,"inputs":%b}' % inputs


def cpu_s(bench: Bench) -> dict[str, float]:
    """Processor time of both processes so far."""
    found = {"deployment": bench.server.pid, "scripted endpoint": bench.models.pid}
    return {name: sum(psutil.Process(n).cpu_times()[:2]) for name, n in found.items()}


def print_prototypes(took_s: list[float]) -> None:
    """How long the small jobs took, from the submission to the end seen."""
    if len(took_s) < 2:
        raise SystemExit("too few prototypes; give the big job more --rows")
    cuts = statistics.quantiles(took_s, n=20, method="inclusive")
    print(
        f"{len(took_s)} prototypes: p50 {cuts[9]:.2f} s, p95 {cuts[18]:.2f} s, longest "
        f"{max(took_s):.2f} s (asked for: p95 {2 + LATENCY_MS / 1e3:.1f} s)"
    )


def print_phases(bench: Bench, phases: list[tuple[bool, float, float]]) -> None:
    """The big job's rate with and without the small ones."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for with_them, from_s, to_s in phases:
        done = bench.rows_at(to_s) - bench.rows_at(from_s)
        rates[with_them].append(done / (to_s - from_s))
    alone, beside = (statistics.mean(rates[key]) for key in (False, True))
    for with_them, name in ((False, "without"), (True, "with")):
        shown = " ".join(f"{rate:,.0f}" for rate in rates[with_them])
        print(f"rows/s of the big job {name}: {shown}")
    print(f"it loses {1 - beside / alone:.1%} (asked for: 10 %)")


def print_lag(health: Mapping[str, Any], when: str) -> None:
    """The server's own measure."""
    found = health["loop_lag_ms"]
    print(
        f"event loop late by p50 {found['p50']} ms, p99 {found['p99']} ms, "
        f"at most {found['max']} ms {when}"
    )


LANES: Mapping[str, Callable[[Bench], Awaitable[None]]] = {
    "prototypes": prototypes,
    "accounts": accounts,
    "lag": lag,
}


async def measure(
    names: list[str], rows: int, concurrency: int, phase_s: float
) -> None:
    """Run lanes one after the other on one deployment."""
    with tempfile.TemporaryDirectory() as folder:
        async with under_load(
            Path(folder), rows=rows, concurrency=concurrency, phase_s=phase_s
        ) as bench:
            for name in names:
                lane = LANES[name]
                print(f"\n== {name}: {(lane.__doc__ or '').strip()}", flush=True)
                await lane(bench)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lane",
        default=",".join(LANES),
        help=f"one or several of {', '.join(LANES)} (default: all)",
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the big job")
    parser.add_argument("--concurrency", type=int, default=256, help="of its model")
    parser.add_argument("--phase-s", type=float, default=40.0)
    options = parser.parse_args()
    names = options.lane.split(",")
    unknown = [name for name in names if name not in LANES]
    if unknown:
        parser.error(f"no such lane: {', '.join(unknown)}")
    print(describe())
    anyio.run(measure, names, options.rows, options.concurrency, options.phase_s)


if __name__ == "__main__":
    main()
