"""`sutro-stream run` on what cannot work: one clear message, and no zero."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sutro_stream.settings import API_KEY_VARIABLE
from sutro_stream.testing import ScriptedChatServer

Run = Callable[..., Awaitable[tuple[int, str, str]]]

NOBODY = "http://127.0.0.1:9/v1"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def message(err: str) -> str:
    """The one line on stderr, without its label."""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


async def test_a_missing_file(run: Run, folder: Path) -> None:
    """The path is named."""
    code, out, err = await run(
        folder / "none.csv",
        *("--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert (code, out) == (2, "")
    assert message(err) == f"{folder / 'none.csv'}: no such file or folder"


async def test_a_wrong_column(run: Run, folder: Path) -> None:
    """The columns there are get listed."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "review", "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert code == 2
    assert "no column 'review' (there are: 'id', 'text')" in message(err)


async def test_a_wrong_column_to_keep(run: Run, folder: Path) -> None:
    """So do they when the column is wanted in the output."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--columns", "id,nam", "--engine", NOBODY),
        *("-o", folder / "out.csv"),
    )
    assert code == 2
    assert "'nam': no such input column (there are: id, text)" in message(err)


@pytest.mark.parametrize("name", ["empty.csv", "empty.parquet"])
async def test_an_empty_file(run: Run, folder: Path, name: str) -> None:
    """A file of zero bytes is told from one that is broken."""
    (folder / name).touch()
    code, _, err = await run(
        folder / name,
        *("--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert code == 1
    assert message(err).startswith(f"{folder / name}: the file is empty")


async def test_a_file_without_rows(run: Run, folder: Path) -> None:
    """A header alone is nothing to ask about."""
    (folder / "header.csv").write_text("id,text\n")
    code, _, err = await run(
        folder / "header.csv",
        *("--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert code == 1
    assert "no rows" in message(err)
    assert not (folder / "out.csv").exists()


async def test_not_a_parquet_file(run: Run, folder: Path) -> None:
    """A wrong suffix or a wrong `--format` is found out."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--format", "parquet", "--column", "text", "--engine", NOBODY),
        *("-o", folder / "out.csv"),
    )
    assert code == 1
    assert message(err) == f"{folder / 'rows.csv'}: not a Parquet file"


async def test_an_unknown_input_format(run: Run, folder: Path) -> None:
    """The names that are known are listed."""
    (folder / "rows.xlsx").touch()
    code, _, err = await run(
        folder / "rows.xlsx",
        *("--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert code == 2
    assert "rows.xlsx: not a known input format" in message(err)


async def test_an_unknown_output_format(run: Run, folder: Path) -> None:
    """The suffixes that are known are listed."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--engine", NOBODY, "-o", folder / "out.xlsx"),
    )
    assert code == 2
    assert "choose one of .parquet, .csv" in message(err)


async def test_a_function_file_with_mistakes(run: Run, folder: Path) -> None:
    """Each mistake gets an indented line."""
    path = folder / "bad.json"
    path.write_text(json.dumps({"inputs": [], "prompt": "x"}))
    code, _, err = await run(
        folder / "rows.csv",
        *("--function", path, "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    first, *lines = err.splitlines()
    assert code == 2
    assert first == f"error: {path}:"
    assert "  - name is required" in lines
    assert "  - prompt is not a known field" in lines


@pytest.mark.parametrize("content", [None, "{", "[]"])
async def test_a_broken_function_file(
    run: Run, folder: Path, content: str | None
) -> None:
    """A file that is missing, no JSON or no object is one line."""
    path = folder / "bad.json"
    if content is not None:
        path.write_text(content)
    code, _, err = await run(
        folder / "rows.csv",
        *("--function", path, "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert code == 2
    assert str(path) in message(err)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"type": "text"}'])
async def test_a_broken_schema(run: Run, folder: Path, content: str | None) -> None:
    """The option and its file are named."""
    path = folder / "schema.json"
    if content is not None:
        path.write_text(content)
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--schema", path, "--engine", NOBODY),
        *("-o", folder / "out.csv"),
    )
    assert code == 2
    assert message(err).startswith(f"--schema {path}: ")


@pytest.mark.parametrize("engine", ["lokal", "127.0.0.1:8000/v1?signature=private"])
async def test_an_unknown_engine(run: Run, folder: Path, engine: str) -> None:
    """What was typed is not repeated: it may hold a key."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--engine", engine, "-o", folder / "out.csv"),
    )
    assert code == 2
    assert message(err).startswith("unknown engine: --engine takes 'local', or ")


async def test_a_wrong_key(run: Run, folder: Path, key: str) -> None:
    """The run ends at the first refusal; there is no output."""
    async with ScriptedChatServer(api_key="another") as server:
        code, out, err = await run(
            folder / "rows.csv",
            *("--column", "text", "--engine", server.base_url, "--model", "m"),
            *("-o", folder / "out.csv"),
            environment={API_KEY_VARIABLE: key},
        )
    assert (code, out) == (1, "")
    assert "refused the API key (HTTP 401)" in message(err)
    assert not (folder / "out.csv").exists()


async def test_a_key_variable_that_is_not_set(run: Run, folder: Path, key: str) -> None:
    """The key itself, given by mistake, is not repeated."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--engine", NOBODY, "--api-key-env", key),
        *("-o", folder / "out.csv"),
    )
    assert code == 2
    assert "no such environment variable" in message(err)


async def test_an_endpoint_that_is_down(run: Run, folder: Path, url_query: str) -> None:
    """The address is named, without its query."""
    engine = f"http://user:pw@127.0.0.1:{free_port()}/v1?{url_query}"
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--engine", engine, "--attempts", "1"),
        *("-o", folder / "out.csv"),
    )
    assert code == 1
    assert message(err).startswith("cannot reach the endpoint: http://127.0.0.1:")
    assert "user" not in message(err)


async def test_an_address_without_a_file(
    run: Run, folder: Path, url_query: str
) -> None:
    """An input's address is named, without its query."""
    async with ScriptedChatServer() as server:
        code, _, err = await run(
            f"{server.base_url}/rows.csv?{url_query}",
            *("--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"),
        )
    assert code != 0
    assert f"{server.base_url}/rows.csv" in message(err)


async def test_an_output_folder_that_is_not_there(run: Run, folder: Path) -> None:
    """Found out before anything is sent."""
    async with ScriptedChatServer() as server:
        code, _, err = await run(
            folder / "rows.csv",
            *("--column", "text", "--engine", server.base_url),
            *("-o", folder / "none" / "out.csv"),
        )
    assert code == 1
    assert "none does not exist" in message(err)
    assert server.statistics().requests == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_an_output_folder_that_is_protected(run: Run, folder: Path) -> None:
    """So is a folder that cannot be written to."""
    protected = folder / "protected"
    protected.mkdir(mode=0o500)
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--engine", NOBODY, "-o", protected / "out.csv"),
    )
    assert code == 1
    assert "permission denied" in message(err).lower()


async def test_an_output_that_is_a_folder(run: Run, folder: Path) -> None:
    """A folder is not replaced by a file."""
    (folder / "out.csv").mkdir()
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert code == 1
    assert "it is a folder" in message(err)


async def test_an_existing_output(run: Run, folder: Path) -> None:
    """Nothing is replaced unasked."""
    output = folder / "out.csv"
    output.write_text("precious")
    code, _, err = await run(
        folder / "rows.csv", "--column", "text", "--engine", NOBODY, "-o", output
    )
    assert code == 2
    assert f"{output} exists already" in message(err)
    assert output.read_text() == "precious"


async def test_an_output_that_is_the_input(run: Run, folder: Path) -> None:
    """Not even when asked to overwrite."""
    source = folder / "rows.csv"
    code, _, err = await run(
        source,
        *("--column", "text", "--engine", NOBODY, "-o", source, "--overwrite"),
    )
    assert code == 2
    assert "the output is the input" in message(err)


async def test_an_input_column_named_like_a_result(run: Run, folder: Path) -> None:
    """Found out before anything is sent; says what to do."""
    (folder / "clash.csv").write_text("text,output\na,b\n")
    code, _, err = await run(
        folder / "clash.csv",
        *("--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"),
    )
    assert code == 2
    assert "'output': the input already has a column" in message(err)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "say what to ask: --function FILE, --column NAME or --messages NAME"),
        (
            ("--function", "f.json", "--column", "text"),
            "--column cannot be combined with --function",
        ),
        (
            ("--function", "f.json", "--system-prompt", ""),
            "--system-prompt cannot be combined with --function",
        ),
        (
            ("--function", "f.json", "--schema", "s.json"),
            "--schema cannot be combined with --function",
        ),
        (("--column", "a", "--dialect", "vllm"), "--dialect is for an endpoint"),
        (("--column", "a", "--transport", "fast"), "--transport is for an endpoint"),
        (("--column", "a", "--api-key-env", "A"), "--api-key-env is for an endpoint"),
        (("--column", "a", "--concurrency", "0"), "'--concurrency'"),
        (("--column", "a", "--concurrency", "many"), "nor auto"),
        (("--column", "a", "--sampling", "top_p"), "--sampling takes KEY=VALUE"),
        (("--column", "a", "--sampling", "tp=1"), "tp is not a known field"),
        (("--column", "a", "--temperature", "-1"), "temperature"),
        (("--column", "a", "--delimiter", "::"), "must be one ASCII character"),
        (("--column", "a", "--encoding", "utf-99"), "no text encoding 'utf-99'"),
        (("--column", "a", "--bogus"), "No such option '--bogus'"),
    ],
)
async def test_options_that_make_no_sense(
    run: Run, folder: Path, options: tuple[str, ...], expected: str
) -> None:
    """One line says which option, and what to do."""
    code, _, err = await run(folder / "rows.csv", *options, "-o", folder / "out.csv")
    assert code == 2
    assert expected in message(err)


async def test_csv_options_for_parquet(run: Run, folder: Path) -> None:
    """An option that would do nothing is refused."""
    code, _, err = await run(
        folder / "rows.parquet",
        *("--column", "text", "--delimiter", ";", "-o", folder / "out.csv"),
    )
    assert code == 2
    assert "--delimiter is for text, which the input is not" in message(err)


async def test_a_sampling_parameter_the_endpoint_does_not_know(
    run: Run, folder: Path
) -> None:
    """Found out before anything is sent."""
    async with ScriptedChatServer() as server:
        code, _, err = await run(
            folder / "rows.csv",
            *("--column", "text", "--engine", server.base_url),
            *("--dialect", "openai", "--sampling", "top_k=4"),
            *("-o", folder / "out.csv"),
        )
    assert code == 2
    assert "top_k" in message(err)
    assert server.statistics().requests == 0


async def test_a_local_model_that_is_missing(run: Run, folder: Path) -> None:
    """The model's path is named."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--model", folder / "none.gguf"),
        *("-o", folder / "out.csv"),
    )
    assert code == 2
    assert "none.gguf: no such file" in message(err)


async def test_nowhere_to_write(run: Run, folder: Path) -> None:
    """Without `--output` only a dry run makes sense."""
    code, _, err = await run(folder / "rows.csv", "--column", "text")
    assert code == 2
    assert "say where results go: --output FILE" in message(err)


async def test_files_of_two_formats(run: Run, folder: Path) -> None:
    """A folder with both needs a word on which to read."""
    code, _, err = await run(
        folder, "--column", "text", "--engine", NOBODY, "-o", folder / "out.csv"
    )
    assert code == 2
    assert "say which to read with --format" in message(err)
