"""Order and bounds of the window between requests and consumer."""

from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.flow.window import Window, WindowLimits


def window(*, span: int = 100, ready: int = 100, ordered: bool = True) -> Window[int]:
    """A window with loose limits."""
    limits = WindowLimits(span_rows=span, span_bytes=1, ready_rows=ready)
    return Window(limits, ordered=ordered)


def begin(target: Window[int], count: int) -> None:
    """Begin several rows."""
    for _ in range(count):
        target.begin()


def test_rows_wait_for_an_earlier_one() -> None:
    """In order, nothing passes the oldest unfinished row."""
    rows = window()
    begin(rows, 3)
    assert not rows.conclude(2, 2)
    assert not rows.conclude(1, 1)
    assert (rows.held, rows.take()) == (2, [])
    assert rows.conclude(0, 0)
    assert rows.take() == [0, 1, 2]


def test_rows_pass_each_other_when_order_is_not_asked_for() -> None:
    """Unordered rows leave as they are concluded."""
    rows = window(ordered=False)
    begin(rows, 3)
    assert rows.conclude(2, 2)
    assert rows.conclude(0, 0)
    assert rows.take() == [2, 0]


def test_the_span_bounds_what_a_straggler_holds_back() -> None:
    """No row is begun further than the span from the oldest unfinished one."""
    rows = window(span=4)
    begin(rows, 4)
    for ticket in (1, 2, 3):
        rows.conclude(ticket, ticket)
    assert rows.room() == 0
    assert rows.begin() is None
    rows.conclude(0, 0)
    rows.take()
    assert rows.room() == 4
    assert rows.begin() == 4


def test_a_consumer_that_does_not_take_stops_the_beginning() -> None:
    """Rows that are ready and not taken use up the room."""
    rows = window(ready=2)
    begin(rows, 2)
    rows.conclude(0, 0)
    assert rows.room() == 1
    rows.conclude(1, 1)
    assert rows.room() == 0
    assert rows.begin() is None


@given(
    order=st.permutations(list(range(12))),
    taking=st.lists(st.booleans(), min_size=12, max_size=12),
    ordered=st.booleans(),
)
def test_every_row_is_taken_once_and_in_its_order(
    order: list[int], taking: list[bool], ordered: bool
) -> None:
    """Whatever the order of conclusion, and whenever the consumer takes."""
    rows = window(ordered=ordered)
    begin(rows, len(order))
    taken: list[int] = []
    for ticket, take_now in zip(order, taking, strict=True):
        rows.conclude(ticket, ticket)
        if take_now:
            taken += rows.take()
    taken += rows.take()
    assert taken == (sorted(order) if ordered else order)
    assert (rows.unfinished, rows.held, rows.ready) == (0, 0, 0)
