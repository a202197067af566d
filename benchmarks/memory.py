"""Peak memory of a pipeline at 100,000 and at 1,000,000 rows.

Every figure comes from a process of its own. `read` cases stream a file through
rendering into a consumer that only counts; the `chat` case asks a scripted
endpoint in another process for every row.

    python benchmarks/memory.py [--cases parquet,csv,one-group,chat]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import pyarrow.parquet as pq
from data import table_file
from machine import describe, peak_rss_mb

import sutro_stream as ss
from sutro_stream.testing import chat_server_process

FUNCTION = ss.Function.validate(
    {
        "name": "bench",
        "inputs": [{"name": "product"}, {"name": "review"}, {"name": "stars"}],
        "prompt_template": "{{ product }}: {{ review }} ({{ stars }})",
    }
)
SIZES = {
    "parquet": (100_000, 1_000_000),
    "one-group": (100_000, 1_000_000),
    "csv": (100_000, 1_000_000),
    "chat": (10_000, 100_000),
}


async def read(path: Path) -> int:
    """Rows that come out of rendering."""
    read_file = ss.read_csv if path.suffix == ".csv" else ss.read_parquet
    rows = 0
    async with (read_file(path) | ss.render(FUNCTION)).open() as prompts:
        while (batch := await prompts.next_batch()) is not None:
            rows += len(batch)
    return rows


async def chat(path: Path) -> int:
    """Rows answered, one by one, by an endpoint."""
    rows = 0
    async with (
        chat_server_process() as server,
        ss.ChatEngine(server.base_url, "bench") as engine,
    ):
        pipeline = (
            ss.read_parquet(path)
            | ss.render(FUNCTION)
            | ss.infer(engine, concurrency=256)
        )
        async with pipeline.open() as results:
            async for result in results:
                rows += result.error is None
    return rows


def run_case(case: str, path: Path) -> None:
    """The child's work: one case, one line."""
    started_s = time.perf_counter()
    rows = anyio.run(
        chat if case == "chat" else read, path, backend_options={"use_uvloop": True}
    )
    elapsed_s = time.perf_counter() - started_s
    print(
        f"{rows:>10,} rows  {rows / elapsed_s:>12,.0f} rows/s  "
        f"peak RSS {peak_rss_mb():>6.0f} MiB"
    )


def prepared(folder: Path, case: str, rows: int) -> Path:
    """The input file of a case."""
    path = table_file(folder, rows, ".csv" if case == "csv" else ".parquet")
    if case != "one-group":
        return path
    single = folder / f"one-group-{rows}.parquet"
    if not single.exists():
        pq.write_table(pq.read_table(path), single, row_group_size=rows)
    return single


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(SIZES))
    parser.add_argument("--child", nargs=2, metavar=("CASE", "PATH"))
    options = parser.parse_args()
    if options.child:
        run_case(options.child[0], Path(options.child[1]))
        return
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases.split(","):
            for rows in SIZES[case]:
                path = prepared(Path(folder), case, rows)
                print(f"{case:10}", end=" ", flush=True)
                subprocess.run(
                    [sys.executable, __file__, "--child", case, str(path)], check=True
                )


if __name__ == "__main__":
    main()
