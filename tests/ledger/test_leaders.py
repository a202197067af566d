"""Equal prompts: the first row that has one answers for the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.ledger import open_ledger
from sutro_stream.values.outcomes import Outcome

Make = Callable[..., Outcome]


async def test_the_first_row_with_a_prompt_leads(
    path: Path, work: WorkIdentity
) -> None:
    """Within one batch and across batches; others lead themselves."""
    async with open_ledger(path, work) as ledger:
        assert await ledger.leaders(0, [5, 6, 5, 7]) == [0, 1, 0, 3]
        assert await ledger.leaders(4, [6, 8, 6, 5]) == [1, 5, 1, 0]


async def test_asking_twice_changes_nothing(path: Path, work: WorkIdentity) -> None:
    """The same rows get the same leaders."""
    async with open_ledger(path, work) as ledger:
        first = await ledger.leaders(0, [5, 6, 5])
        assert await ledger.leaders(0, [5, 6, 5]) == first
        assert await ledger.leaders(1, [6, 5]) == first[1:]


async def test_a_row_without_a_prompt_leads_itself(
    path: Path, work: WorkIdentity
) -> None:
    """Refused rows have nothing in common."""
    async with open_ledger(path, work) as ledger:
        assert await ledger.leaders(0, [None, 5, None, 5]) == [0, 1, 2, 1]


async def test_the_next_run_knows_the_rows_that_were_answered(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """Even if it asks about later rows only; a row of no prompt does not count."""
    async with open_ledger(path, work) as ledger:
        await ledger.leaders(0, [5, 6, 5, None])
        ledger.record(0, 5, answered(0))
        ledger.record(2, 5, Outcome(answer=answered(0).answer), leader=0)
        ledger.record(3, 0, Outcome())
    async with open_ledger(path, work) as ledger:
        assert await ledger.leaders(4, [5, 6, 0]) == [0, 5, 6]


async def test_an_earlier_row_takes_the_lead(
    path: Path, work: WorkIdentity, answered: Make
) -> None:
    """No row is led by a later one, even if that was answered in an earlier run."""
    async with open_ledger(path, work) as ledger:
        ledger.record(9, 5, answered(9))
    async with open_ledger(path, work) as ledger:
        assert await ledger.leaders(2, [5, 5]) == [2, 2]
        assert await ledger.leaders(10, [5]) == [2]


async def test_many_rows_in_one_batch(path: Path, work: WorkIdentity) -> None:
    """More than fit into one statement."""
    digests = [index * 2**40 % 2**63 for index in range(3000)]
    async with open_ledger(path, work) as ledger:
        assert await ledger.leaders(0, digests) == list(range(3000))
        assert await ledger.leaders(3000, digests) == list(range(3000))
