"""The database of a deployment: opening it, sharing it, refusing it."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio.to_thread
import pytest

from sutro_stream.errors import StoreDamagedError, StoreError
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.tables import FORMATS


def revoke_all(database: Database) -> None:
    """Some write."""
    with database.write() as connection:
        connection.execute("UPDATE keys SET revoked_us = 1")


def add_key(database: Database, key_id: str) -> None:
    """Some other write."""
    with database.write() as connection:
        connection.execute(
            "INSERT INTO keys VALUES (?, 'a', x'00', 1, NULL)", (key_id,)
        )


def key_ids(database: Database) -> list[str]:
    """What was written."""
    with database.read() as connection:
        rows = connection.execute("SELECT key_id FROM keys ORDER BY key_id").fetchall()
    return [row["key_id"] for row in rows]


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """A transaction outlives the connection."""
    with Database(tmp_path / "d.sqlite") as database:
        add_key(database, "k")
    with Database(tmp_path / "d.sqlite") as database:
        assert key_ids(database) == ["k"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """The first start of a deployment needs no preparation."""
    Database(tmp_path / "a" / "b" / "d.sqlite").close()
    assert (tmp_path / "a" / "b" / "d.sqlite").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """It holds addresses that are secrets, and so does its log."""
    with Database(tmp_path / "d.sqlite") as database:
        add_key(database, "k")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """An error inside takes everything back and the next write works."""

    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO keys VALUES ('k', 'a', x'00', 1, NULL)")
            raise LookupError

    with pytest.raises(LookupError):
        write_and_fail()
    add_key(database, "other")
    assert key_ids(database) == ["other"]


def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    """What is not committed is not seen, and does not hold anybody up."""
    with database.write() as connection:
        connection.execute("INSERT INTO keys VALUES ('k', 'a', x'00', 1, NULL)")
        assert key_ids(database) == []
    assert key_ids(database) == ["k"]


def test_reading_cannot_write(database: Database) -> None:
    """The reading connection refuses to change anything."""
    with (
        pytest.raises(StoreError, match="readonly"),
        database.read() as connection,
    ):
        connection.execute("DELETE FROM keys")


async def test_many_threads_write_at_once(database: Database) -> None:
    """Every write is kept."""
    names = [f"k{number:02d}" for number in range(20)]
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(anyio.to_thread.run_sync, add_key, database, name)
    assert key_ids(database) == names


def test_many_processes_make_it_at_once(tmp_path: Path) -> None:
    """Whoever comes first makes the tables; all of them can write."""
    path = tmp_path / "d.sqlite"
    program = (
        "import sys; from pathlib import Path\n"
        "from sutro_stream.jobs.database import Database\n"
        "sys.stdin.readline()\n"
        "with Database(Path(sys.argv[1])) as database, database.write() as c:\n"
        "    c.execute(\"INSERT INTO keys VALUES (?, 'a', x'00', 1, NULL)\","
        " (sys.argv[2],))\n"
    )
    names = [f"k{number}" for number in range(6)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), name],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in names
    ]
    errors = [process.communicate(b"\n")[1] for process in processes]
    assert errors == [b""] * len(names)
    with Database(path) as database:
        assert key_ids(database) == names


def test_a_newer_form_is_refused(tmp_path: Path) -> None:
    """An older program does not touch what it does not know."""
    path = tmp_path / "d.sqlite"
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(FORMATS) + 1}")
    with pytest.raises(StoreError, match="newer version of sutro-stream"):
        Database(path)


def test_another_database_is_refused(tmp_path: Path) -> None:
    """Somebody else's tables are left alone."""
    path = tmp_path / "d.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreError, match="is not a deployment's database"):
        Database(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And it stays as it was."""
    path = tmp_path / "d.sqlite"
    path.write_bytes(b"something else, long enough to be looked at" * 50)
    with pytest.raises(StoreDamagedError, match="is damaged"):
        Database(path)
    assert path.read_bytes().startswith(b"something else")


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """The message names the place and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot use .*d\.sqlite") as caught:
        Database(tmp_path / "file" / "d.sqlite")
    assert caught.value.path == str(tmp_path / "file" / "d.sqlite")


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """Closing twice is allowed, using it afterwards is not."""
    database = Database(tmp_path / "d.sqlite")
    database.close()
    database.close()
    with pytest.raises(StoreError, match="closed"):
        revoke_all(database)
