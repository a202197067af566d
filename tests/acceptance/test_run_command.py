"""`sutro-stream run` as a process: signals, pipes, terminals, the embedded model."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from time import monotonic

import anyio
import psutil
import pyarrow.parquet as pq
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

import sutro_stream
from sutro_stream.testing import Hang, Reply, ScriptedChatServer, always

EXAMPLES = Path(sutro_stream.__file__).parents[1] / "examples"

# A test run started in the background of a script has SIGINT ignored, and so would
# every process it starts.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from sutro_stream.cli import main; raise SystemExit(main())"
)
_STUCK = """
import anyio, signal
from sutro_stream.cli.signals import run_until_signal

async def work():
    print("ready", flush=True)
    try:
        await anyio.sleep_forever()
    finally:
        print("closing", flush=True)
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()

signal.signal(signal.SIGINT, signal.default_int_handler)
run_until_signal(work)
"""


def command(*arguments: object) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-c", _START, "run", *map(str, arguments)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A folder with nothing in it but 100 rows."""
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "".join(f"row {number}\n" for number in range(100)))
    return path


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: ours, and the program's."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    for end in (ours, theirs):
        os.close(end)


async def read_until(terminal: int, text: bytes) -> bytes:
    """What appears on a terminal up to and with some text."""
    seen = b""
    while text not in seen:
        await anyio.wait_readable(terminal)
        seen += os.read(terminal, 65_536)
    return seen


async def ending(process: Process) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process."""
    assert process.stdout is not None
    out = b"".join([part async for part in process.stdout])
    err = b""
    if process.stderr is not None:
        err = b"".join([part async for part in process.stderr])
    return await process.wait(), out.decode(), err.decode()


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
    ],
)
async def test_a_signal_ends_a_run_in_good_order(
    rows: Path, number: signal.Signals, code: int, word: str
) -> None:
    """Soon, with one line, no connection and no file left behind."""
    output = rows.with_name("out.parquet")
    async with ScriptedChatServer(always(Reply(fault=Hang()))) as server:
        arguments = command(
            *(rows, "--column", "text", "--engine", server.base_url),
            *("--model", "m", "--concurrency", "8", "--output", output),
        )
        async with await anyio.open_process(arguments) as process:
            await server.wait_until(lambda seen: seen.in_flight == 8)
            signalled_s = monotonic()
            process.send_signal(number)
            result = await ending(process)
            took_s = monotonic() - signalled_s
        await server.wait_until(lambda seen: seen.connections_open == 0)
    assert result == (code, "", f"{word}; {output} was not written\n")
    assert took_s < 20
    assert list(rows.parent.iterdir()) == [rows]


async def test_a_second_ctrl_c_kills() -> None:
    """However long closing takes, nobody has to wait for it."""
    start = [sys.executable, "-c", _STUCK]
    async with await anyio.open_process(start, stderr=None) as process:
        assert process.stdout is not None
        said = BufferedByteReceiveStream(process.stdout)
        assert await said.receive_until(b"\n", 100) == b"ready"
        process.send_signal(signal.SIGINT)
        assert await said.receive_until(b"\n", 100) == b"closing"
        process.send_signal(signal.SIGINT)
        with anyio.fail_after(5):
            assert await process.wait() == -signal.SIGINT


async def test_an_endpoint_that_is_down_ends_the_run_soon(rows: Path) -> None:
    """With the default retries it takes seconds, not minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    arguments = command(
        *(rows, "--column", "text", "--engine", url),
        *("--output", rows.with_name("out.csv")),
    )
    with anyio.fail_after(15):
        result = await anyio.run_process(arguments, check=False)
    assert result.returncode == 1
    assert result.stdout == b""
    assert result.stderr.startswith(b"error: cannot reach the endpoint: http://127.")
    assert result.stderr.count(b"\n") == 1
    assert list(rows.parent.iterdir()) == [rows]


async def test_a_terminal_shows_live_progress(
    rows: Path, terminal: tuple[int, int]
) -> None:
    """Counters on stderr while the run lasts; the summary on stdout stays plain."""
    ours, theirs = terminal
    release = anyio.Event()
    async with ScriptedChatServer(always(Reply(after=release))) as server:
        arguments = command(
            *(rows, "--column", "text", "--engine", server.base_url),
            *("--model", "m", "--concurrency", "8"),
            *("--output", rows.with_name("out.csv")),
        )
        async with await anyio.open_process(
            arguments, stderr=theirs, env={**os.environ, "TERM": "xterm"}
        ) as process:
            shown = await read_until(ours, b"8 in flight")
            release.set()
            code, out, _ = await ending(process)
    assert code == 0
    assert b"rows/s" in shown
    assert out.startswith("100 rows in ")
    assert "\x1b" not in out


async def test_a_reader_that_leaves_does_not_spoil_a_run(rows: Path) -> None:
    """`sutro-stream run ... | true` still writes its output, and says so."""
    output = rows.with_name("out.csv")
    async with ScriptedChatServer() as server:
        arguments = command(
            *(rows, "--column", "text", "--engine", server.base_url),
            *("--model", "m", "--output", output),
        )
        async with await anyio.open_process(arguments) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdout.aclose()
            err = b"".join([part async for part in process.stderr])
            assert (await process.wait(), err) == (0, b"")
    assert output.exists()


def test_help_is_quick() -> None:
    """Neither tables nor HTTP nor the display are loaded to show some text."""
    heavy = {"aiohttp", "anyio", "pyarrow", "pydantic", "rich"}
    program = (
        "import sys; from sutro_stream.cli import main; "
        f"code = main(['run', '--help']); print(sorted({heavy} & set(sys.modules)));"
        "sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], stdout=PIPE, text=True, check=True
    )
    assert result.stdout.startswith("Usage: sutro-stream run")
    assert result.stdout.endswith("[]\n")


async def test_the_module_is_the_command() -> None:
    """`python -m sutro_stream` says the same as `sutro-stream`."""
    result = await anyio.run_process(
        [sys.executable, "-m", "sutro_stream", "run", "no.csv", "--column", "a",
         "--engine", "http://127.0.0.1:9/v1", "--output", "out.csv"],
        check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == b"error: no.csv: no such file or folder\n"


@pytest.mark.timeout(120)
async def test_the_embedded_model_answers(tmp_path: Path) -> None:
    """The default engine needs nothing but a Function and a file."""
    output = tmp_path / "out.parquet"
    arguments = command(
        *(EXAMPLES / "reviews.csv", "--function", EXAMPLES / "sentiment.json"),
        *("--limit", "3", "--output", output),
    )
    result = await anyio.run_process(arguments, check=False)
    table = pq.read_table(output)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"answered                  3" in result.stdout
    assert set(table["sentiment"].to_pylist()) <= {"positive", "negative"}


@pytest.mark.timeout(120)
async def test_ctrl_c_stops_the_embedded_model(
    tmp_path: Path, terminal: tuple[int, int]
) -> None:
    """Soon, and its process does not outlive the command."""
    ours, theirs = terminal
    output = tmp_path / "out.parquet"
    arguments = command(
        *(EXAMPLES / "reviews.csv", "--function", EXAMPLES / "sentiment.json"),
        *("--output", output),
    )
    async with await anyio.open_process(
        arguments, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as process:
        await read_until(ours, b"8 in flight")
        children = psutil.Process(process.pid).children(recursive=True)
        signalled_s = monotonic()
        process.send_signal(signal.SIGINT)
        code, out, _ = await ending(process)
        took_s = monotonic() - signalled_s
    assert (code, out) == (130, "")
    assert took_s < 20
    assert children
    assert not [child for child in children if child.is_running()]
    assert list(tmp_path.iterdir()) == []
