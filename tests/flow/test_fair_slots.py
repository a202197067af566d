"""Slots that several share."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.fair_slots import FairSlots, Tenant
from sutro_stream.testing import run_virtual


@asynccontextmanager
async def _slot(slots: FairSlots, tenant: Tenant) -> AsyncIterator[None]:
    if not slots.take(tenant):
        await slots.wait(tenant)
    try:
        yield
    finally:
        slots.release()


async def _use(slots: FairSlots, tenant: Tenant, served: list[str], count: int) -> None:
    async def one() -> None:
        async with _slot(slots, tenant):
            served.append(str(tenant.name))
            await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)


def _served(
    capacity: int, wanted: dict[str, int], weights: dict[str, float]
) -> list[str]:
    served: list[str] = []

    async def run() -> None:
        slots = FairSlots(capacity)
        with ExitStack() as stack:
            async with anyio.create_task_group() as tasks:
                for name, count in wanted.items():
                    weight = weights.get(name, 1.0)
                    tenant = stack.enter_context(slots.joined(name, weight=weight))
                    tasks.start_soon(_use, slots, tenant, served, count)
            assert slots.used == 0
            assert slots.waiting == 0

    run_virtual(run)
    return served


def test_equal_parties_take_turns() -> None:
    """Neither waits for the other to be done."""
    served = _served(1, {"a": 50, "b": 50}, {})

    assert abs(Counter(served[:40])["a"] - 20) <= 1


def test_slots_are_given_by_weight() -> None:
    """A weight of three is three slots of four."""
    served = _served(2, {"a": 200, "b": 200}, {"a": 3.0})

    assert abs(Counter(served[:100])["a"] - 75) <= 2


def test_a_small_party_is_served_at_once_beside_a_huge_one() -> None:
    """What a prototype beside a large job needs."""
    served = _served(4, {"huge": 500, "small": 10}, {"small": 16.0})

    assert Counter(served[:20])["small"] == 10


def test_a_party_that_was_away_has_saved_nothing_up() -> None:
    """Else whoever comes late would have all slots for a while."""
    served: list[str] = []

    async def run() -> None:
        slots = FairSlots(1)
        with slots.joined("late") as late, slots.joined("busy") as busy:
            await _use(slots, busy, [], 100)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_use, slots, busy, served, 20)
                tasks.start_soon(_use, slots, late, served, 20)

    run_virtual(run)
    assert abs(Counter(served[:20])["late"] - 10) <= 1


def test_who_is_cancelled_while_waiting_gives_up_the_place() -> None:
    """A slot given to nobody would be lost."""

    async def run() -> None:
        slots = FairSlots(1)
        with slots.joined("a") as tenant:
            async with _slot(slots, tenant):
                with anyio.move_on_after(1):
                    async with _slot(slots, tenant):
                        pytest.fail("there was no slot")
                assert slots.waiting == 0
            async with _slot(slots, tenant):
                assert slots.used == 1

    run_virtual(run)


@given(
    capacity=st.integers(1, 5),
    wanted=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1),
)
def test_everyone_is_served_and_never_more_at_once_than_there_are_slots(
    capacity: int, wanted: dict[str, int]
) -> None:
    """Whoever asks, and however many there are."""
    served = _served(capacity, wanted, {})

    assert Counter(served) == wanted


@pytest.mark.parametrize("capacity", [0, -1])
def test_no_slots_are_refused(capacity: int) -> None:
    """Everyone would wait for ever."""
    with pytest.raises(ConfigurationError):
        FairSlots(capacity)


def test_a_weight_of_nothing_is_refused() -> None:
    """So would this tenant."""
    with pytest.raises(ConfigurationError), FairSlots(1).joined("a", weight=0):
        pass


def test_fewer_slots_may_be_given() -> None:
    """What is taken stays taken, and the rest waits until there is room again."""
    seen: list[tuple[int, int]] = []

    async def run() -> None:
        slots, served = FairSlots(8), list[str]()
        with slots.joined("a") as tenant:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_use, slots, tenant, served, 12)
                await anyio.sleep(0.5)
                slots.limit_to(2)
                await anyio.sleep(1)
                seen.append((slots.used, slots.waiting))
                slots.limit_to(100)
                seen.append((slots.used, slots.waiting))

    run_virtual(run)
    assert seen == [(2, 2), (4, 0)]


def test_a_limit_leaves_one_slot() -> None:
    """Or nobody would ever be served."""
    slots = FairSlots(8)
    slots.limit_to(0)
    assert slots.limit == 1
