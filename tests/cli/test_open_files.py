"""The command raises its limit of open files, and keeps to what it gets."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import polars as pl
import pytest

from sutro_stream.testing import (
    ChatServerProcess,
    ChatServerStatistics,
    chat_server_process,
)

if sys.platform == "win32":
    pytest.skip("there are no such limits", allow_module_level=True)

ROWS = 600
# The limits are those of the command alone: the server needs files of its own.
START = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from sutro_stream.cli import main
raise SystemExit(main())
"""


async def limited(
    folder: Path, server: ChatServerProcess, *more: str, soft: int, hard: int
) -> tuple[int, str, ChatServerStatistics]:
    """Exit code and stderr of a run with these limits, and what the server saw."""
    path = folder / "rows.csv"
    path.write_text("text\n" + "".join(f"row {number}\n" for number in range(ROWS)))
    done = await anyio.run_process(
        [
            *(sys.executable, "-c", START.format(soft=soft, hard=hard)),
            *("run", str(path), "--column", "text", "--model", "m"),
            *("--engine", server.base_url, "--output", str(folder / "out.parquet")),
            *more,
        ],
        check=False,
    )
    return done.returncode, done.stderr.decode(), await server.statistics()


def answered(folder: Path) -> list[str]:
    """The answers in the output, in order."""
    return pl.read_parquet(folder / "out.parquet")["output"].to_list()


ALL_ANSWERED = [f"echo: row {number}" for number in range(ROWS)]


async def test_a_soft_limit_that_is_too_low_is_raised(tmp_path: Path) -> None:
    """As many are in flight as were asked for, and nothing is said."""
    async with chat_server_process("--latency-ms", "200") as server:
        code, err, seen = await limited(
            tmp_path, server, "--concurrency", "256", soft=256, hard=4096
        )
    assert (code, err) == (0, "")
    assert answered(tmp_path) == ALL_ANSWERED
    assert seen.peak_in_flight > 128


@pytest.mark.parametrize("more", [(), ("--transport", "aiohttp"), ("--hedge",)])
async def test_requests_in_flight_keep_below_the_hard_limit(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    """With a reserve for files, and one line that says so."""
    async with chat_server_process("--latency-ms", "50") as server:
        code, err, seen = await limited(
            tmp_path, server, "--concurrency", "256", *more, soft=128, hard=160
        )
    assert code == 0
    assert answered(tmp_path) == ALL_ANSWERED
    assert err.count("\n") == 1
    assert err.startswith("warning: at most 96 requests are in flight at once")
    assert "160 files" in err
    assert 0 < seen.peak_in_flight <= 96 * 1.03


async def test_the_lowest_limits_leave_room_for_some(tmp_path: Path) -> None:
    """Where the reserve would be all there is."""
    async with chat_server_process("--latency-ms", "50") as server:
        code, err, seen = await limited(
            tmp_path, server, "--concurrency", "256", soft=64, hard=64
        )
    assert code == 0
    assert answered(tmp_path) == ALL_ANSWERED
    assert err.startswith("warning: at most 24 requests")
    assert seen.peak_in_flight == 24


@pytest.mark.parametrize("hard", [64, 256])
async def test_auto_keeps_below_the_limit_as_well(tmp_path: Path, hard: int) -> None:
    """However many it would find best."""
    most = {64: 24, 256: 192}[hard]
    async with chat_server_process("--latency-ms", "200") as server:
        code, err, seen = await limited(
            tmp_path, server, "--concurrency", "auto", soft=64, hard=hard
        )
    assert code == 0
    assert answered(tmp_path) == ALL_ANSWERED
    assert err.startswith(f"warning: at most {most} requests")
    assert seen.peak_in_flight <= most


async def test_measuring_an_endpoint_keeps_below_the_limit_as_well(
    tmp_path: Path,
) -> None:
    """The levels end there."""
    async with chat_server_process("--latency-ms", "50") as server:
        done = await anyio.run_process(
            [
                *(sys.executable, "-c", START.format(soft=64, hard=64)),
                *("bench", "--endpoint", server.base_url, "--model", "m"),
                *("--seconds", "0.2", "--max-in-flight", "256", "--no-auto"),
            ],
            check=False,
            cwd=tmp_path,
        )
        seen = await server.statistics()
    assert done.returncode == 0
    assert done.stderr.startswith(b"warning: at most 24 requests")
    assert seen.peak_in_flight <= 24
