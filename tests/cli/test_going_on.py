"""Going on, asking again and looking into ledgers, from the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import polars as pl
import pytest

from sutro_stream.testing import (
    Reply,
    ScriptedChatServer,
    always,
    echo,
    first_of,
    when,
)

Run = Callable[..., Awaitable[tuple[int, str, str]]]


def ask(server: ScriptedChatServer, *more: str) -> tuple[str, ...]:
    """The options of every run here."""
    engine = ("--engine", server.base_url, "--model", "m")
    return (*engine, "--column", "text", "--concurrency", "1", "--attempts", "1", *more)


def refusing_key_after(count: int) -> ScriptedChatServer:
    """Answers so many requests, and then no longer takes the key."""
    few = when(lambda request: request.sequence < count, Reply())
    return ScriptedChatServer(first_of(few, always(Reply(status=401))))


async def test_an_ended_run_says_how_to_go_on(run: Run, folder: Path) -> None:
    """And the same command then asks only for the rest."""
    out = folder / "out.csv"
    async with refusing_key_after(8) as server:
        code, _, err = await run(folder / "rows.csv", *ask(server), "--output", out)
    assert code == 1
    assert "out.csv.ledger" in err
    assert "same command again" in err
    async with ScriptedChatServer() as server:
        code, shown, _ = await run(folder / "rows.csv", *ask(server), "--output", out)
        assert server.statistics().requests == 12
    assert code == 0
    assert "kept                      8" in shown
    assert pl.read_csv(out).height == 20
    assert not list(folder.glob("*.ledger*"))


async def test_other_work_is_told_with_the_way_out(run: Run, folder: Path) -> None:
    """Which part differs, and the option that starts afresh."""
    out = folder / "out.csv"
    async with refusing_key_after(8) as server:
        await run(folder / "rows.csv", *ask(server), "--output", out)
    async with ScriptedChatServer() as server:
        other = ask(server, "--temperature", "1", "--output", str(out))
        code, _, err = await run(folder / "rows.csv", *other)
        assert code == 2
        assert "sampling parameters" in err
        assert "--restart" in err
        assert server.statistics().requests == 0
        code, _, _ = await run(folder / "rows.csv", *other, "--restart")
        assert code == 0
        assert server.statistics().requests == 20


async def test_only_failures_are_asked_again(run: Run, folder: Path) -> None:
    """From a ledger that was kept; the failed rows also have a file."""
    out, failed = folder / "out.csv", folder / "failed.csv"
    bad = when(lambda request: request.prompt.endswith("7"), Reply(status=400))
    async with ScriptedChatServer(first_of(bad, echo())) as server:
        code, _, _ = await run(
            folder / "rows.csv",
            *ask(server, "--keep-ledger", "--failures-to", str(failed)),
            "--output",
            out,
        )
    assert code == 0
    assert pl.read_csv(failed)["id"].to_list() == [7, 17]
    async with ScriptedChatServer() as server:
        code, _, _ = await run(
            folder / "rows.csv", *ask(server, "--retry-failed"), "--output", out
        )
        assert server.statistics().requests == 2
    assert code == 0
    assert pl.read_csv(out)["error"].null_count() == 20


async def test_retrying_without_a_ledger_is_a_mistake(run: Run, folder: Path) -> None:
    """The message says how to keep one."""
    async with ScriptedChatServer() as server:
        code, _, err = await run(
            folder / "rows.csv",
            *ask(server, "--retry-failed"),
            "--output",
            folder / "out.csv",
        )
    assert code == 2
    assert "--keep-ledger" in err


async def test_equal_prompts_are_asked_once(run: Run, folder: Path) -> None:
    """The summary tells what was saved."""
    path = folder / "equal.csv"
    path.write_text("text\n" + "same\nother\n" * 10)
    async with ScriptedChatServer() as server:
        code, shown, _ = await run(
            path, *ask(server, "--dedupe"), "--output", folder / "out.csv"
        )
        assert server.statistics().requests == 2
    assert code == 0
    assert "calls saved              18" in shown


async def test_a_ledger_can_be_shown_and_verified(run: Run, folder: Path) -> None:
    """Numbers, spend, and every difference of a spoilt output."""
    out = folder / "out.csv"
    async with ScriptedChatServer() as server:
        await run(folder / "rows.csv", *ask(server, "--keep-ledger"), "--output", out)
    ledger = folder / "out.csv.ledger"
    prices = ("--input-price", "1", "--output-price", "2")
    code, shown, _ = await run("ledger", "show", ledger, *prices)
    assert code == 0
    for line in ("rows                       20", "calls                      20"):
        assert line in shown
    assert "USD" in shown
    assert "bound to         model: m" in shown
    code, shown, _ = await run("ledger", "verify", ledger, out)
    assert (code, "agrees" in shown) == (0, True)
    out.write_text(out.read_text().replace("echo", "ECHO", 1))
    code, shown, _ = await run("ledger", "verify", ledger, out)
    assert code == 1
    assert "row 0" in shown


@pytest.mark.parametrize("command", ["show", "verify"])
async def test_a_missing_ledger_is_one_clear_line(
    run: Run, folder: Path, command: str
) -> None:
    """As any other missing file."""
    more = [folder / "rows.csv"] if command == "verify" else []
    code, _, err = await run("ledger", command, folder / "none.ledger", *more)
    assert code != 0
    assert err.startswith("error: ")
    assert err.count("\n") == 1
