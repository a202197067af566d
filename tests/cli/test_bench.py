from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sutro_stream.testing import Reply, ScriptedChatServer, always

Run = Callable[..., Awaitable[tuple[int, str, str]]]

SHORT = ("--model", "m", "--seconds", "0.2", "--max-in-flight", "2")


async def test_levels_knee_and_auto_are_shown(run: Run, tmp_path: Path) -> None:
    """And written as a picture and as figures."""
    picture, figures = tmp_path / "rates.svg", tmp_path / "rates.json"
    async with ScriptedChatServer(record_last=1) as server:
        code, out, err = await run(
            *("bench", "--endpoint", server.base_url, *SHORT),
            *("--plot", picture, "--json", figures),
        )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "10,000 prompts" in lines[0]
    assert lines[1].split()[:4] == ["in", "flight", "rows/s", "tokens/s"]
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "auto"]
    assert any(line.startswith("knee: ") for line in lines)
    assert any(line.startswith("auto: settled at ") for line in lines)
    assert server.requests[0].body["max_tokens"] == 64
    levels = json.loads(figures.read_text())["levels"]
    assert [level["is_found"] for level in levels] == [False, False, True]
    assert all(level["rows_per_s"] > 0 for level in levels)
    assert picture.read_text().startswith("<svg ")


async def test_rows_of_a_file_are_asked_about(run: Run, folder: Path) -> None:
    """As `run` would ask about them."""
    async with ScriptedChatServer(record_last=1000) as server:
        code, out, _ = await run(
            *("bench", "--endpoint", server.base_url, *SHORT, "--no-auto"),
            *("--input", folder / "rows.csv", "--column", "text"),
        )
    assert code == 0
    assert "20 prompts" in out
    assert "auto" not in out
    assert len({request.prompt for request in server.requests}) == 20


async def test_an_endpoint_that_refuses_the_key_ends_it(run: Run) -> None:
    """With one line."""
    async with ScriptedChatServer(always(Reply(status=401))) as server:
        code, _, err = await run("bench", "--endpoint", server.base_url, *SHORT)
    assert code == 1
    assert err.startswith("error: ")
    assert "401" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ("--endpoint", "ftp://a"),
            "--endpoint takes 'local', or an endpoint",
        ),
        (("--endpoint", "local", "--column", "a"), "need --input FILE"),
        (("--endpoint", "local", "--input", "a.csv"), "say what to ask"),
        (("--endpoint", "local", "--plot", "nowhere/a.svg"), "no such folder"),
        (("--endpoint", "local", "--seconds", "0"), "0.0 is not in the range"),
        ((), "Missing option '--endpoint'"),
    ],
)
async def test_mistakes_are_told(
    run: Run, arguments: tuple[str, ...], reason: str
) -> None:
    """Before anything is sent."""
    code, _, err = await run("bench", *(arguments or ("--seconds", "1")))
    assert code == 2
    assert reason in err
