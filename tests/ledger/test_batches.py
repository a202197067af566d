"""Everything in order at the end: input rows kept, and their outcomes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from sutro_stream.errors import StoreDamagedError, StoreError
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.ledger import Ledger, OpenMode, open_ledger
from sutro_stream.values.outcomes import Outcome

Make = Callable[..., Outcome]


def rows(first: int, count: int) -> pa.RecordBatch:
    """Input rows that tell their index."""
    return pa.record_batch({"id": pa.array(range(first, first + count), pa.int64())})


async def everything(
    ledger: Ledger, size: int
) -> tuple[list[int], list[Outcome], list[int]]:
    """Input and outcomes of all batches, and the batches' sizes."""
    ids: list[int] = []
    outcomes: list[Outcome] = []
    sizes: list[int] = []
    async for first, records, found in ledger.batches(rows=size):
        assert first == len(ids)
        assert records.num_rows == len(found)
        ids += records.column("id").to_pylist()
        outcomes += found
        sizes.append(len(found))
    return ids, outcomes, sizes


@pytest.mark.parametrize("size", [1, 7, 10, 64, 1000])
async def test_rows_come_in_order_with_their_outcomes(
    path: Path, work: WorkIdentity, answered: Make, size: int
) -> None:
    """Whatever the order of answers and the size of what was spooled."""
    order = random.Random(size).sample(range(100), 100)
    async with open_ledger(path, work) as ledger:
        for first, count in ((0, 1), (1, 30), (31, 2), (33, 67)):
            await ledger.spool(first, rows(first, count))
        for index in order:
            ledger.record(index, 0, answered(index))
        ids, outcomes, sizes = await everything(ledger, size)
    assert ids == list(range(100))
    assert outcomes == [answered(index) for index in range(100)]
    assert sizes == [size] * (100 // size) + [100 % size] * (100 % size > 0)


@pytest.mark.parametrize("span", [range(5, 6), range(20, 60), range(31, 100)])
async def test_a_part_of_the_rows_can_be_read(
    path: Path, work: WorkIdentity, answered: Make, span: range
) -> None:
    """Wherever it begins and ends in what was spooled; rows elsewhere may lack."""
    async with open_ledger(path, work) as ledger:
        for first, count in ((0, 31), (31, 2), (33, 67)):
            await ledger.spool(first, rows(first, count))
        for index in span:
            ledger.record(index, 0, answered(index))
        ids: list[int] = []
        outcomes: list[Outcome] = []
        async for first, records, found in ledger.batches(rows=10, span=span):
            assert first == span.start + len(ids)
            ids += records.column("id").to_pylist()
            outcomes += found
    assert ids == list(span)
    assert outcomes == [answered(index) for index in span]


async def test_no_rows_are_no_batches(path: Path, work: WorkIdentity) -> None:
    """An empty input makes an empty output."""
    async with open_ledger(path, work) as ledger:
        assert [batch async for batch in ledger.batches(rows=10)] == []


async def test_a_row_without_an_outcome_ends_it(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """What comes before it does come; its index is named."""
    seen = 0
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 20))
        for index in range(20):
            if index != 13:
                ledger.record(index, 0, answered(index))
        with pytest.raises(StoreError, match="row 13 has no outcome"):
            async for _, _, outcomes in ledger.batches(rows=10):
                seen += len(outcomes)
    assert seen == 13


async def test_rows_that_are_there_are_skipped(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """The next run reads its input again, in pieces of another size."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 10))
        await ledger.spool(10, rows(10, 10))
    size = path.with_name(f"{path.name}-rows").stat().st_size
    async with open_ledger(path, work) as ledger:
        for first in range(0, 30, 6):
            await ledger.spool(first, rows(first, 6))
        for index in range(30):
            ledger.record(index, 0, answered(index))
        ids, _, _ = await everything(ledger, 100)
    assert ids == list(range(30))
    assert path.with_name(f"{path.name}-rows").stat().st_size < 3 * size


async def test_rows_left_out_are_refused(path: Path, work: WorkIdentity) -> None:
    """Output made of them would be wrong."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 10))
        with pytest.raises(StoreError, match="input rows 10 to 11 were left out"):
            await ledger.spool(12, rows(12, 10))


async def test_other_columns_are_refused(path: Path, work: WorkIdentity) -> None:
    """In the same run and in the next."""
    other = pa.record_batch({"text": ["a"] * 20})
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 10))
        with pytest.raises(StoreError, match="columns are not those"):
            await ledger.spool(0, other)
    async with open_ledger(path, work) as ledger:
        with pytest.raises(StoreError, match="columns are not those"):
            await ledger.spool(0, other)


BATCHES: Sequence[pa.RecordBatch] = [
    pa.record_batch(
        {
            "text": ["", "\0 é 😀\r\n", None],
            "list": [[1, None], [], None],
            "struct": [{"a": 1.5}, {"a": None}, None],
            "dictionary": pa.array(["x", None, "x"]).dictionary_encode(),
            "time": pa.array([0, None, 1], pa.timestamp("us", "Europe/Paris")),
            "decimal": pa.array([None, "1.50", "2.00"], pa.string()).cast(
                pa.decimal128(5, 2)
            ),
        }
    ),
    pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([]))),
]


@pytest.mark.parametrize("batch", BATCHES, ids=["many types", "no columns"])
async def test_input_columns_come_back_as_they_were(
    path: Path, work: WorkIdentity, answered: Make, batch: pa.RecordBatch
) -> None:
    """Of any type, and when the output keeps none of them."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, batch)
        await ledger.spool(3, batch.slice(1))
        for index in range(5):
            ledger.record(index, 0, answered(index))
        found = [records async for _, records, _ in ledger.batches(rows=5)]
    assert sum(records.num_rows for records in found) == 5
    expected = pa.Table.from_batches([batch, batch.slice(1)])
    assert pa.Table.from_batches(found).to_pylist() == expected.to_pylist()
    assert found[0].schema.equals(batch.schema)


async def test_shared_outcomes_come_to_every_row(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Also far from the row that leads."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 1000))
        for index in range(1000):
            leader = None if index < 3 else index % 3
            attempts = int(leader is None)
            outcome = answered(index % 3, attempts=attempts)
            ledger.record(index, index % 3, outcome, leader=leader)
        _, outcomes, _ = await everything(ledger, 50)
    assert outcomes == [
        answered(index % 3, attempts=int(index < 3)) for index in range(1000)
    ]


async def test_large_outcomes_come_a_few_at_a_time(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Memory does not grow with what a batch could hold."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 80))
        outcome = answered(0, size=500_000)
        for index in range(80):
            leader = 0 if 0 < index < 20 else None
            ledger.record(index, 0, outcome, leader=leader)
        _, outcomes, sizes = await everything(ledger, 1000)
    assert len(outcomes) == 80
    assert max(sizes) <= 40


async def test_memory_stays_flat(
    tmp_path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Rows are neither held while they come nor while they leave."""
    process = psutil.Process()
    batch = pa.record_batch({"text": ["input " * 40] * 500})
    outcomes = [answered(index, size=2500) for index in range(500)]

    async def peak(name: str, count: int) -> int:
        highest = seen = 0
        async with open_ledger(tmp_path / name, work) as ledger:
            for first in range(0, count, 500):
                await ledger.spool(first, batch)
                for index, outcome in enumerate(outcomes, first):
                    ledger.record(index, index, outcome)
                highest = max(highest, process.memory_info().rss)
            async for _, _, found in ledger.batches(rows=1000):
                seen += len(found)
                highest = max(highest, process.memory_info().rss)
        assert seen == count
        return highest

    few = await peak("few", 10_000)
    many = await peak("many", 30_000)
    assert (tmp_path / "many").stat().st_size > 75_000_000
    # Holding the 50 MB that are more would show; what an allocator keeps must not.
    assert many - few < 35_000_000


async def test_damaged_input_rows_are_noticed_and_can_be_mended(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Removing the file, as the message says, costs no answer."""
    spool = path.with_name(f"{path.name}-rows")
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 1000))
        for index in range(1000):
            ledger.record(index, 0, answered(index))
    data = bytearray(spool.read_bytes())
    data[-100] ^= 1
    spool.write_bytes(data)
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 1000))
        with pytest.raises(StoreDamagedError, match="remove that file"):
            await everything(ledger, 100)
    spool.unlink()
    async with open_ledger(path, work) as ledger:
        assert ledger.kept == 1000
        await ledger.spool(0, rows(0, 1000))
        ids, _, _ = await everything(ledger, 100)
    assert ids == list(range(1000))


async def test_a_short_file_of_input_rows_is_filled_again(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """As a power cut leaves it: the end is missing."""
    spool = path.with_name(f"{path.name}-rows")
    async with open_ledger(path, work) as ledger:
        for first in (0, 100, 200):
            await ledger.spool(first, rows(first, 100))
        for index in range(300):
            ledger.record(index, 0, answered(index))
    with spool.open("r+b") as file:
        file.truncate(spool.stat().st_size - 1)
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 300))
        ids, _, _ = await everything(ledger, 100)
    assert ids == list(range(300))


async def test_a_restart_forgets_input_rows(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """They may be other ones now."""
    async with open_ledger(path, work) as ledger:
        await ledger.spool(0, rows(0, 10))
    async with open_ledger(path, work, mode=OpenMode.RESTART) as ledger:
        await ledger.spool(0, rows(5, 3))
        for index in range(3):
            ledger.record(index, 0, answered(index))
        ids, _, _ = await everything(ledger, 10)
    assert ids == [5, 6, 7]
