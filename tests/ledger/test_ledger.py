"""Recording, knowing, opening again: what a run relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from sutro_stream.errors import (
    ConfigurationError,
    StoreError,
    StoreInUseError,
    WorkChangedError,
)
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.ledger import Ledger, OpenMode, open_ledger
from sutro_stream.values.outcomes import Answer, ErrorKind, Outcome, Usage

Make = Callable[..., Outcome]


async def known(ledger: Ledger, count: int = 1000) -> dict[int, Outcome]:
    """Outcomes of the first rows, once all that was recorded can be read."""
    await ledger.flush()
    rows = await ledger.known(0, count)
    return {index: row.outcome for index, row in rows.items()}


async def test_what_was_recorded_is_known_to_the_next_run(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """With its prompt's digest, in whatever order rows were answered."""
    async with open_ledger(path, work) as ledger:
        assert ledger.kept == 0
        for index in (7, 0, 3):
            ledger.record(index, 100 + index, answered(index))
    async with open_ledger(path, work) as ledger:
        assert ledger.kept == 3
        rows = await ledger.known(0, 8)
        assert {index: row.digest for index, row in rows.items()} == {
            0: 100,
            3: 103,
            7: 107,
        }
        assert all(row.outcome == answered(index) for index, row in rows.items())


async def test_only_the_rows_asked_for_are_known(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """The first index counts, the one behind the last does not."""
    async with open_ledger(path, work) as ledger:
        for index in range(10):
            ledger.record(index, 0, answered(index))
        await ledger.flush()
        assert sorted(await ledger.known(3, 4)) == [3, 4, 5, 6]
        assert await ledger.known(10, 1000) == {}


async def test_the_first_outcome_of_a_row_stays(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Within a segment of the log, across two of them, and across runs."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
        ledger.record(0, 0, answered(1))
        await ledger.flush()
        ledger.record(0, 0, answered(2))
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(3))
        assert await known(ledger) == {0: answered(0)}
        assert ledger.statistics().rows == ledger.statistics().calls == 1


async def test_leaving_early_keeps_what_was_recorded(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """By an error, which leaves as itself, and by a cancellation."""
    with pytest.raises(ZeroDivisionError):
        async with open_ledger(path, work) as ledger:
            ledger.record(0, 0, answered(0))
            raise ZeroDivisionError
    with anyio.CancelScope() as scope:
        async with open_ledger(path, work) as ledger:
            ledger.record(1, 0, answered(1))
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    async with open_ledger(path, work) as ledger:
        assert await known(ledger) == {0: answered(0), 1: answered(1)}


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancellation_from_outside_loses_nothing(
    path: Path, work: WorkIdentity, answered: Make, times: int
) -> None:
    """As asyncio cancels a task: at any moment, and even while it is ending."""
    recorded = 0

    async def run() -> None:
        nonlocal recorded
        async with open_ledger(path, work) as ledger:
            while True:
                await ledger.leaders(recorded, [recorded])
                ledger.record(recorded, recorded, answered(recorded))
                recorded += 1
                await ledger.flush()

    for turns in range(0, 120, 8):
        task = asyncio.get_running_loop().create_task(run())
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        for _ in range(times):
            task.cancel()
            await anyio.lowlevel.checkpoint()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with open_ledger(path, work) as ledger:
            assert ledger.kept == recorded


async def test_nothing_can_be_recorded_once_it_is_left(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Every call says that the ledger is closed."""
    async with open_ledger(path, work) as ledger:
        pass
    with pytest.raises(StoreError, match="closed"):
        ledger.record(0, 0, answered(0))
    with pytest.raises(StoreError, match="closed"):
        await ledger.flush()
    with pytest.raises(StoreError, match="closed"):
        await ledger.leaders(0, [1])


async def test_outcomes_larger_than_a_segment_pass(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Ten megabytes of answer, among others."""
    async with open_ledger(path, work) as ledger:
        for index in range(4):
            ledger.record(index, 0, answered(index, size=10_000_000 * (index == 2)))
    async with open_ledger(path, work) as ledger:
        found = await known(ledger)
        assert found[2] == answered(2, size=10_000_000)
        assert len(found) == 4


async def test_old_segments_are_taken_over_in_the_background(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """So that the log does not grow without bound while nobody reads."""
    async with open_ledger(path, work, segments_left=2) as ledger:
        for index in range(20):
            ledger.record(index, 0, answered(index, size=1_000_000))
        with anyio.fail_after(30):
            while ledger.statistics().rows < 8:  # noqa: ASYNC110 - by a thread
                await anyio.sleep(0.01)
        assert await known(ledger, count=1) == {0: answered(0, size=1_000_000)}


async def test_an_outcome_that_cannot_be_written_is_refused(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """With its row named, and the ledger still usable."""
    strange = Outcome(answer=Answer(text="a"), value=object())
    async with open_ledger(path, work) as ledger:
        with pytest.raises(StoreError, match="row 5 cannot be written"):
            ledger.record(5, 0, strange)
        with pytest.raises(StoreError, match="row 6 cannot be written"):
            ledger.record(6, 2**64, answered(6))
        ledger.record(7, 0, answered(7))
        assert await known(ledger) == {7: answered(7)}


# Opening.


async def test_other_work_is_refused_and_changes_nothing(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """The error names what differs and what to do; answers stay."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
    other = WorkIdentity(parts={**work.parts, "model": "n", "schema": "1"})
    for mode in (OpenMode.RESUME, OpenMode.RETRY_FAILED):
        with pytest.raises(WorkChangedError, match="--restart") as caught:
            async with open_ledger(path, other, mode=mode):
                pass
        assert caught.value.differences == ("model", "schema")
        assert "model, schema differ" in str(caught.value)
        assert isinstance(caught.value, ConfigurationError)
    async with open_ledger(path, work) as ledger:
        assert ledger.kept == 1


async def test_a_restart_forgets_everything(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Also when the work is another one; the ledger then belongs to that."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
    other = WorkIdentity(parts={"model": "n"})
    async with open_ledger(path, other, mode=OpenMode.RESTART) as ledger:
        assert ledger.kept == 0
        assert await known(ledger) == {}
    with pytest.raises(WorkChangedError):
        async with open_ledger(path, work):
            pass


async def test_a_retry_forgets_failures_but_not_what_they_cost(
    path: Path, work: WorkIdentity, answered: Make, failed: Make
) -> None:
    """Answers are kept; calls and tokens of failures still count."""
    cut = answered(2, attempts=2)
    cut = Outcome(answer=cut.answer, error=failed().error, attempts=2)
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
        ledger.record(1, 0, failed(ErrorKind.MISSING_VALUE, attempts=0))
        ledger.record(2, 0, cut)
    async with open_ledger(path, work, mode=OpenMode.RETRY_FAILED) as ledger:
        assert ledger.kept == 1
        assert await known(ledger) == {0: answered(0)}
        assert ledger.statistics().failed == {}
        for index in (1, 2):
            ledger.record(index, 0, answered(index))
        await ledger.flush()
        counted = ledger.statistics()
    assert (counted.rows, counted.answered, counted.calls) == (3, 3, 5)
    assert counted.calls_repeated == 2
    assert (counted.input_tokens, counted.retries) == (40, 1)


async def test_two_runs_at_once_are_refused(path: Path, work: WorkIdentity) -> None:
    """Whatever the second wants, and whatever name it uses for the file."""
    alias = path.with_name("alias")
    alias.symlink_to(path)
    async with open_ledger(path, work):
        for mode in OpenMode:
            with pytest.raises(StoreInUseError, match="another run is writing"):
                async with open_ledger(alias, work, mode=mode):
                    pass
    async with open_ledger(alias, work):
        pass


async def test_another_file_is_no_ledger_and_stays(
    tmp_path: Path, work: WorkIdentity
) -> None:
    """Not even a restart removes what somebody else wrote."""
    for content in (b"id,text\n1,a\n", b"SQLite format 3\0" + bytes(100)):
        other = tmp_path / "other"
        other.write_bytes(content)
        for mode in OpenMode:
            with pytest.raises(StoreError, match="is not a ledger"):
                async with open_ledger(other, work, mode=mode):
                    pass
        assert other.read_bytes() == content


async def test_an_empty_file_becomes_a_ledger(path: Path, work: WorkIdentity) -> None:
    """A place made with `mktemp` is as good as none."""
    path.touch()
    async with open_ledger(path, work) as ledger:
        assert ledger.kept == 0


async def test_any_name_will_do(
    tmp_path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Characters with a meaning in addresses and patterns have none here."""
    place = tmp_path / "a b%20?x=1#[é]*.ledger"
    async with open_ledger(place, work) as ledger:
        ledger.record(0, 0, answered(0))
        left = {part.name for part in tmp_path.iterdir()}
    async with open_ledger(place, work) as ledger:
        assert ledger.kept == 1
        await ledger.finish()
    assert all(name.startswith(place.name) for name in left)
    assert not any(tmp_path.iterdir())


async def test_a_newer_format_is_refused(path: Path, work: WorkIdentity) -> None:
    """And can be restarted."""
    async with open_ledger(path, work):
        pass
    data = bytearray(path.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")  # the place of SQLite's `user_version`
    path.write_bytes(data)
    with pytest.raises(StoreError, match="newer version"):
        async with open_ledger(path, work):
            pass
    async with open_ledger(path, work, mode=OpenMode.RESTART):
        pass


@pytest.mark.parametrize("name", ["none/of/these", "."])
async def test_a_place_that_cannot_be_used_is_a_clear_error(
    tmp_path: Path, work: WorkIdentity, name: str
) -> None:
    """A folder that is missing, a folder in place of the file."""
    with pytest.raises(StoreError, match="cannot use the ledger"):
        async with open_ledger(tmp_path / name, work):
            pass


# The end.


async def test_a_finished_ledger_goes_with_all_its_files(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Nothing is left in the folder, and the next run begins anew."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
        await ledger.leaders(0, [1])
        await ledger.finish()
        assert path.exists()
    assert not any(path.parent.iterdir())
    async with open_ledger(path, work) as ledger:
        assert ledger.kept == 0


async def test_a_finished_ledger_can_be_kept(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """And still knows its rows."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
        await ledger.finish(remove=False)
    async with open_ledger(path, work) as ledger:
        assert ledger.kept == 1


async def test_leftovers_of_a_removed_ledger_are_not_taken_for_the_new_ones(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """What lies beside a ledger that is not there is told, and swept by a restart."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0))
        left = {
            part.name: part.read_bytes()
            for part in path.parent.iterdir()
            if part != path
        }
    path.unlink()
    left[f"{path.name}-new"] = b"half a ledger"
    for name, content in left.items():
        path.with_name(name).write_bytes(content)
    with pytest.raises(StoreError, match="is missing, but its log is there"):
        async with open_ledger(path, work):
            pass
    async with open_ledger(path, work, mode=OpenMode.RESTART) as ledger:
        assert ledger.kept == 0
        assert await known(ledger) == {}
        await ledger.finish()
    assert not any(path.parent.iterdir())


# Counters.


async def test_statistics_count_rows_calls_and_tokens(
    path: Path, work: WorkIdentity, answered: Make, failed: Make
) -> None:
    """Over all runs, failures by kind."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 0, answered(0, attempts=3))
        ledger.record(1, 0, failed(ErrorKind.REJECTED, attempts=5))
    async with open_ledger(path, work) as ledger:
        ledger.record(2, 0, failed(ErrorKind.REJECTED))
        ledger.record(3, 0, failed(ErrorKind.WRONG_TYPE, attempts=0))
        ledger.record(4, 0, answered(4))
        await ledger.flush()
        counted = ledger.statistics()
    assert (counted.rows, counted.answered, counted.kept) == (5, 2, 2)
    assert counted.failed == {ErrorKind.REJECTED: 2, ErrorKind.WRONG_TYPE: 1}
    assert (counted.calls, counted.retries) == (10, 6)
    assert (counted.input_tokens, counted.output_tokens) == (20, 4)


async def test_requests_without_an_outcome_are_counted(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """What a run asked and did not live to hear is paid for all the same."""
    async with open_ledger(path, work) as ledger:
        for index in (0, 1, 1, 2):
            ledger.asked(index)
        ledger.record(0, 0, answered(0))
        await ledger.flush()
        assert ledger.statistics().calls == 4
    async with open_ledger(path, work) as ledger:
        assert ledger.statistics().calls == 4
        assert ledger.statistics().calls_repeated == 0
        for index in (1, 3):
            ledger.asked(index)
            ledger.record(index, 0, answered(index))
        await ledger.flush()
        counted = ledger.statistics()
    assert (counted.calls, counted.rows) == (6, 3)
    assert counted.calls_repeated == 2


# Sharing.


async def test_a_shared_outcome_is_stored_once(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """The rows that share it get an equal one, and have their own attempts."""
    async with open_ledger(path, work) as ledger:
        long = answered(0, size=1_000_000)
        ledger.record(0, 77, long)
        for index in range(1, 50):
            none = Outcome(answer=long.answer)
            ledger.record(index, 77, none, leader=0)
    assert path.stat().st_size < 2_000_000
    async with open_ledger(path, work) as ledger:
        rows = await ledger.known(10, 40)
        assert len(rows) == 40
        assert all(row.outcome.answer == long.answer for row in rows.values())
        assert all(row.outcome.attempts == 0 for row in rows.values())
        counted = ledger.statistics()
    assert (counted.rows, counted.shared, counted.calls) == (50, 49, 1)
    assert counted.input_tokens == Usage(input_tokens=10).input_tokens


async def test_shared_failures_are_retried_together(
    path: Path, work: WorkIdentity, failed: Make
) -> None:
    """No row is left with the failure of a row that is asked again."""
    async with open_ledger(path, work) as ledger:
        ledger.record(0, 77, failed())
        ledger.record(1, 77, Outcome(error=failed().error), leader=0)
    async with open_ledger(path, work, mode=OpenMode.RETRY_FAILED) as ledger:
        assert ledger.kept == 0
        assert await known(ledger) == {}
