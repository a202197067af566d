"""`sutro-stream functions`: publish, list, show."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import sutro_stream
from sutro_stream.values.function import Function

EXAMPLE = Path(sutro_stream.__file__).parents[1] / "examples" / "sentiment.json"

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def options(tmp_path: Path) -> tuple[str | Path, ...]:
    """Whose Functions, and where."""
    return ("--account", "alice", "--data-dir", tmp_path / "data")


async def test_each_publication_is_a_revision(
    run: Run, options: tuple[str | Path, ...]
) -> None:
    """Counted from 1."""
    _, first, _ = await run("functions", "publish", EXAMPLE, *options)
    code, second, _ = await run("functions", "publish", EXAMPLE, *options)
    assert code == 0
    assert (first, second) == ("sentiment revision 1\n", "sentiment revision 2\n")


async def test_functions_are_listed(run: Run, options: tuple[str | Path, ...]) -> None:
    """With the revision that is current."""
    await run("functions", "publish", EXAMPLE, *options)
    await run("functions", "publish", EXAMPLE, *options)
    _, out, _ = await run("functions", "list", *options[2:])
    title, line = out.splitlines()
    assert title.split() == ["account", "function", "revision", "description"]
    assert line.split()[:3] == ["alice", "sentiment", "2"]


async def test_what_is_shown_can_be_published(
    run: Run, options: tuple[str | Path, ...]
) -> None:
    """The current revision, or the one that was asked for."""
    await run("functions", "publish", EXAMPLE, *options)
    await run("functions", "publish", EXAMPLE, *options)
    _, out, _ = await run("functions", "show", "sentiment", *options)
    shown = Function.validate(out)
    assert shown.revision == 2
    assert shown.instructions == Function.load(EXAMPLE).instructions
    _, out, _ = await run("functions", "show", "sentiment", "--revision", "1", *options)
    assert json.loads(out)["revision"] == 1


@pytest.mark.parametrize("extra", [(), ("--revision", "9")])
async def test_a_function_that_is_not_there(
    run: Run, options: tuple[str | Path, ...], extra: tuple[str, ...]
) -> None:
    """Is a mistake, told in one line."""
    await run("functions", "publish", EXAMPLE, *options)
    name = "sentiment" if extra else "other"
    code, _, err = await run("functions", "show", name, *extra, *options)
    assert code == 2
    assert f"has no Function {name}" in err


async def test_a_file_that_is_no_function(
    run: Run, options: tuple[str | Path, ...], tmp_path: Path
) -> None:
    """Is told by its name, and nothing is published."""
    path = tmp_path / "broken.json"
    path.write_text("{}")
    code, _, err = await run("functions", "publish", path, *options)
    assert code == 2
    assert "broken.json" in err
    assert not (tmp_path / "data" / "functions" / "alice").exists()
