"""Runs that go on: with another input, after failures on the way, after any kill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import polars as pl
import pytest

import sutro_stream as ss
from sutro_stream.cli import main
from sutro_stream.ledger.inspection import inspect
from sutro_stream.testing import (
    ChatRequest,
    Reply,
    ScriptedChatServer,
    echo,
    first_of,
    when,
)

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command: exit code, stdout and stderr."""

    async def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        command = list(map(str, arguments))
        code = await anyio.to_thread.run_sync(partial(main, command, environment={}))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def write(path: Path, texts: list[str]) -> None:
    """A CSV file of these rows."""
    path.write_text("text\n" + "".join(f"{text}\n" for text in texts))


def texts_of(rows: int) -> list[str]:
    """Prompts that are all different."""
    return [f"text {number}" for number in range(rows)]


def command(server: ScriptedChatServer, folder: Path, *more: str) -> list[str]:
    """The command of every run here."""
    return [
        *("run", str(folder / "rows.csv"), "--column", "text", "--model", "m"),
        *("--engine", server.base_url, "--concurrency", "4", "--attempts", "1"),
        *("--output", str(folder / "out.csv"), *more),
    ]


def answered_before(count: int) -> ScriptedChatServer:
    """Answers so many requests, and then no longer takes the key."""

    def answer(request: ChatRequest) -> Reply:
        if request.sequence < count:
            return Reply(text=f"echo: {request.prompt}")
        return Reply(status=401)

    return ScriptedChatServer(answer)


def outputs(folder: Path) -> list[tuple[str, str | None]]:
    """Text and answer of each row."""
    return pl.read_csv(folder / "out.csv").select("text", "output").rows()


def echoed(texts: list[str]) -> list[tuple[str, str | None]]:
    """The output of a run that nobody disturbs."""
    return [(text, f"echo: {text}") for text in texts]


# Another input.


async def test_a_changed_input_keeps_its_answers(run: Run, tmp_path: Path) -> None:
    """Rows changed, inserted, deleted and moved: what was not answered is asked."""
    texts = texts_of(100)
    write(tmp_path / "rows.csv", texts)
    async with answered_before(60) as server:
        code, _, _ = await run(*command(server, tmp_path))
        assert code == 1
    known = inspect(tmp_path / "out.csv.ledger").statistics.answered
    changed = [*texts[90:], "new", *texts[10:50], "text 12", *texts[:10], "other"]
    write(tmp_path / "rows.csv", changed)
    asked: list[str] = []

    def answer(request: ChatRequest) -> Reply:
        asked.append(request.prompt)
        return Reply(text=f"echo: {request.prompt}")

    async with ScriptedChatServer(answer) as server:
        code, _, err = await run(*command(server, tmp_path))
        assert (code, asked) == (2, [])
        assert "--reuse" in err
        code, shown, _ = await run(*command(server, tmp_path, "--reuse"))
    assert code == 0
    assert outputs(tmp_path) == echoed(changed)
    assert known == 60
    assert sorted(asked) == sorted({*changed} - {*texts[:60]})
    assert f"kept             {len(changed) - len(asked):>10}" in shown


async def test_a_kept_ledger_pays_for_new_rows_only(run: Run, tmp_path: Path) -> None:
    """Also the next time, since it is kept on; what was spent is counted once."""
    async with ScriptedChatServer() as server:
        for rows in (30, 40, 45):
            write(tmp_path / "rows.csv", texts_of(rows))
            more = ("--reuse", "--keep-ledger")
            code, _, _ = await run(*command(server, tmp_path, *more))
            assert code == 0
            assert server.statistics().requests == rows
            assert outputs(tmp_path) == echoed(texts_of(rows))
    seen = inspect(tmp_path / "out.csv.ledger").statistics
    assert (seen.rows, seen.calls, seen.calls_repeated) == (45, 45, 0)


async def test_only_the_input_may_be_another_one(run: Run, tmp_path: Path) -> None:
    """Neither the model nor a sampling parameter, and there is no seed for each row."""
    write(tmp_path / "rows.csv", texts_of(5))
    async with ScriptedChatServer() as server:
        await run(*command(server, tmp_path, "--keep-ledger"))
        write(tmp_path / "rows.csv", texts_of(6))
        for other, named in {
            ("--temperature", "1"): "sampling parameters",
            ("--system-prompt", "x"): "system prompt",
            ("--seed-per-row",): "seed",
        }.items():
            more = ("--reuse", *other)
            code, _, err = await run(*command(server, tmp_path, *more))
            assert code == 2
            assert named in err
        assert server.statistics().requests == 5


async def test_failures_are_asked_again_with_another_input(
    run: Run, tmp_path: Path
) -> None:
    """Answers are what is kept."""
    write(tmp_path / "rows.csv", texts_of(20))
    bad = when(lambda request: request.prompt.endswith("7"), Reply(status=400))
    async with ScriptedChatServer(first_of(bad, echo())) as server:
        await run(*command(server, tmp_path, "--keep-ledger"))
    async with ScriptedChatServer() as server:
        await run(*command(server, tmp_path, "--reuse"))
        assert server.statistics().requests == 2
    assert outputs(tmp_path) == echoed(texts_of(20))


async def test_equal_prompts_keep_answers_of_their_own(tmp_path: Path) -> None:
    """Samples of one prompt stay as different as they were."""

    def counted(request: ChatRequest) -> Reply:
        return Reply(text=f"answer {request.sequence}")

    async def answers(rows: int, server: ScriptedChatServer) -> list[str | None]:
        engine = ss.ChatEngine(server.base_url, "m")
        source = ss.from_rows([{"text": "same"}] * rows) | ss.prompts(column="text")
        pipeline = source | ss.infer(engine, concurrency=1)
        opened = pipeline.open(ledger=tmp_path / "ledger", mode=ss.OpenMode.REUSE)
        async with engine, opened as results:
            return [result.text async for result in results]

    async with ScriptedChatServer(counted) as server:
        first = await answers(4, server)
        again = await answers(6, server)
        assert server.statistics().requests == 4
    assert len({*first}) == 4
    assert again == [*first, first[0], first[0]]


async def test_a_chain_reuses_the_answers_of_every_call(tmp_path: Path) -> None:
    """Each call has a ledger of its own, and its prompts are compared."""

    async def answers(texts: list[str], server: ScriptedChatServer) -> list[str | None]:
        engine = ss.ChatEngine(server.base_url, "m")
        source = ss.from_rows([{"text": text} for text in texts])
        first = source | ss.prompts(column="text") | ss.infer(engine)
        pipeline = first | ss.prompts(column="output") | ss.infer(engine)
        opened = pipeline.open(
            columns=[], ledger=tmp_path / "ledger", mode=ss.OpenMode.REUSE
        )
        async with engine, opened as results:
            return [result.text async for result in results]

    async with ScriptedChatServer() as server:
        await answers(["a", "b"], server)
        assert server.statistics().requests == 4
        assert await answers(["c", "b", "a"], server) == [
            f"echo: echo: {text}" for text in "cba"
        ]
        assert server.statistics().requests == 6


async def test_a_kill_while_reusing_loses_nothing(run: Run, tmp_path: Path) -> None:
    """Stopped in the middle, it is the new input's, and has the old answers still."""
    texts = texts_of(100)
    write(tmp_path / "rows.csv", texts)
    async with answered_before(60) as server:
        await run(*command(server, tmp_path))
    changed = [f"new {number}" for number in range(30)] + texts
    write(tmp_path / "rows.csv", changed)
    async with answered_before(10) as server:
        code, _, _ = await run(*command(server, tmp_path, "--reuse"))
        assert code == 1
    # As a kill leaves it: the same files, and nobody has closed anything.
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path, copy)
    for folder, more in ((tmp_path, ()), (copy, ("--reuse",))):
        async with ScriptedChatServer() as server:
            code, _, err = await run(*command(server, folder, *more))
            assert (code, err) == (0, "")
            assert server.statistics().requests == 130 - 60 - 10
        assert outputs(folder) == echoed(changed)


# What failed on its way.


async def test_a_later_run_asks_again_what_failed_on_its_way(
    run: Run, tmp_path: Path
) -> None:
    """The ledger stays for it, says the summary, and goes when nothing is left."""
    write(tmp_path / "rows.csv", texts_of(20))
    away = when(lambda request: request.prompt.endswith("7"), Reply(status=503))
    bad = when(lambda request: request.prompt.endswith("8"), Reply(status=400))
    async with ScriptedChatServer(first_of(away, bad, echo())) as server:
        code, shown, _ = await run(*command(server, tmp_path))
    assert code == 0
    assert "to ask again              2" in shown
    assert "the same command" in shown
    assert (tmp_path / "out.csv.ledger").exists()
    async with ScriptedChatServer(first_of(bad, echo())) as server:
        code, shown, _ = await run(*command(server, tmp_path))
        assert server.statistics().requests == 2
    assert code == 0
    assert "kept                     18" in shown
    missing = [text for text, output in outputs(tmp_path) if output is None]
    assert missing == ["text 8", "text 18"]
    assert not list(tmp_path.glob("*.ledger*"))


# An output that is there.


KILLED = """
import os, signal, sys
event, ending = sys.argv[1:3]

def watch(name, arguments):
    if name != event or not str(arguments[0]).endswith(ending):
        return
    if os.path.exists(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)

from sutro_stream.cli import main
sys.addaudithook(watch)
sys.exit(main(sys.argv[3:], environment={}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize(
    ("event", "ending"),
    [
        ("os.rename", ".partial"),
        ("os.rename", ".ledger"),
        ("os.remove", ".ledger-rows"),
        ("os.remove", ".ledger-log-000001"),
        ("os.remove", ".ledger-gone"),
        ("os.remove", ".ledger-lock"),
    ],
)
async def test_a_run_killed_at_its_end_is_complete(
    run: Run, tmp_path: Path, event: str, ending: str
) -> None:
    """Just before its output has its name, just after, and while it clears up."""
    write(tmp_path / "rows.csv", texts_of(20))
    async with ScriptedChatServer() as server:
        own = command(server, tmp_path)
        killed = [sys.executable, "-c", KILLED, event, ending, *own]
        ended = await anyio.run_process(killed, check=False, stdout=subprocess.DEVNULL)
        assert ended.returncode == -9
        was_there = (tmp_path / "out.csv").exists()
        assert was_there == (ending != ".partial")
        code, shown, err = await run(*own)
        assert server.statistics().requests == 20
    assert code == 0, err
    assert ("was complete already" in shown) == was_there
    assert outputs(tmp_path) == echoed(texts_of(20))
    assert not list(tmp_path.glob("*.ledger*"))
    assert not list(tmp_path.glob(".*.partial"))


async def test_another_file_is_never_taken_for_the_output(
    run: Run, tmp_path: Path
) -> None:
    """Neither one of the same content nor one that was written to."""
    write(tmp_path / "rows.csv", texts_of(20))
    out = tmp_path / "out.csv"
    async with answered_before(15) as server:
        await run(*command(server, tmp_path))
    out.write_text("mine")
    async with ScriptedChatServer() as server:
        code, _, err = await run(*command(server, tmp_path))
        assert (code, out.read_text()) == (2, "mine")
        assert "exists already" in err
        out.unlink()
        await run(*command(server, tmp_path, "--keep-ledger"))
        content = out.read_text()
        out.unlink()
        out.write_text(content + "mine,,\n")
        code, _, err = await run(*command(server, tmp_path))
        assert code == 2
        assert "exists already" in err
        assert out.read_text().endswith("mine,,\n")


async def test_a_ledger_that_was_kept_on_purpose_stays(
    run: Run, tmp_path: Path
) -> None:
    """Giving the command again without `--keep-ledger` does not remove it."""
    write(tmp_path / "rows.csv", texts_of(20))
    async with ScriptedChatServer() as server:
        await run(*command(server, tmp_path, "--keep-ledger"))
        code, shown, _ = await run(*command(server, tmp_path))
        assert server.statistics().requests == 20
        assert (code, "was complete already" in shown) == (0, True)
        assert inspect(tmp_path / "out.csv.ledger").is_finished
        code, _, err = await run(*command(server, tmp_path, "--restart"))
        assert code == 2
        assert "exists already" in err


# An input that changes.


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("change", ["append", "truncate", "overwrite", "replace"])
async def test_an_input_that_changes_ends_the_run(
    run: Run, tmp_path: Path, kind: str, change: str
) -> None:
    """Whenever it is noticed: an error, no output, and the ledger stays."""
    path = tmp_path / f"rows.{kind}"
    table = pl.DataFrame({"text": texts_of(300)})
    table.write_csv(path) if kind == "csv" else table.write_parquet(path)

    def spoil() -> None:
        content = path.read_bytes()
        if change == "replace":
            other = tmp_path / "other"
            other.write_bytes(content[:-4] + b"\n\n\n\n")
            other.replace(path)
            return
        with path.open("r+b") as file:
            if change == "append":
                file.seek(0, os.SEEK_END)
                file.write(b"more\n")
            elif change == "truncate":
                file.truncate(len(content) // 2)
            else:
                file.seek(len(content) // 2)
                file.write(b"x")

    def answer(request: ChatRequest) -> Reply:
        if request.sequence == 20:
            spoil()
        return Reply(text=f"echo: {request.prompt}")

    async with ScriptedChatServer(answer) as server:
        own = command(server, tmp_path)
        own[1] = str(path)
        code, _, err = await run(*own)
        assert code == 1
        assert path.name in err
        assert "changed while it was being read" in err
        assert "--reuse" in err
    assert not (tmp_path / "out.csv").exists()
    assert inspect(tmp_path / "out.csv.ledger").statistics.answered > 0


async def test_a_large_input_is_looked_at_while_it_is_read(tmp_path: Path) -> None:
    """A reader that is far from its end notices: no row of the other content comes."""
    path = tmp_path / "rows.csv"
    line = "x" * 1000
    path.write_text("text\n" + f"{line}\n" * 30_000)
    rows = 0
    with pytest.raises(ss.SourceError, match="changed while it was being read"):
        async with ss.read_csv(path).source.open(None) as reader:
            while (batch := await reader.read()) is not None:
                rows += len(batch)
                with path.open("r+b") as file:
                    file.seek(20_000_000)
                    file.write(b"y" * 5_000_000)
                assert "y" not in "".join(batch.records.column("text").to_pylist())
    assert 0 < rows < 30_000


async def test_an_input_that_is_only_touched_is_the_same(
    run: Run, tmp_path: Path
) -> None:
    """Its content decides."""
    write(tmp_path / "rows.csv", texts_of(50))

    def answer(request: ChatRequest) -> Reply:
        if request.sequence == 20:
            write(tmp_path / "rows.csv", texts_of(50))
        return Reply(text=f"echo: {request.prompt}")

    async with ScriptedChatServer(answer) as server:
        code, _, err = await run(*command(server, tmp_path))
    assert (code, err) == (0, "")
