"""A process that is killed, and a disk that is full: what was recorded is there."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.inspection import inspect
from sutro_stream.ledger.ledger import open_ledger
from sutro_stream.values.outcomes import Outcome

Make = Callable[..., Outcome]

PREAMBLE = """
import os, sys
from pathlib import Path
import anyio
import pyarrow as pa
from sutro_stream.errors import StoreError
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.ledger import open_ledger
from sutro_stream.values.outcomes import Answer, Outcome, Usage

WORK = WorkIdentity(parts={"source": "5f1c", "model": "m", "template": "a9d0"})

def answered(index, size):
    return Outcome(
        answer=Answer(
            text=f"answer {index} " + "x" * size,
            finish_reason="stop",
            usage=Usage(input_tokens=10, output_tokens=2),
            model="m",
        ),
        attempts=1,
    )
"""

# Long answers fill segments of the log fast, so that many are taken over meanwhile.
RECORDING = """
async def main(path, size, first):
    async with open_ledger(path, WORK, segments_left=1) as ledger:
        index = first
        while True:
            batch = pa.record_batch({"id": range(index, index + 50)})
            if index % 50 == 0:
                await ledger.spool(index, batch)
            ledger.asked(index)
            ledger.record(index, 1000 + index, answered(index, size))
            os.write(1, f"{index} ".encode())
            index += 1

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
"""


def record_until_killed(path: Path, *, size: int, first: int, count: int) -> int:
    """Kill a process that records, after it has recorded some more rows.

    Returns:
        Index behind the last row that it has said to have recorded.
    """
    command = [sys.executable, "-c", PREAMBLE + RECORDING]
    with subprocess.Popen(
        [*command, str(path), str(size), str(first)], stdout=subprocess.PIPE
    ) as process:
        assert isinstance(process.stdout, io.BufferedReader)
        said = b""
        while said.count(b" ") < count:
            part = process.stdout.read1(4096)
            assert part
            said += part
        process.kill()
        said += process.stdout.read()
    return int(said[: said.rindex(b" ")].split()[-1]) + 1


@pytest.mark.parametrize("size", [0, 300_000])
async def test_a_kill_loses_nothing_that_was_recorded(
    path: Path, work: WorkIdentity, answered: Make, size: int
) -> None:
    """Killed at random moments, several times over, and gone on with."""
    chance = random.Random(size)
    kept = 0
    for _ in range(3):
        count = chance.randrange(1, 1500 if not size else 60)
        first = kept - kept % 50
        stop = record_until_killed(path, size=size, first=first, count=count)
        summary = inspect(path)
        assert not summary.is_writing
        assert max(kept, stop) <= summary.statistics.rows <= max(kept, stop + 1)
        async with open_ledger(path, work) as ledger:
            kept = ledger.kept
            rows = await ledger.known(0, kept + 10)
        assert summary.statistics.rows == kept
        assert sorted(rows) == list(range(kept))
        for index, row in rows.items():
            assert row.outcome == answered(index, size=size)
            assert row.digest == 1000 + index
    async with open_ledger(path, work) as ledger:
        ids: list[int] = []
        await ledger.flush()
        spooled = inspect(path).spooled_rows
        for index in range(ledger.kept, spooled):
            ledger.record(index, 0, answered(index))
        async for _, records, _ in ledger.batches(rows=100):
            ids += records.column("id").to_pylist()
    assert ids == list(range(spooled))


async def test_the_lock_dies_with_its_process(path: Path, work: WorkIdentity) -> None:
    """Nothing has to be cleared up by hand."""
    stop = record_until_killed(path, size=0, first=0, count=1)
    assert path.with_name(f"{path.name}-lock").exists()
    async with open_ledger(path, work) as ledger:
        assert ledger.kept >= stop


FULL_DISK = """
import resource

async def main(path, size, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    async with open_ledger(path, WORK) as ledger:
        try:
            for index in range(10_000):
                ledger.record(index, 0, answered(index, size))
                recorded = index + 1
                await anyio.lowlevel.checkpoint()
            await ledger.flush()
        except StoreError as error:
            print(str(error).removeprefix(f"cannot use the ledger {path}: "))
        for step in (lambda: ledger.record(0, 0, answered(0, 0)), ledger.asked):
            try:
                step(1) if step == ledger.asked else step()
            except StoreError:
                print("refused")
        for step in (ledger.flush, ledger.finish):
            try:
                await step()
            except StoreError:
                print("refused")
        print(recorded, flush=True)

try:
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
except StoreError:
    print("left with the error")
"""


@pytest.mark.parametrize(
    ("size", "limit", "reason"),
    [
        (1000, 500_000, "file too large"),
        (1000, 6_000_000, "disk I/O error"),
    ],
    ids=["log", "database"],
)
async def test_a_full_disk_is_an_error_at_once_and_costs_nothing_recorded(
    path: Path, work: WorkIdentity, answered: Make, size: int, limit: int, reason: str
) -> None:
    """Every later call says so too; with space again, the next run goes on."""
    pytest.importorskip("resource", reason="needs a limit on the size of files")
    arguments = [str(path), str(size), str(limit)]
    done = await anyio.run_process(
        [sys.executable, "-W", "error", "-c", PREAMBLE + FULL_DISK, *arguments]
    )
    lines = done.stdout.decode().splitlines()
    assert (done.stderr, lines[0]) == (b"", reason)
    assert lines[1:5] == ["refused"] * 4
    assert lines[6] == "left with the error"
    recorded = int(lines[5])
    async with open_ledger(path, work) as ledger:
        assert recorded <= ledger.kept <= recorded + 1
        rows = await ledger.known(0, recorded + 1)
    assert all(row.outcome == answered(at, size=size) for at, row in rows.items())
