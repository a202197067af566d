"""The scripts in examples/, run as their readers run them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import anyio
import pyarrow.parquet as pq
import pytest

import sutro_stream
from sutro_stream.testing import (
    ChatRequest,
    Reply,
    ScriptedChatServer,
    first_of,
    when,
)

ROOT = Path(sutro_stream.__file__).parents[1]
EXAMPLES = ROOT / "examples"
KEY = "sk-kept-to-itself"


async def run(
    script: str, *arguments: object, server: ScriptedChatServer | None = None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of an example.

    Args:
        script: Its file.
        *arguments: Its command line.
        server: Who answers, `None` for the embedded model.
    """
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    if server is not None:
        command += ["--engine", server.base_url, "--model", "m"]
    done = await anyio.run_process(
        command,
        check=False,
        cwd=ROOT,
        env={**os.environ, "SUTRO_STREAM_API_KEY": KEY},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def judged(request: ChatRequest) -> Reply:
    """A reader who goes by a single word."""
    sentiment = "negative" if "bad" in request.prompt else "positive"
    return Reply(text=f'{{"sentiment": "{sentiment}"}}')


async def test_the_plain_script_prints_each_answer_and_the_totals() -> None:
    """One line for each of the 48 reviews, in order, and one for all of them."""
    async with ScriptedChatServer(judged, api_key=KEY) as server:
        code, out, err = await run("plain_script.py", server=server)
    *answers, totals = out.splitlines()
    assert (code, err) == (0, "")
    assert [answer.split()[0] for answer in answers] == [
        f"R{number:03}" for number in range(1, 49)
    ]
    assert {answer.split()[1] for answer in answers} <= {"positive", "negative"}
    assert re.match(r"48 rows in [\d.]+ s: 48 answered, 0 failed; \d+ tokens", totals)


async def test_the_plain_script_explains_failures() -> None:
    """A row that failed says why, with what the model said, and is counted."""
    odd = when(lambda request: request.sequence == 1, Reply(text="Perhaps."))
    async with ScriptedChatServer(first_of(odd, judged)) as server:
        code, out, _ = await run("plain_script.py", "--limit", 4, server=server)
    (failed,) = [line for line in out.splitlines() if "failed: " in line]
    assert code == 0
    assert "failed: invalid_output: " in failed
    assert failed.endswith("it said 'Perhaps.'")
    assert "3 answered, 1 failed (1 invalid_output)" in out


@pytest.mark.parametrize("script", ["plain_script.py", "custom_stage.py"])
async def test_what_ends_a_script_is_one_line(script: str, tmp_path: Path) -> None:
    """A wrong key, for example: no traceback, a non-zero exit, and no file."""
    arguments = ["--output", tmp_path / "out.parquet"] if "stage" in script else []
    async with ScriptedChatServer(api_key="another") as server:
        code, out, err = await run(script, *arguments, server=server)
    (line,) = err.splitlines()
    assert (code, out) == (1, "")
    assert "refused the API key" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(120)
async def test_the_plain_script_runs_on_the_embedded_model() -> None:
    """Which is what it does when no endpoint is named."""
    code, out, err = await run("plain_script.py", "--limit", 3)
    assert (code, err) == (0, "")
    assert re.findall(r"^(R\d+)  (?:positive|negative)$", out, re.MULTILINE) == [
        *("R001", "R002", "R003")
    ]


async def test_the_custom_stages_tidy_what_goes_in_and_sort_what_comes_out(
    tmp_path: Path,
) -> None:
    """Empty and repeated reviews are not sent; complaints are in the file."""
    reviews, output = tmp_path / "reviews.csv", tmp_path / "complaints.parquet"
    reviews.write_text(
        "id,product,stars,review\n"
        "1,kettle,1,so bad\n"
        "2,kettle,5,good\n"
        '3,kettle,2,"  so\n  bad "\n'
        "4,kettle,3,\n"
        "5,lamp,2,bad as well\n"
    )
    async with ScriptedChatServer(judged, record_last=10) as server:
        code, out, err = await run(
            "custom_stage.py", reviews, "--output", output, server=server
        )
        sent = sorted(request.prompt for request in server.requests)
    assert (code, err) == (0, "")
    assert sent == [
        "Product: kettle\nReview: good",
        "Product: kettle\nReview: so bad",
        "Product: lamp\nReview: bad as well",
    ]
    assert pq.read_table(output).to_pylist() == [
        {"id": "1", "review": "so bad", "urgent": True},
        {"id": "5", "review": "bad as well", "urgent": False},
    ]
    assert "2 reviews skipped" in out
    assert "3 answered, 0 failed" in out
    assert f"2 complaints in {output}" in out
