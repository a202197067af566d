"""Files that are not what was written: an error or the truth, never wrong data."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from sutro_stream.errors import StoreDamagedError, StoreError, WorkChangedError
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.inspection import inspect
from sutro_stream.ledger.ledger import OpenMode, open_ledger
from sutro_stream.values.outcomes import Outcome

Make = Callable[..., Outcome]

ROWS = 400


def shares(index: int) -> bool:
    """Whether the row shares the outcome of the ninth before it."""
    return index % 80 == 11


@pytest.fixture
def outcomes(answered: Make, failed: Make) -> dict[int, Outcome]:
    """What is recorded, by row; some of it fills pages of its own."""
    made = {
        index: failed() if index % 10 == 3 else answered(index, size=index**2 // 40)
        for index in range(ROWS)
    }
    return made | {index: made[index - 9] for index in made if shares(index)}


@pytest.fixture
async def left(
    path: Path, work: WorkIdentity, outcomes: dict[int, Outcome]
) -> dict[str, bytes]:
    """Files as a kill leaves them: part of the rows in the database, part not."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, pa.record_batch({"id": range(ROWS)}))
        for index, outcome in outcomes.items():
            if index in {150, 300}:
                await ledger.flush()
            leader = index - 9 if shares(index) else None
            digest = index if leader is None else leader
            ledger.record(index, digest, outcome, leader=leader)
        return {part.name: part.read_bytes() for part in path.parent.iterdir()}


@pytest.fixture
def laid_out(tmp_path: Path, path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Lays files out in a folder that has no others."""

    def lay_out(contents: dict[str, bytes]) -> Path:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        return folder / path.name

    return lay_out


async def survivors(
    path: Path, work: WorkIdentity, outcomes: dict[int, Outcome]
) -> list[int] | None:
    """Rows that are known, all of them as recorded; `None` after a clear error."""
    try:
        inspect(path)
        async with open_ledger(path, work) as ledger:
            rows = await ledger.known(0, 2 * ROWS)
            assert ledger.kept == len(rows)
    except (StoreError, WorkChangedError):
        return None
    for index, row in rows.items():
        assert row.outcome == outcomes[index]
        assert row.digest == (index - 9 if shares(index) else index)
    return sorted(rows)


async def closed(path: Path, work: WorkIdentity) -> bytes:
    """The database alone, with everything in it."""
    async with open_ledger(path, work):
        pass
    return path.read_bytes()


def damages(content: bytes, times: int) -> Iterator[bytes]:
    """The content cut short, with flipped bits, and with blocks of rubbish."""
    chance = random.Random(len(content))
    for attempt in range(times):
        at = chance.randrange(len(content))
        kind = attempt % 3
        if kind == 0:
            yield content[:at]
        elif kind == 1:
            yield content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
        else:
            length = chance.choice([16, 512, 4096])
            rubbish = chance.choice([bytes(length), chance.randbytes(length)])
            yield content[:at] + rubbish + content[at + length :]


def part(left: dict[str, bytes], ending: str) -> str:
    """Name of the file that ends so."""
    (name,) = (name for name in left if name.endswith(ending))
    return name


async def test_a_kill_leaves_everything(
    work: WorkIdentity,
    outcomes: dict[int, Outcome],
    left: dict[str, bytes],
    laid_out: Callable[[dict[str, bytes]], Path],
) -> None:
    """The files as they are hold every row, in the database and in the log."""
    assert sum("-log-" in name for name in left) == 1
    assert await survivors(laid_out(left), work, outcomes) == list(range(ROWS))


async def test_a_damaged_database_is_an_error_or_whole(
    work: WorkIdentity,
    outcomes: dict[int, Outcome],
    left: dict[str, bytes],
    laid_out: Callable[[dict[str, bytes]], Path],
) -> None:
    """No row vanishes silently, and none is changed."""
    content = await closed(laid_out(left), work)
    found = [
        await survivors(laid_out({part(left, ".ledger"): damaged}), work, outcomes)
        for damaged in damages(content, 60)
    ]
    assert all(rows in (None, list(range(ROWS))) for rows in found)
    assert found.count(None) > 35


async def test_a_damaged_log_of_the_database_is_an_error_or_harmless(
    work: WorkIdentity,
    outcomes: dict[int, Outcome],
    left: dict[str, bytes],
    laid_out: Callable[[dict[str, bytes]], Path],
) -> None:
    """What SQLite cannot use of it is missed by nobody, or noticed."""
    name = part(left, "-wal")
    for content in damages(left[name], 24):
        rows = await survivors(laid_out({**left, name: content}), work, outcomes)
        assert rows in (None, list(range(ROWS)))


async def test_a_damaged_log_keeps_all_else(
    work: WorkIdentity,
    outcomes: dict[int, Outcome],
    left: dict[str, bytes],
    laid_out: Callable[[dict[str, bytes]], Path],
) -> None:
    """Rows before it and behind; one flipped bit costs a row and who shares with it."""
    name = part(left, "-log-000003")
    for attempt, content in enumerate(damages(left[name].rstrip(b"\0"), 24)):
        rows = await survivors(laid_out({**left, name: content}), work, outcomes)
        assert rows is not None
        assert rows[:300] == list(range(300))
        assert len(rows) >= ROWS - 2 or attempt % 3 != 1


async def test_a_torn_end_can_be_gone_on_from(
    work: WorkIdentity,
    outcomes: dict[int, Outcome],
    left: dict[str, bytes],
    laid_out: Callable[[dict[str, bytes]], Path],
) -> None:
    """What is recorded after half a record is found again."""
    name = part(left, "-log-000003")
    written = left[name].rstrip(b"\0")
    path = laid_out({**left, name: written[:-5]})
    assert await survivors(path, work, outcomes) == list(range(ROWS - 1))
    async with open_ledger(path, work) as ledger:
        ledger.record(ROWS - 1, ROWS - 1, outcomes[ROWS - 1])
    assert await survivors(path, work, outcomes) == list(range(ROWS))


async def test_a_damaged_ledger_can_be_restarted(
    work: WorkIdentity,
    left: dict[str, bytes],
    laid_out: Callable[[dict[str, bytes]], Path],
) -> None:
    """As the error says; as long as the file can be told to be a ledger."""
    content = await closed(laid_out(left), work)
    half = len(content) // 2
    path = laid_out({part(left, ".ledger"): content[:half] + bytes(half)})
    with pytest.raises(StoreDamagedError, match="--restart"):
        async with open_ledger(path, work):
            pass
    async with open_ledger(path, work, mode=OpenMode.RESTART) as ledger:
        assert ledger.kept == 0
