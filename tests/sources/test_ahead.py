"""A generator that works in a thread of its own."""

from __future__ import annotations

from collections.abc import Generator
from threading import Event, get_ident

import pytest

from sutro_stream.formats.ahead import Ahead

PATIENCE_S = 10.0


def ahead(items: Generator[int, None, None], *, most: int = 1) -> Ahead[int]:
    """Each item has a size of 1."""
    return Ahead(items, size=lambda _: 1, most=most)


def all_of(items: Ahead[int]) -> list[int]:
    """Taken until the end."""
    taken = []
    while (item := items.take()) is not None:
        taken.append(item)
    return taken


def test_items_come_in_their_order_and_then_nothing() -> None:
    """However often it is asked."""
    items = ahead(at for at in range(100))
    assert all_of(items) == list(range(100))
    assert items.take() is None
    items.close()


def test_work_is_done_before_it_is_asked_for() -> None:
    """As much as may lie there, by the first item that is asked for."""
    made = Event()

    def work() -> Generator[int, None, None]:
        yield 1
        yield 2
        made.set()
        yield 3

    items = ahead(work(), most=3)
    assert items.take() == 1
    assert made.wait(PATIENCE_S)
    assert all_of(items) == [2, 3]
    items.close()


def test_it_stops_at_what_nobody_takes() -> None:
    """The item that fills the room is the last one made."""
    made: list[int] = []

    def work() -> Generator[int, None, None]:
        for at in range(100):
            made.append(at)
            yield at

    items = ahead(work(), most=4)
    assert items.take() == 0
    items.close()
    assert len(made) <= 5


def test_nothing_is_begun_before_something_is_asked_for() -> None:
    """A generator that was never begun is closed all the same."""
    made: list[int] = []

    def work() -> Generator[int, None, None]:
        made.append(0)
        yield 0

    items = ahead(work())
    assert items.take_made() is None
    items.close()
    assert made == []
    assert items.take() is None


def test_the_generators_error_comes_behind_its_items() -> None:
    """Once; afterwards it is over."""

    def work() -> Generator[int, None, None]:
        yield 1
        raise LookupError

    items = ahead(work(), most=9)
    assert items.take() == 1
    with pytest.raises(LookupError):
        items.take()
    assert items.take() is None
    items.close()


def test_closing_closes_the_generator_in_its_own_thread() -> None:
    """Also while it waits for somebody to take."""
    threads: list[int] = []

    def work() -> Generator[int, None, None]:
        threads.append(get_ident())
        try:
            while True:
                yield 1
        finally:
            threads.append(get_ident())

    items = ahead(work())
    assert items.take() == 1
    items.close()
    begun, ended = threads
    assert begun == ended != get_ident()
    assert items.take() is None
