"""Looking at a ledger: while it is written, after a crash, at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from sutro_stream.errors import StoreError
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.inspection import inspect, verify
from sutro_stream.ledger.ledger import OpenMode, open_ledger
from sutro_stream.values.outcomes import ErrorKind, Outcome

Make = Callable[..., Outcome]


async def test_it_shows_what_was_done(
    path: Path, work: WorkIdentity, answered: Make, failed: Make
) -> None:
    """Rows, calls, tokens, the work, and every run."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, pa.record_batch({"id": range(4)}))
        ledger.record(0, 0, answered(0, attempts=2))
        ledger.record(1, 0, failed(ErrorKind.TIMEOUT, attempts=3))
        ledger.asked(2)
    async with open_ledger(path, work, mode=OpenMode.RETRY_FAILED) as ledger:
        for index in (1, 2, 3):
            ledger.record(index, 0, answered(index))
        await ledger.finish(remove=False)
    seen = inspect(path)
    counted = seen.statistics
    assert seen.parts == work.parts
    assert (counted.rows, counted.answered, counted.failed) == (4, 4, {})
    assert (counted.calls, counted.retries) == (9, 3)
    assert counted.calls_repeated == 4
    assert (counted.input_tokens, counted.output_tokens) == (40, 8)
    assert (seen.spooled_rows, seen.is_finished, seen.is_writing) == (4, True, False)
    assert [(run.mode, run.kept) for run in seen.runs] == [
        ("resume", 0),
        ("retry_failed", 1),
    ]
    first, second = seen.runs
    assert first.closed_at is not None
    assert second.closed_at is not None
    assert first.opened_at <= first.closed_at <= second.opened_at
    assert abs(datetime.now(UTC) - second.closed_at) < timedelta(minutes=1)


async def test_it_works_beside_a_writer(
    path: Path, work: WorkIdentity, answered: Make, failed: Make
) -> None:
    """What is recorded counts at once, in the database or in the log."""
    async with open_ledger(path, work) as ledger:
        assert inspect(path).statistics.rows == 0
        ledger.record(0, 0, answered(0))
        ledger.record(1, 0, failed())
        ledger.asked(2)
        await ledger.flush()
        ledger.record(1, 0, answered(1))
        ledger.record(2, 0, answered(2))
        ledger.record(2, 0, failed())
        ledger.asked(3)
        await ledger.spool(0, pa.record_batch({"id": range(7)}))
        seen = inspect(path)
        assert seen.is_writing
        assert not seen.is_finished
        assert seen.spooled_rows == 7
        assert seen.runs[-1].closed_at is None
        assert (seen.statistics.rows, seen.statistics.answered) == (3, 2)
        assert seen.statistics.calls == 4
        await ledger.flush()
        assert ledger.statistics() == seen.statistics == inspect(path).statistics
    assert not inspect(path).is_writing


async def test_it_changes_nothing(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Neither the ledger nor what a crash has left beside it."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
        await ledger.flush()
        ledger.record(1, 0, answered(1))
        crashed = path.parent.with_name("crashed")
        shutil.copytree(path.parent, crashed, ignore=shutil.ignore_patterns("*-shm"))
    contents = {part.name: part.read_bytes() for part in crashed.iterdir()}
    seen = inspect(crashed / path.name)
    assert (seen.statistics.rows, seen.is_writing) == (2, False)
    after = {part.name: part.read_bytes() for part in crashed.iterdir()}
    assert {name: after[name] for name in contents} == contents
    assert set(after) - set(contents) <= {f"{path.name}-shm"}


@pytest.mark.parametrize("is_write_protected", [False, True])
async def test_it_leaves_nothing_beside_a_kept_ledger(
    path: Path, work: WorkIdentity, answered: Make, *, is_write_protected: bool
) -> None:
    """Neither by showing it nor by holding an output against it."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, pa.record_batch({"id": [0]}))
        ledger.record(0, 0, answered(0))
        await ledger.finish(remove=False)
    output = path.with_name("out.jsonl")
    output.write_text('{"id": 0, "output": "answer 0 ", "error": null}\n')
    if is_write_protected:
        path.chmod(0o444)
    before = {part.name: part.read_bytes() for part in path.parent.iterdir()}
    assert inspect(path).statistics.rows == 1
    assert verify(path, output) == []
    after = {part.name: part.read_bytes() for part in path.parent.iterdir()}
    assert after == before


async def test_a_look_does_not_keep_a_run_from_starting(
    path: Path, work: WorkIdentity
) -> None:
    """Nor does a run that has ended look as if it were writing."""
    async with open_ledger(path, work):
        pass
    for _ in range(5):
        assert not inspect(path).is_writing
        async with open_ledger(path, work):
            assert inspect(path).is_writing


def test_what_is_not_there_cannot_be_shown(tmp_path: Path) -> None:
    """A clear error, and no file made."""
    with pytest.raises(StoreError, match="there is no ledger"):
        inspect(tmp_path / "none")
    assert not any(tmp_path.iterdir())


def test_another_file_cannot_be_shown(tmp_path: Path) -> None:
    """It is called what it is."""
    other = tmp_path / "rows.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match="is not a ledger"):
        inspect(other)
