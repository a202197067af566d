"""The command as a function, and a folder with input for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import anyio.to_thread
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.cli import main

# None of this may ever be printed.
PRIVATE_TEXT = "private words of a customer"
KEY = "sk-private-key-0123456789"
URL_QUERY = "signature=private"

OTHER_COMMANDS = frozenset({"bench", "functions", "jobs", "keys", "ledger", "serve"})


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Awaitable[tuple[int, str, str]]]:
    """The command as a coroutine function: exit code, stdout and stderr.

    What it runs is `run`, unless the first argument is another command.
    """

    async def call(
        *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str, str]:
        capsys.readouterr()
        command = list(map(str, arguments))
        if command[0] not in OTHER_COMMANDS:
            command = ["run", *command]
        code = await anyio.to_thread.run_sync(
            partial(main, command, environment=environment or {})
        )
        out, err = capsys.readouterr()
        if "--dry-run" not in command:
            assert PRIVATE_TEXT not in out + err
        assert KEY not in out + err
        assert URL_QUERY not in out + err
        return code, out, err

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the same 20 rows as CSV and as Parquet."""
    texts = [f"{PRIVATE_TEXT} {number}" for number in range(20)]
    lines = [f"{number:03},{text}" for number, text in enumerate(texts)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    table = pa.table({"id": range(20), "text": texts})
    pq.write_table(table, tmp_path / "rows.parquet")
    return tmp_path


@pytest.fixture
def key() -> str:
    """An API key that must not be printed."""
    return KEY


@pytest.fixture
def url_query() -> str:
    """A URL's query that must not be printed."""
    return URL_QUERY
