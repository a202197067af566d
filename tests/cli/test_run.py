"""`sutro-stream run` against a scripted endpoint: what goes in and what comes out."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sutro_stream.settings import API_KEY_VARIABLE
from sutro_stream.testing import (
    ChatRequest,
    Reply,
    ScriptedChatServer,
    always,
    constant,
    fail_first_attempts,
    when,
)

Run = Callable[..., Awaitable[tuple[int, str, str]]]

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["label"],
}


def ask(server: ScriptedChatServer, *, model: str = "m") -> tuple[str, ...]:
    """The options that name a server, and that keep a failing test short."""
    return ("--engine", server.base_url, "--model", model, "--attempts", "2")


def function_file(folder: Path) -> Path:
    """A Function over the column `text`."""
    path = folder / "function.json"
    function = {
        "name": "judge",
        "inputs": [{"name": "text"}],
        "system_prompt": "Judge.",
        "prompt_template": "Text: {{ text }}!",
        "output_schema": SCHEMA,
        "sampling_params": {"temperature": 0, "max_tokens": 9},
    }
    path.write_text(json.dumps(function))
    return path


def ends_with(ending: str) -> Callable[[ChatRequest], bool]:
    """Whether a prompt ends so."""
    return lambda request: request.prompt.endswith(ending)


async def test_csv_to_parquet(run: Run, folder: Path) -> None:
    """Every row gets its answer, in order, beside the text of its cells."""
    output = folder / "out.parquet"
    async with ScriptedChatServer(record_last=1) as server:
        code, out, err = await run(
            folder / "rows.csv", "--column", "text", *ask(server), "--output", output
        )
    table = pq.read_table(output)
    assert (code, err) == (0, "")
    assert table.column_names == ["id", "text", "output", "error"]
    assert table["id"].to_pylist() == [f"{number:03}" for number in range(20)]
    assert table["output"].to_pylist() == [
        f"echo: {text}" for text in table["text"].to_pylist()
    ]
    assert table["error"].null_count == 20
    assert "answered                 20" in out
    assert str(output) in out
    assert server.requests[0].body["model"] == "m"


@pytest.mark.parametrize(
    ("options", "agent"),
    [
        ((), "sutro-stream/"),
        (("--transport", "fast"), "sutro-stream/"),
        (("--transport", "aiohttp"), "Python/"),
    ],
)
async def test_transports(
    run: Run, folder: Path, options: tuple[str, ...], agent: str
) -> None:
    """Their requests say who sends them."""
    output = folder / "out.parquet"
    async with ScriptedChatServer(record_last=1) as server:
        code, _, _ = await run(
            folder / "rows.csv",
            *("--column", "text", *ask(server), *options),
            *("--output", output),
        )
    assert code == 0
    assert pq.read_table(output)["error"].null_count == 20
    assert server.requests[0].headers["User-Agent"].startswith(agent)


async def test_parquet_to_csv_with_a_function(run: Run, folder: Path) -> None:
    """A Function brings prompt, system message, schema and sampling."""
    output = folder / "out.csv"
    answer = constant('{"label": "good", "score": 3}')
    async with ScriptedChatServer(answer, record_last=1) as server:
        code, _, _ = await run(
            folder / "rows.parquet",
            *("--function", function_file(folder), "--columns", "id"),
            *("--temperature", "0.5", *ask(server), "--output", output),
        )
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert code == 0
    assert len(rows) == 20
    assert list(rows[0]) == ["id", "output", "error", "label", "score"]
    assert (rows[7]["id"], rows[7]["label"], rows[7]["score"]) == ("7", "good", "3")
    request = server.requests[0]
    assert request.prompt.startswith("Text: ")
    assert request.system_prompt == "Judge."
    assert request.json_schema == SCHEMA
    assert (request.body["temperature"], request.body["max_tokens"]) == (0.5, 9)


async def test_to_jsonl_with_prompt_options(run: Run, folder: Path) -> None:
    """Without a Function the same is said with options; columns are joined."""
    output = folder / "out.jsonl"
    (folder / "system.txt").write_text("Be brief.")
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    async with ScriptedChatServer(record_last=1) as server:
        code, _, _ = await run(
            folder / "rows.csv",
            *("--column", "id", "--column", "text", "--separator", r"\n--\n"),
            *("--system-prompt", f"@{folder / 'system.txt'}"),
            *("--schema", folder / "schema.json", "--sampling", 'stop=["x"]'),
            *("--sampling", "seed=5", "--max-tokens", "7", "--columns", ""),
            *(*ask(server), "--output", output),
        )
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    request = server.requests[0]
    assert code == 0
    assert len(rows) == 20
    assert set(rows[0]) == {"output", "error", "label", "score"}
    assert request.prompt.partition("\n")[2].startswith("--\n")
    assert request.system_prompt == "Be brief."
    assert request.body["stop"] == ["x"]
    assert (request.body["seed"], request.body["max_tokens"]) == (5, 7)


async def test_a_limit_stops_reading(run: Run, folder: Path) -> None:
    """Only the first rows are asked and written."""
    output = folder / "out.csv"
    async with ScriptedChatServer() as server:
        code, out, _ = await run(
            folder / "rows.csv",
            *("--column", "text", "--limit", "3", *ask(server), "-o", output),
        )
    assert code == 0
    assert out.startswith("3 rows in ")
    assert server.statistics().requests == 3


async def test_unordered_results_come_as_they_are(run: Run, folder: Path) -> None:
    """A slow first row does not come first; no row is lost."""
    output = folder / "out.parquet"
    slow = when(ends_with("customer 0"), Reply(latency_s=0.3))
    async with ScriptedChatServer(slow) as server:
        code, _, _ = await run(
            folder / "rows.csv",
            *("--column", "text", "--unordered", *ask(server), "-o", output),
        )
    ids = pq.read_table(output)["id"].to_pylist()
    assert code == 0
    assert ids[0] != "000"
    assert sorted(ids) == [f"{number:03}" for number in range(20)]


async def test_other_delimiters_and_encodings(run: Run, folder: Path) -> None:
    """CSV from elsewhere is read as the options say."""
    source, output = folder / "latin.csv", folder / "out.jsonl"
    source.write_bytes("text;x\ngrün;\n".encode("latin-1"))
    async with ScriptedChatServer() as server:
        code, _, _ = await run(
            source,
            *("--delimiter", ";", "--encoding", "latin-1", "--empty", "empty"),
            *("--column", "text", *ask(server), "-o", output),
        )
    row = json.loads(output.read_text())
    assert code == 0
    assert (row["output"], row["x"]) == ("echo: grün", "")


async def test_a_folder_is_read_by_what_is_in_it(run: Run, folder: Path) -> None:
    """Names tell the format also behind a folder and a pattern."""
    (folder / "only").mkdir()
    (folder / "only" / "a.parquet").write_bytes((folder / "rows.parquet").read_bytes())
    async with ScriptedChatServer() as server:
        for source in (folder / "only", folder / "*.parquet"):
            output = folder / f"{len(str(source))}.csv"
            code, _, _ = await run(
                source, "--column", "text", *ask(server), "-o", output
            )
            assert code == 0
    assert server.statistics().requests == 40


async def test_an_existing_output_is_replaced_when_asked(
    run: Run, folder: Path
) -> None:
    """`--overwrite` is permission enough."""
    output = folder / "out.jsonl"
    output.write_text("old")
    async with ScriptedChatServer() as server:
        code, _, _ = await run(
            folder / "rows.csv",
            *("--column", "text", *ask(server), "-o", output, "--overwrite"),
        )
    assert code == 0
    assert len(output.read_text().splitlines()) == 20


async def test_a_partial_failure_succeeds_and_is_told(run: Run, folder: Path) -> None:
    """One row without an answer is counted by kind, and the exit code is 0."""
    output = folder / "out.jsonl"
    refuse = when(ends_with("customer 4"), Reply(status=422))
    async with ScriptedChatServer(refuse) as server:
        code, out, err = await run(
            folder / "rows.csv",
            *("--column", "text", *ask(server), "--concurrency", "1", "-o", output),
        )
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert (code, err) == (0, "")
    assert "failed                    1" in out
    assert "rejected" in out
    assert rows[4]["output"] is None
    assert rows[4]["error"].startswith("rejected: ")
    assert rows[5]["output"].startswith("echo: ")


async def test_a_quiet_run_still_tells_of_failed_rows(run: Run, folder: Path) -> None:
    """Quiet is silent on success; a partial failure is one line on stderr."""
    output = folder / "out.jsonl"
    refuse = when(ends_with("customer 4"), Reply(status=422))
    async with ScriptedChatServer(refuse) as server:
        code, out, err = await run(
            folder / "rows.csv",
            *("--column", "text", *ask(server), "--concurrency", "1", "-o", output),
            "--quiet",
        )
    assert (code, out) == (0, "")
    assert err == (
        f"warning: 1 of 20 rows were not answered; the reasons are in {output}\n"
    )


async def test_a_run_without_any_answer_fails(run: Run, folder: Path) -> None:
    """The output says why for each row, and the exit code is 1."""
    output = folder / "out.jsonl"
    broken = always(Reply(text="no JSON"))
    async with ScriptedChatServer(broken) as server:
        code, out, err = await run(
            folder / "rows.csv", "--column", "text", "--columns", "id",
            "--schema", _schema_file(folder), *ask(server), "-o", output,
        )  # fmt: skip
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert code == 1
    assert "answered                  0" in out
    assert "invalid_output" in out
    assert err == f"error: no row was answered; the reasons are in {output}\n"
    assert all(row["error"].startswith("invalid_output: ") for row in rows)


async def test_retries_are_told(run: Run, folder: Path) -> None:
    """A request that failed once is sent again, and counted."""
    flaky = fail_first_attempts(1, Reply(status=503, retry_after=0))
    async with ScriptedChatServer(flaky) as server:
        code, out, _ = await run(
            folder / "rows.csv",
            *("--column", "text", *ask(server), "-o", folder / "out.csv"),
        )
    assert code == 0
    assert "retries                  20" in out


async def test_the_key_comes_from_the_environment(
    run: Run, folder: Path, key: str
) -> None:
    """From the usual variable, or from the one that is named."""
    arguments = [folder / "rows.csv", "--column", "text", "--overwrite"]
    async with ScriptedChatServer(api_key=key) as server:
        arguments += [*ask(server), "-o", folder / "out.csv"]
        usual, _, _ = await run(*arguments, environment={API_KEY_VARIABLE: key})
        named, _, _ = await run(
            *arguments, "--api-key-env", "OTHER", environment={"OTHER": key}
        )
    assert (usual, named) == (0, 0)


async def test_the_key_may_come_from_a_command(run: Run, folder: Path) -> None:
    """Which is no shell's; one option for the key is enough."""
    command = f"{sys.executable} -c 'print(\"k-1\")' ; exit 1"
    async with ScriptedChatServer(api_key="k-1") as server:
        given = (folder / "rows.csv", "--column", "text", *ask(server))
        out = ("--output", folder / "out.csv")
        code, _, _ = await run(*given, *out, "--api-key-command", command)
        assert code == 0
    both = ("--api-key-command", command, "--api-key-env", "KEY")
    code, _, err = await run(*given, *out, "--overwrite", *both)
    assert (code, "exclude each other" in err) == (2, True)


@pytest.mark.parametrize("seeded", [True, False])
async def test_rows_have_seeds_of_their_own_when_asked(
    run: Run, folder: Path, *, seeded: bool
) -> None:
    """`--seed-per-row` derives a seed for each row from the run's."""
    async with ScriptedChatServer(record_last=20) as server:
        await run(
            folder / "rows.csv",
            *("--column", "text", "--sampling", "seed=1", *ask(server)),
            *("-o", folder / "out.csv", *(["--seed-per-row"] if seeded else [])),
        )
    seeds = {request.body["seed"] for request in server.requests}
    assert len(seeds) == (20 if seeded else 1)


def _schema_file(folder: Path) -> Path:
    path = folder / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


@pytest.mark.parametrize("options", [(), ("--concurrency", "auto")])
async def test_concurrency_is_found_at_an_endpoint(
    run: Run, folder: Path, options: tuple[str, ...]
) -> None:
    """Unless a number is given: more and more at once, from a few."""
    rows = folder / "many.csv"
    rows.write_text("text\n" + "".join(f"row {number}\n" for number in range(300)))
    async with ScriptedChatServer(always(Reply(latency_s=0.05))) as server:
        code, _, _ = await run(
            *(rows, "--column", "text", *ask(server), *options),
            *("-o", folder / "out.csv"),
        )
        peak = server.statistics().peak_in_flight
    assert code == 0
    assert peak <= 300
    assert len((folder / "out.csv").read_text().splitlines()) == 301
