"""What answers are, what else is told of them, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import polars as pl
import pytest

from sutro_stream.testing import Reply, ScriptedChatServer

Run = Callable[..., Awaitable[tuple[int, str, str]]]

THOUGHT = '<think>hm</think>{"label": "good"}'


@pytest.fixture
def schema(folder: Path) -> Path:
    """A schema in a file."""
    path = folder / "schema.json"
    path.write_text(json.dumps({"type": "object", "properties": {"label": {}}}))
    return path


async def test_json_is_taken_out_of_thoughts(
    run: Run, folder: Path, schema: Path
) -> None:
    """With columns of what else is known, and what it cost."""
    out = folder / "out.parquet"
    prices = folder / "prices.toml"
    prices.write_text("[m]\ninput = 1e6\noutput = 0\n")
    async with ScriptedChatServer(lambda _: Reply(text=THOUGHT)) as server:
        code, shown, _ = await run(
            *(folder / "rows.csv", "--column", "text", "--schema", schema),
            *("--engine", server.base_url, "--model", "m", "--answers", "extract"),
            *("--prices", prices, "--with", "attempts, extracted,usage"),
            *("--no-strict", "--keep-ledger", "--output", out),
        )
    assert code == 0
    assert "USD" in shown
    table = pl.read_parquet(out)
    assert table["extracted"].to_list() == [True] * 20
    assert table["attempts"].to_list() == [1] * 20
    spent = table["input_tokens"].sum()
    assert f"{spent:,.4f}  USD" in shown
    ledger = ("ledger", "show", f"{out}.ledger")
    code, shown, _ = await run(*ledger, "--prices", prices)
    assert f"{spent:,.4f} USD" in shown
    priced = ("--input-price", "1e6", "--output-price", "0")
    code, shown, _ = await run(*ledger, *priced, "--cached-input-price", "0")
    assert f"{spent:,.4f} USD" in shown


async def test_what_is_invalid_is_asked_again(
    run: Run, folder: Path, schema: Path
) -> None:
    """And the failed rows name the option that helps."""
    out = folder / "out.jsonl"
    async with ScriptedChatServer(lambda _: Reply(text=THOUGHT)) as server:
        code, shown, _ = await run(
            *(folder / "rows.csv", "--column", "text", "--schema", schema),
            *("--engine", server.base_url, "--model", "m", "--reask", "1"),
            *("--response-format", "json_object", "--output", out),
        )
    assert code == 1
    assert "asked again              20" in shown
    assert "--answers extract" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--budget", "usd=1"), "--prices"),
        (("--input-price", "1"), "--output-price"),
        (("--with", "tokens"), "no detail"),
        (("--reask", "1"), "schema"),
    ],
)
async def test_what_does_not_fit_together_is_a_mistake(
    run: Run, folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    """Before anything is sent."""
    async with ScriptedChatServer() as server:
        code, _, err = await run(
            *(folder / "rows.csv", "--column", "text", "--engine", server.base_url),
            *("--model", "m", "--output", folder / "out.csv"),
            *arguments,
        )
        assert server.statistics().requests == 0
    assert code == 2
    assert told in err
