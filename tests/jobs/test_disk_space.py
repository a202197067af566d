"""What is taken for a lack of space."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from sutro_stream.errors import StoreError
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.disk_space import is_lack_of_space


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_system_that_has_no_more_space(number: int) -> None:
    """For the disk, for the user, for a file; told by an error of ours or not."""
    error = OSError(number, "full")
    told = StoreError("cannot write")
    told.__cause__ = error
    assert is_lack_of_space(error)
    assert is_lack_of_space(told)


def test_other_mistakes_are_none() -> None:
    """Access that is denied, or a value that is wrong."""
    assert not is_lack_of_space(OSError(errno.EACCES, "denied"))
    assert not is_lack_of_space(ValueError("28"))


def test_a_database_that_cannot_grow(tmp_path: Path) -> None:
    """Because its disk is full."""
    with Database(tmp_path / "deployment.sqlite") as database:
        with pytest.raises(StoreError) as caught, database.write() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
            connection.execute("CREATE TABLE more (text TEXT)")
            connection.execute("INSERT INTO more VALUES (?)", ("x" * 1_000_000,))
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert is_lack_of_space(caught.value)
