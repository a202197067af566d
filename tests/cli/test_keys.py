"""`sutro-stream keys`: made once, listed without being shown, revoked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sutro_stream.jobs.database import Database
from sutro_stream.jobs.keys import KeyStore

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "data"


async def test_a_key_is_all_that_stdout_gets(run: Run, data: Path) -> None:
    """So that a script can take it; it is good at once."""
    code, out, err = await run("keys", "create", "alice", "--data-dir", data)
    assert (code, out.count("\n")) == (0, 1)
    assert "account alice" in err
    with Database(data / "deployment.sqlite") as database:
        assert KeyStore(database).account_of(out.strip()) == "alice"


async def test_keys_are_listed_by_their_ids(run: Run, data: Path) -> None:
    """Never shown again."""
    _, alice, _ = await run("keys", "create", "alice", "--data-dir", data)
    await run("keys", "create", "bob", "--data-dir", data)
    code, out, _ = await run("keys", "list", "--data-dir", data)
    title, first, second = out.splitlines()
    assert code == 0
    assert title.split() == ["key", "account", "made", "revoked"]
    assert (first.split()[1], second.split()[1]) == ("alice", "bob")
    assert alice.strip() not in out


async def test_keys_of_one_account(run: Run, data: Path) -> None:
    """The others are left out."""
    await run("keys", "create", "alice", "--data-dir", data)
    await run("keys", "create", "bob", "--data-dir", data)
    _, out, _ = await run("keys", "list", "--account", "bob", "--data-dir", data)
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["bob"]


async def test_a_revoked_key_is_worth_nothing(run: Run, data: Path) -> None:
    """And stays in the list."""
    _, key, _ = await run("keys", "create", "alice", "--data-dir", data)
    _, out, _ = await run("keys", "list", "--data-dir", data)
    key_id = out.splitlines()[1].split()[0]
    code, _, _ = await run("keys", "revoke", key_id, "--data-dir", data)
    assert code == 0
    with Database(data / "deployment.sqlite") as database:
        assert KeyStore(database).account_of(key.strip()) is None
    _, out, _ = await run("keys", "list", "--data-dir", data)
    assert len(out.splitlines()[1].split()) == 4


async def test_an_unknown_key_is_not_repeated(run: Run, data: Path, key: str) -> None:
    """It may be the key itself, typed in the place of its ID."""
    await run("keys", "create", "alice", "--data-dir", data)
    code, _, err = await run("keys", "revoke", key, "--data-dir", data)
    assert code == 2
    assert "keys list" in err


@pytest.mark.parametrize("name", ["", "a b", "../x", "a" * 65])
async def test_a_name_that_no_account_can_have(run: Run, data: Path, name: str) -> None:
    """Is a mistake, told in one line."""
    code, out, err = await run("keys", "create", "--data-dir", data, "--", name)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


async def test_a_mistyped_folder_is_no_empty_deployment(run: Run, data: Path) -> None:
    """Looking does not make one."""
    code, _, err = await run("keys", "list", "--data-dir", data)
    assert code == 2
    assert "there is no such folder" in err
    assert not data.exists()
