"""Rows of a Function through `submit` to a deployment and back, Parquet to Parquet.

Client and deployment are processes of their own on this machine. The deployment answers
every prompt itself at once (`sutro_stream.testing.instant_engine`), so that all that is
measured is ours.

    python benchmarks/round_trip.py [--lane whole,server,client] [--rows 1000000]

whole   Nothing happens. Rows/s, processor time a row on both sides, and memory.
server  The deployment is killed (SIGKILL) half-way, and started again.
client  The client is killed half-way, and started again.

Each checks the file in the end, row by row, and the jobs that the deployment had to do:
as many as there are lots, each with its rows, or something was lost or paid twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import orjson
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from anyio.abc import Process
from machine import cpu_s, describe

import sutro_stream as ss
from sutro_stream.testing.deployment import (
    DeploymentProcess,
    create_key,
    deployment_process,
    publish_function,
)

CONFIG = """
[models.instant]
endpoints = [{ url = "http://127.0.0.1:1/v1" }]
concurrency = 128

[quotas.1]
rows = 10_000_000
tokens = 100_000_000_000
"""
FUNCTION = {
    "name": "catalogue",
    "model": "instant",
    "inputs": [{"name": "query"}, {"name": "region"}],
    "prompt_template": "{{ query }} in {{ region }}",
}
QUERY = "what does company number %d want, in the words of its own description?"
REGION = "eu-west"
KEY_VARIABLE = "ROUND_TRIP_KEY"
LANES = ("whole", "server", "client")
_INPUT_ROWS = 50_000
_LOOK_S = 0.1


@dataclass
class Watched:
    """Memory and processor time of a process and its children, looked at now and then.

    Attributes:
        pid: The process.
        peaks_mb: Most memory before the half of the lots was there, and after.
        cpu_s: Processor time at the last look.
    """

    pid: int
    peaks_mb: list[float] = field(default_factory=lambda: [0.0, 0.0])
    cpu_s: float = 0.0

    def look(self, *, is_second_half: bool) -> None:
        """Note how it stands; nothing where the process has ended."""
        try:
            process = psutil.Process(self.pid)
            tree = [process, *process.children(recursive=True)]
            size = sum(one.memory_info().rss for one in tree) / 2**20
            times = [one.cpu_times() for one in tree]
        except psutil.NoSuchProcess:
            return
        # A child that has ended is in its parent's account of children.
        self.cpu_s = sum(t.user + t.system for t in times)
        self.cpu_s += times[0].children_user + times[0].children_system
        half = int(is_second_half)
        self.peaks_mb[half] = max(self.peaks_mb[half], size)


@dataclass(kw_only=True)
class Trip:
    """One round trip: its files, its deployment, its client.

    Attributes:
        folder: Of all files.
        rows: To send.
        batch_rows: Of a job.
        jobs: In flight.
        server: The deployment; another one after a kill.
        key: For it.
        stack: Closes the deployment.
    """

    folder: Path
    rows: int
    batch_rows: int
    jobs: int
    server: DeploymentProcess
    key: str
    stack: AsyncExitStack

    @property
    def output(self) -> Path:
        """The file that the client writes."""
        return self.folder / "output.parquet"

    @property
    def lots(self) -> int:
        """Jobs that the rows make."""
        return -(-self.rows // self.batch_rows)

    def lots_back(self) -> int:
        """Jobs whose results have come, while the run goes on."""
        results = Path(f"{self.output}.ledger-results")
        return sum(1 for _ in results.glob("*.parquet"))

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Process]:
        """The client, until it has ended."""
        arguments = [
            *("--client", self.server.url, str(self.folder)),
            *("--batch-rows", str(self.batch_rows), "--jobs", str(self.jobs)),
        ]
        command = [sys.executable, __file__, *arguments]
        environment = {**os.environ, KEY_VARIABLE: self.key}
        async with await anyio.open_process(
            command, stdout=None, stderr=None, env=environment
        ) as process:
            yield process

    async def restart_server(self) -> None:
        """Kill the deployment, and start it again under the same address."""
        await self.server.kill()
        port = urlsplit(self.server.url).port or 0
        self.server = await self.stack.enter_async_context(
            deployment_process(
                self.folder / "data",
                config=self.folder / "deployment.toml",
                port=port,
                is_instant=True,
            )
        )

    async def run(self, kill: str | None) -> None:
        """Have the client do everything, and print what it took."""
        began_s = time.perf_counter()
        watched = [Watched(self.server.pid)]
        async with self.client() as client:
            watched.append(Watched(client.pid))
            if kill is not None:
                await self._until_half(watched)
            if kill == "server":
                await self.restart_server()
                watched[0] = Watched(self.server.pid)
            if kill != "client":
                await self._until_end(client, watched)
                self._print(time.perf_counter() - began_s, watched, kill)
                return
            client.kill()
        async with self.client() as client:
            watched[1] = Watched(client.pid)
            await self._until_end(client, watched)
        self._print(time.perf_counter() - began_s, watched, kill)

    async def _until_half(self, watched: list[Watched]) -> None:
        while self.lots_back() < self.lots // 2:
            for process in watched:
                process.look(is_second_half=False)
            await anyio.sleep(_LOOK_S)

    async def _until_end(self, client: Process, watched: list[Watched]) -> None:
        async with anyio.create_task_group() as tasks:

            async def look() -> None:
                while True:
                    is_second_half = self.lots_back() >= self.lots // 2
                    for process in watched:
                        process.look(is_second_half=is_second_half)
                    await anyio.sleep(_LOOK_S)

            tasks.start_soon(look)
            await client.wait()
            tasks.cancel_scope.cancel()
        if client.returncode:
            raise SystemExit(f"the client ended with status {client.returncode}")

    def _print(self, seconds: float, watched: list[Watched], kill: str | None) -> None:
        print(
            f"{self.rows:,} rows in {seconds:.1f} s, {self.rows / seconds:,.0f} rows/s"
        )
        for name, process in zip(("server", "client"), watched, strict=True):
            before, after = process.peaks_mb
            shown = f"{name}: peak RSS {before:.0f} MiB before half, {after:.0f} after"
            if kill is None:
                used_us = 1e6 * process.cpu_s / self.rows
                shown += f"; {used_us:.1f} us of processor a row"
            print(shown)

    async def check(self) -> None:
        """Compare the file with what it must hold, and count the jobs.

        Raises:
            SystemExit: A row or a job is missing, there twice, or not what it must be.
        """
        index = 0
        with pq.ParquetFile(self.output) as file:
            for batch in file.iter_batches(columns=["query", "output", "error"]):
                asked, answers, errors = (column.to_pylist() for column in batch)
                for query, answer, error in zip(asked, answers, errors, strict=True):
                    wanted = QUERY % index
                    same = query == wanted and answer == f"{wanted} in {REGION}"
                    if not same or error is not None:
                        raise SystemExit(f"row {index} is not what it must be")
                    index += 1
        if index != self.rows:
            raise SystemExit(f"{index} rows instead of {self.rows}")
        rows = jobs = 0
        async with ss.Deployment(self.server.url, self.key) as deployment:
            page, cursor = await deployment.jobs()
            while True:
                jobs += len(page)
                rows += sum(job.rows or 0 for job in page)
                if cursor is None:
                    break
                page, cursor = await deployment.jobs(cursor=cursor)
        if (jobs, rows) != (self.lots, self.rows):
            raise SystemExit(f"{jobs} jobs of {rows} rows, not {self.lots}")
        print(f"every row once and as it must be; {jobs} jobs, none twice")


@asynccontextmanager
async def trip(
    folder: Path, *, rows: int, batch_rows: int, jobs: int
) -> AsyncGenerator[Trip]:
    """Everything made and started, nothing sent."""
    data_dir, config = folder / "data", folder / "deployment.toml"
    key = create_key(data_dir, "alice")
    spec = folder / "function.json"
    spec.write_bytes(orjson.dumps(FUNCTION))
    publish_function(data_dir, "alice", spec)
    config.write_text(CONFIG)
    write_input(folder / "input.parquet", rows)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            deployment_process(data_dir, config=config, is_instant=True)
        )
        yield Trip(
            folder=folder,
            rows=rows,
            batch_rows=batch_rows,
            jobs=jobs,
            server=server,
            key=key,
            stack=stack,
        )


def write_input(path: Path, rows: int) -> None:
    """The rows to send, all of them different."""
    schema = pa.schema([("query", pa.string()), ("region", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _INPUT_ROWS):
            numbers = range(start, min(start + _INPUT_ROWS, rows))
            columns = [[QUERY % number for number in numbers], [REGION] * len(numbers)]
            writer.write_table(pa.table(columns, schema=schema))


async def send(url: str, folder: Path, *, batch_rows: int, jobs: int) -> None:
    """What the client does."""
    async with ss.Deployment(url, os.environ[KEY_VARIABLE]) as deployment:
        await deployment.quotas()
        started_s = cpu_s()
        pipeline = (
            ss.read_parquet(folder / "input.parquet")
            | ss.submit(
                deployment, "catalogue", batch_rows=batch_rows, concurrency=jobs
            )
            | ss.write_parquet(folder / "output.parquet")
        )
        report = await pipeline.run()
        used_us = 1e6 * (cpu_s() - started_s) / report.rows
    print(
        f"client's own account: {used_us:.2f} us of processor a row, and "
        f"{started_s:.1f} s to start"
    )


async def measure(lanes: list[str], *, rows: int, batch_rows: int, jobs: int) -> None:
    """Run lanes one after the other, each on a deployment of its own."""
    for lane in lanes:
        print(f"\n== {lane}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            async with trip(
                Path(folder), rows=rows, batch_rows=batch_rows, jobs=jobs
            ) as made:
                await made.run(None if lane == "whole" else lane)
                await made.check()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lane",
        default=",".join(LANES),
        help=f"one or several of {', '.join(LANES)} (default: all)",
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch-rows", type=int, default=10_000, help="of a job")
    parser.add_argument("--jobs", type=int, default=4, help="in flight")
    parser.add_argument("--client", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = {"batch_rows": options.batch_rows, "jobs": options.jobs}
    uvloop = {"use_uvloop": True}
    if options.client is not None:
        url, folder = options.client

        async def client() -> None:
            await send(url, Path(folder), **sizes)

        anyio.run(client, backend_options=uvloop)
        return
    lanes = options.lane.split(",")
    unknown = [lane for lane in lanes if lane not in LANES]
    if unknown:
        parser.error(f"no such lane: {', '.join(unknown)}")
    print(describe())

    async def measured() -> None:
        await measure(lanes, rows=options.rows, **sizes)

    anyio.run(measured, backend_options=uvloop)


if __name__ == "__main__":
    main()
