from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.probing.drawing import bar, svg
from sutro_stream.probing.levels import (
    Level,
    is_past_knee,
    knee,
    level_of,
    percentile,
)
from sutro_stream.probing.timing import Timing


def level(in_flight: int, rows_per_s: float, *, failures: int = 0) -> Level:
    """A level of ten seconds."""
    return Level(
        in_flight=in_flight,
        is_found=False,
        seconds=10.0,
        answers=round(10 * rows_per_s),
        failures=failures,
        rows_per_s=rows_per_s,
        input_tokens_per_s=0.0,
        output_tokens_per_s=0.0,
        p50_s=0.1,
        p95_s=0.2,
        p99_s=0.3,
        peak_in_flight=in_flight,
    )


def levels(*rates: float) -> Sequence[Level]:
    """At 1, 2, 4 ... in flight."""
    return [level(2**power, rate) for power, rate in enumerate(rates)]


def test_only_what_ended_in_the_time_counts() -> None:
    """Rates, tokens and failures; and the latencies of what was still on its way."""
    answers = [
        Timing(ended_s=at_s, seconds=at_s / 10, input_tokens=3, output_tokens=2)
        for at_s in (1.0, 2.0, 3.0, 4.0, 5.0)
    ]
    found = level_of(
        answers,
        [0.5, 2.5, 9.0],
        from_s=1.0,
        to_s=4.0,
        in_flight=8,
        peak_in_flight=8,
        is_found=False,
    )
    assert (found.answers, found.failures, found.rows_per_s) == (3, 1, 1.0)
    assert (found.input_tokens_per_s, found.output_tokens_per_s) == (3.0, 2.0)
    assert (found.p50_s, found.p99_s) == (0.3, 0.5)
    assert found.failed_share == 0.25


@given(
    st.lists(st.floats(0, 1e6), min_size=1),
    st.floats(0.01, 1.0),
)
def test_a_percentile_is_one_of_the_values(values: list[float], share: float) -> None:
    """And no more than the rest of them is above."""
    ascending = sorted(values)
    found = percentile(ascending, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_the_knee_is_the_first_that_is_as_good_as_the_best() -> None:
    """More in flight only wait longer."""
    found = knee(levels(10, 20, 39, 70, 72, 71))
    assert found is not None
    assert found.in_flight == 8


def test_a_level_that_fails_is_no_knee() -> None:
    """However fast the rest of it was."""
    found = knee([level(1, 10), level(2, 50, failures=400)])
    assert found is not None
    assert found.in_flight == 1
    assert knee([level(1, 0)]) is None


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((10, 20), False),
        ((10, 20, 39), False),
        ((10, 20, 20.5), False),
        ((10, 20, 20.5, 20.2), True),
        ((10, 20, 19, 40), False),
    ],
)
def test_two_levels_without_gain_end_it(
    rates: tuple[float, ...], expected: bool
) -> None:
    """One can be chance."""
    assert is_past_knee(levels(*rates)) is expected


def test_failures_end_it() -> None:
    """An endpoint that refuses has said that it was too much."""
    assert is_past_knee([level(1, 10), level(2, 15, failures=100)])


def test_a_bar_is_as_long_as_its_value() -> None:
    """To the eighth of a character."""
    assert bar(1.0, 2.0, width=8) == "████"
    assert bar(0.5, 16.0, width=16) == "▌"
    assert bar(3.0, 0.0, width=8) == ""


def test_the_picture_has_a_dot_for_each_level_in_both_charts() -> None:
    """And is well-formed, whatever the title is."""
    found = [*levels(10, 20, 30)]
    drawn = ET.fromstring(svg(found, title="a < b & c"))  # noqa: S314 - our own
    circles = [element for element in drawn.iter() if element.tag.endswith("circle")]
    assert len(circles) == 6
    assert drawn[0].text == "a < b & c"
