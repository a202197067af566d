"""Peak memory of a deployment that works on one large job.

A Parquet file of `--rows` rows is fetched by the deployment from this process, every
row is answered by a scripted endpoint in another, and the results are downloaded as
Parquet and as JSON. The figure is the server's own peak, from its start to the last
byte downloaded.

    python benchmarks/deployment_memory.py [--rows 1000000] [--limit-mb 500]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import orjson
import psutil
from aiohttp import web
from data import table_file
from machine import describe

from sutro_stream.testing import chat_server_process
from sutro_stream.testing.deployment import create_key, deployment_process

CONFIG = """
[urls]
allow_private = true

[models.scripted]
endpoints = [{{ url = "{url}" }}]
concurrency = {concurrency}

[quotas.1]
rows = 100_000_000
tokens = 100_000_000_000
"""
CHUNK_BYTES = 1 << 20


@asynccontextmanager
async def file_server(folder: Path) -> AsyncGenerator[str]:
    """The address of a folder."""
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


def peak_mb(pid: int) -> float:
    """Peak resident memory of a process so far, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float(psutil.Process(pid).memory_info().rss) / (1 << 20)


async def watched(session: aiohttp.ClientSession, job_id: str, rows: int) -> None:
    """Wait for the end of a job, and show how far it is."""
    shown_s = 0.0
    async with session.get(f"/v1/stream-job-progress/{job_id}") as response:
        async for line in response.content:
            news = orjson.loads(line)
            if news["update_type"] == "progress" and time.monotonic() > shown_s + 15:
                shown_s = time.monotonic()
                print(f"  {news['result']:>10,} of {rows:,} rows", flush=True)
    async with session.get(f"/v1/jobs/{job_id}") as response:
        job = (await response.json())["job"]
    if job["status"] != "SUCCEEDED" or job["num_rows"] != rows:
        raise SystemExit(f"the job ended {job['status']}: {job['failure_reason']}")


async def received_bytes(response: aiohttp.ClientResponse) -> int:
    """Read a body to its end, keeping nothing."""
    response.raise_for_status()
    total = 0
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        total += len(chunk)
    return total


async def downloaded(session: aiohttp.ClientSession, job_id: str) -> None:
    """Fetch the results as Parquet and as JSON."""
    query = {"include_inputs": "true"}
    async with session.get(f"/v1/jobs/{job_id}/results-url", params=query) as response:
        response.raise_for_status()
        links: dict[str, Any] = await response.json()
    async with aiohttp.ClientSession() as plain, plain.get(links["urls"]["get"]) as got:
        print(f"  Parquet {await received_bytes(got):,} bytes", flush=True)
    body = {"job_id": job_id, "include_inputs": True}
    async with session.post("/v1/job-results", json=body) as response:
        print(f"  JSON {await received_bytes(response):,} bytes", flush=True)


async def measured(folder: Path, rows: int, concurrency: int) -> float:
    """The server's peak memory over the life of one job, in MiB."""
    table = table_file(folder, rows, ".parquet")
    data_dir, config = folder / "data", folder / "deployment.toml"
    key = create_key(data_dir, "alice")
    latency = ("--latency-ms", "10")
    async with chat_server_process(*latency) as models, file_server(folder) as files:
        config.write_text(CONFIG.format(url=models.base_url, concurrency=concurrency))
        headers = {"Authorization": f"Key {key}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            deployment_process(data_dir, config=config) as server,
            aiohttp.ClientSession(
                server.url, headers=headers, timeout=timeout
            ) as session,
        ):
            idle = peak_mb(server.pid)
            job = {
                "model": "scripted",
                "inputs": f"{files}/{table.name}",
                "column_name": "review",
                "id_column_name": "id",
                "job_priority": 1,
            }
            started_s = time.monotonic()
            async with session.post("/v1/batch-inference", json=job) as response:
                response.raise_for_status()
                job_id = (await response.json())["results"]
            await watched(session, job_id, rows)
            took_s = time.monotonic() - started_s
            after_job = peak_mb(server.pid)
            await downloaded(session, job_id)
            peak = peak_mb(server.pid)
    print(
        f"{rows:,} rows in {took_s:.0f} s ({rows / took_s:,.0f} rows/s); server's peak "
        f"RSS {idle:.0f} MiB idle, {after_job:.0f} at the job's end, {peak:.0f} after "
        "its download"
    )
    return peak


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--limit-mb", type=float, help="fail above this peak, in MiB")
    options = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        peak = anyio.run(measured, Path(folder), options.rows, options.concurrency)
    if options.limit_mb is not None and peak > options.limit_mb:
        sys.exit(f"the peak is above {options.limit_mb:.0f} MiB")


if __name__ == "__main__":
    main()
